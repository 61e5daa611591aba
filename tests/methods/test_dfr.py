"""Last-layer retraining: which rows it is fitted on, its head against scikit-learn, and what it gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from method_toys import linear_model, make_spec, toy, train, train_plainly, worst_group
from sklearn.linear_model import LogisticRegression

from mibias_cli.methods.dfr import LastLayer, balanced_head


def test_a_head_of_one_subset_of_everything_is_scikit_learn_s() -> None:
    """Groups of one size leave nothing to draw. Three classes, and two, whose one score becomes two."""
    g = np.random.default_rng(0)
    for n_classes in (2, 3):
        y = np.repeat(np.arange(n_classes), 60)
        x = g.standard_normal((len(y), 5)) + 2 * np.eye(5)[y]
        weight, bias, least = balanced_head(
            x, y, y, n_classes=n_classes, inverse_l1=0.3, n_subsets=1, generator=np.random.default_rng(0)
        )
        # another solver of the same convex problem: each class's scores up to a constant
        other = LogisticRegression(C=0.3, l1_ratio=1.0, solver="saga", tol=1e-8, max_iter=20_000).fit(x, y)
        scores = x @ weight.T + bias
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        assert least == 60
        np.testing.assert_allclose(scores / scores.sum(axis=1, keepdims=True), other.predict_proba(x), atol=2e-3)


def test_a_class_without_rows_is_never_predicted() -> None:
    y = np.repeat([0, 2], 30)
    x = np.eye(3)[y] + 0.1 * np.random.default_rng(0).standard_normal((60, 3))
    weight, bias, _ = balanced_head(
        x, y, y, n_classes=4, inverse_l1=1.0, n_subsets=2, generator=np.random.default_rng(0)
    )
    assert set((x @ weight.T + bias).argmax(axis=1)) == {0, 2}


def test_subsets_have_as_many_rows_of_every_group() -> None:
    """Of a group of 8 and one of 800 that x does not tell apart: without balance the scores differ by log 100 = 4.6."""
    y = np.repeat([0, 1], [8, 800])
    x = np.random.default_rng(0).standard_normal((808, 1))
    _, bias, least = balanced_head(
        x, y, y, n_classes=2, inverse_l1=0.1, n_subsets=3, generator=np.random.default_rng(0)
    )
    assert least == 8
    assert abs(bias[1] - bias[0]) < 0.5


@pytest.mark.parametrize(("without", "source"), [(0, "from the validation split"), (1, "training and validation")])
def test_the_worst_group_gains_and_features_stay(without: int, source: str) -> None:
    """From validation rows where these have every group, else from both splits; fitted again it is the same head."""
    data, model = toy(), linear_model()
    if without:
        validation = data.validation
        data = replace(data, validation=validation.at(np.flatnonzero(validation.y == validation.c["sex"][:, 0])))
    method = LastLayer(make_spec(data, model, inverse_l1=1.0, subsets=10))
    train(method, model, data)
    assert worst_group(train_plainly(data, linear_model()), data) < 0.5
    assert worst_group(model, data) > 0.7
    fitted = {name: value.clone() for name, value in model.state_dict().items()}
    assert source in method.finish()
    assert all(torch.equal(value, fitted[name]) for name, value in model.state_dict().items())
