"""Heads that are fitted first, against scikit-learn and against what a product of experts asks for."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from small_runs import tiny

from mibias_cli.backbone.embed import embed
from mibias_cli.progress import Silent
from mibias_cli.run.assemble import assemble
from mibias_cli.run.head_start import start_heads
from mibias_cli.training.step import TASK_OFFSET

L2 = 0.05


def test_a_bare_head_is_penalised_logistic_regression_and_the_backbone_stays() -> None:
    parts = assemble(tiny(f"training.head_first={L2}"), offline=True)
    model = parts.new_model()
    backbone = {name: value.clone() for name, value in model.extractor.state_dict().items()}
    start_heads(model, parts, {}, Silent())
    x = embed(model.extractor, parts.data.train, **parts.reading).backbone_features
    y = parts.data.train.y
    known = LogisticRegression(C=1 / (L2 * len(y)), tol=1e-8, max_iter=5000).fit(x, y)
    with torch.no_grad():
        found = torch.softmax(model.head(torch.from_numpy(x)), dim=1).numpy()
    np.testing.assert_allclose(found, known.predict_proba(x), atol=5e-3)
    assert all(torch.equal(value, backbone[name]) for name, value in model.extractor.state_dict().items())


def test_what_is_added_to_the_scores_needs_no_learning() -> None:
    parts = assemble(tiny(f"training.head_first={L2}"), offline=True)
    y = parts.data.train.y
    # an expert that knows every answer leaves nothing to learn
    offset = np.where(np.eye(10)[y] == 1, 30.0, 0.0).astype(np.float32)
    model = parts.new_model()
    start_heads(model, parts, {TASK_OFFSET: offset}, Silent())
    matrices = [p for p in model.head.parameters() if p.ndim > 1]
    assert max(float(p.detach().abs().max()) for p in matrices) < 1e-3


def test_without_the_setting_nothing_is_fitted() -> None:
    parts = assemble(tiny(), offline=True)
    model = parts.new_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start_heads(model, parts, {}, Silent())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
