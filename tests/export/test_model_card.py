"""The model card: front matter that parses, and words that fit what was exported."""

import dataclasses
import re

import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from reports_by_hand import make_report

from mibias_cli.evaluation.task_findings import HeadFindings
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
    assert f"A feature extractor ({INFO.architecture}, 8 features) that" in card
    assert "headline figures do not hold for them" in card
    assert "acted on `layer3` inside the backbone, averaged over space" in card
    assert 'heads["bottleneck.0.weight"]' in card
    assert "model.onnx` gives the representation, bottleneck included" in card


def test_figures_belong_to_what_the_eraser_leaves() -> None:
    card = model_card(dataclasses.replace(INFO, erased=("sex", "age")), report=None, formats=("onnx",))
    assert "`sex`, `age` was erased linearly from the representation" in card
    assert "The task head was fitted anew" in card
    assert "belong to what the eraser leaves (96 wide): an affine layer (`eraser`), in `heads.safetensors`" in card
    assert 'representation = features @ heads["eraser.weight"].T + heads["eraser.bias"]' in card
    assert "`model.onnx` gives the representation, eraser included" in card
    info = dataclasses.replace(INFO, erased=("sex",), bottleneck=8, features_dim=8, has_head=False)
    card = model_card(info, report=None, formats=("onnx",))
    assert "a linear layer and ReLU (`bottleneck`), then an affine layer" in card
    assert 'representation = narrowed @ heads["eraser.weight"].T' in card
    assert "bottleneck and eraser included" in card
    assert "fitted anew" not in card


def test_code_of_the_card_is_valid_python() -> None:
    for info in (
        INFO,
        dataclasses.replace(INFO, bottleneck=8),
        dataclasses.replace(INFO, erased=("sex",)),
        dataclasses.replace(INFO, bottleneck=8, erased=("sex",)),
        dataclasses.replace(INFO, kind="mlp", input_shape=(5,)),
    ):
        card = model_card(info, report=None, formats=())
        code = card.split("```python\n")[1].split("```")[0]
        compile(code, "README.md", "exec")


def test_tables_of_a_report() -> None:
    report = make_report(name="place", channels=("place",), before=0.7, after=0.125, accuracies=(0.6, 0.9))
    info = dataclasses.replace(INFO, bottleneck=8, features_dim=8, class_names=("a|b", "c"))
    card = model_card(info, report=report, formats=("safetensors",))
    assert "| place | 0.700 (0.680 to 0.720) | 0.125 (0.105 to 0.145) |" in card
    assert "90.0" in card
    assert "60.0" in card
    assert "| place in blocks.2 | – | 0.400 (0.380 to 0.420) |" in card
    assert "a\\|b, c" in card


def test_the_hub_reads_the_evaluation_results() -> None:
    """By its own parser, names that would break YAML or markup included."""
    odd = 'skin: "tone" #1\n---\n<b>|'
    report = make_report(name=odd, channels=(odd,), before=0.7, after=0.125, accuracies=(0.6, 0.9))
    text = model_card(INFO, report=report, formats=())
    card = ModelCard(text)
    assert card.data.model_name == INFO.name
    found = {(each.task_type, each.metric_type, each.metric_name): each.metric_value for each in card.data.eval_results}
    assert found == {
        ("image-classification", "accuracy", "Accuracy"): 0.9,
        ("image-classification", "accuracy", "Balanced accuracy"): 0.9,
        ("image-classification", "accuracy", "Accuracy in the worst group"): 0.9,
        ("image-feature-extraction", "mutual_information", f"Leakage of {odd} (bits)"): 0.125,
        ("image-feature-extraction", "mutual_information", f"Leakage of {odd}, given the target (bits)"): 0.0625,
    }
    assert "<b>" not in card.text
    # what users of the exported head get stands first, beside what the features give
    own = report.task.model_copy(update={"after": report.task.before})
    with_head = report.model_copy(update={"head": HeadFindings(task=own)})
    results = ModelCard(model_card(INFO, report=with_head, formats=())).data.eval_results
    assert [(each.metric_name, each.metric_value) for each in results if each.metric_name.startswith("Accuracy (")] == [
        ("Accuracy (trained head)", 0.6), ("Accuracy (refitted head)", 0.9),
    ]  # fmt: skip
    assert model_index_to_eval_results(card.data.to_dict()["model-index"])[0] == INFO.name


def test_what_users_wrote_is_no_markup() -> None:
    """Also behind a backtick, which would end the code that a path is shown as."""
    odd = "x`<img src=e>` [link](http://e)"
    info = dataclasses.replace(INFO, name=odd, licence=odd, base_weights=odd, class_names=(odd,))
    _, _, body = model_card(info, report=None, formats=()).split("---\n", 2)
    shown = re.sub(r"```.*?```", "", body, flags=re.DOTALL)
    assert re.findall(r"(?<!\\)`[^`]*<img[^`]*`", shown) == ["`x<img src=e> [link](http://e)`"]
    outside = re.sub(r"(?<!\\)`[^`]*`", "", shown)
    assert "<img" not in outside
    assert "[link](" not in outside


def test_without_an_audit_there_are_no_results_and_the_author_is_asked() -> None:
    card = ModelCard(model_card(INFO, report=None, formats=()))
    assert card.data.eval_results is None
    assert "## Intended use" in card.text
    assert "without an audit" in card.text
    assert "figures above" not in card.text
    assert "under which licence the data may be used" in card.text


def test_the_datasheet_counts_samples_and_groups() -> None:
    report = make_report(name="place", channels=("place",), before=0.7, after=0.125)
    card = model_card(INFO, report=report, formats=())
    assert "Target (classes): land, water." in card
    assert "| place | low | cat | 40 |" in card
    assert "| place | never | dog | 0 |" in card
    assert "not the bias attribute (place)" in card
