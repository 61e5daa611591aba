"""Columns of lists: of numbers they are embeddings where asked for, and never text; of texts they are labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.files import stored_features
from mibias_cli.data.files.named_arrays import read_named_arrays
from mibias_cli.data.files.stored_features import open_features
from mibias_cli.data.files.tabular import read_table, refuse_nested
from mibias_cli.data.sources.embeddings import load_embeddings
from mibias_cli.data.sources.table import load_table
from mibias_cli.errors import DataError
from mibias_cli.survey.files import file_layout
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey

N, D = 40, 6
FEATURES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
LABELS = {"target": ["ill" if k % 2 else "well" for k in range(N)], "site": ["ab"[k // 2 % 2] for k in range(N)]}
SITE = {"site": AttributeColumn()}
KINDS = {
    "list": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float64()),
    "fixed": pa.list_(pa.float32(), D),
    "half": pa.list_(pa.float16(), D),
}


def write(path: Path, kind: str = "list", **more: object) -> Path:
    given = FEATURES.astype(np.float16) if kind == "half" else FEATURES
    lists = pa.array(list(given) if kind == "half" else given.tolist(), KINDS[kind])
    pq.write_table(pa.table({"embedding": lists, **LABELS, **more}), path, row_group_size=15)
    return path


@pytest.mark.parametrize("kind", list(KINDS))
def test_lists_are_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(stored_features, "_CHUNK_BYTES", 4 * D * 7)
    path = write(tmp_path / "e.parquet", kind)
    expected = FEATURES.astype(np.float16).astype(np.float32) if kind == "half" else FEATURES
    features = open_features(path, key="embedding", prefix="z_")
    assert features.shape == (N, D)
    np.testing.assert_array_equal(np.concatenate(list(features.chunks())), expected)
    np.testing.assert_array_equal(features.take(np.array([39, 2, 16])), expected[[39, 2, 16]])
    for name in ({"key": "embedding"}, {"prefix": "emb"}):
        data = load_embeddings(path, attributes=SITE, **name)
        assert data.input_shape == (D,)
        rows = data.audit.rows
        np.testing.assert_array_equal(data.audit.reader.read(rows, None).numpy(), expected[rows])
    np.testing.assert_array_equal(read_named_arrays(path).read_numbers(["embedding"]), expected)


def test_lists_that_are_no_matrix(tmp_path: Path) -> None:
    def message(lists: list[list[float | None] | None]) -> str:
        pq.write_table(pa.table({"features": lists, **LABELS}), tmp_path / "e.parquet")
        with pytest.raises(DataError) as caught:
            load_embeddings(tmp_path / "e.parquet", attributes=SITE)
        return str(caught.value)

    rows = FEATURES.tolist()
    said = "2 list(s) of 'features' do not hold 6 numbers, as the first does: rows 39 (2 numbers), 40 (nothing)"
    assert said in message([*rows[:-2], [1.0, 2.0], None])
    assert "the first list of 'features' is empty" in message([[], *rows[1:]])
    assert "1 embedding(s) hold NaN or infinity: rows 40" in message([*rows[:-1], [1, 2, 3, 4, 5, None]])


def test_which_columns_are_the_features(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet")
    with pytest.raises(DataError, match="set data.prefix, or data.key to a column of lists: embedding"):
        open_features(path, key="features", prefix="z_")
    both = write(tmp_path / "both.parquet", z_0=FEATURES[:, 0], z_1=FEATURES[:, 1])
    with pytest.raises(DataError, match="both 'embedding', a column of lists, and the 'z_' columns"):
        open_features(both, key="embedding", prefix="z_")
    assert open_features(both, key="features", prefix="z_").shape == (N, 2)
    assert open_features(both, key="embedding", prefix="none").shape == (N, D)


def test_nothing_is_turned_into_text(tmp_path: Path) -> None:
    image = [{"bytes": b"\x89PNG", "path": "a.png"}] * N
    path = write(tmp_path / "t.parquet", image=image, raw=[b"\xff\xd8"] * N, age=list(range(N)))
    table = read_table(path)
    assert list(table.columns) == ["target", "site", "age"]
    assert set(table.nested) == {"embedding", "image", "raw"}
    with pytest.raises(DataError, match=r"3 column.s. hold no single value per row: 'embedding' \(list<.*'raw' \(byt"):
        load_table(path, attributes=SITE)
    assert load_table(path, attributes=SITE, features=["age"]).input_shape == (1,)
    with pytest.raises(DataError, match="'embedding' holds list<.*>, not one value per row; embeddings .* data.key"):
        load_table(path, columns=Columns(), attributes=SITE, features=["embedding"])
    with pytest.raises(DataError, match="'image' holds struct<"):
        read_named_arrays(path).read("image")


def test_lists_as_text_are_no_categories(tmp_path: Path) -> None:
    lines = [f'{LABELS["target"][k]},{LABELS["site"][k]},"{FEATURES[k].tolist()}"' for k in range(N)]
    (tmp_path / "t.csv").write_text("\n".join(["target,site,embedding", *lines]))
    with pytest.raises(DataError, match="'embedding' holds lists as text"):
        load_table(tmp_path / "t.csv", attributes=SITE)


@pytest.mark.parametrize("written", ["({})", "{}", "{{{}}}", "[{}]", "array([{}])"])
@pytest.mark.parametrize("between", [", ", ";", " ", "|"])
def test_lists_as_text_by_any_writing(tmp_path: Path, written: str, between: str) -> None:
    """Nor are they ids that say nothing, although each row has its own."""
    lists = [written.format(between.join(f"{v:.4f}" for v in row)) for row in FEATURES]
    lines = [f'{LABELS["target"][k]},{LABELS["site"][k]},{k / 7},"{lists[k]}"' for k in range(N)]
    (tmp_path / "t.csv").write_text("\n".join(["target,site,x,embedding", *lines]))
    with pytest.raises(DataError, match="'embedding' holds lists as text"):
        load_table(tmp_path / "t.csv", attributes=SITE)
    notes = survey(tmp_path / "t.csv", Wishes(target="target", attributes=("site",))).notes
    assert any(note.startswith("embedding: lists as text, which training refuses") for note in notes)


def test_init_takes_lists_for_embeddings(tmp_path: Path) -> None:
    layout = file_layout(write(tmp_path / "e.parquet"), table=None, root=None)
    assert (layout.source, layout.key, layout.prefix) == ("embeddings", "embedding", None)
    assert list(layout.table.columns) == ["target", "site"]


KINDS_OF_TEXT = {
    "list": pa.list_(pa.string()),
    "large": pa.large_list(pa.large_string()),
    "codes": pa.list_(pa.dictionary(pa.int32(), pa.string())),
}


@pytest.mark.parametrize("kind", [*KINDS_OF_TEXT, "lines", "stream"])
def test_lists_of_texts_are_labels(tmp_path: Path, kind: str) -> None:
    """They are in no cell of text, so that a label may hold what stands between labels there."""
    names, there = ["a|b", "c, d", "e's"], np.random.default_rng(1).random((N, 3)) < 0.5
    there[:2] = [[False] * 3, [True, False, False]]
    lists = [[name for name, one in zip(names, row, strict=True) if one] for row in there]
    split = ["train"] * (N - 20) + ["validation"] * 10 + ["test"] * 10
    path = tmp_path / {"lines": "t.jsonl", "stream": "t.arrow"}.get(kind, "t.parquet")
    if kind == "lines":
        rows = [{"x": k, "site": LABELS["site"][k], "split": split[k], "found": lists[k]} for k in range(N)]
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        found = pa.array(lists, KINDS_OF_TEXT.get(kind, pa.list_(pa.string())))
        table = pa.table({"x": list(range(N)), "site": LABELS["site"], "split": split, "found": found})
        if kind == "stream":
            with pa.ipc.new_stream(path, table.schema) as stream:
                stream.write_table(table)
        else:
            pq.write_table(table, path)
    columns = Columns(target="found", target_kind="multilabel", split="split")
    data = load_table(path, columns=columns, attributes=SITE)
    np.testing.assert_array_equal(np.concatenate([data.train.y, data.validation.y, data.audit.y]), there)


@pytest.mark.parametrize("lists", [[["A"], ["A", None]], [["A"], [""]], [["A"], ["both ' and \""]], [[["A"]], [["B"]]]])
def test_lists_of_what_is_no_label_are_not_read(tmp_path: Path, lists: list[object]) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.0], "label": lists}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert list(table.columns) == ["x"]
    with pytest.raises(DataError, match="'label' .list<"):
        refuse_nested(table)


def test_a_missing_list_is_missing_and_an_empty_one_is_not(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [["A"], None, []]}), tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").columns["label"]) == ["['A']", None, "[]"]
