"""BAdd: what the head sees in training, and what that leaves out of the model."""

from __future__ import annotations

import torch
from method_toys import linear_model, make_spec, steps, toy, train, train_plainly, worst_group
from torch.nn import functional

from mibias_cli.methods.badd import BiasAddition


def test_the_loss_is_of_the_head_on_features_and_a_fixed_vector_per_class() -> None:
    """The vectors are told from the rows; of rows whose attribute is missing nothing is added."""
    data, model = toy(n=400, n_unknown=30), linear_model()
    method = BiasAddition(make_spec(data, model)).double()
    c, known = torch.from_numpy(data.train.c["sex"][:, 0]), torch.from_numpy(data.train.known["sex"])
    vectors = torch.stack([method.added[known & (c == k)][0] for k in (0, 1)])
    assert float((vectors[0] - vectors[1]).abs().max()) > 0.1
    shares = torch.stack([(c[known] == k).double().mean() for k in (0, 1)])
    torch.testing.assert_close(shares @ vectors, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-6)
    batch = next(steps(data, 1, 400))
    output = model(batch.x)
    shown = output["features"] + torch.where(known[batch.index][:, None], vectors[c[batch.index]], 0)
    expected = functional.cross_entropy(shown @ model.head.linear.weight.T + model.head.linear.bias, batch.y)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(method(batch, output), expected, rtol=0, atol=1e-12)


def test_the_worst_group_gains() -> None:
    """Linear features cannot change here, so all that is gained is that the head need not read the bias of them."""
    data, model = toy(), linear_model()
    train(BiasAddition(make_spec(data, model)), model, data, epochs=60)
    plain = train_plainly(data, linear_model())
    assert worst_group(plain, data) < 0.5
    assert worst_group(model, data) > worst_group(plain, data) + 0.15


def test_one_seed_gives_one_map() -> None:
    data, model = toy(n=100), linear_model()
    assert torch.equal(*(BiasAddition(make_spec(data, model)).added for _ in range(2)))
