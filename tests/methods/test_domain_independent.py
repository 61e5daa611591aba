"""Domain-independent heads against separate heads, and their mean against the sum of scores."""

from __future__ import annotations

import torch
from method_toys import linear_model, make_spec, steps, toy, train, train_plainly, worst_group
from torch.nn import functional

from mibias_cli.methods.domain_independent import DomainHeads


def test_loss_and_gradient_are_those_of_a_head_for_each_domain() -> None:
    """The heads are the model's own and what each domain's differs by; their mean is the model's own."""
    data, model = toy(n=200, n_unknown=20), linear_model()
    method = DomainHeads(make_spec(data, model)).double()
    torch.manual_seed(0)
    with torch.no_grad():
        method.weight.normal_()
        method.bias.normal_()
    batch = next(steps(data, 1, 200))
    z = model(batch.x)["features"].requires_grad_()
    own = model.head.linear
    assert isinstance(own, torch.nn.Linear)
    heads = [
        (own.weight + w - method.weight.mean(0), own.bias + b - method.bias.mean(0))
        for w, b in zip(method.weight, method.bias, strict=True)
    ]
    mean = (sum(w for w, _ in heads) / 2, sum(b for _, b in heads) / 2)
    torch.testing.assert_close(mean, (own.weight, own.bias), rtol=0, atol=1e-12)

    # row by row, each by its own head; those without a domain by the mean of all
    c = torch.where(batch.known["sex"], batch.c["sex"][:, 0], -1)
    scores = torch.stack([z[i] @ (w := (mean if k < 0 else heads[k]))[0].T + w[1] for i, k in enumerate(c.tolist())])
    expected = functional.cross_entropy(scores, batch.y)
    loss = method(batch, {"features": z, "logits": own(z)})
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(one, z, retain_graph=True)[0] for one in (loss, expected))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)

    # inference by the sum of all domains' scores is inference by the model
    summed = sum(z @ w.T + b for w, b in heads)
    assert isinstance(summed, torch.Tensor)
    assert torch.equal(summed.argmax(dim=1), own(z).argmax(dim=1))


def test_the_worst_group_gains() -> None:
    data, model = toy(), linear_model()
    train(DomainHeads(make_spec(data, model)), model, data, epochs=40)
    assert worst_group(train_plainly(data, linear_model()), data) < 0.5
    assert worst_group(model, data) > 0.65
