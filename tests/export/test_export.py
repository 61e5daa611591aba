"""Exported folders: the same features in a process without mibias, nothing left behind when they differ."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from told import Told
from torch import Tensor, nn

from mibias_cli.backbone.catalogue import Backbone, create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.errors import ExportError, MibiasError, RunError
from mibias_cli.export import export as export_module
from mibias_cli.export.export import write_export
from mibias_cli.export.heads_file import read_info
from mibias_cli.export.load import load_export, load_extractor
from mibias_cli.heads.target import TargetHead

WITHOUT_MIBIAS = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mibias_cli", "mibias"):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocked())
import numpy as np, timm, torch
from pathlib import Path

for folder in sorted(Path(sys.argv[1]).iterdir()):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    with torch.no_grad():
        features = model(torch.from_numpy(np.load(folder / "report/x.npy"))).numpy()
    np.savez(folder / "out.npz", features=features, input_size=config["input_size"], mean=config["mean"])
assert not any(name.startswith("mibias") for name in sys.modules)
"""


def trained(
    name: str, *, bottleneck: int | None = None, layers: tuple[str, ...] = ("features",), **arguments: Any
) -> tuple[Backbone, Extractor, TargetHead]:
    """A backbone whose weights and statistics are not those of its initialisation."""
    torch.manual_seed(0)
    backbone = create_backbone(name, **arguments)
    for module in backbone.module.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    extractor = Extractor(backbone.module, backbone.n_features, bottleneck=bottleneck, layers=layers, pool="mean")
    return backbone, extractor, TargetHead(extractor.features_dim, 3)


def export(folder: Path, parts: tuple[Backbone, Extractor, TargetHead], **changes: Any) -> Tensor:
    backbone, extractor, head = parts
    torch.manual_seed(1)
    x = torch.rand(3, *backbone.input_shape)
    arguments: dict[str, Any] = {
        "backbone": backbone,
        "extractor": extractor,
        "head": head,
        "class_names": ("a", "b", "c"),
        "layers": list(extractor.inner_layers) or ["features"],
        "report": None,
        "report_folder": None,
        "sample_inputs": x,
        **changes,
    }
    write_export(folder, **arguments)
    return x


def test_timm_without_mibias_gives_the_same_features(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "test_resnet": {"channels": 1, "input_size": 32},
        "test_vit": {"input_size": 96},
        "test_efficientnet": {"input_size": 64},
        "resnet18": {"input_size": 40, "options": {"global_pool": "max"}},
    }
    parts = {name: trained(name, bottleneck=5, **arguments) for name, arguments in cases.items()}
    inputs = {}
    for name in cases:
        inputs[name] = export(tmp_path / "exports" / name, parts[name])
        (tmp_path / "exports" / name / "report").mkdir()
        np.save(tmp_path / "exports" / name / "report" / "x.npy", inputs[name].numpy())
    command = [sys.executable, "-c", WITHOUT_MIBIAS, str(tmp_path / "exports")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    for name, (backbone, extractor, _) in parts.items():
        out = np.load(tmp_path / "exports" / name / "out.npz")
        with torch.no_grad():
            wanted = extractor.eval()(inputs[name]).backbone_features.numpy()
        assert np.abs(out["features"] - wanted).max() <= 1e-6
        assert tuple(out["input_size"]) == backbone.input_shape
        np.testing.assert_allclose(out["mean"], backbone.data_config["mean"])


@pytest.mark.parametrize(
    ("name", "bottleneck", "layers", "arguments"),
    [
        ("test_resnet", None, ("features",), {"input_size": 32}),
        ("test_vit", 4, ("blocks.1", "features"), {"input_size": 64}),
        ("digit_cnn", 6, ("pool2",), {"channels": 1, "input_size": 32, "options": {"width": 3, "hidden": 7}}),
        ("mlp", None, ("features",), {"input_shape": (5,), "options": {"hidden": [4, 3]}}),
    ],
)
def test_load_export_gives_back_extractor_and_head(
    tmp_path: Path, name: str, bottleneck: int | None, layers: tuple[str, ...], arguments: dict[str, Any]
) -> None:
    parts = trained(name, bottleneck=bottleneck, layers=layers, **arguments)
    x = export(tmp_path / "export", parts, base_weights="local-dir:there", layers=layers)
    loaded = load_export(tmp_path / "export")
    with torch.no_grad():
        wanted, given = parts[1].eval()(x), loaded.extractor(x)
        assert torch.equal(loaded.head(given.features), parts[2](wanted.features))
    assert torch.equal(given.features, wanted.features)
    assert {k: v.shape for k, v in given.taps.items()} == {k: v.shape for k, v in wanted.taps.items()}
    assert loaded.backbone.input_shape == parts[0].input_shape
    assert (loaded.info.layers, loaded.info.base_weights, loaded.backbone.name) == (layers, "local-dir:there", name)
    assert (
        weights_fingerprint(loaded.extractor.backbone)
        == loaded.info.fingerprint
        == weights_fingerprint(parts[0].module)
    )
    # an export can be exported
    export(tmp_path / "again", (loaded.backbone, loaded.extractor, loaded.head))
    assert read_info(tmp_path / "again").fingerprint == loaded.info.fingerprint


def test_timm_takes_the_backbone_where_the_heads_lie_beside_it(tmp_path: Path) -> None:
    """timm before 1.0.29 fails on a folder with two .safetensors files; what we depend on does not."""
    backbone, extractor, head = trained("test_resnet", bottleneck=4, input_size=32)
    export(tmp_path / "export", (backbone, extractor, head))
    assert sorted(p.name for p in (tmp_path / "export").glob("*.safetensors")) == [
        "heads.safetensors",
        "model.safetensors",
    ]
    model = timm.create_model(f"local-dir:{tmp_path / 'export'}", pretrained=True).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), extractor.eval()(x).backbone_features)


def test_the_extractors_weights_are_exported_not_the_backbones(tmp_path: Path) -> None:
    backbone, extractor, head = trained("digit_cnn")
    averaged = Extractor(create_backbone("digit_cnn", seed=9).module, backbone.n_features)
    export(tmp_path / "export", (backbone, averaged, head))
    assert (
        read_info(tmp_path / "export").fingerprint
        == weights_fingerprint(averaged.backbone)
        != weights_fingerprint(extractor.backbone)
    )


def test_double_precision_is_exported_as_single(tmp_path: Path) -> None:
    backbone, extractor, head = trained("digit_cnn")
    export(tmp_path / "export", (backbone, extractor.double(), head.double()))
    assert {t.dtype for t in load_file(tmp_path / "export/model.safetensors").values()} == {torch.float32}
    assert next(extractor.parameters()).dtype == torch.float64


def test_onnx_is_compared(tmp_path: Path) -> None:
    import onnxruntime

    parts = trained("test_resnet", bottleneck=4, input_size=32)
    x = export(tmp_path / "export", parts, formats=["safetensors", "onnx"])
    session = onnxruntime.InferenceSession(str(tmp_path / "export/model.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 2, 7):
        batch = torch.rand(n, *x.shape[1:])
        (given,) = session.run(["features"], {"input": batch.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(given, parts[1].eval()(batch).features.numpy(), rtol=1e-3, atol=1e-4)


def test_onnx_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = Told()
    export(tmp_path / "export", trained("digit_cnn"), formats=["onnx"], progress=told)
    (warning,) = told.warnings
    assert "onnxruntime not installed; pip install 'mibias[onnx]'; everything else is exported" in warning


def test_a_model_that_onnx_cannot_hold_is_exported_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    told, parts = Told(), trained("digit_cnn")

    def fails(_module: object, _inputs: object, path: Path, **_options: object) -> None:
        path.write_bytes(b"half a file")
        raise RuntimeError("unsupported operator")

    monkeypatch.setattr("torch.onnx.export", fails)
    x = export(tmp_path / "export", parts, formats=["safetensors", "onnx"], progress=told)
    assert "torch cannot write this model as ONNX (unsupported operator)" in told.warnings[0]
    assert not (tmp_path / "export" / "model.onnx").exists()
    assert "model.onnx" not in (tmp_path / "export" / "README.md").read_text()
    with torch.no_grad():
        assert torch.equal(load_export(tmp_path / "export").extractor(x).features, parts[1].eval()(x).features)


def test_what_differs_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = create_backbone("test_resnet", input_size=32, seed=8).module.eval()
    monkeypatch.setattr(export_module, "load_by_timm", lambda folder: other)
    with pytest.raises(ExportError, match="backbone's features differ by"):
        export(tmp_path / "export", trained("test_resnet", input_size=32))
    assert list(tmp_path.iterdir()) == []


def test_features_that_are_not_finite_are_no_export(tmp_path: Path) -> None:
    parts = trained("digit_cnn")
    with torch.no_grad():
        parts[1].backbone.conv1.bias.fill_(float("nan"))
    with pytest.raises(ExportError, match="differ by nan"):
        export(tmp_path / "export", parts)


def test_existing_folders(tmp_path: Path) -> None:
    parts = trained("digit_cnn")
    folder = tmp_path / "export"
    folder.mkdir()
    export(folder, parts)  # an empty folder is no obstacle
    with pytest.raises(RunError, match=r"exists already.*--out"):
        export(folder, parts)
    assert {p.name for p in folder.iterdir()} == {
        "README.md",
        "config.json",
        "heads.safetensors",
        "mibias.json",
        "model.safetensors",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["export"]
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(RunError, match="is a file"):
        export(tmp_path / "letters.txt", parts)
    with pytest.raises(ExportError, match="unknown format 'pickle'"):
        export(tmp_path / "other", parts, formats=["pickle"])


def test_report_is_copied(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "leakage.json").write_text("{}")
    export(tmp_path / "export", trained("digit_cnn"), report_folder=tmp_path / "report")
    assert (tmp_path / "export/report/leakage.json").read_text() == "{}"


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    with pytest.raises(ExportError, match="does not exist"):
        load_export(folder)
    export(folder, trained("digit_cnn", bottleneck=4))
    info = (folder / "mibias.json").read_text()

    (folder / "mibias.json").write_text(json.dumps({**json.loads(info), "format": 99}))
    with pytest.raises(ExportError, match="format 99"):
        load_export(folder)
    for text in ("null", "[]", "5", "[" * 50_000 + "]" * 50_000, json.dumps({"format": 1})):
        (folder / "mibias.json").write_text(text)
        with pytest.raises(ExportError, match="damaged"):
            load_export(folder)
    # sizes that were edited are refused before anything is built by them
    (folder / "mibias.json").write_text(info.replace('"bottleneck": 4', '"bottleneck": 1000000000'))
    with pytest.raises(ExportError, match=r"mibias.json is not the file that was exported"):
        load_export(folder)
    (folder / "mibias.json").unlink()
    with pytest.raises(ExportError, match="not a folder that mibias exported"):
        load_export(folder)
    (folder / "mibias.json").write_text(info)

    state = load_file(folder / "model.safetensors")
    save_file({**state, "conv1.bias": state["conv1.bias"] + 1}, folder / "model.safetensors")
    with pytest.raises(ExportError, match="does not hold the weights that were exported"):
        load_export(folder)
    save_file(state, folder / "model.safetensors")
    save_file({"head.linear.weight": torch.zeros(3, 4)}, folder / "heads.safetensors")
    with pytest.raises(
        ExportError,
        match="bottleneck does not fit what mibias.json says: it is of another export, or was edited; export",
    ):
        load_export(folder)
    (folder / "heads.safetensors").unlink()
    with pytest.raises(ExportError, match=r"heads.safetensors is missing"):
        load_export(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ExportError, match=r"config.json is missing"):
        load_export(folder)


@pytest.mark.parametrize(
    "name", ["heads.safetensors", "config.json", "mibias.json", "report/leakage.json", "model.onnx"]
)
def test_every_part_is_the_one_that_was_exported(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "export"
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "leakage.json").write_text('{"leakage": 1}')
    formats = ["onnx"] if name.endswith("onnx") else ["safetensors"]
    if name.endswith("onnx"):
        pytest.importorskip("onnxruntime")
    export(folder, trained("digit_cnn", bottleneck=4), report_folder=tmp_path / "report", formats=formats)
    (folder / "README.md").write_text("# My own words\n")
    for path in (folder / "config.json", folder / "mibias.json"):  # written otherwise, it says the same
        path.write_text(json.dumps(json.loads(path.read_text())))
    load_export(folder)
    path = folder / name
    if name == "heads.safetensors":  # of the same shapes
        state = load_file(path)
        save_file({**state, "head.linear.bias": state["head.linear.bias"] + 1}, path)
    elif name == "mibias.json":
        path.write_text(path.read_text().replace('"a"', '"z"'))
    elif name == "model.onnx":
        path.write_bytes(path.read_bytes() + b" ")
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), "leakage": 0}))
    with pytest.raises(ExportError, match=f"{name} is not the file that was exported"):
        load_export(folder)


def test_an_exported_folder_as_one_callable(tmp_path: Path) -> None:
    parts = trained("test_resnet", bottleneck=4, layers=("layer2",), input_size=32, channels=1)
    x = export(tmp_path / "runs" / "export", parts)
    extractor = load_extractor(str(tmp_path / "runs" / "export"))
    given = extractor(x)
    with torch.no_grad():
        wanted = parts[1].eval()(x).features
        assert torch.equal(extractor.head(given), parts[2](wanted))
    assert torch.equal(given, wanted)
    assert not given.requires_grad
    assert (extractor.n_features, extractor.input_shape, extractor.class_names) == (4, (1, 32, 32), ("a", "b", "c"))
    assert (extractor.mean, extractor.std) == ((0.5,), (0.5,))
    with pytest.raises(ExportError, match=r"inputs: expected shape \(n, 1, 32, 32\), found \(3, 3, 32, 32\)"):
        extractor(x.expand(-1, 3, -1, -1))
    # arrays and other precisions are meant as they are; words are not, nor a batch where a file is read
    assert torch.equal(extractor(x.double().numpy()), wanted)
    for call, message in ((extractor, "cannot be read as a tensor"), (extractor.embed, "data must be a path")):
        with pytest.raises(MibiasError, match=message):
            call([x, "y"])
    # a run's folder stands for the export in it
    (tmp_path / "runs" / "recipe.resolved.yaml").write_text("version: 1\n")
    assert torch.equal(load_extractor(tmp_path / "runs")(x), wanted)
    with pytest.raises(ExportError, match="does not exist"):
        load_extractor(tmp_path / "nowhere")


def test_vectors_need_no_mean(tmp_path: Path) -> None:
    parts = trained("mlp", input_shape=(5,))
    export(tmp_path / "export", parts, head=None, class_names=())
    extractor = load_extractor(tmp_path / "export")
    assert (extractor.mean, extractor.head, extractor.class_names, extractor.input_shape) == ((), None, (), (5,))
    assert extractor(torch.zeros(2, 5)).shape == (2, 16)


def test_an_export_of_the_first_format_loads(tmp_path: Path) -> None:
    """Its mibias.json names neither what was erased nor the kind of target."""
    parts = trained("digit_cnn")
    x = export(tmp_path / "export", parts)
    path = tmp_path / "export" / "mibias.json"
    content = json.loads(path.read_text())
    del content["target_kind"], content["representation"]["erased"], content["sha256"]
    path.write_text(json.dumps(content))
    loaded = load_export(tmp_path / "export")
    assert (loaded.info.erased, loaded.info.target_kind) == (None, "classes")
    with torch.no_grad():
        assert torch.equal(loaded.extractor(x).features, parts[1].eval()(x).features)


def test_links_in_a_report_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "secret").write_text("key")
    (tmp_path / "report" / "leakage.json").write_text("{}")
    (tmp_path / "report" / "leakage.html").symlink_to(tmp_path / "secret")
    (tmp_path / "report" / "plots").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "report" / "leakage.md")
    told = Told()
    export(tmp_path / "export", trained("digit_cnn"), report_folder=tmp_path / "report", progress=told)
    assert [path.name for path in (tmp_path / "export/report").iterdir()] == ["leakage.json"]
    for name in ("leakage.html", "plots", "leakage.md"):
        assert sum(f"{name}: is a link or no plain file, and is not exported" in text for text in told.warnings) == 1
