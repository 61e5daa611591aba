"""SABAF: images lose what tells the bias before the extractor sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from mibias_cli.backbone.embed import spread_rows
from mibias_cli.data.batch import Split
from mibias_cli.data.loader import batches, n_batches
from mibias_cli.errors import TrainingError
from mibias_cli.estimators.critics import encode_attribute
from mibias_cli.estimators.mine import Mine
from mibias_cli.estimators.parameters import held_fixed
from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.heads.attribute import AttributeHead
from mibias_cli.methods.image_filter import ImageFilter, halving_stack, n_halvings
from mibias_cli.methods.method import Method, MethodSpec
from mibias_cli.seeds import derive_seed, scoped_torch_rng

__all__ = ["AdversarialFilter", "FilterGame", "gradient_penalty"]

_ROWS = 32
_RATE, _BETAS = 3e-4, (0.0, 0.9)
_DECAYS = 2.5
"""How often the learning rate falls to a tenth: after 20 and 40 of 50 epochs."""
_MINE_STEPS = 4
"""For each step of the critic."""
_LIPSCHITZ, _RECONSTRUCTION = 10.0, 100.0
_HIDDEN, _MINE_HIDDEN = 256, (256, 64)
_SEEN = 2000
"""Images from which the range of pixels is taken."""


class AdversarialFilter(Method):
    """A filter is trained that takes the bias out of images; then the model is trained plainly on filtered ones.

    One would choose it where the bias is so strong that hardly a row tells it from the target: the filter does not see
    the target, and what it takes from images no later training finds there. It is a part of the model, in front of the
    backbone (`Extractor.filter`), and is exported with it. Rows whose attribute is missing do not train it.

    The objective is that of `FilterGame`. Settings: what `attribute` and `information` weigh beside a reconstruction at
    100: 100 and 10, the authors' for coloured digits, who take 50 and 50 for faces; and what it costs: `epochs` of the
    filter, the `width` of its networks, and `critic_steps` for each of its own: 50, 64 and 5.

    References: Li et al., SABAF: Removing Strong Attribute Bias from Neural Networks with Adversarial Filtering, arXiv
    2311.07141; networks, steps and rates as in the authors' code.
    """

    c: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        self.register_buffer("c", torch.from_numpy(spec.bias(spec.data.train)), persistent=False)
        # a part of both: of the model, which is saved, and of the method, which ranks have alike
        self.filter = _network(spec).requires_grad_(False).eval()
        spec.model.extractor.filter = self.filter

    def prepare(self) -> str:
        """Train the filter, and fix it."""
        spec, train = self.spec, self.spec.data.train
        c = self.c
        known = torch.nonzero(c[:, 0] >= 0)[:, 0]
        split, c = train.at(known.cpu().numpy()), c[known]
        with scoped_torch_rng(c.device):
            torch.manual_seed(derive_seed(spec.seed, "filter game"))
            game = FilterGame(self.filter, spec.data.input_shape, spec.n_bias_classes, spec.settings, spec.seed)
        self.filter.requires_grad_(True).train()
        told = _train(game, split, c, int(spec.settings["epochs"]), spec)
        self.filter.requires_grad_(False).eval()
        shown = ", ".join(f"{name} {value:.3f}" for name, value in told.items())
        return f"sabaf: a filter of images was trained on {len(split)} training rows; at its end {shown}"


@dataclass(frozen=True, kw_only=True)
class _Loss:
    """What the filter minimises (scalar), and its parts by name."""

    total: Tensor
    parts: dict[str, Tensor]


class FilterGame:
    """A filter G against a critic of images, a classifier of the bias, and an estimate of information.

    G encodes an image x to z and decodes it beside a code of the bias: G(x, c), and G(x, ·) by the neutral code. It
    minimises

        −D(G(x, ·)) + λ_r |G(x, c) − x| + λ_a |P(G(x, ·)) − 1/K|² + λ_i Î(z; c)

    so that filtered images look as images do, an image with its own code is as it was, P tells no class of filtered
    ones, and z, which has the whole rest, is independent of the bias. Between two such steps the critic D (Wasserstein,
    with a gradient penalty) and the classifier P of images as they are take `critic_steps` each, and MINE four times
    as many.

    Args:
        network: G, which is changed in place.
        shape: Of images (channels, height, width).
        n_classes: Classes of every channel of the bias.
        settings: `width` of D and P, `critic_steps`, and `attribute` and `information`: λ_a, λ_i.
        seed: Of all that is drawn after the networks.

    References: Li et al., arXiv 2311.07141; D: Gulrajani et al., arXiv 1704.00028, Equation 3.
    """

    def __init__(
        self,
        network: ImageFilter,
        shape: tuple[int, ...],
        n_classes: tuple[int, ...],
        settings: Mapping[str, float],
        seed: int,
    ) -> None:
        self.network, self.n_classes, self.settings = network, n_classes, settings
        like, halvings, maps = network.neutral, n_halvings(shape), int(settings["width"])
        with torch.no_grad():
            # width of the encoder's map, flattened
            width = network.encode(network.scaled(like.new_zeros(2, *shape))).flatten(1).shape[1]
        self.critic = nn.Sequential(
            halving_stack(shape[0], halvings, maps, _instance_norm), nn.Flatten(),
            nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1),
        ).to(like)  # fmt: skip
        # what is normalised image by image would not show a colour
        self.classifier = nn.Sequential(
            halving_stack(shape[0], halvings, maps, None),
            nn.Flatten(),
            AttributeHead(width, n_classes, hidden=(_HIDDEN,)),
        ).to(like)
        self.critic_steps = int(settings["critic_steps"])
        self.mine_steps = _MINE_STEPS * self.critic_steps
        self.mine = _mine(width, n_classes, self.mine_steps).to(like.device, like.dtype)
        self.optimizers = [
            torch.optim.Adam(module.parameters(), lr=_RATE, betas=_BETAS)
            for module in (self.network, self.critic, self.classifier)
        ]
        self.generator = Generator(like.device).manual_seed(derive_seed(seed, "filter steps"))

    def slow_down(self, progress: float) -> None:
        """Set the learning rates by the share of epochs that have passed."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = _RATE / 10 ** int(_DECAYS * progress)

    def critic_step(self, x: Tensor, c: Tensor) -> None:
        """A step of D and of P on images x (n, …) as the backbone has them, and their bias c (n, channels)."""
        real = self.network.scaled(x)
        with torch.no_grad():
            fake = self.network.without_bias(self.network.encode(real))
        share = torch.rand(len(x), 1, 1, 1, generator=self.generator, device=real.device, dtype=real.dtype)
        loss = self.critic(fake).mean() - self.critic(real).mean()
        loss = loss + _LIPSCHITZ * gradient_penalty(self.critic, real.lerp(fake, share))
        told = sum(functional.cross_entropy(s, k) for s, k in zip(self.classifier(real), c.T, strict=True))
        for optimizer in self.optimizers[1:]:
            optimizer.zero_grad(set_to_none=True)
        (loss + told).backward()
        for optimizer in self.optimizers[1:]:
            optimizer.step()

    def information_steps(self, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Steps of MINE on the maps of these batches of images and their bias."""
        with torch.no_grad():
            maps = [(self.network.encode(self.network.scaled(x)).flatten(1), c) for x, c in parts]
        z, c = (torch.cat(each) for each in zip(*maps, strict=True))
        self.mine.fit(_sample(z, c), self.generator)

    def loss(self, x: Tensor, c: Tensor) -> _Loss:
        """What G minimises."""
        network, settings = self.network, self.settings
        real = network.scaled(x)
        z = network.encode(real)
        same = network.decode(z, encode_attribute(c, self.n_classes, z.dtype))
        fake = network.without_bias(z)
        with held_fixed(self.critic), held_fixed(self.classifier):
            likely = -self.critic(fake).mean()
            told = [_distance_to_uniform(scores) for scores in self.classifier(fake)]
        parts = {
            "reconstruction": (same - real).abs().mean(),
            "attribute": torch.stack(told).mean(),
            "information": self.mine.penalty(_sample(z.flatten(1), c), self.generator),
        }
        weights = {"reconstruction": _RECONSTRUCTION, **settings}
        return _Loss(total=likely + sum(weights[name] * value for name, value in parts.items()), parts=parts)

    def filter_step(self, x: Tensor, c: Tensor) -> dict[str, float]:
        """A step of G; the parts of its loss before it, without their weights.

        Raises:
            TrainingError: A part is not finite.
        """
        found = self.loss(x, c)
        parts = {name: float(value.detach()) for name, value in found.parts.items()}
        if not np.isfinite([*parts.values(), float(found.total.detach())]).all():
            raise TrainingError(
                "sabaf: the filter's training diverged: its loss is not finite; lower method_settings.information"
            )
        optimizer = self.optimizers[0]
        optimizer.zero_grad(set_to_none=True)
        found.total.backward()
        optimizer.step()
        return parts


def gradient_penalty(critic: nn.Module, x: Tensor) -> Tensor:
    """The mean of (|∂D/∂x| − 1)² (scalar) at images x (n, …) between real and filtered ones.

    Example:
        >>> critic = nn.Linear(2, 1)
        >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> gradient_penalty(critic, torch.zeros(1, 2)).item()
        16.0
    """
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def _train(game: FilterGame, split: Split, c: Tensor, epochs: int, spec: MethodSpec) -> dict[str, float]:
    """The game over so many epochs of a split with the bias c (n, channels); the last step's parts of the loss."""
    network, per_epoch = game.network, n_batches(split, _ROWS)
    network.see(split.reader.read(split.rows[spread_rows(len(split), _SEEN)], None).to(network.least))
    others = _endless(split, c, derive_seed(spec.seed, "information"))
    game.information_steps(islice(others, game.mine_steps))
    told: dict[str, float] = {}
    spec.progress.begin("training the filter", epochs * per_epoch)
    rows = islice(_endless(split, c, derive_seed(spec.seed, "filter")), epochs * per_epoch)
    for step, (x, own) in enumerate(rows):
        game.slow_down(step // per_epoch / epochs)
        # a run of one epoch of few batches trains the filter, too
        if (step + 1) % (game.critic_steps + 1) and step + 1 < epochs * per_epoch:
            game.critic_step(x, own)
        else:
            told = game.filter_step(x, own)
            game.information_steps(islice(others, game.mine_steps))
        spec.progress.advance(step + 1, told)
    spec.progress.end()
    # what batch normalisation keeps is of images by both codes: take it anew by the neutral one
    with torch.no_grad():
        update_bn((x for x, _ in islice(_endless(split, c, 0), min(per_epoch, _SEEN // _ROWS))), network)
    return told


def _endless(split: Split, c: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of images and their bias, epoch after epoch, on the device of c."""
    for epoch in count():
        for batch in batches(split, batch_size=_ROWS, epoch=epoch, seed=seed, shuffle=True):
            x = batch.x.to(c.device)
            yield x, c[batch.index.to(c.device)]


def _network(spec: MethodSpec) -> ImageFilter:
    return ImageFilter.for_images(spec.data.input_shape, spec.n_bias_classes, int(spec.settings["width"]))


def _distance_to_uniform(scores: Tensor) -> Tensor:
    """The mean squared distance (scalar) of class probabilities, of scores (n, k), to those that tell nothing."""
    return (scores.softmax(dim=1) - 1 / scores.shape[1]).square().sum(dim=1).mean()


def _instance_norm(n_maps: int) -> nn.Module:
    return nn.InstanceNorm2d(n_maps, affine=True)


def _sample(z: Tensor, c: Tensor) -> Sample:
    return Sample(z=z, c=c, y=None, weight=None, known=torch.ones(len(c), dtype=torch.bool, device=c.device))


def _mine(width: int, n_classes: tuple[int, ...], steps: int) -> Mine:
    """A fresh estimate of what maps of so many numbers tell of the bias."""
    return Mine(
        EstimatorSpec(
            n_features=width,
            n_classes=n_classes,
            bin_edges=None,
            hidden=_MINE_HIDDEN,
            learning_rate=_RATE,
            optimizer="adam",
            beta1=_BETAS[0],
            steps=steps,
            batch_size=_ROWS,
            moving_average=None,
            n_random_features=0,
            ridge=0.0,
            make_heads=nn.Identity,
        )
    )
