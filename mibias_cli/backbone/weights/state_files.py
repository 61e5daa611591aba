"""State dicts from files: safetensors and torch files, with the containers that training scripts wrap them in."""

from __future__ import annotations

import pickle
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PosixPath, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from mibias_cli.data.files.refused import is_pointer
from mibias_cli.errors import BackboneError
from mibias_cli.output.whole_files import NO_FILE

__all__ = ["WEIGHT_SUFFIXES", "State", "read_state", "weights_file_of"]

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")


def _numpy_types() -> list[Any]:
    """What numpy's numbers are made of when they are pickled, under the name of either version of numpy."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "u1", "?")}
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), *kinds]


# Averaged weights first, as timm does: they are what such a run was evaluated with.
_CONTAINERS = (
    *("state_dict_ema", "model_ema", "teacher", "ema", "state_dict", "model_state_dict", "model_state", "model_dict"),
    *("model", "module", "net", "network", "extractor", "backbone", "encoder", "student"),
)
# what training scripts keep beside weights; none of these runs code when it is read
_SAFE = (Namespace, SimpleNamespace, PosixPath, PurePosixPath, np.dtype, *_numpy_types())
# zip archives, and pickles of protocol 2 and later
_TORCH_HEADS = (b"PK", b"\x80")
_MOST_CONTAINERS = 4
_SHOWN = 8
_PREFERRED_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")


@dataclass(frozen=True, kw_only=True)
class State:
    """The state dict in a weights file.

    Args:
        tensors: By name, on the CPU.
        place: The containers that they lie in, from the outermost; empty where they are all that there is.
        beside: What lies beside them there and holds tensors too (the student beside the teacher), or empty.
    """

    tensors: dict[str, Tensor]
    place: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """In words, where they lie in the file, if that needs saying."""
        beside = f" (beside {', '.join(map(repr, self.beside))})" if self.beside else ""
        return f" from {'.'.join(self.place)!r}{beside}" if self.beside else ""


def read_state(path: Path) -> State:
    """The state dict in a weights file, out of its containers (`state_dict`, `model`, `model_ema`, `teacher`, …).

    Torch files are read with `weights_only=True`: a file from a stranger cannot run code here.

    Raises:
        BackboneError: The file is missing, is of another kind, or holds no tensors.
    """
    if not path.is_file():
        what = (
            "is a folder: write local-dir:FOLDER" if path.is_dir() else NO_FILE if path.exists() else "does not exist"
        )
        raise BackboneError(f"weights {path}: {what}")
    if path.suffix not in WEIGHT_SUFFIXES:
        raise BackboneError(f"weights {path}: unknown kind of file, expected one of {', '.join(WEIGHT_SUFFIXES)}")
    if is_pointer(path):
        raise BackboneError(f"weights {path}: is a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    content = _read(path)
    state = _state(content)
    if state is None:
        held = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in list(content.items())[:_SHOWN])
        raise BackboneError(
            f"weights {path}: no tensors in it, or several sets of them under names that say nothing: it holds "
            f"{held or 'nothing'}; save the state dict (name → tensor) alone, as .safetensors"
        )
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
        with torch.serialization.safe_globals([*_SAFE]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BackboneError(
            f"weights {path}: torch.load(weights_only=True) refuses it{_foreign_types(path)}; if you trust the file, "
            "load it yourself and save its state dict as .safetensors"
        ) from error
    except (BackboneError, MemoryError):
        raise
    except Exception as error:  # a damaged file may end torch's reader anywhere
        kind, reason = "safetensors" if safe else "torch", str(error).partition("\n")[0] or type(error).__name__
        raise BackboneError(f"weights {path}: not a readable {kind} file ({reason}); was it cut short?") from error
    if not isinstance(content, Mapping):
        raise BackboneError(f"weights {path}: holds a {type(content).__name__}, expected a state dict (name → tensor)")
    return content


def _foreign_types(path: Path) -> str:
    """The types of objects in a torch file that are no plain data, in words."""
    try:
        with torch.serialization.safe_globals([*_SAFE]):
            found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of a pickle that is no zip archive torch does not tell
        return ""
    return f", as it holds more than tensors: {', '.join(found[:_SHOWN])}" if found else ""


def _state(content: Mapping[str, object], place: tuple[str, ...] = ()) -> State | None:
    """The state dict in a container, or None where there is none."""
    inner = {str(key): value for key, value in content.items() if isinstance(value, Mapping)}
    # containers lie in one another, as in {"model": {"state_dict": …}}: go down while one of them holds tensors; a file
    # may also hold one in itself, or thousands
    if len(place) < _MOST_CONTAINERS:
        found = {key: state for key in _CONTAINERS if key in inner and (state := _state(inner[key], (*place, key)))}
        if found:
            first, *others = found
            return replace(found[first], beside=found[first].beside or tuple(others))
    # torch.compile leaves its marker anywhere in a name
    tensors = {str(k).replace("_orig_mod.", ""): v for k, v in content.items() if isinstance(v, Tensor)}
    if tensors:
        return State(tensors=tensors, place=place)
    # under a name that nobody knows: where it is the only one
    held = [key for key, value in inner.items() if any(isinstance(v, Tensor) for v in value.values())]
    if len(held) != 1 or len(place) >= _MOST_CONTAINERS:
        return None
    return _state(inner[held[0]], (*place, held[0]))
