"""A run whose features are erased after training: audited, exported, reloaded, evaluated and resumed as such."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mibias_cli.backbone.embed import embed
from mibias_cli.errors import ExportError, RunError, TrainingError
from mibias_cli.export.load import load_export
from mibias_cli.export.model_card import _TRANSPORT_CODE
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import load_recipe
from mibias_cli.run import stages, workflow
from mibias_cli.run.assemble import assemble, load_run_model
from mibias_cli.run.evaluate import chosen_path
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.checkpoint import load_weights

RECIPE = """
version: 1
name: erased
data: {source: table, path: t.csv, columns: {split: split}, attributes: {sex: , site: }}
backbone: {name: mlp, options: {hidden: [64], features: 12}}
debias: {estimator: none, erase: leace}
training: {epochs: 2, batch_size: 128}
evaluation: {probes: [logistic, gradient_boosting], n_bootstrap: 200, n_permutations: 19,
             random_control: false}
export: {formats: [safetensors]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in which sex moves two columns and is told by the product of two others; site moves one and has gaps."""
    path = tmp_path_factory.mktemp("erase")
    g = np.random.default_rng(0)
    n = 8000
    sex, site, y = g.integers(2, size=n), g.integers(3, size=n), g.integers(2, size=n)
    x = g.standard_normal((n, 6))
    x[:, 0] += 1.5 * sex
    x[:, 1] = np.abs(x[:, 1]) * np.where(sex == 1, np.sign(x[:, 2]), -np.sign(x[:, 2]))
    x[:, 3] += site
    x[:, 4] += y
    lines = ["a,b,c,d,e,f,target,sex,site,split"]
    for k in range(n):
        split = ("train", "train", "train", "train", "train", "validation", "test", "test")[k % 8]
        where = "" if k % 7 == 0 else f"site {site[k]}"
        lines.append(f"{','.join(f'{v:.4f}' for v in x[k])},{'ny'[y[k]]},{'fm'[sex[k]]},{where},{split}")
    (path / "t.csv").write_text("\n".join(lines))
    (path / "r.yaml").write_text(RECIPE)
    return path


def trained(folder: Path, out: Path, *overrides: str, resume: Path | None = None) -> workflow.TrainedRun:
    return workflow.train(
        load_recipe(folder / "r.yaml", overrides), out=out, resume=resume, overwrite=False, offline=True,
        progress=Silent(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(folder: Path) -> workflow.TrainedRun:
    return trained(folder, folder / "run")


def test_held_out_a_logistic_probe_finds_nothing_and_a_boosted_one_does(run: workflow.TrainedRun) -> None:
    """About d (K − 1) / 2n = .002 and .004 bits remain on other samples than the eraser's 5,000; ±.005 is noise."""
    report = run.report.to_dict()
    for name, floor in (("sex", 0.05), ("site", None)):
        found = report["attributes"][name]
        before, after = (found[when]["probes"]["logistic"]["leakage_bits"] for when in ("before", "after"))
        assert before > 0.05, name
        assert abs(after) < 0.01, name
        if floor is not None:
            assert found["after"]["headline_probe"] == "gradient_boosting"
            assert found["after"]["leakage_bits"]["lower"] > floor
            # what a user of the backbone alone gets stands beside
            bare = found["others"]["backbone"]["after"]["leakage_bits"]
            assert bare["estimate"] > found["after"]["leakage_bits"]["estimate"]


def test_with_the_logistic_probe_alone_the_interval_holds_zero(run: workflow.TrainedRun, tmp_path: Path) -> None:
    """Intervals of 95 %, at a fixed seed."""
    recipe = workflow.load_run_recipe(run.folder, ["evaluation.probes=[logistic]"])
    report = workflow.evaluate(
        str(run.folder), recipe=recipe, out=tmp_path / "out", offline=True, progress=Silent()
    ).report.to_dict()  # fmt: skip
    for name in ("sex", "site"):
        interval = report["attributes"][name]["after"]["leakage_bits"]
        assert interval["lower"] <= 0 <= interval["upper"], name
        assert report["attributes"][name]["before"]["leakage_bits"]["lower"] > 0.05, name


def test_an_export_holds_the_eraser_and_gives_equal_features(run: workflow.TrainedRun, tmp_path: Path) -> None:
    recipe = workflow.load_run_recipe(run.folder)
    parts = assemble(recipe, offline=True)
    model = load_run_model(parts, chosen_path(RunFolder(run.folder)))
    loaded = load_export(run.export)
    assert loaded.info.erased == ("sex", "site")
    assert json.loads((run.export / "mibias.json").read_text())["format"] == 2
    data = parts.data.audit
    ours, theirs = (embed(e, data, batch_size=500) for e in (model.extractor, loaded.extractor))
    assert np.abs(ours.features - theirs.features).max() <= 1e-6
    assert np.abs(ours.features - ours.backbone_features).max() > 0.1
    x = torch.from_numpy(ours.features)
    assert loaded.head is not None
    torch.testing.assert_close(loaded.head(x), model.head(x), rtol=0, atol=1e-6)
    again = workflow.evaluate(
        str(run.export), recipe=recipe, out=tmp_path / "out", offline=True, progress=Silent()
    ).report.to_dict()  # fmt: skip
    first = run.report.to_dict()
    found, known = (r["attributes"]["sex"]["after"]["leakage_bits"]["estimate"] for r in (again, first))
    assert found == pytest.approx(known, abs=1e-3)
    assert again["task"]["after"]["accuracy"] == pytest.approx(first["task"]["after"]["accuracy"], abs=1e-3)
    card = (run.export / "README.md").read_text()
    assert "`sex`, `site` was erased linearly" in card
    assert "what the eraser leaves (12 wide)" in card


def test_onnx_gives_erased_features(run: workflow.TrainedRun, tmp_path: Path) -> None:
    folder = workflow.export(run.folder, out=tmp_path / "e", formats=("onnx",), offline=True, progress=Silent())
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    loaded = load_export(folder)
    x = torch.randn(5, loaded.backbone.input_shape[0])
    given = session.run(["features"], {"input": x.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(given, loaded.extractor(x).features.numpy(), atol=1e-4)


def test_resuming_after_training_erases_the_same(
    run: workflow.TrainedRun, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "erase_features", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(folder, tmp_path / "stopped")
    monkeypatch.undo()
    with pytest.raises(RunError, match="--resume"):
        workflow.evaluate(str(tmp_path / "stopped"), recipe=None, out=None, offline=True, progress=Silent())
    monkeypatch.setattr(workflow, "write_audit", stop)  # the audit is another matter
    with pytest.raises(KeyboardInterrupt):
        trained(folder, tmp_path / "unused", resume=tmp_path / "stopped")
    states = [load_file(chosen_path(RunFolder(path))) for path in (run.folder, tmp_path / "stopped")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    best = load_file(run.folder / "checkpoints" / "best.safetensors")
    assert set(states[0]) - set(best) == {"extractor.eraser.weight", "extractor.eraser.bias"}
    with pytest.raises(RunError, match="another model"):
        recipe = workflow.load_run_recipe(run.folder)
        load_weights(chosen_path(RunFolder(run.folder)), assemble(recipe, offline=True).new_model())


def test_it_follows_any_estimator_and_a_bottleneck(folder: Path, tmp_path: Path) -> None:
    found = trained(
        folder, tmp_path / "run", "debias.estimator=cka", "debias.attributes=[sex]", "representation.bottleneck=6",
        "debias.balance=both", "evaluation.probes=[logistic]", "training.epochs=1",
    )  # fmt: skip
    loaded = load_export(found.export)
    assert loaded.info.erased == ("sex",)
    assert loaded.info.bottleneck == loaded.info.features_dim == 6
    interval = found.report.to_dict()["attributes"]["sex"]["after"]["leakage_bits"]
    assert interval["lower"] <= 0 <= interval["upper"]


def test_a_missing_extra_is_said_before_training(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "concept_erasure" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(TrainingError, match=r"pip install 'mibias\[leace\]'"):
        trained(folder, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_splince_takes_the_attribute_and_leaves_what_covaries_with_the_target(folder: Path) -> None:
    quick = ("evaluation.probes=[logistic]", "evaluation.n_permutations=0", "training.epochs=1")
    done = trained(folder, folder / "splince", "debias.erase=splince", "debias.attributes=[sex]", *quick)
    parts = assemble(load_recipe(folder / "r.yaml"), offline=True)
    train, paths = parts.data.train, RunFolder(done.folder)
    before, after = (
        embed(load_run_model(parts, path).extractor, train, batch_size=512).features.astype(np.float64)
        for path in (paths.best, paths.erased)
    )
    sex, y = ((column - column.mean()) / len(train) for column in (train.c["sex"][:, 0], train.y))
    assert np.abs(sex @ before).max() > 0.02
    assert np.abs(sex @ after).max() < 1e-5
    np.testing.assert_allclose(y @ after, y @ before, atol=1e-5)
    assert load_export(done.export).extractor.eraser is not None


def test_transport_is_exported_reloaded_and_said(folder: Path, tmp_path: Path) -> None:
    quick = (
        "evaluation.probes=[logistic]", "evaluation.n_permutations=0", "training.epochs=1", "debias.attributes=[sex]",
        "export.formats=[onnx]",
    )  # fmt: skip
    done = trained(folder, tmp_path / "run", "debias.erase=transport", *quick)
    parts = assemble(load_recipe(folder / "r.yaml", ("debias.erase=transport",)), offline=True)
    model = load_run_model(parts, RunFolder(done.folder).erased)
    loaded = load_export(done.export)
    assert (loaded.info.erased, loaded.info.erased_by) == (("sex",), "transport")
    assert json.loads((done.export / "mibias.json").read_text())["format"] == 4
    ours, theirs = (embed(e, parts.data.audit, batch_size=500) for e in (model.extractor, loaded.extractor))
    assert np.abs(ours.features - theirs.features).max() <= 1e-5
    import onnxruntime

    session = onnxruntime.InferenceSession(str(done.export / "model.onnx"), providers=["CPUExecutionProvider"])
    x = torch.randn(5, loaded.backbone.input_shape[0])
    with torch.no_grad():
        wanted = loaded.extractor(x)
    np.testing.assert_allclose(session.run(["features"], {"input": x.numpy()})[0], wanted.features, atol=1e-4)
    # the card's code in plain torch is the same map
    code = (done.export / "README.md").read_text()
    assert "by a last layer that is not linear" in code
    heads = load_file(done.export / "heads.safetensors")
    names: dict[str, Any] = {"torch": torch, "heads": heads, "features": wanted.backbone_features}
    exec(_TRANSPORT_CODE.format(name="features", features_dim=12), names)
    torch.testing.assert_close(names["representation"], wanted.features, rtol=0, atol=1e-5)
    # a file of other shapes is refused
    del heads["eraser.maps"]
    save_file(heads, done.export / "heads.safetensors")
    with pytest.raises(ExportError):
        load_export(done.export)
