"""A batch that no memory can hold is refused before a run begins, and an export says where its data may be named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import tiny

from mibias_cli.errors import DataError, MibiasError
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.run import assemble as assembling
from mibias_cli.run import workflow
from mibias_cli.run.assemble import assemble


def test_a_batch_larger_than_the_machine_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    real = assembling.build_data
    monkeypatch.setattr(
        assembling, "build_data", lambda *a, **k: replace(real(*a, **k), input_shape=(3, 2_000_000, 2_000_000))
    )
    with pytest.raises(MibiasError, match="training.batch_size: 128 inputs of 3 × 2000000 × 2000000 take"):
        assemble(tiny(), offline=True)


def test_an_export_whose_data_are_gone_says_where_they_can_be_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "version: 1\ndata: {source: table, path: gone.csv, attributes: {a: {}}}\nbackbone: {name: mlp}\n"
    (tmp_path / "recipe.resolved.yaml").write_text(dump_recipe(parse_recipe(text, path=str(tmp_path / "r.yaml"))))
    monkeypatch.setattr(workflow, "told_unfinished", lambda *_, **__: None)
    with pytest.raises(DataError, match=rf"gone.csv.*\n.*mibias train --resume {tmp_path} --set data.path=FILE"):
        workflow.export(tmp_path)
