from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.errors import DataError, EvaluationError
from mibias_cli.estimate.file import estimate_file
from mibias_cli.progress import Silent

N = 400


def columns() -> dict[str, np.ndarray]:
    g = np.random.default_rng(0)
    sex = g.integers(0, 2, N)
    z = g.normal(size=(N, 3)) + 2.0 * sex[:, None]
    return {
        "z_0": z[:, 0], "z_1": z[:, 1], "z_2": z[:, 2], "sex": np.array(["f", "m"])[sex], "code": sex,
        "age": 40 + 10 * z[:, 0] + g.normal(size=N), "c_0": z[:, 1] + g.normal(size=N), "c_1": g.normal(size=N),
        "z_target": np.arange(N) % 3,
    }  # fmt: skip


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns()), path)
    return path


def run(path: Path, **options: Any) -> dict[str, Any]:
    return estimate_file(path, z=options.pop("z", "z_"), progress=Silent(), **options)


def test_c_and_given_never_count_among_z(parquet: Path) -> None:
    found = run(parquet, c="z_target", estimators=["logistic"])
    assert (found["z"]["n_columns"], found["c"]) == (3, ["z_target"])
    found = run(parquet, c="sex", given="z_target", estimators=["logistic"])
    assert (found["z"]["n_columns"], found["given"]) == (3, ["z_target"])


def test_the_kind_is_that_of_the_column_unless_it_is_said(parquet: Path) -> None:
    assert run(parquet, c="sex", estimators=["logistic"])["kind"] == "discrete"
    assert run(parquet, c="code", estimators=["logistic"])["kind"] == "discrete"
    found = run(parquet, c="age", estimators=["gaussian"])
    assert (found["kind"], found["entropy_nats"]) == ("continuous", None)
    assert run(parquet, c="code", kind="continuous", estimators=["gaussian"])["kind"] == "continuous"
    with pytest.raises(DataError, match="holds text, so it cannot be continuous"):
        run(parquet, c="sex", kind="continuous")
    with pytest.raises(EvaluationError, match="400 distinct values in 400 rows"):
        run(parquet, c="age", kind="discrete")


def test_a_prefix_names_several_columns_of_c(parquet: Path) -> None:
    assert run(parquet, c="c_", estimators=["gaussian"])["c"] == ["c_0", "c_1"]


def test_all_formats_give_the_same_figures(parquet: Path, tmp_path: Path) -> None:
    data = columns()
    lines = [",".join(data), *(",".join(map(str, row)) for row in zip(*data.values(), strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    z = np.stack([data[f"z_{k}"] for k in range(3)] + [data["z_target"]], axis=1)
    save_file({"z_": torch.from_numpy(z), "age": torch.from_numpy(data["age"])}, tmp_path / "t.safetensors")
    assert run(tmp_path / "t.csv", c="age", estimators=["gaussian"]) == {
        **run(parquet, c="age", estimators=["gaussian"]), "file": "t.csv",
    }  # fmt: skip
    tensors = run(tmp_path / "t.safetensors", c="age", estimators=["gaussian"])
    assert tensors["estimates"] == run(parquet, c="age", estimators=["gaussian"])["estimates"]


def test_rows_without_a_value_are_left_out_and_counted(tmp_path: Path) -> None:
    data: dict[str, Any] = {name: values.tolist() for name, values in columns().items()}
    data["sex"][:25] = [None] * 25
    pq.write_table(pa.table(data), tmp_path / "t.parquet")
    found = run(tmp_path / "t.parquet", c="sex", estimators=["logistic"])
    assert (found["n_rows"], found["n_missing"]) == (N - 25, 25)


def test_z_may_be_text(tmp_path: Path) -> None:
    # the site gives sex away, all but one time in ten
    g = np.random.default_rng(0)
    sex = g.integers(0, 2, N)
    site = np.where(g.random(N) < 0.9, sex, g.integers(0, 3, N))
    lines = [f"{'abc'[s]},{x:.3f},{'fm'[y]}" for s, x, y in zip(site, g.normal(size=N), sex, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["z_site,z_x,sex", *lines]))
    found = run(tmp_path / "t.csv", c="sex", estimators=["logistic"])
    assert found["z"]["n_columns"] == 4  # a, b, c, and x
    assert found["estimates"]["logistic"]["bits"] > 0.4
    # very many texts are an id, and a number with a bad cell is no category
    for column, words in (([f"id{k}" for k in range(N)], "at most 50"), (["1,5", *map(str, range(N - 1))], "'1,5'")):
        rows = [f'"{v}",{"fm"[y]}' for v, y in zip(column, sex, strict=True)]
        (tmp_path / "u.csv").write_text("\n".join(["z_a,sex", *rows]))
        with pytest.raises(DataError, match=f"column 'z_a' holds text .*{words}"):
            run(tmp_path / "u.csv", c="sex", estimators=["logistic"])


def test_columns_that_are_not_there_are_named(parquet: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'sexx' \(--c\), did you mean 'sex'"):
        run(parquet, c="sexx")
    with pytest.raises(DataError, match="no column beside those of c starts with 'q'"):
        run(parquet, c="sex", z="q")
    with pytest.raises(DataError, match="both c and given"):
        run(parquet, c="sex", given="sex")


def test_a_folder_of_shards_is_to_be_one_file(parquet: Path) -> None:
    shard = parquet.rename(parquet.with_name("part-00000-of-00002.parquet"))
    with pytest.raises(DataError, match=r"is a folder of shards, .*; write them to one"):
        estimate_file(shard.parent, z="z_", c="c")


def test_the_command_prints_json_alone_to_stdout(parquet: Path) -> None:
    arguments = ["estimate", str(parquet), "--z", "z_", "--c", "sex", "--estimators", "logistic,knn", "--seed", "3"]
    done = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {"logistic", "knn"} <= set(found["estimates"])
    best = found["estimates"][found["headline"]]
    assert best["bits"] == pytest.approx(best["nats"] / np.log(2))
    assert best["lower"] < best["nats"] < best["upper"]
    assert found["entropy_nats"] == pytest.approx(np.log(2), abs=0.01)
    assert found["seed"] == 3


def test_the_table_marks_the_headline_and_errors_end_with_2(parquet: Path) -> None:
    arguments = ["estimate", str(parquet), "--z", "z_", "--c", "sex", "--estimators"]
    done = CliRunner().invoke(app, [*arguments, "logistic", "--format", "text"])
    assert "* logistic" in done.stdout
    assert done.stdout.startswith("I(z; sex), 400 rows, z of 4 columns; c discrete, H(c) = 0.688 nats")
    done = CliRunner().invoke(app, [*arguments, "logistik"])
    assert done.exit_code == 2
    assert "did you mean 'logistic'" in done.stderr


def test_rare_classes_that_are_counted_together_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rare = np.array(["f", "m", "x", "y"])[np.where(np.arange(N) < 4, 2 + np.arange(N) % 2, np.arange(N) % 2)]
    pq.write_table(pa.table(columns() | {"sex": rare}), path)
    found = run(path, c="sex", estimators=["logistic"])
    # x and y are four rows, and join the rarer of the others
    assert found["n_pooled"] == 3
    share = np.array([198, 198, 2, 2]) / N
    assert found["entropy_nats"] == pytest.approx(-(share * np.log(share)).sum())
    result = CliRunner().invoke(app, ["estimate", str(path), "--z", "z_", "--c", "sex", "--format", "text"])
    assert "3 classes of c were counted together" in result.output
    assert run(path, c="code", estimators=["logistic"])["n_pooled"] == 0
    assert run(path, c="age", estimators=["gaussian"])["n_pooled"] == 0
