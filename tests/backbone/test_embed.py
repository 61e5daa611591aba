"""A split into memory: equal to one big forward pass, in order, and nothing is left changed."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.embed import embed, refuse_not_finite
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.data.batch import Split
from mibias_cli.errors import BackboneError


class Arrays:
    """Reads from memory; training's transform, which must not be used, gives zeros."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        return self.x[rows] if epoch is None else torch.zeros_like(self.x[rows])


def split_of(x: Tensor, rows: np.ndarray | None = None) -> Split:
    rows = np.arange(len(x)) if rows is None else rows
    n = len(rows)
    return Split(
        name="audit",
        y=np.zeros(n, dtype=np.int64),
        c={"colour": np.zeros((n, 1), dtype=np.int64)},
        known={"colour": np.ones(n, dtype=bool)},
        group=None,
        rows=rows,
        row_names=[f"row {i}" for i in range(n)],
        reader=Arrays(x),
    )


def extractor_of(bottleneck: int | None = 4) -> Extractor:
    backbone = create_backbone("test_resnet", input_size=32)
    return Extractor(
        backbone.module, backbone.n_features, bottleneck=bottleneck, layers=["layer2", "features"], pool="mean"
    )


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_equals_one_forward_pass(batch_size: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(9, 3, 32, 32)
    extractor = extractor_of().train()
    extractor.backbone.layer1.eval()
    modes = [m.training for m in extractor.modules()]
    rows = np.array([8, 1, 5, 0, 3, 2, 7])
    found = embed(extractor, split_of(x, rows), batch_size=batch_size, layers=["layer2"])
    assert [m.training for m in extractor.modules()] == modes
    with torch.no_grad():
        wanted = extractor.eval()(x[rows])
    for given, tensor in (
        (found.features, wanted.features),
        (found.backbone_features, wanted.backbone_features),
        (found.taps["layer2"], wanted.taps["layer2"]),
    ):
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, tensor.numpy(), atol=1e-5)


def test_rows_are_positions_in_the_split() -> None:
    x = torch.rand(6, 3, 32, 32)
    split = split_of(x, np.array([5, 4, 3]))
    extractor = extractor_of(bottleneck=None)
    whole = embed(extractor, split, batch_size=8)
    part = embed(extractor, split, batch_size=8, rows=np.array([2, 0]))
    np.testing.assert_allclose(part.features, whole.features[[2, 0]], atol=1e-5)
    assert whole.backbone_features is whole.features
    assert whole.taps == {}
    assert embed(extractor, split, batch_size=8, rows=np.array([], dtype=np.int64)).features.shape == (0, 96)


def test_double_precision_gives_single() -> None:
    split = split_of(torch.rand(4, 3, 32, 32))
    extractor = extractor_of()
    full = embed(extractor, split, batch_size=4).features
    double = embed(extractor.double(), split, batch_size=4).features
    assert double.dtype == np.float32
    np.testing.assert_allclose(double, full, atol=1e-5)


def test_layers_must_be_tapped() -> None:
    with pytest.raises(BackboneError, match="'layer3' is not tapped, did you mean 'layer2'"):
        embed(extractor_of(), split_of(torch.rand(2, 3, 32, 32)), batch_size=2, layers=["layer3"])


def test_features_that_are_no_numbers_are_refused() -> None:
    features = np.ones((5, 3))
    refuse_not_finite(features)
    features[[1, 4], 2] = np.nan, np.inf
    with pytest.raises(BackboneError, match="features of 2 of 5 samples are no finite numbers"):
        refuse_not_finite(features)
