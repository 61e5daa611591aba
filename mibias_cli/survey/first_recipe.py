"""`mibias init`: from what a survey found to a recipe with comments that say why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mibias_cli.data.columns import DRAWN
from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.data.sources.imagefolder import CLASS_FOLDER, SPLIT_FOLDER
from mibias_cli.output.text import one_line
from mibias_cli.survey.attributes import AttributeFound
from mibias_cli.survey.model_choice import ModelChoice
from mibias_cli.survey.survey import Survey
from mibias_cli.survey.uses import inputs_without_copies

__all__ = ["attribute_line", "first_recipe", "write_needed_manifest"]

SCHEMA_LINE = "# yaml-language-server: $schema=recipe.schema.json"
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_FEW_IMAGES = 10_000
_FEW_ROWS = 2_000
"""Of a table: below it a critic of hundreds of random features learns rows by heart, see docs/fairness.md."""
_LEAST_STEPS, _MOST_EPOCHS = 500, 40
_EPOCHS_OF_FEW, _EPOCHS_OF_MANY = 8, 4
"""Of the last stages of a pretrained network."""
_VIEWS = 3
_MOST_KEPT = 20 * 10**9
"""Bytes of the frozen stages' outputs that a recipe keeps on disk unasked."""
_LARGEST_RATIO = 4
"""Classes that differ by no more are taken to be equally frequent where the model is used."""
_WIDEST_BOTTLENECK = 16
_MOST_OF_THE_TARGET = 0.5


def first_recipe(found: Survey, model: ModelChoice, *, source: Path, out: Path) -> tuple[str, Path | None]:
    """The text of a recipe for what was found, named after its source, to lie at `out`; and the manifest it needs."""
    manifest = out.with_name(f"{out.stem}_manifest.csv") if found.must_write else None
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", source.resolve().name.partition(".")[0]).strip("._-") or "first"
    lines = [
        SCHEMA_LINE,
        f"# {source.name}: {found.layout.what}.",
        *_facts(found),
        "version: 1",
        f"name: {_scalar(name)}",
        "seed: 0",
        "",
        "data:",
        *_data(found, out, manifest),
        "",
        *_model(found, model),
        "",
        *_training(found, model),
    ]
    # names in comments end no line; in quoted scalars, what is escaped means the same
    return "\n".join(map(one_line, lines)) + "\n", manifest


def write_needed_manifest(found: Survey, path: Path) -> None:
    """Write the rows that were found, as the recipe reads them."""
    columns = found.layout.table.columns
    write_manifest(
        path, {name: ["" if v is None else str(v) for v in values] for name, values in columns.items()}, new=True
    )


def _facts(found: Survey) -> Iterator[str]:
    """What was found, as comments."""
    rows = ", ".join(f"{n:,} {split}" for split, n in found.n_rows.items())
    yield f"# Rows: {rows}. Target: {found.target_title} ({_few(found.class_names)})."
    for attribute in found.chosen:
        yield (
            f"# Attribute: {attribute.name} ({_few(attribute.classes)}). In training the target tells "
            f"{attribute.told.replace(' of ', ' of its ')}."
        )
        # the cell that limits what debiasing can learn from
        row, column = np.unravel_index(int(attribute.cells.argmin()), attribute.cells.shape)
        pair = f"{found.class_names[row]} × {attribute.classes[column]}"
        yield f"# Smallest cell of training: {pair}, {attribute.cells.min():,} rows."
    for note in (*(f"guessed: {guess}" for guess in found.guesses), *found.notes):
        yield f"# {_one_line(note)}"


def _data(found: Survey, out: Path, manifest: Path | None) -> Iterator[str]:
    layout, columns = found.layout, found.columns
    yield f"  source: {layout.source}"
    if layout.source == "imagefolder":
        yield f"  root: {_path(layout.root, out)}"
        yield f"  sidecar: {_path(layout.file, out)} # one row per image: its path below root, its attributes"
    elif layout.source == "embeddings":
        yield f"  path: {_path(layout.features, out)}"
        yield f"  key: {_scalar(layout.key)}" if layout.key is not None else f"  prefix: {_scalar(layout.prefix)}"
        if layout.file is not None:
            yield f"  manifest: {_path(layout.file, out)} # one row per embedding, in the same order"
    else:
        yield f"  path: {_path(manifest or layout.file, out)}"
        rows_file = manifest or layout.file
        if layout.root is not None and rows_file is not None and layout.root.absolute() != rows_file.parent.absolute():
            yield f"  root: {_path(layout.root, out)}"
    if layout.image is not None:
        yield f"  image: {_scalar(layout.image)} # of the images of a sample, the one that ends so"
    if layout.follow_links is not None and layout.source in ("manifest", "imagefolder"):
        yield f"  follow_links: {_path(layout.follow_links, out)}"
    named = {"path": layout.path, "target": columns.target, "split": columns.split, "group": columns.group}
    # the loader's own defaults need no line
    unsaid = ("path", "target", CLASS_FOLDER, SPLIT_FOLDER)
    shown = [f"{role}: {_scalar(n)}" for role, n in named.items() if isinstance(n, str) and n not in unsaid]
    if shown:
        yield f"  columns: {{ {', '.join(shown)} }}"
    if columns.target_kind == "multilabel":
        yield "  target_kind: multilabel # each item of a list (A|B) is a label"
    if columns.target_kind == "regression":
        yield "  target_kind: regression # classes, if these numbers are classes"
    yield from _splits(found)
    if inputs := inputs_without_copies(found.uses):
        yield f"  features: [{', '.join(map(_scalar, inputs))}] # all inputs but what is the target once more"
    yield "  attributes: # what the features should not tell"
    for attribute in found.chosen:
        yield f"    {_attribute(attribute)}"
    for other in [candidate for candidate in found.candidates if not candidate.renames_target][:6]:
        yield f"    # {_attribute(other)} # the target tells {other.told}"


def _splits(found: Survey) -> Iterator[str]:
    if found.columns.split is None:
        group = f"; no {found.columns.group} is in two" if found.columns.group else ""
        yield f"  splits: {{ fractions: [0.7, 0.1, 0.2] }} # train, validation, audit: drawn by the seed{group}"
        return
    usual = {"train": "train", "validation": "validation", "audit": "test"}
    values = {role: getattr(found.splits, role) for role in usual}
    here = set(found.layout.table.columns[found.columns.split])
    # only values that differ from the loader's, and that the column has
    changed = {role: v for role, v in values.items() if v != usual[role] and v in here}
    # validation that is drawn is said where the loader would take some other value for it, or for a mistake
    if values["validation"] == DRAWN and here - {values["train"], values["audit"]} | (here & {"validation"}):
        changed["validation"] = DRAWN
    if changed:
        yield f"  splits: {{ {', '.join(f'{role}: {_scalar(value)}' for role, value in changed.items())} }}"


def _model(found: Survey, model: ModelChoice) -> Iterator[str]:
    tabular = found.layout.source in ("table", "embeddings")
    yield "backbone:"
    yield f"  name: {_scalar(model.name)}" + ("" if tabular else " # any timm model")
    if tabular:
        width = (128, 16) if found.layout.source == "table" else (256, 64)
        yield f"  options: {{ hidden: [{width[0]}], features: {width[1]}, last: linear }} # none of few features dies"
    else:
        yield f"  weights: {_scalar(model.weights)}" + (f" # {model.why}" if model.why else "")
        if found.in_chans is not None:
            yield f"  in_chans: {found.in_chans} # so many channels the images have"
        if model.input_size is not None:
            middle = " × ".join(map(str, found.image_sizes[1])) if found.image_sizes else "unknown"
            enlarged = ", and pretrained features are better of larger ones" if model.last_stages else ""
            yield f"  input_size: {model.input_size} # the images are about {middle}{enlarged}"
        if model.last_stages:
            stages = ", ".join(map(_scalar, model.last_stages))
            sizes = "; a size or a place may need more" if found.columns.target_kind == "regression" else ""
            yield f"  train: [{stages}] # the stages before keep what they learned{sizes}"
            yield _kept(found, model)
        if model.weights != "none":
            yield "  freeze_batchnorm: true"
    yield ""
    yield "representation:"
    if model.last_stages:
        # a dimension that no score needs ends up as noise, which tells of the attribute
        needed = found.n_outputs - (found.columns.target_kind == "classes")
        narrow = max(1, min(_WIDEST_BOTTLENECK, needed))
        yield f"  bottleneck: {{ width: {narrow}, hidden: [] }} # as wide as scores need; linear: timm can load it"
        yield "  layers: [features] # what the penalty sees"
    elif tabular:
        yield "  layers: [features, output] # what the penalty sees: the features, and the class probabilities"
    else:
        yield "  layers: [features] # what the penalty sees; an inner layer (layer4) may drop bias and keep the target"


def _kept(found: Survey, model: ModelChoice) -> str:
    """The line that says whether the frozen stages' outputs are kept, by how much room they take."""
    size = (sum(found.n_rows.values()) + _VIEWS * found.n_rows["train"]) * model.stage_bytes
    if size <= _MOST_KEPT:
        return f"  cache_views: {_VIEWS} # their outputs for so many augmented views of an image are computed once"
    keeping = f"auto, with cache_views: {_VIEWS}, keeps what they make of the images: {size / 1e9:,.0f} GB"
    return f'  cache: "off" # {keeping}, and hours less on a CPU'


def _training_of_last_stages(found: Survey, model: ModelChoice) -> Iterator[str]:
    """Pretrained weights: heads first, then the last stages behind them; see docs/real_images.md."""
    few = found.n_rows["train"] < _FEW_IMAGES
    epochs = _EPOCHS_OF_FEW if few else _EPOCHS_OF_MANY
    yield from _original(epochs, afresh=None)
    yield ""
    yield "debias:"
    yield "  estimator: closed_form # solved anew at each step: it never lags behind the features"
    yield "  objective: conditional # what the features tell beyond what the target itself tells"
    if _has_product(found):
        yield "  bias_product: 1 # what the attributes say of the target is added to training's scores, so not learned"
        # of labels none is right alone, so none is rarer than it should be
        if found.columns.target_kind == "classes" and _classes_alike(found):
            yield "  class_prior: uniform # all classes count alike; training: as frequent as in training"
    yield "  weight: auto # the largest that samples held out of training bear; a number: yours"
    yield "  critic: { n_random_features: 64 }" + (" # as many as few images bear" if few else "")
    why = "samples also in the style of other attribute values"
    if _is_settled(found):
        why += ": no sample itself shows a class with another value"
    if model.mixes:
        yield f"  mix: {{ layer: {_scalar(model.last_stages[0])} }} # {why}"
    yield ""
    yield "training:"
    yield f"  epochs: {epochs}"
    yield "  batch_size: 64"
    yield "  learning_rate: 2e-3"
    yield "  backbone_rate: 0.1 # pretrained weights move little"
    yield "  head_first: 0.1 # bottleneck and head are fitted alone first: untrained, they disturb pretrained weights"
    yield "  head_last: 0.1 # and anew at the end, on all images at once, which is where the penalty acts"
    yield "  head_weight_decay: 10 # strong: features are many, images " + ("few" if few else "of rare pairs few")
    yield "  augment: true"
    yield "  channels_last: true # faster convolutions"


def _training(found: Survey, model: ModelChoice) -> Iterator[str]:
    if model.last_stages:
        yield from _training_of_last_stages(found, model)
        return
    tabular = found.layout.source in ("table", "embeddings")
    # batches small enough for some steps per epoch, within what the penalty needs and memory allows
    n = found.n_rows["train"]
    batch = _power_of_two(n / 16, 16, 256) if tabular else _power_of_two(n / 8, 8, 64)
    given_away = not tabular and model.stem is None and _given_away(found)
    untrained = not tabular and model.weights == "none"
    epochs = 25 if tabular else 10
    if untrained:
        # from nothing a network needs some hundred steps before there is anything to debias
        epochs = max(epochs, min(_MOST_EPOCHS, math.ceil(_LEAST_STEPS * batch / n)))
    yield from _original(epochs, afresh=bool(given_away or model.stem) if untrained else None)
    yield ""
    yield "debias:"
    if tabular:
        yield "  estimator: closed_form # solved anew at each step: it never lags behind the features"
    else:
        yield "  estimator: classifier # heads that try to tell the attribute; see docs/estimators.md"
    if model.stem is not None:
        yield "  # most images in the style of another one, with its attribute value: colours, brightness and contrast"
        yield "  # tell the attribute, as was tried on some images"
        yield f"  mix: {{ layer: {_scalar(model.stem)}, share: 0.75, copies: true }}"
        yield "  weight: auto # much while features tell much of the attribute, less as they tell less; a number: yours"
    elif given_away:
        yield f"  bias_product: 0.8 # {given_away} gives most targets away: its say is added to the scores in training"
        yield "  weight: 0.03 # larger: less leakage, and at some point less accuracy; about 1 without bias_product"
    else:
        yield "  weight: 1.0 # larger: less leakage, and at some point less accuracy"
    yield "  warmup_epochs: 2 # a large weight at once collapses features"
    yield "  queue_batches: 16"
    if not tabular:
        yield "  critic: { hidden: [128, 128], steps: 10, beta1: 0.5 }"
    elif n < _FEW_ROWS:
        yield "  critic: { n_random_features: 64 } # as many as few rows bear"
    yield ""
    yield "training:"
    yield f"  epochs: {epochs}"
    yield f"  batch_size: {batch}"
    rate = "1e-3" if tabular or model.weights == "none" else "2e-4"
    yield f"  learning_rate: {rate}"
    yield "  beta1: 0.5"
    if not tabular:
        yield "  precision: auto # bf16 where the device computes in it; 32 everywhere else"
        yield "  channels_last: true # faster convolutions"


def _original(epochs: int, *, afresh: bool | None) -> Iterator[str]:
    """What `before` is: plain training with as many steps; None: on equal terms, from the same weights."""
    yield "original: # plain training on the task alone: the extractor that `before` speaks of"
    yield f"  epochs: {epochs}"
    if afresh is None:
        yield "  start_debiasing_from: initial # same weights, same number of epochs: only the penalty tells them apart"
    elif afresh:
        yield "  start_debiasing_from: initial # afresh: weights that read the attribute are slow to forget it"


def _has_product(found: Survey) -> bool:
    """Whether there can be a product of experts: of classes or labels, and not where an attribute settles them."""
    return found.columns.target_kind in ("classes", "multilabel") and not _is_settled(found)


def _is_settled(found: Survey) -> bool:
    """Whether an attribute tells the whole target."""
    return any(attribute.settles_target for attribute in found.chosen)


def _classes_alike(found: Survey) -> bool:
    """Whether the target's classes differ so little in number that none of them can be called rare."""
    frequencies = found.chosen[0].cells.sum(axis=1)
    return bool(frequencies.max() <= _LARGEST_RATIO * frequencies.min())


def _given_away(found: Survey) -> str:
    """The attribute that tells most of the target, or empty: none tells much, or there can be no product."""
    if found.columns.target_kind != "classes" or not _has_product(found):
        return ""
    # a penalty alone cannot win against an attribute that gives most targets away
    told = [a for a in found.chosen if a.share_of_target >= _MOST_OF_THE_TARGET]
    return _one_line(max(told, key=lambda a: a.share_of_target).name) if told else ""


def _attribute(attribute: AttributeFound) -> str:
    return attribute_line(attribute.name, continuous=attribute.kind == "continuous")


def attribute_line(name: str, *, continuous: bool) -> str:
    """The line below `data.attributes` of a recipe that names a column as an attribute.

    Example:
        >>> attribute_line("brightness", continuous=True), attribute_line("on", continuous=False)
        ('brightness: { kind: continuous }', '"on": {}')
    """
    return f"{_scalar(name)}: {'{ kind: continuous }' if continuous else '{}'}"


def _path(path: Path | None, out: Path) -> str:
    """A path as the recipe has it: relative where it lies below the recipe's folder, else absolute."""
    if path is None:
        raise AssertionError("a source without a file")
    folder, full = out.absolute().parent, path.absolute()
    return _scalar(full.relative_to(folder).as_posix() or "." if full.is_relative_to(folder) else str(full))


def _scalar(text: str | None) -> str:
    """Text as YAML: plain where every reader takes it for text, else in double quotes."""
    value = text or ""
    # YAML 1.1 readers take yes, no, on and off for booleans
    plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
    return value if plain else json.dumps(value, ensure_ascii=False)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:4])}, … of {len(names)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _power_of_two(size: float, low: int, high: int) -> int:
    """The largest power of two that is no more than size, kept within low and high."""
    return int(np.clip(2 ** int(np.log2(max(size, 1))), low, high))
