"""Channel statistics moved between samples of other attribute values: style without content, in training alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mibias_cli.backbone.layers import has_channels_last, unknown_layer
from mibias_cli.errors import BackboneError
from mibias_cli.ranks.place import Share

__all__ = ["Mixed", "StatisticsMixer"]

_ALL = Share()


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Whose statistics a batch's samples have; both on the CPU.

    Args:
        kept: How much of their own they keep (n,): 1 where they are not mixed, 0 where all are the partner's.
        partner: Positions (n,) in the batch.
    """

    kept: Tensor
    partner: Tensor


class StatisticsMixer:
    """Gives samples the channel means and deviations of samples whose attribute differs, at the input of one module.

    What a scanner or a style does to a map is largely in its channels' statistics. A sample that carries those of
    another attribute value, with its own target, stands for a cell of target × attribute that has few samples or none.

    Args:
        backbone: The network.
        layer: Name of the inner module whose input is mixed; a map (n, channels, h, w), or tokens (n, t, channels).
        share: Share of samples that are mixed; how far is drawn evenly between not at all and wholly.
        copies: Mix wholly, with partners of any attribute value, so that values do not depend on the sample's target.
        rows: Which samples of a batch the network sees here.
        gather: On several ranks, what makes a whole batch's values (n, …) of those of these samples.

    Raises:
        BackboneError: The backbone has no such module.

    References: Zhou et al., Domain Generalization with MixStyle, arXiv 2104.02008, section 3; there partners are drawn
    without regard to the domain or from another one.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layer: str,
        share: float,
        *,
        copies: bool = False,
        rows: Share = _ALL,
        gather: Callable[[Tensor, int], Tensor] | None = None,
    ) -> None:
        modules = dict(backbone.named_modules())
        if not layer or layer not in modules:
            raise unknown_layer("debias.mix.layer", layer, backbone, modules)
        self.backbone, self.layer, self.module = backbone, layer, modules[layer]
        self.share, self.copies = share, copies
        self.rows, self.gather = rows, gather

    @contextmanager
    def mixing(self, groups: Tensor, generator: torch.Generator) -> Iterator[Mixed]:
        """Mix in the forward passes of a `with` block; yields how.

        Args:
            groups: (n,) int64; a sample's partner is of another group, but for copies.
            generator: On the CPU.

        Raises:
            BackboneError: In the forward pass, where the module's input has one value a channel or is not one row a
                sample; at its end, where the module was never called.
        """
        n = len(groups)
        partner = torch.randperm(n, generator=generator) if self.copies else other_partners(groups, generator)
        kept = torch.zeros(n) if self.copies else torch.rand(n, generator=generator)
        kept[torch.rand(n, generator=generator) >= self.share] = 1.0
        mixed = Mixed(kept=kept, partner=partner)
        with self._hooked(mixed):
            yield mixed

    @contextmanager
    def copying(self, groups: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """Give every sample all of its partner's statistics in a `with` block; yields the partners (n,), on its device.

        A sample for which no other group is in the batch is its own partner. Arguments and errors are as in `mixing`.
        """
        partner = other_partners(groups, generator)
        with self._hooked(Mixed(kept=torch.zeros(len(groups)), partner=partner)):
            yield partner

    @contextmanager
    def _hooked(self, mixed: Mixed) -> Iterator[None]:
        called = False

        def hook(module: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
            nonlocal called
            called = True
            x = self._mixable(inputs[0] if inputs else None, len(mixed.kept[self.rows.of(len(mixed.kept))]))
            return (self.mixed(x, mixed.partner.to(x.device), mixed.kept), *inputs[1:])

        handle = self.module.register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()
        # a list whose blocks are called one by one, say: nothing would ever be mixed
        if not called:
            raise BackboneError(
                f"debias.mix.layer: '{self.layer}' takes no part in the backbone's forward pass; name a module within "
                "it, or another one"
            )

    def _mixable(self, x: object, n: int) -> Tensor:
        """The input of the module as a map or tokens of n samples, or a BackboneError."""
        if isinstance(x, Tensor) and x.ndim > 1 and len(x) == n:
            return x
        what = f"shape {tuple(x.shape)} for {n} samples" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise BackboneError(
            f"debias.mix.layer: the input of '{self.layer}' has {what}, and a map (n, channels, h, w) or tokens "
            "(n, t, channels) are needed; name another layer, or leave debias.mix out"
        )

    def mixed(self, x: Tensor, partner: Tensor, kept: Tensor) -> Tensor:
        """x with statistics a share `kept` (n,) its own and the rest its partner's (n,); n is the whole batch's."""
        # statistics are over everything but samples and channels
        last = x.ndim == 3 or has_channels_last(self.backbone, x)
        axes = tuple(range(1, x.ndim - 1)) if last else tuple(range(2, x.ndim))
        count = math.prod(x.shape[axis] for axis in axes)
        if count < 2:
            raise BackboneError(
                f"debias.mix.layer: the input of '{self.layer}' has shape {tuple(x.shape[1:])}, one value a channel, "
                "which would be replaced whole; name a layer whose input is a map or tokens"
            )
        # as in the paper nothing is learned through the statistics
        with torch.no_grad():
            mean = x.mean(axes, keepdim=True)
            # torch's own deviation takes ten times as long on a CPU
            deviation = torch.linalg.vector_norm(x - mean, dim=axes, keepdim=True) / count**0.5 + 1e-5
            rows, whole = self.rows.of(len(kept)), (mean, deviation)
            if self.gather is not None:
                whole = (self.gather(mean, len(kept)), self.gather(deviation, len(kept)))
            own = kept[rows].to(x).view(-1, *[1] * (x.ndim - 1))
            new_mean, new_deviation = (
                one.lerp(all_of[partner[rows]], 1 - own) for one, all_of in zip((mean, deviation), whole, strict=True)
            )
        return torch.addcmul(new_mean, x - mean, new_deviation / deviation)


def other_partners(groups: Tensor, generator: torch.Generator) -> Tensor:
    """For each sample the position of one from another group (n,), its own where there is none.

    Example:
        >>> other_partners(torch.tensor([0, 1, 0]), torch.Generator().manual_seed(0))[[0, 2]]
        tensor([1, 1])
        >>> other_partners(torch.tensor([3, 3]), torch.Generator())
        tensor([0, 1])
    """
    differs = groups[:, None] != groups[None, :]
    # the largest of random numbers among those that differ: each is as likely
    score = torch.rand(differs.shape, generator=generator).to(groups.device).masked_fill(~differs, -1.0)
    return torch.where(differs.any(dim=1), score.argmax(dim=1), torch.arange(len(groups), device=groups.device))
