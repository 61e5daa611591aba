from __future__ import annotations

import numpy as np
import torch
from known_mi import make_spec

from mibias_cli.data.batch import Attribute
from mibias_cli.estimators.critics import StatisticsNetwork, attribute_classes, encode_attribute


def test_statistics_network_by_hand() -> None:
    torch.manual_seed(0)
    network = StatisticsNetwork(3, 2, [5]).double()
    z, c = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    p = [t.detach().numpy() for t in network.parameters()]
    hidden = np.concatenate([z, c], axis=1) @ p[0].T + p[1]
    expected = np.where(hidden > 0, hidden, 0.2 * hidden) @ p[2].T + p[3]
    np.testing.assert_allclose(network(z, c).detach(), expected[:, 0], rtol=1e-12)


def test_encoding_of_a_colour_is_24_wide_and_one_hot_per_channel() -> None:
    c = torch.tensor([[0, 7, 3], [1, 1, 1]])
    encoded = encode_attribute(c, (8, 8, 8))
    assert encoded.shape == (2, 24) == (2, make_spec(n_features=1, n_classes=(8, 8, 8)).c_width)
    assert encoded.nonzero().tolist() == [[0, 0], [0, 15], [0, 19], [1, 1], [1, 9], [1, 17]]


def test_encoding_of_a_continuous_attribute_is_its_values() -> None:
    c = torch.tensor([[0.5, 2.0]])
    assert torch.equal(encode_attribute(c, None, torch.float64), c.double())
    assert make_spec(n_features=1, n_classes=(3, 3), bin_edges=((0.0, 1.0), (0.0, 1.0))).c_width == 2


def test_bins_are_those_of_the_attribute() -> None:
    edges = ((0.1, 0.2, 0.30000001), (-1.0,))
    attribute = Attribute(
        name="age",
        kind="continuous",
        channels=("a", "b"),
        n_classes=(4, 2),
        class_names=(("0", "1", "2", "3"), ("0", "1")),
        bin_edges=edges,
    )
    c = np.random.default_rng(0).uniform(-1.5, 0.5, (200, 2)).astype(np.float32)
    c[:3, 0] = [0.1, 0.2, 0.3]
    c[3, 1] = -1.0
    assert np.array_equal(attribute_classes(torch.from_numpy(c), edges).numpy(), attribute.classes(c))
