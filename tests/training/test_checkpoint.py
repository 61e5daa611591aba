from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mibias_cli.errors import RunError
from mibias_cli.training.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights

STATE = {
    "version": 2, "stage": "debias", "position": {"epoch": 1, "finished": False}, "model": {}, "metrics_bytes": 0,
}  # fmt: skip


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code of a checkpoint ran')",))


def test_round_trip_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.pt"
    state = {**STATE, "model": {"a": torch.arange(3)}, "stepper": {"c": 1.5}}
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded["model"]["a"], torch.arange(3))
    assert loaded["stepper"] == {"c": 1.5}
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"]


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"x": Evil()}, tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"last\.pt: the checkpoint cannot be read"):
        load_checkpoint(tmp_path / "last.pt")


def test_missing_and_torn_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"last\.pt: there is no checkpoint"):
        load_checkpoint(tmp_path / "last.pt")
    save_checkpoint(tmp_path / "last.pt", {"a": torch.arange(1000)})
    data = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match="cannot be read"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "state",
    [
        [1], 5, None, {}, {"version": 2, "stage": "debias"}, {"weight": torch.zeros(3)}, {**STATE, "version": "new"},
        {**STATE, "stage": "nothing"}, {**STATE, "position": {"epoch": "two", "finished": False}},
        {**STATE, "position": None}, {**STATE, "model": [1]}, {**STATE, "metrics_bytes": "many"},
        {**STATE, "average": 5},
    ],
)  # fmt: skip
def test_what_is_no_training_state_is_refused(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"last\.pt: is no training state of mibias"):
        load_checkpoint(tmp_path / "last.pt")


def test_weights_that_were_cut_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, nn.Linear(30, 20))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match=r"w\.safetensors: damaged"):
        load_weights(path, nn.Linear(30, 20))


def test_weights_round_trip_and_refuse_another_model(tmp_path: Path) -> None:
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(tmp_path / "w.safetensors", one)
    load_weights(tmp_path / "w.safetensors", other)
    assert torch.equal(one.weight, other.weight)
    with pytest.raises(RunError, match=r"weights of another model \(.* is .*, not \(.*\); were data or recipe changed"):
        load_weights(tmp_path / "w.safetensors", nn.Linear(4, 2))
    with pytest.raises(RunError, match="missing: if the run has not got .* if the file was removed"):
        load_weights(tmp_path / "none.safetensors", one)


def test_values_that_changed_in_a_file_are_damage(tmp_path: Path) -> None:
    path, module = tmp_path / "w.safetensors", nn.Linear(30, 20)
    save_weights(path, module)
    _turn_a_bit(path, bytes(module.weight.detach().numpy().tobytes()))
    with pytest.raises(RunError, match=r"w\.safetensors: damaged \(its values are not those that were written\)"):
        load_weights(path, nn.Linear(30, 20))
    # of another writer, without a checksum
    save_file(module.state_dict(), path)
    load_weights(path, nn.Linear(30, 20))


def test_values_that_changed_in_a_checkpoint_are_damage(tmp_path: Path) -> None:
    path, values = tmp_path / "last.pt", torch.arange(1000.0)
    save_checkpoint(path, {**STATE, "model": {"a": values}})
    _turn_a_bit(path, values.numpy().tobytes())
    with pytest.raises(RunError, match=r"last\.pt: the checkpoint cannot be read \(.* is not what was written\)"):
        load_checkpoint(path)


def _turn_a_bit(path: Path, within: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(within) + len(within) // 2] ^= 1
    path.write_bytes(content)
