"""Audits of an export on a recipe's data: they are read as its training data were, or it is said that they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.cli.output import show_report
from mibias_cli.errors import DataError
from mibias_cli.export.load import load_export
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.document import Report
from mibias_cli.run import workflow
from mibias_cli.run.assemble import assemble
from mibias_cli.run.before.exported import preprocessing_warnings

TEXT = """
version: 1
data:
  source: table
  path: {path}
  columns: {{target: label, split: split}}
  attributes: {{place: {{}}}}
backbone: {{name: mlp, options: {{hidden: [4], features: 4}}}}
debias: {{estimator: closed_form}}
training: {{epochs: 1, device: cpu}}
evaluation: {{probes: [logistic], n_bootstrap: 100, n_permutations: 99}}
"""


class Told(Silent):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings = list[str]()

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def recipe_of(folder: Path, *overrides: str, labels: Sequence[str] = "ab", scale: float = 1.0) -> Recipe:
    """300 rows with two numbers, of which the first is in another unit by `scale`."""
    g = np.random.default_rng(0)
    lines = ["x,w,label,place,split"]
    for k in range(300):
        y, split = k % 2, ("train", "validation", "test")[k // 2 % 3]
        lines.append(f"{scale * (y + g.normal()):.4f},{g.normal():.4f},{labels[y]},{'uv'[k // 6 % 2]},{split}")
    path = folder / f"{'-'.join(labels)}-{scale}.csv"
    path.write_text("\n".join(lines))
    return parse_recipe(TEXT.format(path=path), path="t.yaml", overrides=overrides)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    workflow.train(recipe_of(folder), out=folder / "run", offline=True, progress=Silent())
    return folder / "run" / "export"


def evaluated(export: Path, recipe: Recipe, out: Path) -> tuple[Report, list[str]]:
    told = Told()
    found = workflow.evaluate(export, recipe=recipe, out=out, offline=True, progress=told)
    return found.report, told.warnings


def test_data_that_are_read_alike_are_audited_without_a_word(export: Path, tmp_path: Path) -> None:
    report, told = evaluated(export, recipe_of(tmp_path), tmp_path / "out")
    assert told == []
    assert report.task.after is not None
    assert report.head is not None


@pytest.mark.parametrize("features", ["[w, x]", "[x]"])
def test_other_inputs_are_refused(export: Path, tmp_path: Path, features: str) -> None:
    recipe = recipe_of(tmp_path, f"data.features={features}")
    with pytest.raises(DataError, match=r"the export's inputs are x, w; the recipe's are .*name the export's columns"):
        evaluated(export, recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inputs_of_another_kind_are_refused(export: Path, tmp_path: Path) -> None:
    text = "version: 1\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n"
    with pytest.raises(
        DataError, match=r"takes inputs of shape \(2,\), and the recipe's data have inputs of shape \(3"
    ):
        evaluated(export, parse_recipe(text, path="d.yaml"), tmp_path / "out")


def test_inputs_that_are_scaled_otherwise_are_told(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, (told,) = evaluated(export, recipe_of(tmp_path, scale=100), tmp_path / "out")
    assert "standardises its inputs otherwise than this recipe's training rows: 'x' (" in told
    assert "'w'" not in told
    # whoever reads the report alone is told, too; and on the terminal, which has said it, nobody is told twice
    assert report.data_warnings == (told,)
    for form in ("leakage.md", "leakage.html", "leakage.json"):
        assert "he export standardises its inputs otherwise" in (tmp_path / "out" / form).read_text()
    show_report(report, [told])
    assert "warning:" not in capsys.readouterr().err


def test_a_head_of_other_classes_is_left_out(export: Path, tmp_path: Path) -> None:
    report, (told,) = evaluated(export, recipe_of(tmp_path, labels=["yes", "no"]), tmp_path / "out")
    assert told.startswith("the export's head tells classes (a, b), and the recipe's target is classes (no, yes)")
    assert report.head is None
    assert report.data_warnings == (told,)


def test_a_run_is_audited_on_data_like_its_own_alone(export: Path, tmp_path: Path) -> None:
    """As its export is: its own recipe, with other data or features named in it."""
    run = export.parent
    report, told = evaluated(run, recipe_of(tmp_path), tmp_path / "out")
    assert told == []
    assert report.task.after is not None
    for features in ("[w, x]", "[x]"):
        with pytest.raises(DataError, match=r"the export's inputs are x, w; the recipe's are"):
            evaluated(run, recipe_of(tmp_path, f"data.features={features}"), tmp_path / "refused")
    with pytest.raises(DataError, match=r"head tells classes \(a, b\), and the recipe's target is classes \(no, yes\)"):
        evaluated(run, recipe_of(tmp_path, labels=["yes", "no"]), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    _, (scaled,) = evaluated(run, recipe_of(tmp_path, scale=100), tmp_path / "scaled")
    assert "standardises its inputs otherwise" in scaled


def test_images_that_are_read_for_another_backbone_are_told(export: Path, tmp_path: Path) -> None:
    loaded, parts = load_export(export), assemble(recipe_of(tmp_path), offline=True)
    asked, given = ({"mean": (0.5,) * 3, "input_size": (3, size, size)} for size in (96, 160))
    (told,) = preprocessing_warnings(
        replace(loaded.backbone, data_config=asked),
        replace(parts, load_backbone=lambda: replace(loaded.backbone, data_config=given)),
    )
    assert "not as the export does: input_size (3, 160, 160), not (3, 96, 96);" in told


@pytest.mark.parametrize("target", ["[hot, wet]", "[size]"])
def test_heads_of_labels_and_numbers_are_audited(tmp_path: Path, target: str) -> None:
    """Of an export and of a run, beside training rows whose numbers lie elsewhere too: in the head's own units."""
    kind = "multilabel" if "," in target else "regression"

    def recipe(name: str, shift: float = 0) -> Recipe:
        g = np.random.default_rng(0)
        lines = ["x,w,hot,wet,size,place,split"]
        for k in range(300):
            (x, w), split = g.normal(size=2), ("train", "validation", "test")[k // 2 % 3]
            size = 5 * x + w + shift * (split == "train")
            lines.append(f"{x},{w},{x > 0:d},{w > 0:d},{size},{'uv'[k // 6 % 2]},{split}")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
        given = [f"data.columns.target={target}", f"data.target_kind={kind}", "data.features=[x, w]"]
        given += ["data.attributes={place: {}}", "training.epochs=3", "training.learning_rate=0.05"]
        return parse_recipe(TEXT.format(path=tmp_path / f"{name}.csv"), path="t.yaml", overrides=given)

    run = tmp_path / "run"
    own = workflow.train(recipe("own"), out=run, offline=True, progress=Silent()).report
    assert own.head is not None
    for k, (of, data) in enumerate([(run / "export", "own"), (run, "moved"), (run / "export", "moved")]):
        report, told = evaluated(of, recipe(data, 20 * (data == "moved")), tmp_path / f"out{k}")
        assert told == []
        assert report.head is not None
        found, expected = report.head.task.after, own.head.task.after
        assert found is not None
        assert expected is not None
        figure = "r2" if kind == "regression" else "accuracy"
        # targets are float32, standardised by other numbers
        assert getattr(found, figure).estimate == pytest.approx(getattr(expected, figure).estimate, rel=1e-4)
