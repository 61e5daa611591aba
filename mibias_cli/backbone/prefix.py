"""The frozen part of a backbone before everything that trains: its outputs never change, so they are computed once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["NoPrefix", "Prefix", "frozen_prefix", "steps_within"]


class NoPrefix(Exception):
    """The outputs of a frozen prefix cannot stand in for inputs; the text says why."""


class _Reached(Exception):
    """Breaks a forward pass off where the prefix ends."""


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Where a backbone's frozen prefix ends.

    Args:
        start: The first module that trains, whose input is the prefix's output; None: all of the backbone is frozen,
            and the output is the pooled features.
        input_shape: Of one input of the backbone.
        skipped: Modules that the rest of a pass does without, by name, with what their output looks like (`_outline`).
        shape: Of one sample's output.
    """

    start: str | None
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    skipped: Mapping[str, _Outline] = field(default_factory=dict)

    def holds(self, layer: str) -> bool:
        """Whether an inner layer lies within the prefix."""
        return self.start is None or any(_is_in(layer, name) for name in self.skipped)

    def outputs(self, backbone: nn.Module, x: Tensor) -> Tensor:
        """What the prefix makes of inputs (n, …): (n, *shape)."""
        if self.start is None:
            pooled: Tensor = backbone(x)
            return pooled
        reached: list[Tensor] = []

        def stop(module: nn.Module, inputs: tuple[object, ...]) -> None:
            first = inputs[0] if inputs else None
            if not isinstance(first, Tensor):
                raise NoPrefix(f"'{self.start}' takes {type(first).__name__} and no single tensor")
            reached.append(first)
            raise _Reached

        with ExitStack() as scope:
            scope.callback(backbone.get_submodule(self.start).register_forward_pre_hook(stop).remove)
            with suppress(_Reached):
                backbone(x)
        return reached[0]

    def resume(self, backbone: nn.Module, outputs: Tensor) -> Tensor:
        """Pooled features (n, n_features) of what the prefix made of inputs (n, *shape).

        The backbone's own forward pass runs, so that nothing need be known of it: skipped modules give zeros, and the
        first module that trains gets the prefix's outputs as its input.
        """
        if self.start is None:
            return outputs
        zero, n = outputs.new_zeros(()), len(outputs)
        with ExitStack() as scope:
            # an instance's own `forward` goes before its class's, and leaves no trace once it is deleted
            for name, outline in self.skipped.items():
                module = backbone.get_submodule(name)
                module.__dict__["forward"] = _Constant(_filled(outline, zero, n))
                scope.callback(module.__dict__.pop, "forward")
            start = backbone.get_submodule(self.start)
            handle = start.register_forward_pre_hook(lambda _, inputs: (outputs, *inputs[1:]), prepend=True)
            scope.callback(handle.remove)
            pooled: Tensor = backbone(zero.expand(n, *self.input_shape))
        return pooled


@dataclass(frozen=True)
class _Constant:
    """A forward pass that gives the same whatever it is given."""

    output: object

    def __call__(self, *_: object, **__: object) -> object:
        return self.output


@torch.no_grad()
def frozen_prefix(backbone: nn.Module, x: Tensor) -> Prefix:
    """The frozen prefix of a backbone, found in a pass over two or more inputs (n, …) and compared with that pass.

    What trains is what requires a gradient. The backbone must be in evaluation mode.

    Raises:
        NoPrefix: Nothing is frozen before what trains, or the rest needs more than the prefix's last output.
    """
    called: dict[str, _Outline | None] = {}

    def note(name: str, *_: object) -> None:
        called.setdefault(name, None)

    def keep(name: str, *found: object) -> None:
        # maps are large: only their shapes are kept
        with suppress(NoPrefix):
            called[name] = _outline(found[-1], len(x))

    with ExitStack() as scope:
        for name, module in backbone.named_modules():
            scope.callback(module.register_forward_pre_hook(partial(note, name)).remove)
            scope.callback(module.register_forward_hook(partial(keep, name)).remove)
        pooled: Tensor = backbone(x)
    trained = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    if not trained:
        return Prefix(start=None, input_shape=tuple(x.shape[1:]), shape=tuple(pooled.shape[1:]))

    start, before = _first_trained(backbone, list(called), trained)
    skipped = {}
    for name in before:
        outline = called[name]
        if outline is None:
            raise NoPrefix(f"'{name}' gives more than tensors with a row for each sample")
        skipped[name] = outline
    prefix = Prefix(start=start, input_shape=tuple(x.shape[1:]), shape=(), skipped=skipped)
    # whatever a network does beside handing one tensor on (skip connections, several inputs) shows here
    try:
        outputs = prefix.outputs(backbone, x)
        same = torch.equal(prefix.resume(backbone, outputs), pooled)
    except NoPrefix:
        raise
    except Exception as error:  # whatever a model raises about inputs that are not its own
        raise NoPrefix(f"the stages from '{start}' on do not run by themselves ({error})") from error
    if not same:
        raise NoPrefix(f"the stages from '{start}' on need more than the output of what comes before them")
    return Prefix(start=start, input_shape=prefix.input_shape, shape=tuple(outputs.shape[1:]), skipped=skipped)


_Outline: TypeAlias = "torch.Size | int | float | str | tuple[_Outline, ...] | list[_Outline] | None"
"""What a module gives, with the shape of one sample in place of each tensor."""


def _outline(output: object, n: int) -> _Outline:
    """The outline of an output for n samples; a NoPrefix where it holds anything else than rows and plain values."""
    if isinstance(output, Tensor) and output.ndim and len(output) == n:
        return output.shape[1:]
    # such as tokens beside the height and width of their grid
    if isinstance(output, torch.Size) or type(output) is tuple:
        return tuple(_outline(one, n) for one in output)
    if type(output) is list:
        return [_outline(one, n) for one in output]
    if output is None or isinstance(output, int | float | str):
        return output
    raise NoPrefix


def _filled(outline: _Outline, zero: Tensor, n: int) -> object:
    """An output of that outline for n samples, whose tensors are all zero."""
    if isinstance(outline, torch.Size):
        return zero.expand(n, *outline)
    if isinstance(outline, tuple):
        return tuple(_filled(one, zero, n) for one in outline)
    return [_filled(one, zero, n) for one in outline] if isinstance(outline, list) else outline


def _first_trained(backbone: nn.Module, order: list[str], trained: list[str]) -> tuple[str, list[str]]:
    """The first module on the way that trains, and the modules that are done before it is called."""
    name, before = "", list[str]()
    while True:
        steps = sorted(steps_within(backbone, name, order), key=order.index)
        k = next((i for i, step in enumerate(steps) if any(_is_in(p, step) for p in trained)), None)
        # a parameter of the network itself, such as a position embedding, belongs to no step
        outside = [p for p in trained if not any(_is_in(p, step) for step in steps[k:])] if k is not None else trained
        if k is None or (not name and outside):
            raise NoPrefix(f"'{outside[0]}' trains, which belongs to no stage of the backbone")
        # a chain whose first link trains gets the prefix's output itself, and with it whatever hooks on it
        if name and k == 0:
            break
        before += steps[:k]
        name = steps[k]
        # within a chain the next link is the start; the insides of other modules may be wired in any way
        if type(backbone.get_submodule(name)).forward is not nn.Sequential.forward:
            break
    if not before:
        raise NoPrefix(f"nothing is frozen before '{name}', which trains")
    return name, before


def steps_within(backbone: nn.Module, name: str, order: Collection[str]) -> Iterator[str]:
    """The modules that a module calls itself: its children, or those of a list that is not called as a whole.

    Args:
        name: Of a module; empty: the backbone itself.
        order: Names of all modules that are called.
    """
    for child, _ in backbone.get_submodule(name).named_children():
        full = f"{name}.{child}" if name else child
        if full in order:
            yield full
        else:
            yield from steps_within(backbone, full, order)


def _is_in(name: str, module: str) -> bool:
    """Whether a module or parameter is a module or lies within it."""
    return name == module or name.startswith(f"{module}.")
