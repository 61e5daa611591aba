from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.sources.colour import MEAN_COLOURS
from mibias_cli.data.sources.mnist import load_mnist, read_idx
from mibias_cli.errors import DataError

Tiny = tuple[Path, dict[str, np.ndarray]]
WriteIdx = Callable[[Path, np.ndarray, int], None]


def test_reads_gzipped_and_plain_files(tiny_mnist: Tiny) -> None:
    root, arrays = tiny_mnist
    data = load_mnist(root=root, variance=0.0)
    assert (len(data.train), len(data.validation), len(data.audit)) == (108, 12, 50)
    assert data.input_shape == (3, 5, 4)
    rows = data.train.rows
    np.testing.assert_array_equal(data.train.y, arrays["train-labels-idx1-ubyte"][rows])
    expected = arrays["train-images-idx3-ubyte.gz"][rows, None] / 255 * MEAN_COLOURS[data.train.y][:, :, None, None]
    np.testing.assert_allclose(data.train.reader.read(rows, 0).numpy(), expected, atol=1e-6)


def test_audit_is_the_test_set_in_colours_of_its_own(tiny_mnist: Tiny) -> None:
    root, arrays = tiny_mnist
    data = load_mnist(root=root)
    np.testing.assert_array_equal(data.audit.y, arrays["t10k-labels-idx1-ubyte.gz"])
    images = data.audit.reader.read(data.audit.rows, None).numpy()
    brightest = arrays["t10k-images.idx3-ubyte"].max(axis=(1, 2)) / 255
    colour = images.max(axis=(2, 3)) / brightest[:, None]
    grey = arrays["t10k-images.idx3-ubyte"] / 255
    np.testing.assert_allclose(images, grey[:, None] * colour[:, :, None, None], atol=1e-5)


def test_n_train_takes_the_first_and_keeps_their_colours(tiny_mnist: Tiny) -> None:
    root, _ = tiny_mnist
    whole, part = load_mnist(root=root), load_mnist(root=root, n_train=60)
    assert len(part.train) + len(part.validation) == 60
    rows = np.sort(np.concatenate([part.train.rows, part.validation.rows]))
    assert rows.tolist() == list(range(60))
    np.testing.assert_array_equal(whole.train.reader.read(rows, None), part.train.reader.read(rows, None))
    np.testing.assert_array_equal(whole.audit.c["colour"], part.audit.c["colour"])


def test_split_follows_the_seed_and_not_the_colours(tiny_mnist: Tiny) -> None:
    root, _ = tiny_mnist
    base = load_mnist(root=root)
    np.testing.assert_array_equal(base.train.rows, load_mnist(root=root, colour_seed=9).train.rows)
    assert not np.array_equal(base.train.rows, load_mnist(root=root, seed=9).train.rows)
    assert base.fingerprint == load_mnist(root=root).fingerprint


def test_missing_files_are_all_named(tiny_mnist: Tiny, tmp_path: Path) -> None:
    root, _ = tiny_mnist
    (root / "t10k-images.idx3-ubyte").unlink()
    (root / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError) as caught:
        load_mnist(root=root)
    text = str(caught.value)
    assert "2 of MNIST's 4 files" in text
    assert "data.root" in text
    assert (
        "t10k-images-idx3-ubyte.gz, t10k-images-idx3-ubyte, t10k-images.idx3-ubyte.gz, t10k-images.idx3-ubyte" in text
    )
    assert "train labels" in text
    assert "test labels" not in text
    with pytest.raises(DataError, match="no such folder"):
        load_mnist(root=tmp_path / "nowhere")


def test_broken_files_are_named(tiny_mnist: Tiny, to_idx: WriteIdx) -> None:
    root, _arrays = tiny_mnist
    labels = root / "train-labels-idx1-ubyte"
    to_idx(labels, np.arange(120) % 10, 2051)
    with pytest.raises(DataError, match="magic number is 2051, not 2049"):
        load_mnist(root=root)
    to_idx(labels, np.arange(119) % 10, 2049)
    with pytest.raises(DataError, match="has 120 images, train-labels-idx1-ubyte has 119 labels"):
        load_mnist(root=root)
    to_idx(labels, np.arange(120) % 11, 2049)
    with pytest.raises(DataError, match="labels go up to 10"):
        load_mnist(root=root)
    images = root / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="gzip stream is broken"):
        read_idx(images, "images")
    plain = root / "t10k-images.idx3-ubyte"
    plain.write_bytes(plain.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"says \(50, 5, 4\), which is 1016 bytes, but it has 1015"):
        read_idx(plain, "images")
    plain.write_bytes(b"")
    with pytest.raises(DataError, match="not an IDX file"):
        read_idx(plain, "images")
