"""Weights into a module: key prefixes mapped, missing and unexpected keys listed, and a hash of what a module holds."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from mibias_cli.backbone.weights.state_files import read_state
from mibias_cli.errors import BackboneError

__all__ = ["LoadReport", "load_weights", "state_fingerprint", "unfit_names", "weights_fingerprint"]

_CLASSIFIERS = ("fc", "_fc", "head", "head.fc", "heads.head", "classifier", "last_linear", "head_dist", "linear")
_LEAVES = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked"})
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of each tensor of a weights file.

    Args:
        how: How names were matched: `by name`, `by name, prefix 'module.' removed`, `matched by order`, …
        n_matched, n_expected: Tensors of the module that the file gave, and that it has (counters of batches aside).
        missing: Names in the module that the file does not give.
        unexpected: Names in the file for which the module has no place.
        mismatched: Tensors of another shape, with both shapes; they count as missing too.
        dropped: Classifier tensors of the file: a backbone has no classifier.
        adapted: Tensors changed to fit, with what was done (input convolutions to another number of image channels).
    """

    source: str
    how: str
    n_matched: int
    n_expected: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Lines for the user about what went well."""
        lines = [f"weights {self.source}: {self.n_matched} of {self.n_expected} tensors, {self.how}"]
        lines += [f"weights {self.source}: {text}" for text in self.adapted]
        if self.dropped:
            lines.append(f"weights {self.source}: classifier left out ({_some(self.dropped)})")
        return lines

    def warnings(self) -> list[str]:
        """Lines for the user about what did not fit; empty when every tensor found its place."""
        rows = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.mismatched))
        return [f"weights {self.source}: {len(names)} {what}: {_some(names)}" for what, names in rows if names]


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A proposal: the module's names → tensors that fit, and what is left over."""

    how: str
    state: dict[str, Tensor]
    mismatched: tuple[str, ...]
    left_over: tuple[str, ...]
    adapted: tuple[str, ...] = ()


def load_weights(module: nn.Module, path: Path) -> LoadReport:
    """Load a weights file into a module, however its keys are prefixed.

    Names are matched after removing the prefix under which most of them fit (`module.`, `model.`, `backbone.`, …);
    where names or shapes still differ, timm's own checkpoint filter of the architecture is tried, which knows the
    original repositories and resizes position embeddings. Where names have nothing in common, but the sequence of
    shapes is exactly the module's (a classifier at its end aside), tensors are matched by order; safetensors
    files, which do not keep the order, are exempt. Input convolutions of 1 or 3 channels are adapted to the module's.

    Raises:
        BackboneError: The file cannot be read, or gives less than half of the module's tensors.
    """
    found = read_state(path)
    file_state = found.tensors
    expected = module.state_dict()
    match = _by_name_or_filter(module, expected, file_state)
    # names that have nothing in common: by order, which only torch files keep (safetensors sorts by name)
    if 2 * _n_counted(match.state) < _n_counted(expected) and path.suffix != ".safetensors":
        match = _by_order(expected, file_state) or match
    # which of several state dicts it was is worth saying: the teacher, and not the student
    report = _report(module, path, expected, replace(match, how=match.how + found.where))
    # with most tensors at their random start the features would be noise: say so before anything is changed
    if 2 * report.n_matched < report.n_expected:
        lines = [
            f"weights {report.source}: they give only {report.n_matched} of the model's {report.n_expected} tensors; "
            "are they of this architecture?",
            f"  the file has {_some(list(file_state))}",
            f"  the model has {_some(list(expected))}",
        ]
        if report.mismatched:
            lines.append(f"  of another shape: {_some(report.mismatched)}")
        raise BackboneError("\n".join(lines))
    module.load_state_dict(match.state, strict=False)
    return report


def unfit_names(module: nn.Module, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Tensors of a module that a state dict holds in another shape, to which timm does not resize them.

    Shapes alone are looked at, so that both may be without numbers (on torch's meta device).
    """
    expected = module.state_dict()
    match = _by_name_or_filter(module, expected, state)
    return tuple(name for name in expected if name in state and name not in match.state)


def weights_fingerprint(module: nn.Module, names: Collection[str] | None = None) -> str:
    """sha256 (hex) over names, types, shapes and values of a module's state dict, whatever its order or device.

    With `names`, only these of its tensors count.

    Example:
        >>> a = nn.Linear(2, 1); b = nn.Linear(2, 1)
        >>> _ = b.load_state_dict(a.state_dict())
        >>> weights_fingerprint(a) == weights_fingerprint(b)
        True
    """
    return state_fingerprint({k: v for k, v in module.state_dict().items() if names is None or k in names})


def state_fingerprint(state: Mapping[str, Tensor]) -> str:
    """The same of a state dict, as a file holds one."""
    digest = hashlib.sha256()
    # name, type and shape go in beside the bytes: equal bytes of another shape are another model
    for name, tensor in sorted(state.items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}|{flat.dtype}|{tuple(tensor.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _by_name_or_filter(module: nn.Module, expected: Mapping[str, Tensor], file_state: Mapping[str, Tensor]) -> _Match:
    """By name; where something is left over, through timm's filter for the architecture, if that places more."""
    match = _by_name(module, expected, file_state)
    if _n_counted(match.state) < _n_counted(expected):
        filtered = _through_timm_filter(module, expected, file_state)
        if filtered is not None and _n_counted(filtered.state) > _n_counted(match.state):
            return filtered
    return match


def _by_name(module: nn.Module, expected: Mapping[str, Tensor], file_state: Mapping[str, Tensor]) -> _Match:
    """Names after the prefix under which most of them fit."""
    prefix = _best_prefix(expected, file_state)
    first_convs = _first_conv_weights(module, expected)
    state: dict[str, Tensor] = {}
    mismatched, adapted = [], []
    for name, wanted in expected.items():
        given = file_state.get(prefix + name)
        if given is None:
            continue
        # grey weights in a colour model, or the other way round
        if given.shape != wanted.shape and name in first_convs and (fitted := _adapt(given, wanted)) is not None:
            adapted.append(f"{name} adapted from {given.shape[1]} to {wanted.shape[1]} input channels")
            given = fitted
        if given.shape == wanted.shape:
            state[name] = given
        else:
            mismatched.append(f"{name} (file {tuple(given.shape)}, model {tuple(wanted.shape)})")
    # a parameter of two names, of which safetensors keeps one
    names_of: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(parameter), []).append(name)
    for names in names_of.values():
        given_name = next((name for name in names if name in state), None)
        if given_name is not None:
            state |= {name: state[given_name] for name in names if name not in state}
    left_over = tuple(k for k in file_state if not (k.startswith(prefix) and k[len(prefix) :] in expected))
    how = f"by name, prefix '{prefix}' removed" if prefix else "by name"
    return _Match(how=how, state=state, mismatched=tuple(mismatched), left_over=left_over, adapted=tuple(adapted))


def _best_prefix(expected: Mapping[str, Tensor], file_state: Mapping[str, Tensor]) -> str:
    """The prefix of file keys that leaves the most of the module's names; of equals a teacher's, then the shortest."""
    # every key votes for each of its heads that leaves a known name: "module.conv1.weight" for "module."
    counts: Counter[str] = Counter()
    for key in file_state:
        starts = [0, *(i + 1 for i, character in enumerate(key) if character == ".")]
        counts.update(key[:start] for start in starts if key[start:] in expected)
    # of student and teacher in one state dict the teacher, whose weights are the averaged ones
    return min(counts, key=lambda p: (-counts[p], "teacher" not in p, len(p))) if counts else ""


def _through_timm_filter(
    module: nn.Module, expected: Mapping[str, Tensor], file_state: Mapping[str, Tensor]
) -> _Match | None:
    """What timm's `checkpoint_filter_fn` of this architecture makes of the file, or None."""
    # timm keeps the filter beside the class, and calls it with bare names
    filter_keys = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if filter_keys is None:
        return None
    prefix = _best_prefix(expected, file_state)
    stripped = {k[len(prefix) :]: v for k, v in file_state.items() if k.startswith(prefix)}
    try:
        filtered = filter_keys(stripped, module)
    except Exception:  # a filter fails in its own way on files that it was not written for: then it is of no use
        return None
    return replace(_by_name(module, expected, filtered), how="through timm's checkpoint filter")


def _by_order(expected: Mapping[str, Tensor], file_state: Mapping[str, Tensor]) -> _Match | None:
    """Tensor by tensor, if shapes and last name parts agree all along and only a classifier is left over."""
    names, given = list(expected), list(file_state.items())
    if len(given) < len(names):
        return None
    # one tensor that does not fit ends it: a shift by one would fill the rest with wrong weights of the right shape
    for name, (key, tensor) in zip(names, given, strict=False):
        leaf, file_leaf = name.rpartition(".")[2], key.rpartition(".")[2]
        # weight and bias of a norm have one shape: names must tell them apart, where they say anything
        same_leaf = leaf == file_leaf or not {leaf, file_leaf} <= _LEAVES
        if tensor.shape != expected[name].shape or not same_leaf:
            return None
    # what is left over must be a classifier: a matrix, then a vector
    rest = given[len(names) :]
    if len(rest) > 2 or any(t.ndim != 2 - i for i, (_, t) in enumerate(rest)):
        return None
    state = {name: tensor for name, (_, tensor) in zip(names, given, strict=False)}
    return _Match(how="matched by order", state=state, mismatched=(), left_over=tuple(k for k, _ in rest))


def _adapt(given: Tensor, wanted: Tensor) -> Tensor | None:
    """An input convolution for another number of channels, as timm does it, or None where that is impossible."""
    if given.ndim != 4 or given.shape[0] != wanted.shape[0] or given.shape[2:] != wanted.shape[2:]:
        return None
    if wanted.shape[1] == 3 and given.shape[1] == 1:
        return given.repeat(1, 3, 1, 1) / 3  # a grey image as RGB gives the same response
    # stems that fold pixels into channels have a multiple of 3
    if given.shape[1] != 3 and (wanted.shape[1] == 1 or given.shape[1] != 3 * wanted.shape[1]):
        return None
    if given.shape[1] != 3:
        return adapt_input_conv(1, given)
    return adapt_input_conv(wanted.shape[1], given)


def _first_conv_weights(module: nn.Module, expected: Mapping[str, Tensor]) -> tuple[str, ...]:
    configured = getattr(module, "pretrained_cfg", {}).get("first_conv")
    if configured:
        return tuple(f"{name}.weight" for name in ([configured] if isinstance(configured, str) else configured))
    return tuple(name for name, tensor in expected.items() if tensor.ndim == 4)[:1]


def _report(module: nn.Module, path: Path, expected: Mapping[str, Tensor], match: _Match) -> LoadReport:
    configured = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    classifiers = {*_CLASSIFIERS, *((configured,) if isinstance(configured, str) else configured)}

    # a classifier of several layers, as BatchNorm and a matrix, stands in a module that a backbone has not
    wholes = [whole for c in classifiers if (whole := f"{c.rpartition('.')[0]}.") != "."]
    wholes = [whole for whole in wholes if not any(name.startswith(whole) for name in expected)]

    def is_classifier(key: str) -> bool:
        stem, _, leaf = key.rpartition(".")
        if any(key.startswith(whole) or f".{whole}" in key for whole in wholes):
            return True
        return leaf in ("weight", "bias") and any(stem == c or stem.endswith(f".{c}") for c in classifiers)

    # by order only a classifier can be left over; by name its key must look like one
    by_order = match.how.startswith("matched by order")
    dropped = tuple(k for k in match.left_over if by_order or is_classifier(k))
    return LoadReport(
        source=str(path),
        how=match.how,
        n_matched=_n_counted(match.state),
        n_expected=_n_counted(expected),
        missing=tuple(k for k in expected if k not in match.state and not k.endswith("num_batches_tracked")),
        unexpected=tuple(k for k in match.left_over if k not in dropped),
        mismatched=match.mismatched,
        dropped=dropped,
        adapted=match.adapted,
    )


def _n_counted(state: Mapping[str, Tensor]) -> int:
    """Tensors apart from BatchNorm's counters, which old files lack."""
    return sum(not name.endswith("num_batches_tracked") for name in state)


def _some(names: Sequence[str]) -> str:
    more = f", … ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
