"""Which stages train, at which learning rate, and whether BatchNorm stays as it was loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from timm.layers import convert_sync_batchnorm
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.layers import stage_names, unknown_layer
from mibias_cli.backbone.prefix import steps_within
from mibias_cli.errors import BackboneError

__all__ = [
    "Trained", "bears_channels_last", "checkpoint_gradients", "choose_trainable", "head_groups", "last_stages",
    "parameter_groups", "refuse_no_checkpointing", "synchronise_batchnorm", "trains_batchnorm",
]  # fmt: skip

Trained = Literal["all", "none"] | Sequence[str]
_MOST = 0.8
"""Share of the parameters above which a stage is divided: with more, one trains about everything."""


def parameter_groups(
    extractor: Extractor,
    *,
    train: Trained = "all",
    learning_rate: float,
    layer_decay: float = 1.0,
    weight_decay: float = 0.0,
    batchnorm_frozen: bool = False,
    with_bottleneck: bool = True,
) -> list[dict[str, object]]:
    """Optimizer groups of the extractor: frozen stages left out, earlier stages at smaller learning rates.

    A stage s of S stages learns at learning_rate · layer_decay^(S − 1 − s); the bottleneck is at the full rate.
    Stages are timm's own coarse layer groups where the model declares them (`group_matcher`), else its top-level
    modules in order. Biases, norm weights and what the model lists in `no_weight_decay` get no weight decay.

    What trains is chosen as by `choose_trainable`; `learning_rate` is that of the last stage. Without `with_bottleneck`
    the bottleneck has no group here, so that it may have a weight decay of its own (`head_groups`).

    Returns:
        Groups with `params`, `lr`, `weight_decay`, `lr_scale` and `name`; none if nothing trains.

    Raises:
        BackboneError: A stage that the backbone does not have.

    References: Layer-wise decay: Bao et al., BEiT, arXiv 2106.08254.
    """
    choose_trainable(extractor, train=train, batchnorm_frozen=batchnorm_frozen)
    backbone = extractor.backbone
    stage_of = _stage_of_parameters(backbone)
    last = max(stage_of.values(), default=0)
    listed = getattr(backbone, "no_weight_decay", None)  # timm: position embeddings, class tokens, …
    exempt = frozenset(listed()) if callable(listed) else frozenset()

    # the bottleneck is new: it learns at the last stage's rate
    stages = [(name, parameter, stage_of[name]) for name, parameter in backbone.named_parameters()]
    if extractor.bottleneck is not None and with_bottleneck:
        stages += [
            (f"bottleneck.{name}", parameter, last) for name, parameter in extractor.bottleneck.named_parameters()
        ]

    # one group per stage and kind of weight decay; without layer decay all stages are one
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter, stage in stages:
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and name not in exempt and weight_decay > 0
            members.setdefault((stage if layer_decay != 1.0 else last, decays), []).append(parameter)

    groups: list[dict[str, object]] = []
    for (stage, decays), parameters in sorted(members.items(), key=lambda item: item[0]):
        scale = layer_decay ** (last - stage)
        label = f"stage {stage}" if layer_decay != 1.0 else "extractor"
        groups.append(
            {
                "params": parameters,
                "lr": learning_rate * scale,
                "weight_decay": weight_decay if decays else 0.0,
                "lr_scale": scale,
                "name": label if decays or not weight_decay else f"{label}, no weight decay",
            }
        )
    return groups


def last_stages(backbone: nn.Module, x: Tensor | None = None) -> list[str]:
    """The fewest modules at a backbone's end that hold half of its parameters, by name in order.

    They are what one fine-tunes with few images: the stages before them give general features, and their outputs can
    be kept. Lists of blocks, such as a transformer's, are divided.

    Args:
        x: Inputs (n, …) for a pass, which tells the order in which modules are called, and which of them stand at or
            behind the pooling: a wide layer there counts for nothing, as no map is learned in it. Stages of more than
            four fifths of the parameters are then divided too. None: modules are taken in the order of their making.

    Example:
        >>> from mibias_cli.backbone.mlp import MLP
        >>> last_stages(MLP(3, hidden=(8, 8), features=4))
        ['fc2', 'fc3']
    """
    calls = _calls(backbone, x)
    units = _blocks(backbone, "", calls)
    while True:
        sizes = {name: sum(p.numel() for p in backbone.get_submodule(name).parameters()) for name in units}
        body = [name for name in units if calls[name].gives_map and sizes[name]] or units
        whole, kept = sum(sizes[name] for name in body), list[str]()
        for name in reversed(units):
            if 2 * sum(sizes[k] for k in kept if k in body) >= whole:
                break
            if sizes[name]:
                kept.insert(0, name)
        inner = _chain(backbone, kept[0], calls) if kept else []
        if sum(sizes[k] for k in kept if k in body) <= _MOST * whole or not inner:
            return kept
        k = units.index(kept[0])
        units = [*units[:k], *inner, *units[k + 1 :]]


@dataclass(frozen=True, eq=False)
class _Call:
    """A module's first input and first output, at its last call; None: unknown, or no tensor."""

    given: Tensor | None = None
    gave: Tensor | None = None

    @property
    def gives_map(self) -> bool:
        """Whether there is more than one value a channel; so it is taken to be where nothing is known."""
        if self.gave is None:
            return True
        shape = self.gave.shape[1:]
        return len(shape) > 1 and shape.numel() > max(shape)


def _calls(backbone: nn.Module, x: Tensor | None) -> dict[str, _Call]:
    """Every module that a pass calls, in that order; without a pass all but lists, which are no steps of their own."""
    if x is None:
        return {name: _Call() for name, module in backbone.named_modules() if not isinstance(module, nn.ModuleList)}
    calls: dict[str, _Call] = {}

    def keep(name: str, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        first = inputs[0] if inputs else None
        output = output[0] if isinstance(output, tuple | list) and output else output
        calls[name] = _Call(*(one if isinstance(one, Tensor) else None for one in (first, output)))

    def note(name: str, *_: object) -> None:
        calls.setdefault(name, _Call())

    with ExitStack() as scope, torch.no_grad():
        for name, module in backbone.named_modules():
            # before its call too, so that a module stands before those within it
            scope.callback(module.register_forward_pre_hook(partial(note, name)).remove)
            scope.callback(module.register_forward_hook(partial(keep, name)).remove)
        backbone(x)
    return calls


def _blocks(backbone: nn.Module, name: str, calls: Mapping[str, _Call]) -> list[str]:
    """The steps of a module as they are called; a chain of several is divided into its links."""
    order, found = list(calls), list[str]()
    for step in sorted(steps_within(backbone, name, order), key=order.index):
        module = backbone.get_submodule(step)
        divided = isinstance(module, nn.Sequential) and len(module) > 1
        found += steps_within(backbone, step, order) if divided else [step]
    return found


def _chain(backbone: nn.Module, name: str, calls: Mapping[str, _Call]) -> list[str]:
    """The blocks within a module, where each is given what the one before it gave; empty where they are no chain."""
    blocks = _blocks(backbone, name, calls)
    linked = all(calls[b].given is not None and calls[b].given is calls[a].gave for a, b in pairwise(blocks))
    several = sum(any(True for _ in backbone.get_submodule(block).children()) for block in blocks) > 1
    return blocks if linked and several else []


def head_groups(
    modules: Sequence[nn.Module | None], *, learning_rate: float, weight_decay: float
) -> list[dict[str, object]]:
    """Optimizer groups of new layers behind a backbone, with a weight decay of their own; biases have none.

    One would choose a strong one, of about 10 at a learning rate of 2e-3, for heads on pretrained features: they are
    wide, and images are few.
    """
    parameters = [p for module in modules if module is not None for p in module.parameters()]
    matrices, biases = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    kinds = (("heads", matrices, weight_decay), ("heads, no weight decay", biases, 0.0))
    return [
        {"params": own, "lr": learning_rate, "weight_decay": decay, "lr_scale": 1.0, "name": name}
        for name, own, decay in kinds
        if own
    ]


def choose_trainable(extractor: Extractor, *, train: Trained = "all", batchnorm_frozen: bool = False) -> None:
    """Set what learns, and make `extractor.train()` respect it.

    A frozen stage is a fixed function: its parameters get no gradient and all of it stays in evaluation mode, so
    that neither BatchNorm statistics nor dropout move it. The bottleneck always trains.

    Args:
        train: all, none, or module prefixes of the backbone.
        batchnorm_frozen: Whether every BatchNorm keeps its statistics and affine parameters: for small batches, whose
            statistics are noise, and where the loaded statistics are part of what is debiased.

    Raises:
        BackboneError: A stage that the backbone does not have, or that holds no parameters.
    """
    backbone = extractor.backbone
    prefixes = _trained_prefixes(backbone, train)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(_below(name, prefixes))
    # a module that only contains a trained one (layer4 where layer4.0.conv1 trains) follows the mode of training
    kept = {
        name
        for name, _ in backbone.named_modules()
        if not _below(name, prefixes) and not any(p.startswith(f"{name}." if name else "") for p in prefixes)
    }
    if batchnorm_frozen:
        for name, module in backbone.named_modules():
            if isinstance(module, _BatchNorm):  # of any dimension, SyncBatchNorm and timm's BatchNormAct too
                kept.add(name)
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)
    extractor.kept_in_eval = frozenset(kept)
    # apply it to the mode that the extractor is in now
    extractor.train(extractor.training)


def trains_batchnorm(module: nn.Module) -> bool:
    """Whether a module in the mode in which it trains normalises by the statistics of each batch."""
    return any(isinstance(one, _BatchNorm) and one.training for one in module.modules())


def bears_channels_last(module: nn.Module, device: torch.device) -> bool:
    """Whether a network can train with channels innermost in memory.

    On CPUs torch 2.14 ends the process ("Segmentation fault") in the backward pass of 1 × 1 convolutions of 2 to 15
    channels with a stride, such as the first ones of RepVGG, MobileOne and FastViT; in the forward pass it does not,
    nor with other kernels.

    Example:
        >>> bears_channels_last(nn.Conv2d(3, 48, 1, stride=2), torch.device("cpu"))
        False
    """
    return device.type != "cpu" or not any(
        1 < part.in_channels < 16 and set(part.kernel_size) == {1} and max(part.stride) > 1
        for part in module.modules()
        if isinstance(part, nn.Conv2d) and part.weight.requires_grad
    )


def refuse_no_checkpointing(name: str, backbone: nn.Module) -> None:
    """Refuse a backbone whose activations cannot be computed again in the backward pass.

    Raises:
        BackboneError: It has no `set_grad_checkpointing`, or that says that it cannot.
    """
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
        backbone.set_grad_checkpointing(False)  # type: ignore[operator]
    except (AttributeError, AssertionError, NotImplementedError) as error:
        raise BackboneError(
            f"backbone.grad_checkpointing: {name} cannot compute its activations again; set it to false, and lower "
            "training.batch_size or backbone.input_size where memory is short"
        ) from error


def checkpoint_gradients(extractor: Extractor) -> None:
    """Let a timm backbone keep the inputs of its blocks alone, and compute the rest again in the backward pass.

    BatchNorm takes its running statistics from the forward pass alone. Where a frozen part's outputs come in place of
    inputs there is little to keep, and all is kept.
    """
    if extractor.computed is not None:
        return
    extractor.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    for part in extractor.backbone.modules():
        # a copy of what was prepared before has its hooks
        if isinstance(part, _BatchNorm) and not hasattr(part, "own_momentum"):
            part.own_momentum = part.momentum  # type: ignore[assignment]
            part.register_forward_pre_hook(_hold_statistics)
            part.register_forward_hook(_release_statistics, always_call=True)


def _hold_statistics(part: nn.Module, _: object) -> None:
    # within a backward pass what is computed was computed, and counted, before
    if torch._C._current_graph_task_id() != -1:
        part.momentum = 0.0  # type: ignore[assignment]


def _release_statistics(part: nn.Module, *_: object) -> None:
    part.momentum = part.own_momentum


def synchronise_batchnorm(extractor: Extractor) -> None:
    """Let every BatchNorm of a backbone take its statistics over the batches of all ranks (GPUs only).

    Parameters, buffers and names stay, and with them optimizer groups and files.
    """
    extractor.backbone = convert_sync_batchnorm(extractor.backbone)


def _trained_prefixes(backbone: nn.Module, train: Trained) -> tuple[str, ...]:
    if train == "all":
        return ("",)
    if train == "none":
        return ()
    names = [train] if isinstance(train, str) else list(train)
    modules, parameters = dict(backbone.named_modules()), dict(backbone.named_parameters())
    for name in names:
        if name not in parameters and (not name or name not in modules):
            raise unknown_layer("backbone.train", name, backbone, [*modules, *parameters])
        if not any(_below(p, (name,)) for p in parameters):
            raise BackboneError(
                f"backbone.train: '{name}' holds no parameters; take one of {', '.join(stage_names(backbone))}"
            )
    return tuple(names)


def _below(name: str, prefixes: Iterable[str]) -> bool:
    return any(not p or name == p or name.startswith(f"{p}.") for p in prefixes)


def _timm_groups(backbone: nn.Module) -> dict[str, int] | None:
    """timm's coarse layer groups by parameter; None where the model declares none, or only fine ones."""
    matcher = getattr(backbone, "group_matcher", None)
    if matcher is None:
        return None
    try:
        found: dict[str, int] = group_parameters(backbone, matcher(coarse=True), reverse=True)
    except (AssertionError, NotImplementedError, TypeError):  # rdnet asserts that none are asked for
        return None
    return found


def _stage_of_parameters(backbone: nn.Module) -> dict[str, int]:
    """Stage number of each parameter, counted from the input."""
    names = [name for name, _ in backbone.named_parameters()]
    found = _timm_groups(backbone)
    if found is not None:
        last = max(found.values(), default=0)
        # what the matcher leaves out learns as the last stage does
        return {name: found.get(name, last) for name in names}
    # no such matcher: each top-level module is a stage, in the order in which they were made
    order = {stage: i for i, stage in enumerate(dict.fromkeys(name.partition(".")[0] for name in names))}
    return {name: order[name.partition(".")[0]] for name in names}
