"""The model card of an exported folder: what it is, what was measured, how to load it."""

from __future__ import annotations

from mibias_cli.backbone.bottleneck import BottleneckShape
from mibias_cli.backbone.extractor import NOT_INNER
from mibias_cli.export.card_metadata import front_matter
from mibias_cli.export.datasheet import datasheet, intended_use
from mibias_cli.export.heads_file import HEADS, ExportInfo
from mibias_cli.report.document import Report, unfinished_line
from mibias_cli.report.markdown import escape_markdown, markdown_table, measured_section
from mibias_cli.report.tables import other_table

__all__ = ["model_card"]

_TIMM_CODE = """```python
import timm
import torch

model = timm.create_model("local-dir:PATH/TO/THIS/FOLDER", pretrained=True).eval()  # timm >= 1.0.29, no mibias needed
config = timm.data.resolve_model_data_config(model)
transform = timm.data.create_transform(**config, is_training=False)
with torch.no_grad():
    features = model(transform(image)[None])  # (1, {width}){debiased}; image: a PIL image{mode}
{refined}```
"""

_HEADS_CODE = """
from safetensors.torch import load_file

heads = load_file("PATH/TO/THIS/FOLDER/heads.safetensors")
"""

_RELU_CODE = """weight, bias = heads["bottleneck.0.weight"], heads["bottleneck.0.bias"]
{name} = torch.relu(features @ weight.T + bias)  # (1, {features_dim})
"""

_STANDARD_CODE = """x = (features - heads["bottleneck.standard.mean"]) / heads["bottleneck.standard.scale"]
"""

_HIDDEN_CODE = """x = torch.relu(x @ heads["bottleneck.fc{i}.weight"].T + heads["bottleneck.fc{i}.bias"])
"""

_LAST_CODE = """{name} = x @ heads["bottleneck.fc{i}.weight"].T + heads["bottleneck.fc{i}.bias"]  # (1, {features_dim})
"""

_ERASER_CODE = """representation = {name} @ heads["eraser.weight"].T + heads["eraser.bias"]  # (1, {features_dim})
"""

_TRANSPORT_CODE = """e = {{k.removeprefix("eraser."): v for k, v in heads.items() if k.startswith("eraser.")}}
x = ({name} - e["mean"]) / e["scale"] @ e["basis"]
seen = torch.cat([x, (x @ e["squared"]) ** 2], dim=1)
p = torch.softmax(seen @ e["tell_class"][:-1] + e["tell_class"][-1], dim=1)
q = torch.softmax((x - p @ e["middles"]) @ e["tell_group"][:-1] + e["tell_group"][-1], dim=1)
rest = x - torch.einsum("nc,nk,ckr->nr", p, q, e["centres"])
moved = q @ e["common"] + torch.einsum("nc,nr,crs->ns", p, rest, e["maps"])
erased = moved @ e["basis"].T * e["scale"] + e["mean"]
representation = {name} + e["strength"] * (erased - {name})  # (1, {features_dim})
"""

_MIBIAS_CODE = """```python
from mibias_cli import load_extractor

extractor = load_extractor("PATH/TO/THIS/FOLDER")
features = extractor(inputs)  # (n, {features_dim}), debiased; inputs: (n, {shape})
```
"""

_FILTERED = f"""
Images pass a filter before the backbone: a network, in `{HEADS}`, that was trained to take what tells the attribute out
of them.
"""

_OUTPUTS = {"classes": "classes", "multilabel": "labels", "regression": "numbers"}


def model_card(info: ExportInfo, *, report: Report | None, formats: tuple[str, ...]) -> str:
    """The text of README.md: YAML front matter and Markdown; no report: nothing was audited."""
    sections = [
        front_matter(info, report),
        f"# {escape_markdown(info.name)}, debiased with mibias\n",
        *([] if info.unfinished is None else [f"⚠️ {escape_markdown(unfinished_line(info.unfinished))}\n"]),
        _summary(info),
        "## How to load it\n",
        _code(info),
        *([_onnx(info)] if "onnx" in formats else []),
        "## What was measured\n",
        _measured(report),
        "## Which figures belong to which features\n",
        _belonging(info, report),
        "## Intended use\n",
        intended_use(report),
        "## Data\n",
        datasheet(info, report),
        "## Base weights and licence\n",
        _licence(info),
    ]
    return "\n".join(sections)


def _summary(info: ExportInfo) -> str:
    # as wide as what the report speaks of, which may be less than what the backbone pools
    n, task = info.features_dim, ""
    if info.target_kind is None:
        task = " while its features stayed close to the original's"
    elif info.class_names:
        names = ", ".join(escape_markdown(name) for name in info.class_names)
        task = f", for a task with the {_OUTPUTS[info.target_kind]} {names}"
    return (
        f"A feature extractor ({info.architecture}, {n} feature{'' if n == 1 else 's'}) that was trained to tell less "
        f"of a bias attribute{task}. Penalised in training: {_listed(info.layers)}"
        f"{f' (inner maps: {_pooling(info)})' if _inner(info) else ''}. Written by mibias {info.mibias_version}.\n"
        f"{_FILTERED if info.filtered else ''}{_erasure(info)}"
    )


def _erasure(info: ExportInfo) -> str:
    if info.erased is None:
        return ""
    how = (
        "linearly from the representation (a last affine layer, fitted on the training features): a linear probe finds "
        "nothing there, up to sampling error; what is coded otherwise stays, as the figures below say."
    )
    if info.erased_by == "transport":
        how = (
            "from the representation by a last layer that is not linear, fitted on the training features: classes have "
            "the same means and covariances there, and what is left is told by the figures below."
        )
    return (
        f"\nAfter training, {_listed(info.erased)} was erased {how}"
        f"{' The task head was fitted anew on what is left.' if info.has_head else ''}\n"
    )


def _code(info: ExportInfo) -> str:
    shape = ", ".join(str(n) for n in info.input_shape)
    mibias = _MIBIAS_CODE.format(features_dim=info.features_dim, shape=shape)
    if info.filtered:
        return f"timm alone cannot load the filter, without which the backbone is of no use. With mibias:\n\n{mibias}"
    if info.kind != "timm":
        return mibias
    # a grey model takes grey images, which PIL calls mode L
    mode = ' in mode "L"' if info.input_shape[0] == 1 else ""
    if info.alone_debiased:
        return _TIMM_CODE.format(width=info.features_dim, debiased=", debiased", refined="", mode=mode)
    code = _TIMM_CODE.format(
        width=info.n_features, debiased=", not debiased yet", refined=_refining_code(info), mode=mode
    )
    return f"{code}\nWith mibias, the whole in one call, of inputs prepared by `transform`:\n\n{mibias}"


def _refining_code(info: ExportInfo) -> str:
    """From pooled features to the representation: bottleneck, then eraser."""
    # plain torch on purpose: whoever reads the card may not have mibias
    code = _HEADS_CODE
    name = "features"
    if info.bottleneck is not None:
        name = "representation" if info.erased is None else "narrowed"
        code += _bottleneck_code(info.bottleneck, name=name, features_dim=info.features_dim)
    if info.erased is not None:
        eraser = _ERASER_CODE if info.erased_by == "linear" else _TRANSPORT_CODE
        code += eraser.format(name=name, features_dim=info.features_dim)
    return code


def _bottleneck_code(bottleneck: int | BottleneckShape, *, name: str, features_dim: int) -> str:
    if isinstance(bottleneck, int):
        return _RELU_CODE.format(name=name, features_dim=features_dim)
    n_hidden = len(bottleneck.hidden)
    hidden = [_HIDDEN_CODE.format(i=i) for i in range(1, n_hidden + 1)]
    return "".join([_STANDARD_CODE, *hidden, _LAST_CODE.format(i=n_hidden + 1, name=name, features_dim=features_dim)])


def _layers_of(bottleneck: int | BottleneckShape | None) -> str:
    """A bottleneck in words."""
    if bottleneck is None:
        return ""
    if isinstance(bottleneck, int):
        return "a linear layer and ReLU"
    return "standardisation and an MLP" if bottleneck.hidden else "standardisation and a linear layer"


def _onnx(info: ExportInfo) -> str:
    has = {"filter": info.filtered, "bottleneck": info.bottleneck is not None, "eraser": info.erased is not None}
    parts = [name for name, there in has.items() if there]
    what = f"the representation, {' and '.join(parts)} included" if parts else "the same features"
    return f"`model.onnx` gives {what}: input `input`, output `features`, any batch size.\n"


def _measured(report: Report | None) -> str:
    if report is None:
        return "This folder was exported without an audit.\n"
    place = "Leakage is a lower bound, measured by fresh probes on held-out data; the whole report is in `report/`."
    return "\n\n".join([measured_section(report), place]) + "\n"


def _belonging(info: ExportInfo, report: Report | None) -> str:
    gives = "`timm.create_model` gives" if info.kind == "timm" else "`model.safetensors` gives"
    bottleneck = _layers_of(info.bottleneck)
    # whoever takes the model by timm alone gets other features than those that were audited: say which
    lines = []
    if info.filtered:
        behind = [name for name, there in (("bottleneck", bottleneck), ("eraser", info.erased is not None)) if there]
        also = f", and then {' and '.join(behind)}" if behind else ""
        lines.append(
            f"The report's figures belong to features ({info.features_dim} wide) of filtered images: the filter stands "
            f"before the backbone (`filter`, in `{HEADS}`){also}. What {gives} are pooled features ({info.n_features} "
            "wide) of images as they are, which the backbone was not trained on: the headline figures do not hold for "
            "them."
        )
    elif info.folded:
        parts = " and ".join(["bottleneck"] * (bottleneck != "") + ["eraser"] * (info.erased is not None))
        lines.append(
            f"The report's figures belong to what {gives} ({info.features_dim} wide): the {parts}, affine, folded into "
            f"timm's own classifier (`model.get_classifier()`). Without it (`num_classes=0`, "
            f"`model.reset_classifier(0)`) timm gives the backbone's pooled features ({info.n_features} wide): they "
            f"are not debiased, and the headline figures do not hold for them. `{HEADS}` has the same layers unfolded."
        )
    elif info.erased is not None:
        before = "" if info.bottleneck is None else f"{bottleneck} (`bottleneck`), then "
        layer = "an affine layer" if info.erased_by == "linear" else "a layer that is not linear"
        lines.append(
            f"The report's figures belong to what the eraser leaves ({info.features_dim} wide): {before}"
            f"{layer} (`eraser`), in `{HEADS}`, on the backbone's pooled features. What {gives} are those "
            f"pooled features ({info.n_features} wide), before erasure: they leak more, and the headline figures do "
            "not hold for them."
        )
    elif info.bottleneck is None:
        lines.append(
            f"The report's figures belong to the pooled features ({info.n_features} wide), which are what {gives}."
        )
    else:
        lines.append(
            f"The report's figures belong to the bottleneck's output ({info.features_dim} wide): {bottleneck}, in "
            f"`{HEADS}`, on the backbone's pooled features. What {gives} are those pooled features "
            f"({info.n_features} wide), before the bottleneck. The backbone alone is not debiased: its features may "
            "leak more, and the headline figures do not hold for them."
        )
    if _inner(info):
        lines.append(
            f"The penalty acted on {_listed(_inner(info))} inside the backbone, {_pooling(info)}. "
            "The report's figures are not of those layers, but of the features that leave the extractor."
        )
    # the backbone's own features, for those who take the model from timm without the rest
    if report is not None and (table := other_table(report)):
        lines.append(f"Measured on representations beside that one:\n\n{markdown_table(table)}")
    if info.has_head:
        n, kind = len(info.class_names), info.target_kind or "classes"
        what = _OUTPUTS[kind] if n > 1 else _OUTPUTS[kind].removesuffix("s")
        units = " (its outputs times `head.scale` plus `head.mean` are numbers in the target's units)"
        text = f"The task head ({n} {what}) is in `{HEADS}` too, as `head.linear`"
        lines.append(f"{text}{units if kind == 'regression' else ''}.")
    return "\n\n".join(lines) + "\n"


def _licence(info: ExportInfo) -> str:
    base = {"none": "Weights drawn at random: trained from scratch."}.get(
        info.base_weights, f"Training started from `{info.base_weights.replace('`', '')}`."
    )
    licence = (
        f"Licence of the base weights: {escape_markdown(info.licence)}."
        if info.licence
        else "Their licence is not known."
    )
    return f"{base} {licence}\n\nsha256 over the backbone's weights: `{info.fingerprint}`\n"


def _inner(info: ExportInfo) -> tuple[str, ...]:
    return tuple(name for name in info.layers if name not in NOT_INNER)


def _pooling(info: ExportInfo) -> str:
    return {"none": "taken whole", "mean": "averaged over space", "max": "their maximum over space"}[info.pool]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"
