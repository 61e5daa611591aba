"""What is affine behind a backbone is in timm's own classifier: plain timm gives the debiased features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from mibias_cli.backbone.bottleneck import BottleneckShape
from mibias_cli.backbone.catalogue import Backbone, create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.export.export import write_export
from mibias_cli.export.heads_file import ExportInfo
from mibias_cli.export.load import load_export, load_extractor
from mibias_cli.heads.target import TargetHead
from mibias_cli.methods.erasers.linear_eraser import LinearEraser

LINEAR, MLP = BottleneckShape(width=5, hidden=()), BottleneckShape(width=5, hidden=(7,))


def made(name: str, bottleneck: int | BottleneckShape | None, *, erased: bool = False) -> tuple[Backbone, Extractor]:
    """A backbone with a bottleneck whose scale was fitted, and an eraser that takes a direction away."""
    torch.manual_seed(0)
    backbone = create_backbone(name, input_size=64)
    extractor = Extractor(backbone.module, backbone.n_features, bottleneck=bottleneck).eval()
    if extractor.input_scale is not None:
        extractor.input_scale.fit(torch.randn(30, backbone.n_features) * 3 + 1)
    if erased:
        u = torch.nn.functional.normalize(torch.randn(extractor.features_dim), dim=0)
        extractor.eraser = LinearEraser(torch.eye(len(u)) - torch.outer(u, u), u)
    return backbone, extractor


def export(folder: Path, parts: tuple[Backbone, Extractor], **changes: Any) -> tuple[ExportInfo, Tensor]:
    backbone, extractor = parts
    x = torch.rand(3, *backbone.input_shape, generator=torch.Generator().manual_seed(1))
    head = TargetHead(extractor.features_dim, 2)
    info = write_export(
        folder, backbone=backbone, extractor=extractor, head=head, class_names=("a", "b"), layers=["features"],
        report=None, report_folder=None, sample_inputs=x, erased=("c",), **changes,
    )  # fmt: skip
    return info, x


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize(("bottleneck", "erased"), [(LINEAR, False), (LINEAR, True), (None, True)])
@torch.no_grad()
def test_timm_alone_gives_debiased_features(
    tmp_path: Path, name: str, bottleneck: BottleneckShape | None, erased: bool
) -> None:
    backbone, extractor = made(name, bottleneck, erased=erased)
    info, x = export(tmp_path / "e", (backbone, extractor))
    wanted = extractor(x).features
    assert info.folded
    # by name and state dict, with nothing of ours; and by the folder
    model = timm.create_model(backbone.architecture, num_classes=wanted.shape[1], **backbone.arguments).eval()
    model.load_state_dict(load_file(tmp_path / "e/model.safetensors"))
    from_folder = timm.create_model(f"local-dir:{tmp_path / 'e'}", pretrained=True).eval()
    for given in (model(x), from_folder(x)):
        torch.testing.assert_close(given, wanted, rtol=0, atol=1e-6)
    assert model.get_classifier().weight.shape == (wanted.shape[1], backbone.n_features)
    # ours loads the same folder as a backbone and what stands behind it
    loaded = load_export(tmp_path / "e")
    assert loaded.info == info
    given = loaded.extractor(x)
    assert torch.equal(given.features, wanted)
    assert torch.equal(given.backbone_features, extractor(x).backbone_features)
    assert torch.equal(load_extractor(tmp_path / "e")(x), wanted)
    config = json.loads((tmp_path / "e/config.json").read_text())
    assert config["num_classes"] == config["pretrained_cfg"]["num_classes"] == wanted.shape[1]
    assert config["mibias"]["debiased"] is True
    card = (tmp_path / "e/README.md").read_text()
    assert f"belong to what `timm.create_model` gives ({wanted.shape[1]} wide)" in card
    assert "model.reset_classifier(0)" in card


@pytest.mark.parametrize("bottleneck", [MLP, 5])
@torch.no_grad()
def test_what_is_not_affine_is_said_to_lack_in_the_backbone(tmp_path: Path, bottleneck: int | BottleneckShape) -> None:
    backbone, extractor = made("test_resnet", bottleneck, erased=True)
    info, x = export(tmp_path / "e", (backbone, extractor))
    assert not info.folded
    wanted = extractor(x)
    alone = timm.create_model(f"local-dir:{tmp_path / 'e'}", pretrained=True).eval()(x)
    assert torch.equal(alone, wanted.backbone_features)
    loaded = load_extractor(tmp_path / "e")
    assert torch.equal(loaded(x), wanted.features)
    assert loaded.n_features == 5
    content = json.loads((tmp_path / "e/mibias.json").read_text())
    assert content["format"] == (3 if bottleneck is MLP else 2)
    about = json.loads((tmp_path / "e/config.json").read_text())["mibias"]
    assert about["debiased"] is False
    assert "backbone alone is not debiased" in about["gives"]
    assert "load_extractor(FOLDER)" in about["gives"]


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "dpn48b"])
def test_a_classifier_that_is_not_one_linear_layer_takes_nothing_in(tmp_path: Path, name: str) -> None:
    """Two heads, and a convolution."""
    info, x = export(tmp_path / "e", made(name, LINEAR))
    assert not info.folded
    assert load_extractor(tmp_path / "e")(x).shape == (3, 5)


def test_where_rounding_would_show_nothing_is_folded(tmp_path: Path) -> None:
    """What features vary by is lost beside a mean that is 10,000 times larger, unless that is taken off first."""
    backbone, extractor = made("test_resnet", LINEAR)
    torch.nn.init.constant_([m for m in backbone.module.modules() if isinstance(m, nn.BatchNorm2d)][-1].bias, 1e4)
    extractor.input_scale.fit(extractor(torch.rand(30, 3, 64, 64)).backbone_features.detach())
    info, _ = export(tmp_path / "e", (backbone, extractor))
    assert not info.folded


def test_onnx_holds_the_whole(tmp_path: Path) -> None:
    import onnxruntime

    parts = made("test_resnet", MLP)
    _, x = export(tmp_path / "e", parts, formats=["onnx"])
    session = onnxruntime.InferenceSession(str(tmp_path / "e/model.onnx"), providers=["CPUExecutionProvider"])
    (given,) = session.run(["features"], {"input": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(given, parts[1](x).features.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("bottleneck", "erased"), [(LINEAR, True), (MLP, False), (MLP, True), (5, True), (None, False)]
)
def test_the_cards_code_gives_the_representation(
    tmp_path: Path, bottleneck: int | BottleneckShape | None, erased: bool
) -> None:
    """Every snippet is run, as it stands but for the folder."""
    backbone, extractor = made("test_resnet", bottleneck, erased=erased)
    info, _ = export(tmp_path / "e", (backbone, extractor))
    snippets = (tmp_path / "e/README.md").read_text().split("```python\n")[1:]
    assert len(snippets) == (1 if info.alone_debiased else 2)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    names: dict[str, Any] = {"image": Image.fromarray(pixels)}
    exec(snippets[0].split("```")[0].replace("PATH/TO/THIS/FOLDER", str(tmp_path / "e")), names)
    inputs = names["transform"](names["image"])[None]
    with torch.no_grad():
        wanted = extractor(inputs).features
    given = names["features" if info.alone_debiased else "representation"]
    torch.testing.assert_close(given.detach(), wanted, rtol=0, atol=1e-5)
    if len(snippets) == 2:
        names = {"inputs": inputs}
        exec(snippets[1].split("```")[0].replace("PATH/TO/THIS/FOLDER", str(tmp_path / "e")), names)
        assert torch.equal(names["features"], wanted)


def test_a_built_in_network_is_loaded_by_us(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = create_backbone("mlp", input_shape=(6,), options={"hidden": [8], "features": 4, "last": "linear"})
    extractor = Extractor(backbone.module, 4, bottleneck=BottleneckShape(width=2, hidden=())).eval()
    info, x = export(tmp_path / "e", (backbone, extractor))
    assert not info.folded
    with torch.no_grad():
        assert torch.equal(load_extractor(tmp_path / "e")(x), extractor(x).features)
    assert isinstance(extractor.bottleneck, nn.Sequential)
