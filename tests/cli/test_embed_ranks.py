"""`mibias embed --rows-per-shard` on two ranks, as a user starts, kills, breaks and resumes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from on_ranks import environment
from PIL import Image
from typer.testing import CliRunner, Result

from mibias_cli.cli.main import app
from mibias_cli.data.shards.feature_parts import open_stored

MIBIAS = [sys.executable, "-m", "mibias_cli.cli"]
N = 240
RECIPE = """
version: 1
data: {source: manifest, path: m.csv, columns: {path: file}, attributes: {sex: {}}}
backbone: {name: test_resnet, input_size: 32}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a manifest of them in a shuffled order, and a recipe."""
    folder, g = tmp_path_factory.mktemp("embed"), np.random.default_rng(0)
    for k in range(N):
        Image.fromarray(g.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{k:03d}.png")
    files = [f"{k:03d}.png" for k in g.permutation(N)]
    (folder / "m.csv").write_text("\n".join(["file", *files]))
    (folder / "r.yaml").write_text(RECIPE)
    return folder


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    common = ["--recipe", str(folder / "r.yaml"), "--offline", "--device", "cpu"]
    return ["embed", "test_resnet", "--data", str(folder / "m.csv"), "--out", str(out), *common, *more]


def here(folder: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, arguments(folder, out, *more))


def start(rank: int, command: list[str]) -> subprocess.Popen[str]:
    """One rank of two, as torchrun starts it."""
    return subprocess.Popen(command, env=environment(rank, 2, 1), stderr=subprocess.PIPE, text=True)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def paths_and_features(folder: Path) -> tuple[list[str], np.ndarray]:
    paths = [path for file in sorted(folder.glob("part-*")) for path in pq.read_table(file).column("path").to_pylist()]
    return paths, np.concatenate(list(open_stored(folder, key="", prefix="z_").chunks()))


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[list[str], np.ndarray]:
    """What one process writes to one file."""
    done = here(folder, folder / "one.parquet")
    assert done.exit_code == 0, done.output
    table = pq.read_table(folder / "one.parquet")
    features = np.stack([table.column(name).to_numpy() for name in table.column_names if name.startswith("z_")], 1)
    return table.column("path").to_pylist(), features


def test_two_ranks_are_killed_and_resumed(folder: Path, whole: tuple[list[str], np.ndarray], tmp_path: Path) -> None:
    out = tmp_path / "z"
    command = MIBIAS + arguments(folder, out, "--rows-per-shard", "1")
    ranks = [start(rank, command) for rank in range(2)]
    deadline = time.monotonic() + 120
    # rank 0 writes shards 0, 2, 4, …, rank 1 the others
    while not {f"part-{k:05d}-of-00240.parquet" for k in range(6)} <= names(out) and time.monotonic() < deadline:
        time.sleep(0.01)
    for rank in ranks:
        rank.kill()
        rank.communicate()
    kept = {path: path.stat().st_ino for path in out.glob("part-*")}
    assert 6 <= len(kept) < N
    # a folder that is not whole is no data
    done = CliRunner().invoke(app, ["evaluate", str(out), "--recipe", str(folder / "r.yaml")])
    assert done.exit_code == 2
    # any number of ranks goes on
    done = here(folder, out, "--rows-per-shard", "1")
    assert done.exit_code == 0, done.output
    assert f"{out}: {len(kept)} of {N} shards are there, and stay" in done.stderr
    assert {path: path.stat().st_ino for path in kept} == kept
    assert not [name for name in names(out) if name.startswith(".")]
    paths, features = paths_and_features(out)
    assert paths == whole[0]
    np.testing.assert_allclose(features, whole[1], rtol=0, atol=1e-6)


def test_what_one_rank_cannot_read_ends_both_with_one_message(
    folder: Path, whole: tuple[list[str], np.ndarray], tmp_path: Path
) -> None:
    broken, out = folder / whole[0][-1], tmp_path / "z"
    fine = broken.read_bytes()
    # shard 3 is of the second rank
    command = MIBIAS + arguments(folder, out, "--rows-per-shard", "60", "--devices", "2")
    broken.write_bytes(fine[: len(fine) // 2])
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    broken.write_bytes(fine)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error:") == 1
    assert f"({whole[0][-1]}) cannot be read as an image" in done.stderr
    assert "part-00003-of-00004.parquet" not in names(out)
    done = here(folder, out, "--rows-per-shard", "60")
    assert done.exit_code == 0, done.output
    paths, features = paths_and_features(out)
    assert paths == whole[0]
    np.testing.assert_allclose(features, whole[1], rtol=0, atol=1e-6)


def test_each_rank_says_what_is_its_own(folder: Path, whole: tuple[list[str], np.ndarray], tmp_path: Path) -> None:
    out = tmp_path / "z"
    done = here(folder, out, "--rows-per-shard", "100", "--format", "safetensors", "--num-workers", "1")
    assert done.exit_code == 0, done.output
    assert f"{N} rows in 3 shards: {out}" in done.stderr
    assert open_stored(out, key="features", prefix="").take(np.array([230, 5])).tolist() == pytest.approx(
        whole[1][[230, 5]], abs=1e-6
    )
    done = here(folder, out, "--rows-per-shard", "100", "--format", "safetensors")
    assert f"{out}: 3 of 3 shards are there, and stay" in done.stderr
    done = here(folder, out, "--rows-per-shard", "100")
    assert done.exit_code == 2
    assert "other --format (safetensors before, parquet now)" in done.stderr


def test_options_of_shards_alone_are_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "z.parquet"
    for option in (("--devices", "2"), ("--format", "parquet")):
        done = here(folder, out, *option)
        assert done.exit_code == 2
        assert "are about shards: add --rows-per-shard N" in " ".join(done.stderr.split())
    assert "must end in .parquet or .safetensors; shards in a folder take --rows-per-shard" in here(
        folder, tmp_path / "z"
    ).stderr  # fmt: skip
    for key, value in environment(0, 2, 1).items():
        if key not in os.environ:
            monkeypatch.setenv(key, value)
    said = " ".join(here(folder, out).stderr.split())
    assert "torchrun has started 2 processes, and one file is written by one" in said
    done = here(folder, tmp_path / "z", "--rows-per-shard", "9", "--devices", "3")
    assert "--devices is 3, but torchrun has started 2; leave it out" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
