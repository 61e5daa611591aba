"""State dicts from files: safetensors and torch files, with the containers that training scripts wrap them in."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mibias_cli.data.files.refused import is_pointer
from mibias_cli.errors import BackboneError

__all__ = ["WEIGHT_SUFFIXES", "read_state", "weights_file_of"]

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")

# Averaged weights first, as timm does: they are what such a run was evaluated with.
_CONTAINERS = (
    *("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model_state"),
    *("model", "module", "extractor", "backbone"),
)
# zip archives, and pickles of protocol 2 and later
_TORCH_HEADS = (b"PK", b"\x80")
_MOST_CONTAINERS = 4
_PREFERRED_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a weights file, on the CPU, out of its containers (`state_dict`, `model`, `model_ema`, …).

    Torch files are read with `weights_only=True`: a file from a stranger cannot run code here.

    Raises:
        BackboneError: The file is missing, is of another kind, or holds no tensors.
    """
    if not path.is_file():
        what = "is a folder: write local-dir:FOLDER" if path.is_dir() else "does not exist"
        raise BackboneError(f"weights {path}: {what}")
    if path.suffix not in WEIGHT_SUFFIXES:
        raise BackboneError(f"weights {path}: unknown kind of file, expected one of {', '.join(WEIGHT_SUFFIXES)}")
    if is_pointer(path):
        raise BackboneError(f"weights {path}: is a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    state = _tensors(_read(path))
    if not state:
        raise BackboneError(f"weights {path}: no tensors in it; it should hold a state dict (name → tensor)")
    return state


def weights_file_of(folder: Path) -> Path:
    """The weights file of a model folder, in timm's order of preference; a BackboneError where there is none."""
    if not folder.is_dir():
        raise BackboneError(f"local-dir:{folder}: this folder does not exist")
    for name in _PREFERRED_FILES:
        if (folder / name).is_file():
            return folder / name
    # else any weights file, safetensors before those that torch unpickles
    for suffix in WEIGHT_SUFFIXES:
        files = sorted(folder.glob(f"*{suffix}"))
        if files:
            return files[0]
    raise BackboneError(f"local-dir:{folder}: no weights in it, expected model.safetensors or pytorch_model.bin")


def _read(path: Path) -> Mapping[str, object]:
    """What the file holds, as it was saved: nothing but tensors, numbers, text and containers of these."""
    safe = path.suffix == ".safetensors"
    try:
        if safe:
            return dict(load_file(path, device="cpu"))
        with path.open("rb") as file:
            head = file.read(16)
        if not head.startswith(_TORCH_HEADS):
            raise BackboneError(f"weights {path}: is no torch file, it begins with {head!r}")
        # weights_only: torch's own reader of plain data; arbitrary classes, and so arbitrary code, are refused
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BackboneError(
            f"weights {path}: torch.load(weights_only=True) refuses it; if you trust the file, load it yourself and "
            f"save its state dict as .safetensors ({str(error).splitlines()[0]})"
        ) from error
    except (BackboneError, MemoryError):
        raise
    except Exception as error:  # a damaged file may end torch's reader anywhere
        kind, reason = "safetensors" if safe else "torch", str(error).partition("\n")[0] or type(error).__name__
        raise BackboneError(f"weights {path}: not a readable {kind} file ({reason}); was it cut short?") from error
    if not isinstance(content, Mapping):
        raise BackboneError(f"weights {path}: holds a {type(content).__name__}, expected a state dict (name → tensor)")
    return content


def _tensors(content: Mapping[str, object], depth: int = 0) -> dict[str, Tensor]:
    # containers lie in one another, as in {"model": {"state_dict": …}}: go down while one of them holds tensors; a file
    # may also hold one in itself, or thousands
    if depth < _MOST_CONTAINERS:
        for key in _CONTAINERS:
            inner = content.get(key)
            if isinstance(inner, Mapping) and (state := _tensors(inner, depth + 1)):
                return state
    # torch.compile leaves its marker anywhere in a name
    return {str(k).replace("_orig_mod.", ""): v for k, v in content.items() if isinstance(v, Tensor)}
