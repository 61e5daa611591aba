"""The product of experts with a weak learner: its loss, and what it gains where nobody knows the bias."""

from __future__ import annotations

import torch
from method_toys import linear_model, make_spec, steps, toy, train, train_plainly, worst_group

from mibias_cli.methods.weak_learner import WeakLearner


def test_the_loss_is_that_of_the_normalised_product_of_both_probabilities() -> None:
    data, model = toy(n=300), linear_model()
    method = WeakLearner(make_spec(data, model, epochs=2, strength=0.5)).double()
    said = method.prepare()
    first = train_plainly(data, linear_model(2), epochs=2)
    x, y = data.train.reader.read(data.train.rows, None).double(), torch.from_numpy(data.train.y)
    with torch.no_grad():
        p_first, p_own = (of(x)["logits"].softmax(dim=1) for of in (first, model))
    assert f"{int((p_first.argmax(dim=1) != y).sum())} of 300" in said
    product = p_first.sqrt() * p_own
    batch = next(steps(data, 1, 300))
    expected = -(product / product.sum(dim=1, keepdim=True))[torch.arange(300), y].log().mean()
    # the features that the first model scores are read as float32
    torch.testing.assert_close(method(batch, model(batch.x)), expected, rtol=0, atol=1e-6, check_dtype=True)


def test_with_no_strength_it_is_plain_training() -> None:
    data, model = toy(), linear_model()
    train(WeakLearner(make_spec(data, model, epochs=1, strength=0.0)), model, data)
    plain = train_plainly(data, linear_model())
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_worst_group_gains_without_the_attribute() -> None:
    data, model = toy(), linear_model()
    train(WeakLearner(make_spec(data, model, epochs=1, strength=1.0)), model, data)
    plain = worst_group(train_plainly(data, linear_model()), data)
    assert plain < 0.5
    assert worst_group(model, data) > plain + 0.1
