"""Taps and bottleneck against direct computation; copies, modes and random state stay as they were."""

import copy

import pytest
import torch
from torch import Tensor, nn

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.digit_cnn import DigitCNN
from mibias_cli.backbone.extractor import Extractor, evaluating
from mibias_cli.errors import BackboneError


def digits(**arguments: object) -> Extractor:
    torch.manual_seed(0)
    return Extractor(DigitCNN(width=4, hidden=8, features=5), 5, **arguments)


def last_map(extractor: Extractor, x: Tensor) -> Tensor:
    net = extractor.backbone
    return net.pool2(net.relu2(net.conv2(net.pool1(net.relu1(net.conv1(x))))))


def test_taps_are_whole_or_pooled_maps() -> None:
    x = torch.rand(3, 3, 28, 28)
    whole, mean, largest = (digits(layers=["pool2", "features"], pool=pool) for pool in ("none", "mean", "max"))
    wanted = last_map(whole, x)
    assert wanted.shape == (3, 4, 4, 4)
    assert torch.equal(whole(x).taps["pool2"], wanted.flatten(1))
    torch.testing.assert_close(mean(x).taps["pool2"], wanted.mean(dim=(2, 3)))
    torch.testing.assert_close(largest(x).taps["pool2"], wanted.amax(dim=(2, 3)))
    assert list(whole(x).taps) == ["pool2"]


def test_taps_carry_gradients_and_leave_no_hooks() -> None:
    extractor, x = digits(layers=["pool2"]), torch.rand(2, 3, 28, 28)
    extractor(x).taps["pool2"].sum().backward()
    assert extractor.backbone.conv1.weight.grad is not None
    assert extractor.backbone.fc1.weight.grad is None
    with torch.no_grad():
        assert not extractor(x).taps["pool2"].requires_grad
    assert all(not module._forward_hooks for module in extractor.modules())
    with pytest.raises(RuntimeError):
        extractor(torch.rand(2, 9, 28, 28))
    assert all(not module._forward_hooks for module in extractor.modules())


def test_copies_tap_their_own_modules() -> None:
    extractor, x = digits(layers=["pool2"]), torch.rand(2, 3, 28, 28)
    before = extractor(x).taps["pool2"]
    twin = copy.deepcopy(extractor)
    with torch.no_grad():
        twin.backbone.conv2.bias.add_(1.0)
    assert torch.equal(extractor(x).taps["pool2"], before)
    assert torch.equal(twin(x).taps["pool2"], last_map(twin, x).flatten(1))


def test_bottleneck_is_linear_relu() -> None:
    extractor, x = digits(bottleneck=3), torch.rand(2, 3, 28, 28)
    found = extractor(x)
    linear = extractor.bottleneck[0]
    assert found.backbone_features.shape == (2, 5)
    torch.testing.assert_close(found.features, (found.backbone_features @ linear.weight.T + linear.bias).clamp(min=0))
    assert (extractor.features_dim, digits().features_dim) == (3, 5)
    first, again = (digits(bottleneck=3, seed=4).bottleneck[0].weight for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, linear.weight)


def test_a_layer_modified_in_place_afterwards_is_tapped_as_it_was() -> None:
    backbone = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
    extractor, x = Extractor(backbone, 4, layers=["0"]), torch.randn(8, 4)
    torch.testing.assert_close(extractor(x).taps["0"], backbone[0](x))
    extractor(x).taps["0"].sum().backward()


@pytest.mark.parametrize(
    ("name", "layer", "dims"),
    [
        ("test_resnet", "layer3", 192),
        ("test_vit", "blocks.2", 64),  # (n, T, C)
        ("test_mambaout", "stages.1", 32),  # (n, H, W, C)
        ("test_convnext", "stages.1", 32),
    ],
)
def test_pooling_finds_the_channels(name: str, layer: str, dims: int) -> None:
    backbone = create_backbone(name, input_size=64)
    extractor = Extractor(backbone.module, backbone.n_features, layers=[layer], pool="mean").eval()
    seen: list[Tensor] = []
    handle = backbone.module.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.append(o))
    x = torch.rand(2, 3, 64, 64)
    tap = extractor(x).taps[layer]
    handle.remove()
    channel_axis = next(axis for axis in range(1, seen[0].ndim) if seen[0].shape[axis] == dims)
    others = tuple(axis for axis in range(1, seen[0].ndim) if axis != channel_axis)
    torch.testing.assert_close(tap, seen[0].mean(dim=others))


def test_tuples_and_bad_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return 2 * x, 3 * x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.unused, self.scalar = Two(), nn.Linear(2, 2), nn.Flatten(0)

        def forward(self, x: Tensor) -> Tensor:
            self.scalar(x)
            return self.two(x)[0]

    x = torch.rand(2, 3)
    assert torch.equal(Extractor(Net(), 3, layers=["two"])(x).taps["two"], 2 * x)
    with pytest.raises(BackboneError, match="takes no part"):
        Extractor(Net(), 3, layers=["unused"])(x)
    with pytest.raises(BackboneError, match="'scalar' gives no tensor"):
        Extractor(Net(), 3, layers=["scalar"])(x)


def test_unknown_layer_names_the_stages() -> None:
    module = create_backbone("test_resnet").module
    with pytest.raises(BackboneError, match=r"no module 'layer5', did you mean 'layer\d'\?.*conv1, bn1, layer1"):
        Extractor(module, 96, layers=["layer5"])


def test_modes_are_put_back_one_by_one() -> None:
    backbone = create_backbone("test_resnet", input_size=32)
    extractor = Extractor(backbone.module, 96, layers=["layer2"]).train()
    extractor.backbone.layer1.eval()
    modes = [m.training for m in extractor.modules()]
    with evaluating(extractor):
        assert not any(m.training for m in extractor.modules())
    with pytest.raises(RuntimeError), evaluating(extractor):
        extractor(torch.zeros(1, 99, 32, 32))
    assert modes == [m.training for m in extractor.modules()]
