"""What the last fit reads: copies of samples in the styles of others, for the penalty."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import tiny
from torch import nn

from mibias_cli.data.groups import balancing_weights
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.heads import passes
from mibias_cli.run.heads.passes import (
    COPIES_COUNT,
    Pass,
    held_samples,
    of_held_samples,
    one_pass,
    passes_of,
    with_shares,
)
from mibias_cli.run.stages import stage_debiaser
from mibias_cli.training.debiaser import Debiaser

PICTURES = """
version: 1
name: pictures
data: {source: manifest, path: pictures.csv, columns: {target: shape, split: split}, attributes: {style: {}}}
backbone: {name: digit_cnn, options: {width: 4, hidden: 16, features: 8}, input_size: 28}
representation: {layers: [features], bottleneck: {width: 9, hidden: []}}
debias: {estimator: closed_form, objective: conditional, balance: critic, mix: {layer: conv2, share: 0.5}}
training: {epochs: 1, batch_size: 128, head_last: 0.05, device: cpu}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in two styles that go with the shape, of a size; some styles and sizes are not known."""
    g, folder = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    with (folder / "pictures.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "shape", "style", "size", "split"])
        for k in range(300):
            shape = k % 2
            style = shape if g.random() < 0.95 else 1 - shape
            pixels = g.integers(0, 60 + 150 * style, (28, 28, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}.png")
            told = "" if k % 17 == 0 else f"style {style}"
            size = "" if k % 19 == 0 else f"{shape + g.normal():.3f}"
            split = "test" if k >= 280 else "validation" if k >= 260 else "train"
            writer.writerow([f"{k}.png", f"shape {shape}", told, size, split])
    return folder


def of_pictures(folder: Path, *overrides: str) -> Parts:
    return assemble(parse_recipe(PICTURES, path=str(folder / "recipe.yaml"), overrides=overrides), offline=True)


def first_pass(parts: Parts, read: list[torch.Tensor] | None = None) -> tuple[Pass, Debiaser]:
    """The first pass over training samples; `read` gets what the mixed layer reads, batch by batch."""
    model = parts.new_model().eval()
    debiaser = stage_debiaser(parts, model, last_fit=True)
    assert debiaser is not None
    if read is not None:
        layer = dict(model.extractor.backbone.named_modules())["conv2"]
        layer.register_forward_hook(lambda module, given, out: read.append(given[0]))
    with torch.no_grad():
        return one_pass(model, parts, np.arange(len(parts.data.train)), debiaser, 0), debiaser


def masses(one: Pass, parts: Parts, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples by cell of target and attribute, and the mass of samples and of copies, as the penalty sees them."""
    attribute = parts.data.attributes[name]
    seen, n = one.penalised(nn.Identity()), len(one.plain)
    known = seen.known[name].numpy()
    c = attribute.classes(seen.c[name].numpy())[:, 0]
    shape = (len(parts.data.class_names), attribute.n_classes[0])
    found = [np.zeros(shape) for _ in range(3)]
    own = np.arange(len(seen)) < n
    for mass, rows, values in zip(found, (own, own, ~own), (np.ones(len(seen)), *[seen.weight[name].numpy()] * 2),
                                  strict=True):  # fmt: skip
        np.add.at(mass, (seen.y.numpy()[rows & known], c[rows & known]), values[rows & known])
    return found[0], found[1], found[2]


def test_copies_carry_statistics_and_attribute_of_another_sample_and_their_own_target(folder: Path) -> None:
    read: list[torch.Tensor] = []
    one, _ = first_pass(of_pictures(folder), read)
    assert one.copies is not None
    assert torch.equal(one.copies.y, one.plain.y)
    assert torch.equal(one.copies.index, one.plain.index)
    both = one.plain.known["style"] & one.copies.known["style"]
    assert bool((one.copies.c["style"] != one.plain.c["style"])[both].all())
    # of the first batch: as it is, mixed, and copied
    plain, _, copied = (maps.mean((2, 3)) for maps in read[:3])
    distance, partner = torch.cdist(copied, plain).min(dim=1)
    assert float(distance.max()) < 1e-3
    n = len(plain)
    assert torch.equal(one.plain.c["style"][:n][partner], one.copies.c["style"][:n])
    assert torch.equal(one.plain.known["style"][:n][partner], one.copies.known["style"][:n])


@pytest.mark.parametrize("attributes", ["{style: {}}", "{size: {kind: continuous, bins: 3}}",
                                        "{style: {}, size: {kind: continuous, bins: 3}}"])  # fmt: skip
def test_copies_and_samples_share_what_a_cell_has_under_independence(folder: Path, attributes: str) -> None:
    parts = of_pictures(folder, f"data.attributes={attributes}")
    one, debiaser = first_pass(parts)
    weighed = with_shares(one, parts, debiaser)
    for name in parts.debiased:
        n, own, copied = masses(weighed, parts, name)
        seen = weighed.penalised(nn.Identity())
        assert not seen.weight[name][~seen.known[name]].any()
        before = masses(one, parts, name)[1]
        independent = np.outer(before.sum(axis=1), before.sum(axis=0)) / before.sum()
        np.testing.assert_allclose(copied, independent * COPIES_COUNT / (COPIES_COUNT + n), rtol=1e-4)
        np.testing.assert_allclose(own, before * n / (COPIES_COUNT + n), rtol=1e-4)


def test_half_the_strength_is_half_of_the_shares(folder: Path) -> None:
    """Against the weights at strength 1: s of them, and 1 − s of equal weights for samples alone."""
    seen = []
    for strength in (1.0, 0.5):
        parts = of_pictures(folder, f"debias.balance_strength={strength}")
        one, debiaser = first_pass(parts)
        seen.append(with_shares(one, parts, debiaser).penalised(nn.Identity()))
    full, half = (batch.weight["style"] for batch in seen)
    known, own = seen[0].known["style"], torch.arange(len(full)) < len(full) // 2
    torch.testing.assert_close(half, torch.where(known, 0.5 * full + 0.5 * own, 0.0))


def test_no_copy_counts_more_than_the_largest_weight(folder: Path) -> None:
    parts = of_pictures(folder, "debias.balance_clip=1.2")
    one, debiaser = first_pass(parts)
    rows = torch.arange(20)
    few = with_shares(one.take(torch.cat([rows, rows[:1].repeat(200)])), parts, debiaser)
    assert few.copies is not None
    assert float(few.copies.weight["style"].max()) <= 1.2


def test_shares_are_of_the_rows_that_are_there(folder: Path) -> None:
    """A fold's, whatever a whole pass has: its cells hold fewer."""
    parts = of_pictures(folder)
    one, debiaser = first_pass(parts)
    chosen = torch.arange(len(parts.data.train)) % 3 != 0
    cut = with_shares(one, parts, debiaser).at(chosen)
    assert not cut.shares
    assert torch.equal(cut.copies.index if cut.copies else torch.empty(0), cut.plain.index)
    again = with_shares(cut, parts, debiaser)
    n, _, copied = masses(again, parts, "style")
    before = masses(one.at(chosen), parts, "style")[1]
    independent = np.outer(before.sum(axis=1), before.sum(axis=0)) / before.sum()
    np.testing.assert_allclose(copied, independent * COPIES_COUNT / (COPIES_COUNT + n), rtol=1e-4)


@pytest.mark.parametrize("override", ["debias.mix=null", "debias.balance=none", "debias.balance_strength=0",
                                      "debias.weight=0"])  # fmt: skip
def test_without_mixing_weights_or_penalty_it_sees_samples_as_they_are(folder: Path, override: str) -> None:
    parts = of_pictures(folder, override)
    one, debiaser = first_pass(parts)
    assert one.copies is None
    assert torch.equal(with_shares(one, parts, debiaser).penalised(nn.Identity()).x, one.plain.x)


def test_cells_too_fine_to_be_counted_have_no_copies() -> None:
    """Three channels of eight colours in ten classes: weights are of a model there, not of counts."""
    parts = assemble(
        tiny("representation={layers: [features], bottleneck: {width: 9, hidden: []}}", "training.head_last=0.05",
             "original=null", "debias.queue_batches=32", "debias.estimator=closed_form", "debias.balance=critic",
             "debias.objective=conditional", "debias.mix={layer: conv2}"),
        offline=True,
    )  # fmt: skip
    assert first_pass(parts)[0].copies is None


def test_of_very_many_samples_some_are_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = of_pictures(folder)
    n = len(parts.data.train)
    np.testing.assert_array_equal(held_samples(parts), np.arange(n))
    assert of_held_samples(parts) is parts
    # three rows a sample: as it is, mixed and copied
    monkeypatch.setattr(passes, "_MOST_ROWS", 3 * 100 + 2)
    some = held_samples(parts)
    assert len(np.unique(some)) == 100
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, held_samples(parts))
    held = of_held_samples(parts)
    np.testing.assert_array_equal(held.data.train.y, parts.data.train.y[some])
    model = parts.new_model().eval()
    (one,) = passes_of(model, held, stage_debiaser(held, model, last_fit=True))
    assert len(one.plain) == 100
    assert one.copies is not None
    # weighed by the counts of these samples, not of all
    train, section = held.data.train, parts.recipe.debias
    c, known = train.c["style"], train.known["style"]
    full = balancing_weights(train.y, c, known, n_y=2, n_c=[2], clip=section.balance_clip, seed=0)
    wanted = section.balance_strength * full + 1 - section.balance_strength
    np.testing.assert_allclose(held.weights.train["style"], wanted, rtol=1e-6)
    assert not np.allclose(wanted, parts.weights.train["style"][some])
