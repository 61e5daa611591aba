"""Checkpoints: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mibias_cli.errors import RunError

__all__ = ["load_checkpoint", "load_weights", "save_checkpoint", "save_weights"]


def _replace(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as f:
        os.fsync(f.fileno())
    os.replace(temporary, path)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training state atomically: a kill at any moment leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    torch.save(state, temporary)
    _replace(temporary, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state (weights_only: tensors and plain values).

    Raises:
        RunError: There is no checkpoint, or it cannot be read.
    """
    if not path.is_file():
        raise RunError(f"{path}: there is no checkpoint to resume from; start the run anew without --resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"{path}: the checkpoint cannot be read ({error})") from error
    return state


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's state as safetensors, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}, temporary)
    _replace(temporary, path)


def load_weights(path: Path, module: nn.Module) -> None:
    """Load a module's state from safetensors, every key of it.

    Raises:
        RunError: The file is missing or holds another model's weights.
    """
    if not path.is_file():
        raise RunError(f"{path}: missing; the run has not got that far (resume it with --resume)")
    try:
        module.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise RunError(f"{path}: holds weights of another model ({error})") from error
