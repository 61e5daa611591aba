"""Weights that are cut short, of another kind, or made to trip the reader."""

from __future__ import annotations

import pickle
from argparse import Namespace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from mibias_cli.backbone.weights.state_files import read_state
from mibias_cli.errors import BackboneError


def cyclic() -> dict[str, object]:
    content: dict[str, object] = {}
    content["state_dict"] = content
    return content


def nested() -> dict[str, object]:
    content: dict[str, object] = {"x": torch.zeros(1)}
    for _ in range(300):
        content = {"model": content}
    return content


@pytest.mark.parametrize("content", [cyclic(), nested(), {"a": "b"}, {}], ids=["cyclic", "300 deep", "text", "empty"])
def test_containers_without_end_hold_no_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(BackboneError, match="no tensors in it"):
        read_state(tmp_path / "w.pth")


SGD = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("content", "place", "beside"),
    [
        ({"student": 1, "teacher": 2, "optimizer": SGD, "epoch": 3}, ("teacher",), ("student",)),
        ({"net": 2, "acc": 93.1, "epoch": 3}, ("net",), ()),
        ({"model_dict": 2}, ("model_dict",), ()),
        ({"state_dict": 1, "state_dict_ema": 2, "arch": "resnet18", "args": Namespace(lr=0.1)}, ("state_dict_ema",),
         ("state_dict",)),
        ({"my_weights": 2, "optimizer": SGD}, ("my_weights",), ()),
        ({"model": {"net": 2}, "best": np.float64(0.9), "out": Path("x")}, ("model", "net"), ()),
    ],
)  # fmt: skip
def test_containers_of_training_scripts(
    tmp_path: Path, content: dict[str, object], place: tuple[str, ...], beside: tuple[str, ...]
) -> None:
    def filled(value: object) -> object:
        if isinstance(value, dict) and "param_groups" not in value:
            return {key: filled(inner) for key, inner in value.items()}
        return {"fc.weight": torch.full((2,), float(value))} if value in (1, 2) else value

    torch.save(filled(content), tmp_path / "w.pth")
    found = read_state(tmp_path / "w.pth")
    assert (found.place, found.beside) == (place, beside)
    assert found.tensors["fc.weight"].tolist() == [2.0, 2.0]
    assert bool(found.where) == bool(beside)


def test_several_sets_under_unknown_names_are_listed(tmp_path: Path) -> None:
    torch.save({"gen": {"w": torch.zeros(1)}, "disc": {"w": torch.zeros(1)}, "step": 3}, tmp_path / "w.pth")
    with pytest.raises(BackboneError, match=r"it holds 'gen' .dict., 'disc' .dict., 'step' .int.; save"):
        read_state(tmp_path / "w.pth")


def test_types_that_are_no_plain_data_are_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1)}, "rate": Fraction(1, 2)}, tmp_path / "w.pth")
    with pytest.raises(BackboneError, match="refuses it, as it holds more than tensors: fractions.Fraction; if you"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("text", [b"hello, these are my weights", b"", b"<!DOCTYPE html>", b'{"a": 1}'])
def test_what_is_no_torch_file_is_told_by_how_it_begins(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(text)
    with pytest.raises(BackboneError, match="is no torch file, it begins with"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("keep", [4, 200, -10])
def test_a_file_that_was_cut_is_not_readable(tmp_path: Path, keep: int) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "w.pth")
    raw = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(raw[:keep])
    with pytest.raises(BackboneError, match="not a readable torch file .*cut short"):
        read_state(tmp_path / "w.pth")


def test_a_deep_pickle_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b".")
    with pytest.raises(BackboneError, match="weights .*w.bin: "):
        read_state(tmp_path / "w.bin")
    (tmp_path / "w.bin").write_bytes(pickle.dumps([1]))
    with pytest.raises(BackboneError, match="expected a state dict|refuses it|not a readable"):
        read_state(tmp_path / "w.bin")
