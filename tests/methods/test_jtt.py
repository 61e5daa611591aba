"""Just Train Twice: the error set, the objective on copies of its rows, and what it gains."""

from __future__ import annotations

import numpy as np
import torch
from method_toys import linear_model, make_spec, steps, toy, train, train_plainly, worst_group
from torch.nn import functional

from mibias_cli.methods.jtt import TrainTwice


def test_the_gradient_is_that_of_data_with_copies_of_the_errors() -> None:
    """Errors are recounted from the first model, which the spec's own training gives again to the bit."""
    data, model = toy(n=300), linear_model()
    method = TrainTwice(make_spec(data, model, epochs=2, upweight=7.0)).double()
    said = method.prepare()
    first = train_plainly(data, linear_model(2), epochs=2)
    x, y = data.train.reader.read(data.train.rows, None).double(), torch.from_numpy(data.train.y)
    with torch.no_grad():
        wrong = first(x)["logits"].argmax(dim=1) != y
    assert f"{int(wrong.sum())} of 300" in said
    assert 3 < int(wrong.sum()) < 100

    copies = np.repeat(np.arange(300), np.where(wrong, 7, 1))
    expected = functional.cross_entropy(model(x[copies])["logits"], y[copies])
    batch = next(steps(data, 1, 300))
    loss = method(batch, model(batch.x))
    for ours, theirs in zip(
        *(torch.autograd.grad(one, list(model.parameters())) for one in (loss, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_the_worst_group_gains_without_the_attribute() -> None:
    data, model = toy(), linear_model()
    spec = make_spec(data, model, epochs=1, upweight=8.0)
    train(TrainTwice(spec), model, data)
    plain = worst_group(train_plainly(data, linear_model()), data)
    assert plain < 0.5
    assert worst_group(model, data) > plain + 0.1
