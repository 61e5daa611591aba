"""Checkpoints: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mibias_cli.backbone.weights.matching import state_fingerprint
from mibias_cli.errors import RunError
from mibias_cli.output.whole_files import replaced
from mibias_cli.training.average import AverageState
from mibias_cli.training.debiaser import DebiaserState

__all__ = ["StageState", "load_checkpoint", "load_weights", "save_checkpoint", "save_weights"]


class StageState(TypedDict):
    """All that a resumed stage needs; `metrics_bytes` is how much of metrics.jsonl the checkpoint knows of."""

    version: int
    stage: str
    position: dict[str, Any]
    model: dict[str, Tensor]
    optimizers: list[dict[str, Any]]
    precision: dict[str, Any]
    average: AverageState | None
    metrics_bytes: int
    stepper: dict[str, Any]
    debiaser: NotRequired[DebiaserState]


_CHECKSUM = "sha256"
"""In the metadata of weights: the fingerprint of what was written."""
_ANEW = "train anew: mibias train RECIPE --out FOLDER"
# what is asked of a file before anything is done by it; what a stage makes of the rest, it checks itself
_PARTS = {
    "version": int,
    "stage": str,
    "position": Mapping,
    "model": Mapping,
    "metrics_bytes": int,
    "average": Mapping | None,
}


def save_checkpoint(path: Path, state: Mapping[str, object]) -> None:
    """Write a training state atomically: a kill at any moment leaves the old file or the new one, never half of one."""
    _write(path, lambda partial: torch.save(state, partial))


def load_checkpoint(path: Path) -> StageState:
    """Read a training state (weights_only: tensors and plain values); a RunError where that cannot be had."""
    if not path.is_file():
        raise RunError(f"{path}: there is no checkpoint to resume from; start the run anew without --resume")
    try:
        # torch does not look at the checksums that it writes
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if broken := archive.testzip():
                    raise RunError(f"{broken} is not what was written")
        state: StageState = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RunError(f"{path}: the checkpoint cannot be read ({reason}); {_ANEW}") from error
    lacking = _lacking(state)
    if lacking is not None:
        raise RunError(f"{path}: is no training state of mibias ({lacking}); {_ANEW}")
    return state


def _lacking(state: object) -> str | None:
    """What of a training state is missing or of another type; None where all that is looked at is there."""
    if not isinstance(state, Mapping):
        return f"it holds a {type(state).__name__}"
    for name, kind in _PARTS.items():
        if not isinstance(state.get(name), kind):
            return f"its {name!r} is missing or of another kind"
    position = state["position"]
    if not isinstance(position.get("epoch"), int) or not isinstance(position.get("finished"), bool):
        return "its 'position' says no epoch"
    return None if state["stage"] in ("original", "debias") else f"its stage is {state['stage']!r}"


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's state as safetensors with its checksum, atomically."""
    # safetensors takes neither views nor tensors that share memory
    state = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    _write(path, lambda partial: save_file(state, partial, metadata={_CHECKSUM: state_fingerprint(state)}))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        write(partial)


def load_weights(path: Path, module: nn.Module) -> None:
    """Load a module's state from safetensors, every key of it; a RunError where it is missing, damaged or another's."""
    if not path.is_file():
        raise RunError(
            f"{path}: missing: if the run has not got that far, `mibias train --resume {path.parent.parent}` goes on "
            "with it; if the file was removed, put it back, or train anew with another --out"
        )
    try:
        state = load_file(path)
        with safe_open(path, framework="pt") as file:
            checksum = (file.metadata() or {}).get(_CHECKSUM)
    except SafetensorError as error:
        raise RunError(f"{path}: damaged ({error}); {_ANEW}") from error
    if checksum not in (None, state_fingerprint(state)):
        raise RunError(f"{path}: damaged (its values are not those that were written); {_ANEW}")
    found, own = ({name: tuple(value.shape) for name, value in each.items()} for each in (state, module.state_dict()))
    misfits = [
        f"{name} is {found.get(name, 'missing')}, not {shape}"
        for name, shape in own.items()
        if found.get(name) != shape
    ]
    misfits += [f"{name} is of no layer" for name in found if name not in own]
    if misfits:
        more = f" and {len(misfits) - 1} more" if len(misfits) > 1 else ""
        raise RunError(f"{path}: holds weights of another model ({misfits[0]}{more}); were data or recipe changed?")
    module.load_state_dict(state)
