"""Weights that are cut short, of another kind, or made to trip the reader."""

from __future__ import annotations

import pickle
from pathlib import Path

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
