"""Audits without training, as a user does them: a timm model on files, and stored embeddings as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file

from mibias_cli.data.sources.embeddings import load_embeddings
from mibias_cli.errors import BackboneError, DataError, MibiasError, RecipeError, RunError
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import load_recipe
from mibias_cli.report.schema_file import load_schema
from mibias_cli.run import workflow

PROBES = "probes: [logistic], n_bootstrap: 100, n_permutations: 99"
N = 900


def evaluated(target: str, recipe: Path, out: Path, *overrides: str) -> dict[str, Any]:
    found = workflow.evaluate(
        target, recipe=load_recipe(recipe, overrides), out=out, offline=True, progress=Silent()
    ).report.to_dict()
    jsonschema.validate(found, load_schema())
    return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 noisy pictures whose colour, not their class, jumps to the eye, and a recipe."""
    folder = tmp_path_factory.mktemp("images")
    g = np.random.default_rng(0)
    lines = ["path,target,colour,lens,split"]
    for k in range(120):
        y, c = k % 2, k // 2 % 2
        pixels = g.integers(0, 90, (32, 32, 3))
        pixels[..., 2 * c] += 120
        if y:
            pixels[8:24, 8:24] += 45
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{k}.png")
        split = ("train", "validation", "test", "test")[k // 4 % 4]
        lines.append(f"{k}.png,{'ab'[y]},{('red', 'blue')[c]},{'xyz'[k % 3]},{split}")
    (folder / "m.csv").write_text("\n".join(lines))
    (folder / "r.yaml").write_text(
        "version: 1\n"
        "data: {source: manifest, path: m.csv, columns: {split: split},\n"
        "       attributes: {colour: }}\n"
        "backbone: {name: resnet18, input_size: 32}\n"
        f"evaluation: {{layers: [layer1, layer4], fidelity_columns: [lens], {PROBES}}}\n"
    )
    return folder


def test_a_timm_model_is_audited_with_random_weights(images: Path, tmp_path: Path) -> None:
    report = evaluated("resnet18", images / "r.yaml", tmp_path / "out")
    colour = report["attributes"]["colour"]
    assert colour["before"] is None
    assert colour["after"]["leakage_bits"]["lower"] > 0.5
    assert colour["random"]["leakage_bits"]["lower"] > 0.5  # colour leaks through any weights
    assert colour["random"]["leakage_bits"] != colour["after"]["leakage_bits"]
    assert colour["after"]["p_value"] <= 0.01
    assert list(report["layers"]) == ["layer1", "layer4"]
    assert report["layers"]["layer1"]["colour"]["after"]["leakage_bits"]["lower"] > 0.5
    assert report["layers"]["layer1"]["colour"]["after"]["n_features"] == 1024
    assert abs(report["fidelity"]["columns"]["lens"]["after"]["information_bits"]["estimate"]) < 0.3
    assert (tmp_path / "out" / "leakage.html").is_file()


def test_faults_of_the_evaluation_section_are_named(images: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"evaluation.layers: .* 'layer9', did you mean 'layer\d'"):
        evaluated("resnet18", images / "r.yaml", tmp_path / "a", "evaluation.layers=[layer9]")
    with pytest.raises(RecipeError, match=r"evaluation.crossings.0.0: .* 'colr', did you mean 'colour'"):
        evaluated("resnet18", images / "r.yaml", tmp_path / "b", "evaluation.crossings=[[colr, colour]]")


def test_a_report_that_is_there_is_refused_before_anything_is_read(images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "leakage.json").write_text("{}")
    with pytest.raises(RunError, match="holds a report already .leakage.json.; choose another folder with --out"):
        # a model that does not exist: the folder is looked at first
        evaluated("resnet18000", images / "r.yaml", tmp_path / "out")
    found = workflow.evaluate(
        "resnet18", recipe=load_recipe(images / "r.yaml", ["evaluation.layers=[]", "evaluation.probes=[logistic]"]),
        out=tmp_path / "out", offline=True, overwrite=True,
    )  # fmt: skip
    assert found.report.task.after is not None
    assert len((tmp_path / "out" / "leakage.json").read_text()) > 1000


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same embeddings in both formats; sex moves one column by 1.5 standard deviations, 0.32 bits."""
    folder = tmp_path_factory.mktemp("embeddings")
    g = np.random.default_rng(1)
    y, c = g.integers(0, 2, (2, N))
    z = g.normal(size=(N, 10)).astype(np.float32)
    z[:, 0] += 2 * y
    z[:, 1] += 1.5 * c
    labels = {"target": np.where(y, "ill", "well"), "sex": np.where(c, "f", "m"), "age": 40 + 5 * z[:, 2]}
    pq.write_table(pa.table({f"z_{k}": z[:, k] for k in range(10)} | labels), folder / "e.parquet")
    save_file({"features": z}, folder / "e.safetensors")
    pq.write_table(pa.table(labels), folder / "labels.parquet")
    for suffix, manifest in (("parquet", "null"), ("safetensors", "labels.parquet")):
        (folder / f"{suffix}.yaml").write_text(
            "version: 1\n"
            f"data: {{source: embeddings, path: e.{suffix}, manifest: {manifest},\n"
            "       attributes: {sex: , age: {kind: continuous}}, splits: {fractions: [.2, .1, .7]}}\n"
            "backbone: {name: mlp}\n"
            f"evaluation: {{{PROBES}}}\n"
        )
    return folder


def test_stored_embeddings_are_audited_as_they_are(embeddings: Path, tmp_path: Path) -> None:
    reports = [
        evaluated(str(embeddings / f"e.{suffix}"), embeddings / f"{suffix}.yaml", tmp_path / suffix)
        for suffix in ("parquet", "safetensors")
    ]
    assert reports[0]["attributes"] == reports[1]["attributes"]
    first, age = (reports[0]["attributes"][name] for name in ("sex", "age"))
    assert age["kind"] == "continuous"
    assert age["after"]["probes"]["ridge"]["r2"] > 0.9
    assert reports[0]["intersections"][0]["attributes"] == ["sex", "age"]
    assert first["random"] is None  # there is no architecture to draw anew
    assert first["after"]["leakage_bits"]["estimate"] == pytest.approx(0.32, abs=0.15)
    assert reports[0]["similarity"]["n_features_after"] == 10
    assert reports[0]["provenance"]["backbone"] == "stored embeddings"


@pytest.mark.parametrize("suffix", ["parquet", "safetensors"])
def test_embeddings_that_stay_in_their_file_give_the_same_report(
    embeddings: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("evaluation.max_samples=300", "evaluation.probes=[logistic]", "evaluation.n_permutations=0")
    target, recipe = str(embeddings / f"e.{suffix}"), embeddings / f"{suffix}.yaml"
    held = evaluated(target, recipe, tmp_path / "held", *settings)
    monkeypatch.setitem(load_embeddings.__kwdefaults__, "in_memory_bytes", 0)
    stored = evaluated(target, recipe, tmp_path / "stored", *settings)
    for report in (held, stored):
        report["provenance"].pop("created")
    assert stored == held


def test_shards_of_embeddings_give_the_report_of_one_file(
    embeddings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("evaluation.max_samples=300", "evaluation.probes=[logistic]", "evaluation.n_permutations=0")
    recipe, table = embeddings / "safetensors.yaml", pq.read_table(embeddings / "e.parquet")
    one = evaluated(str(embeddings / "e.safetensors"), recipe, tmp_path / "one", *settings)
    folder = tmp_path / "z"
    folder.mkdir()
    for k, (start, stop) in enumerate([(0, 400), (400, 401), (401, N)]):
        pq.write_table(table.slice(start, stop - start), folder / f"part-{k:05d}-of-00003.parquet")
    monkeypatch.setitem(load_embeddings.__kwdefaults__, "in_memory_bytes", 0)
    shards = evaluated(str(folder), recipe, tmp_path / "shards", *settings)
    for report in (one, shards):
        for name in ("created", "weights", "recipe_sha256"):
            report["provenance"].pop(name)
    assert shards == one
    (folder / "part-00001-of-00003.parquet").unlink()
    with pytest.raises(
        DataError, match=r"1 of 3 shards are not there: part-00001-of-00003.parquet; the `mibias embed`"
    ):
        evaluated(str(folder), recipe, tmp_path / "missing")


def test_a_file_that_the_recipe_does_not_speak_of_is_refused(embeddings: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(MibiasError, match="data.source is manifest; set it to embeddings"):
        evaluated(str(embeddings / "e.parquet"), images / "r.yaml", tmp_path / "out")
