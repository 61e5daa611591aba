"""Whole runs on two ranks: what they write is what one process writes, for every part of a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_ranks import RUNS, differing, finished, fit, start
from small_runs import best, metrics, tiny, trained
from torch.testing import assert_close

from mibias_cli.errors import RunError
from mibias_cli.run import several

TESTS = Path(__file__).parents[1]

BATCHNORM = (
    "backbone={name: test_resnet}",
    "representation.layers=[features]",
    "data={source: digits, size: 32}",
    "original=null",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each run on two ranks."""
    folder = tmp_path_factory.mktemp("several")
    finished(start(TESTS / "on_ranks.py", "runs", str(folder)))
    return folder


# six runs, each of them twice, and two processes that load torch: half a minute
@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_write_what_one_process_writes(name: str, out: Path, tmp_path: Path) -> None:
    fit(tiny(*RUNS[name]), tmp_path / "one")
    tolerance = 1e-3 if name == "kept features" else 1e-6
    assert differing(metrics(tmp_path / "one"), metrics(out / name), tolerance) == []
    for key, value in best(tmp_path / "one").items():
        assert_close(best(out / name)[key], value, rtol=tolerance, atol=tolerance)


def ranks_of(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """The environment in which torchrun starts the first of n ranks; there are no others."""
    own = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "TORCHELASTIC_RUN_ID": "x"}
    for key, value in own.items():
        monkeypatch.setenv(key, str(value))


def test_a_batch_that_ranks_cannot_share_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks_of(monkeypatch, 3)
    with pytest.raises(RunError, match=r"training.batch_size is 128, which 3 ranks .* can: 126 and 129"):
        trained(tiny(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_program_by_itself_is_no_several_ranks(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"asks for 2 ranks, but this is one process: .*`torchrun --nproc-per-node 2"):
        trained(tiny("training.devices=2"), tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (BATCHNORM, "BatchNorm takes its statistics over the samples of each rank"),
        (("backbone.options={width: 4, hidden: 16, features: 8, dropout: 0.1}",), "dropout draws anew on each rank"),
        ((*BATCHNORM, "backbone.freeze_batchnorm=true"), None),
        ((), None),
    ],
)
def test_a_run_moves_to_another_number_of_ranks_only_where_that_is_exact(
    options: tuple[str, ...], reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mibias_cli.recipe.load import dump_recipe
    from mibias_cli.run.assemble import assemble
    from mibias_cli.run_folder import RunFolder

    (tmp_path / "recipe.resolved.yaml").write_text(dump_recipe(tiny(*options, "training.devices=2")))
    parts = assemble(tiny(*options), offline=True)
    if reason is None:
        several.check_ranks(RunFolder(tmp_path), parts)
        return
    with pytest.raises(RunError, match=f"was trained on 2 ranks and cannot go on exactly on 1: {reason}"):
        several.check_ranks(RunFolder(tmp_path), parts)


def test_one_process_keeps_its_recipe() -> None:
    """Nothing changes where there are no others."""
    assert several.on_its_ranks(tiny()) == (tiny(), None)
