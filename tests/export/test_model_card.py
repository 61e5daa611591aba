"""The model card: front matter that parses, and words that fit what was exported."""

import dataclasses

import yaml

from mibias_cli.export.heads_file import ExportInfo
from mibias_cli.export.model_card import model_card

INFO = ExportInfo(
    mibias_version="0.1.0",
    name="test_resnet.r160_in1k",
    kind="timm",
    architecture="test_resnet",
    input_shape=(3, 96, 96),
    n_features=96,
    bottleneck=None,
    layers=("features",),
    pool="none",
    features_dim=96,
    class_names=("land", "water"),
    has_head=True,
    base_weights="pretrained",
    licence="apache-2.0",
    fingerprint="abc",
)


def front_matter(card: str) -> dict[str, object]:
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def test_front_matter() -> None:
    head = front_matter(model_card(INFO, report=None, formats=("safetensors",)))
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "timm"
    assert {"mibias", "timm"} <= set(head["tags"])
    odd = dataclasses.replace(INFO, licence='other: "see [file]"', kind="mlp", input_shape=(5,))
    assert front_matter(model_card(odd, report=None, formats=()))["license"] == 'other: "see [file]"'
    unknown = dataclasses.replace(INFO, licence=None)
    assert front_matter(model_card(unknown, report=None, formats=()))["license"] == "unknown"


def test_figures_belong_to_the_features_that_timm_gives() -> None:
    card = model_card(INFO, report=None, formats=("safetensors",))
    assert "figures belong to the pooled features (96 wide), which are what `timm.create_model` gives" in card
    assert "bottleneck" not in card
    assert "Training started from `pretrained`. Licence of the base weights: apache-2.0." in card
    assert "onnx" not in card


def test_figures_belong_to_the_bottleneck() -> None:
    info = dataclasses.replace(INFO, bottleneck=8, features_dim=8, layers=("layer3", "features"), pool="mean")
    card = model_card(info, report=None, formats=("safetensors", "onnx"))
    assert "figures belong to the bottleneck's output (8 wide)" in card
    assert "headline figures do not hold for them" in card
    assert "acted on `layer3` inside the backbone, averaged over space" in card
    assert 'heads["bottleneck.0.weight"]' in card
    assert "model.onnx` gives the representation, bottleneck included" in card


def test_code_of_the_card_is_valid_python() -> None:
    for info in (
        INFO,
        dataclasses.replace(INFO, bottleneck=8),
        dataclasses.replace(INFO, kind="mlp", input_shape=(5,)),
    ):
        card = model_card(info, report=None, formats=())
        code = card.split("```python\n")[1].split("```")[0]
        compile(code, "README.md", "exec")
