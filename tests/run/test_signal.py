"""A penalty without a signal is said, in the terminal, the log and the report; one with a signal is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_runs import metrics, pictures, train_alone

from mibias_cli.cli.output import show_report
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run import workflow

RECIPE = """
version: 1
data: {{source: embeddings, path: {folder}/z.npz, key: z, manifest: {folder}/rows.csv, columns: {{target: y}},
        attributes: {{{attribute}: {{}}}}}}
backbone: {{name: mlp, options: {{hidden: [16], features: 8}}}}
debias:
  {{estimator: {estimator}, weight: 0.05, queue_batches: 8,
   critic: {{steps: 5, hidden: [32], n_random_features: 64}}}}
training: {{epochs: 4, batch_size: 64, device: cpu}}
evaluation: {{probes: [logistic], n_bootstrap: 100, n_permutations: 0, random_control: false}}
"""


class Told(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of numbers that tell y and `told`, and nothing of `drawn`."""
    g, n = np.random.default_rng(0), 1200
    y, told, drawn = g.integers(0, 2, (3, n))
    z = g.normal(size=(n, 8))
    z[:, 0] += 3 * y
    z[:, 1] += 3 * told
    out = tmp_path_factory.mktemp("rows")
    np.savez(out / "z.npz", z=z.astype(np.float32))
    split = np.where(np.arange(n) < 600, "train", np.where(np.arange(n) < 900, "validation", "test"))
    few = [str(c) if k >= 600 or k % 15 == 0 else "" for k, c in enumerate(drawn)]
    lines = [",".join(map(str, row)) for row in zip(y, told, drawn, few, split, strict=True)]
    (out / "rows.csv").write_text("\n".join(["y,told,drawn,few,split", *lines]))
    return out


@pytest.mark.parametrize("estimator", ["classifier", "closed_form", "mine", "vclub", "hsic"])
@pytest.mark.parametrize("attribute", ["told", "drawn"])
def test_only_an_attribute_that_nothing_tells_is_warned_of(
    folder: Path, attribute: str, estimator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told()
    recipe = parse_recipe(RECIPE.format(folder=folder, attribute=attribute, estimator=estimator), path="r.yaml")
    report = workflow.train(recipe, out=tmp_path / "run", offline=True, progress=told).report
    records = metrics(tmp_path / "run")
    first = next(r for r in records if r["kind"] == "validation")
    assert (first[f"validation/{attribute}/critic_signal"] > 0) == (attribute == "told")
    named = [r for r in records if r["kind"] == "warning" and r["what"] == "no_signal"]
    if attribute == "told":
        assert (named, told.warnings, report.training_warnings) == ([], [], ())
        return
    # in the second epoch already, and once
    assert [(r["epoch"], r["attribute"]) for r in named] == [(1, "drawn")]
    assert [text for text in told.warnings if "had no signal" in text] == told.warnings
    assert len(told.warnings) == 1
    assert [w.what for w in report.training_warnings] == ["no_signal"]
    assert "the penalty had no signal" in (tmp_path / "run" / "train.log").read_text()
    for form in ("leakage.md", "leakage.html", "leakage.json"):
        text = (tmp_path / "run" / "report" / form).read_text()
        assert "he penalty had no signal: on held-out rows the critic of " in text
        assert "Unless 120 held-out rows are too few to show one, set fewer features" in text
    # training has said it on the terminal: the report's summary there does not say it again
    show_report(report, told.warnings)
    assert "warning:" not in capsys.readouterr().err
    show_report(report)
    assert capsys.readouterr().err.count("warning: The penalty had no signal") == 1


def test_where_few_rows_have_a_label_that_is_what_lacks(folder: Path, tmp_path: Path) -> None:
    """40 of 600 training rows: a smaller model would not help."""
    told = Told()
    text = RECIPE.replace("target: y", "target: y, split: split")
    recipe = parse_recipe(text.format(folder=folder, attribute="few", estimator="classifier"), path="r.yaml")
    workflow.train(recipe, out=tmp_path / "run", offline=True, progress=told)
    (text,) = [text for text in told.warnings if "had no signal" in text]
    assert text.endswith("Only 40 of 600 training rows have a label of it: label more, or leave it out")


def test_of_copies_it_is_said_that_the_attribute_may_be_no_matter_of_style(tmp_path: Path) -> None:
    recipe = pictures(tmp_path, "manifest").replace("{background: {}}", "{drawn: {}}").replace("bottleneck: 8", "")
    table = tmp_path / "table.csv"
    lines, g = table.read_text().splitlines(), np.random.default_rng(0)
    table.write_text("\n".join([f"{lines[0]},drawn", *(f"{line},{g.integers(2)}" for line in lines[1:])]))
    settings = [
        "backbone={name: digit_cnn, input_size: 32, options: {width: 4, hidden: 16, features: 8}}",
        "debias.mix={layer: conv1, share: 0.75, copies: true}",
        "original=null",
        "training.epochs=3",
    ]
    run = train_alone(parse_recipe(recipe, path="r.yaml", overrides=settings), tmp_path / "run")
    assert (
        "no matter of channel statistics, which is all that debias.mix.copies moves" in (run / "train.log").read_text()
    )
