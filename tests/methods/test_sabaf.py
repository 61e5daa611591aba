"""The game of the filter against a second implementation, and a bias that it takes from images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from method_toys import SEX, make_spec
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.data.files.readers import ArrayReader
from mibias_cli.data.target import classes_target
from mibias_cli.errors import TrainingError
from mibias_cli.heads.target import TargetHead
from mibias_cli.methods import sabaf
from mibias_cli.methods.image_filter import ImageFilter
from mibias_cli.methods.method import MethodSpec
from mibias_cli.methods.sabaf import AdversarialFilter, FilterGame
from mibias_cli.training.model import TaskModel

SETTINGS = {"epochs": 1.0, "width": 4.0, "critic_steps": 5.0, "attribute": 5.0, "information": 3.0}
SHAPE, CLASSES = (2, 8, 8), (2, 3)


def game_of(settings: Mapping[str, float] = SETTINGS) -> tuple[FilterGame, Tensor, Tensor]:
    torch.manual_seed(0)
    network = ImageFilter.for_images(SHAPE, CLASSES, 4).double()
    x, c = torch.rand(12, *SHAPE).double() * 2 - 0.5, torch.stack([torch.arange(12) % n for n in CLASSES], dim=1)
    network.see(x)
    return FilterGame(network, SHAPE, CLASSES, settings, seed=0), x, c


def test_a_step_of_the_filter_against_autograd_by_hand() -> None:
    """Its loss is written out anew; Adam's first step moves each weight by the rate, against its gradient's sign."""
    game, x, c = game_of()
    network, critic, classifier = (copy.deepcopy(m) for m in (game.network, game.critic, game.classifier))
    mine, weights = copy.deepcopy(game.mine.critic), [p.detach().clone() for p in game.network.parameters()]
    draws = torch.Generator().manual_seed(0)
    draws.set_state(game.generator.get_state())
    parts = game.filter_step(x, c)

    real = (x - network.least) / network.span
    z = network.encoder(real)
    code = torch.cat([functional.one_hot(c[:, k], n) for k, n in enumerate(CLASSES)], dim=1).double()
    neutral = torch.tensor([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3]).double().expand(12, 5)
    same, fake = (network.decoder(torch.cat([z, v[:, :, None, None].expand(12, 5, 4, 4)], 1)) for v in (code, neutral))
    reconstruction = (same - real).abs().mean()
    sure = [s.exp() / s.exp().sum(dim=1, keepdim=True) for s in classifier(fake)]
    attribute = sum(((p - 1 / p.shape[1]) ** 2).sum() / 12 for p in sure) / 2
    order = torch.randperm(12, generator=draws)
    flat = z.flatten(1)
    joint, marginal = (mine.layers(torch.cat([flat, v], 1))[:, 0] for v in (code, code[order]))
    information = joint.mean() - marginal.exp().mean().log()
    loss = -critic(fake).mean() + 100 * reconstruction + 5 * attribute + 3 * information
    assert parts == pytest.approx(
        {"reconstruction": reconstruction.item(), "attribute": attribute.item(), "information": information.item()}
    )
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    for before, after, gradient in zip(weights, game.network.parameters(), gradients, strict=True):
        big = gradient.abs() > 1e-5
        assert bool(big.any())
        torch.testing.assert_close((before - after)[big], 3e-4 * gradient.sign()[big], rtol=1e-2, atol=0)


def test_a_step_of_critic_and_classifier_against_autograd_by_hand() -> None:
    game, x, c = game_of()
    critic, classifier = copy.deepcopy(game.critic), copy.deepcopy(game.classifier)
    network = copy.deepcopy(game.network)
    draws = torch.Generator().manual_seed(0)
    draws.set_state(game.generator.get_state())
    game.critic_step(x, c)

    real = (x - network.least) / network.span
    with torch.no_grad():
        fake = network.without_bias(network.encoder(real))
    share = torch.rand(12, 1, 1, 1, generator=draws, dtype=torch.float64)
    between = ((1 - share) * real + share * fake).requires_grad_(True)
    slopes = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0].flatten(1).square().sum(1).sqrt()
    loss = critic(fake).mean() - critic(real).mean() + 10 * ((slopes - 1) ** 2).mean()
    told = sum(functional.cross_entropy(s, c[:, k]) for k, s in enumerate(classifier(real)))
    for own, other, value in ((critic, game.critic, loss), (classifier, game.classifier, told)):
        names = [name for name, _ in own.named_parameters()]
        gradients = torch.autograd.grad(value, list(own.parameters()), allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is None:  # the critic's last bias, which a difference does not see
                continue
            big = gradient.abs() > 1e-5
            moved = own.get_parameter(name) - other.get_parameter(name)
            torch.testing.assert_close(moved[big], 3e-4 * gradient.sign()[big], rtol=1e-2, atol=0)


def test_a_loss_that_is_not_finite_is_told() -> None:
    game, x, c = game_of()
    with pytest.raises(TrainingError, match="sabaf: the filter's training diverged"):
        game.filter_step(x * torch.nan, c)


def coloured(n: int = 320, n_unknown: int = 8) -> BiasedData:
    """A bright row of pixels at the top or the bottom (y), in one of two colours (c): nearly always that of its y, and
    never mind y in the audited split."""
    g = np.random.default_rng(0)

    def split(name: str, aligned: float, n: int, n_unknown: int = 0) -> Split:
        y = g.integers(2, size=n)
        c = np.where(g.random(n) < aligned, y, 1 - y)
        x = g.uniform(0, 0.2, (n, 3, 8, 8)).astype(np.float32)
        for i in range(n):
            x[i, [2 * c[i], 1], 1 + 4 * y[i] : 3 + 4 * y[i]] += 0.8
        known = np.arange(n) >= n_unknown
        return Split(
            name=name, y=y, c={"sex": c[:, None]}, known={"sex": known}, group=None, rows=np.arange(n),
            row_names=[""] * n, reader=ArrayReader(x),
        )  # fmt: skip

    return BiasedData(
        train=split("train", 0.9, n, n_unknown), validation=split("validation", 0.9, n), audit=split("audit", 0.5, 400),
        attributes={"sex": SEX}, target=classes_target(("0", "1")), input_shape=(3, 8, 8), fingerprint="",
    )  # fmt: skip


def spec_of(data: BiasedData, **settings: float) -> MethodSpec:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    model = TaskModel(Extractor(backbone, 4), TargetHead(4, 2), ["features"])
    return replace(make_spec(data, model, **settings), model=model)


def told(images: Tensor, labels: np.ndarray) -> float:
    """How often a logistic probe that is fitted on one half of the images is right on the other."""
    x = images.flatten(1).numpy()
    return float(LogisticRegression(max_iter=500).fit(x[::2], labels[::2]).score(x[1::2], labels[1::2]))


def test_the_bias_is_taken_from_images_and_the_rest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sabaf, "_RATE", 3e-3)  # ten times the authors', for a tenth of the steps
    data = coloured()
    spec = spec_of(data, epochs=80, width=8, critic_steps=1, attribute=100, information=10)
    method = AdversarialFilter(spec)
    assert "312 training rows" in method.prepare()
    kept = spec.model.extractor.filter
    assert kept is method.filter
    assert not any(p.requires_grad for p in method.filter.parameters())
    audit = data.audit
    raw = audit.reader.read(audit.rows, None)
    with torch.no_grad():
        filtered = method.filter(raw)
    c = audit.c["sex"][:, 0]
    assert told(raw, c) > 0.99
    assert told(raw, audit.y) > 0.99
    assert told(filtered, audit.y) > 0.97
    assert told(filtered, c) < 0.8


def test_a_filter_depends_on_its_seed_alone() -> None:
    found = []
    for _ in range(2):
        method = AdversarialFilter(spec_of(coloured(), **SETTINGS))
        method.prepare()
        found.append(method.state_dict())
        torch.rand(7)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_an_epoch_visits_each_known_row_and_the_steps_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 batches of 32 in an epoch: five steps of the critic, one of the filter; the last one is the filter's."""
    turns: list[str] = []
    real = {name: getattr(FilterGame, name) for name in ("critic_step", "filter_step", "information_steps")}
    for name in real:

        def noted(self: FilterGame, *given: Any, name: str = name) -> Any:
            batches = [given] if name != "information_steps" else list(given[0])
            assert all(bool((c >= 0).all()) for _, c in batches)
            turns.append(f"{name[0]}{sum(len(x) for x, _ in batches)}")
            return real[name](self, *([batches] if name == "information_steps" else given))

        monkeypatch.setattr(FilterGame, name, noted)
    AdversarialFilter(spec_of(coloured(), **SETTINGS)).prepare()
    # two epochs of 312 rows for MINE's 20 batches
    assert " ".join(turns) == "i624 c32 c32 c32 c32 c32 f32 i624 c32 c32 c32 f24 i624"
