"""Backbones by name: determinism, shapes, sources, and errors that say what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from mibias_cli.backbone import timm_source
from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.transforms import transforms_for
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.errors import BackboneError


@pytest.fixture(autouse=True)
def _empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what the machine has fetched before."""
    monkeypatch.setattr(timm_source, "try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "digit_cnn"])
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weights_fingerprint(create_backbone(name, seed=1).module)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    assert weights_fingerprint(create_backbone(name, seed=1).module) == first
    assert weights_fingerprint(create_backbone(name, seed=2).module) != first


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_mambaout", "test_maxvit"])
@pytest.mark.parametrize(("channels", "size"), [(None, None), (1, 96), (3, 64)])
def test_timm_models_give_pooled_features(name: str, channels: int | None, size: int | None) -> None:
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    if name == "test_maxvit" and size is not None:
        size = 2 * size  # its windows need more
    backbone = create_backbone(name, channels=channels, input_size=size)
    assert backbone.input_shape == (channels or 3, size or 160, size or 160)
    assert backbone.module.eval()(torch.zeros(2, *backbone.input_shape)).shape == (2, backbone.n_features)
    assert len(backbone.data_config["mean"]) == (channels or 3)
    assert backbone.licence is None  # weights drawn at random have none


def test_built_in_networks() -> None:
    digit = create_backbone("digit_cnn", channels=1, input_size=32, options={"width": 2, "hidden": 4, "features": 5})
    assert (digit.kind, digit.n_features, digit.input_shape) == ("digit_cnn", 5, (1, 32, 32))
    mlp = create_backbone("mlp", input_shape=(9,), options={"hidden": [4]})
    assert (mlp.kind, mlp.n_features, mlp.input_shape, mlp.arguments) == (
        "mlp",
        16,
        (9,),
        {"n_inputs": 9, "hidden": [4]},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnett18"}, r"unknown, did you mean 'resnet18'\?.*models of timm"),
        ({"name": "digit_cn"}, "did you mean 'digit_cnn'"),
        ({"name": "resnet18.nope"}, "unknown tag.*resnet18.a1_in1k"),
        ({"name": "resnet18", "options": {"depth": 3}}, "does not take these arguments.*depth"),
        ({"name": "resnet18", "options": {"in_chans": 1}}, "set backbone.in_chans"),
        ({"name": "test_resnet", "options": {"global_pool": ""}}, r"gives \(1, 96, .*pooled features"),
        ({"name": "test_vit", "input_size": 97}, "another backbone.input_size"),
        ({"name": "digit_cnn", "options": {"widht": 3}}, "did you mean 'width'"),
        ({"name": "digit_cnn", "input_size": 8}, "at least 16"),
        ({"name": "digit_cnn", "weights": "pretrained"}, "no pretrained weights"),
        ({"name": "mlp", "input_shape": (3, 8, 8)}, "takes vectors"),
        ({"name": "test_resnet", "weights": "/nowhere/w.pth"}, "/nowhere/w.pth: does not exist"),
        ({"name": "test_resnet", "weights": "local-dir:/nowhere"}, "/nowhere: this folder does not exist"),
        ({"name": "vit_giant_patch14_224", "weights": "pretrained"}, "timm has no pretrained weights for it"),
    ],
)
def test_errors_say_what_to_do(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        create_backbone(**arguments)


def test_offline_says_what_it_would_have_fetched() -> None:
    with pytest.raises(BackboneError) as caught:
        create_backbone("resnet18.a1_in1k", weights="pretrained", offline=True)
    text = str(caught.value)
    assert "--offline" in text
    assert "https://huggingface.co/timm/resnet18.a1_in1k" in text
    assert "https://github.com/huggingface/pytorch-image-models/releases/download/" in text
    assert "hf download timm/resnet18.a1_in1k" in text
    assert "local-dir:FOLDER" in text
    with pytest.raises(BackboneError, match=r"hf-hub:me/mine: not in the cache[\s\S]*huggingface.co/me/mine"):
        create_backbone("resnet18", weights="hf-hub:me/mine", offline=True)


def test_a_failed_download_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to host")

    # the server answers, and then the download breaks off
    monkeypatch.setattr(timm_source, "require_network", lambda *_, **__: None)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", fail)
    with pytest.raises(BackboneError, match=r"no route to host[\s\S]*hf download timm/test_resnet.r160_in1k"):
        create_backbone("test_resnet", weights="pretrained")
    monkeypatch.setattr(timm_source, "hf_hub_download", fail)
    with pytest.raises(BackboneError, match=r"no route to host[\s\S]*huggingface.co/me/mine"):
        create_backbone("test_resnet", weights="hf-hub:me/mine")


def test_offline_uses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = timm.create_model("test_resnet")
    path = tmp_path / "model.safetensors"
    save_file(given.state_dict(), path)
    found = {("timm/test_resnet.r160_in1k", "model.safetensors"): str(path)}
    monkeypatch.setattr(timm_source, "try_to_load_from_cache", lambda repo, name, **kwargs: found.get((repo, name)))
    backbone = create_backbone("test_resnet", weights="pretrained", offline=True)
    assert torch.equal(backbone.module.conv1[0].weight, given.conv1[0].weight)
    assert backbone.licence == "apache-2.0"


def folder_of(tmp_path: Path, **config: Any) -> Path:
    given = timm.create_model("test_resnet", in_chans=1, num_classes=7)
    save_file(given.state_dict(), tmp_path / "model.safetensors")
    cfg = {"input_size": [1, 48, 48], "mean": [0.3], "std": [0.2], "num_classes": 7, "license": "mit"}
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": cfg, **config})
    )
    return tmp_path


@pytest.mark.parametrize("name", ["test_resnet", None])
def test_local_dir_brings_its_config(tmp_path: Path, name: str | None) -> None:
    place = f"local-dir:{folder_of(tmp_path)}"
    backbone = create_backbone(name or place, weights=place if name else "none")
    assert (backbone.input_shape, backbone.licence) == ((1, 48, 48), "mit")
    assert backbone.data_config["mean"] == (0.3,)
    assert backbone.load_report is not None
    assert backbone.load_report.warnings() == []
    assert backbone.load_report.dropped == ("fc.bias", "fc.weight")


def test_local_dir_of_another_architecture(tmp_path: Path) -> None:
    place = f"local-dir:{folder_of(tmp_path)}"
    with pytest.raises(BackboneError, match=r"holds a test_resnet, backbone.name is resnet18"):
        create_backbone("resnet18", weights=place)
    folder_of(tmp_path, architecture="resnet_of_the_future")
    with pytest.raises(BackboneError, match="unknown to timm"):
        create_backbone("resnet18", weights=place)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BackboneError, match="not a timm config"):
        create_backbone("resnet18", weights=place)


def test_what_timm_sets_with_its_own_weights_alone_is_always_set() -> None:
    """An export of fbnetc_100 is built without timm's weights, and read by timm as if with them."""
    backbone = create_backbone("fbnetc_100", input_size=32, seed=0)
    again = timm.create_model("fbnetc_100", num_classes=0, **backbone.arguments)
    for module in (backbone.module, again):
        assert {m.eps for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_mambaout"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_inputs_that_are_not_square(tmp_path: Path, name: str, channels: int) -> None:
    backbone = create_backbone(name, channels=channels, input_size=(64, 96), seed=0)
    assert backbone.input_shape == (channels, 64, 96)
    x = torch.rand(2, channels, 64, 96)
    y = backbone.module.eval()(x)
    assert y.shape == (2, backbone.n_features)
    # and the same of a folder, as timm keeps it
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "architecture": name,
                "model_args": backbone.arguments,
                "pretrained_cfg": {**backbone.pretrained_cfg, **backbone.data_config},
            }
        )
    )
    save_file(backbone.module.state_dict(), tmp_path / "model.safetensors")
    again = create_backbone(name, weights=f"local-dir:{tmp_path}")
    assert again.input_shape == (channels, 64, 96)
    assert torch.equal(again.module.eval()(x), y)
    transforms = transforms_for(name, channels=channels, input_size=(64, 96))
    assert transforms.arrays(torch.rand(2, channels, 20, 20)).shape == x.shape


def test_digit_cnn_takes_square_inputs() -> None:
    with pytest.raises(BackboneError, match="takes square inputs; set backbone.input_size to one side"):
        create_backbone("digit_cnn", input_size=(28, 32))


def test_weights_for_another_size_that_timm_does_not_resize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("pit_ti_224").state_dict(), path)
    message = (
        r"backbone pit_ti_224: the weights are for other images than img_size=64 \(pos_embed\).*224 × 224, 3 channels"
    )
    with pytest.raises(BackboneError, match=message):
        create_backbone("pit_ti_224", weights=str(path), input_size=64)
    # the same of weights that timm loads by itself
    monkeypatch.setattr(timm_source, "try_to_load_from_cache", lambda repo, name, **kwargs: str(path))
    with pytest.raises(BackboneError, match=message):
        create_backbone("pit_ti_224", weights="pretrained", input_size=64, offline=True)
    # without weights any size is built, and with them its own
    assert create_backbone("pit_ti_224", input_size=64).n_features == 256
    report = create_backbone("pit_ti_224", weights=str(path)).load_report
    assert report is not None
    assert report.warnings() == []


def test_a_size_that_a_model_does_not_run_on() -> None:
    with pytest.raises(BackboneError, match=r"crossvit_tiny_240: fails on .*\(3, 64, 64\).*its own \[240, 240\]"):
        create_backbone("crossvit_tiny_240", input_size=64)
