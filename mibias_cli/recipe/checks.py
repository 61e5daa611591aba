"""What no single key shows: keys of a recipe that do not fit each other.

The checks read the parsed YAML, not the validated recipe, so that they run, and report, beside every other error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from mibias_cli.errors import GateError, did_you_mean
from mibias_cli.ranks.place import undivided
from mibias_cli.recipe.fields import value_at
from mibias_cli.recipe.gate_expression import GateExpression, parse_gate
from mibias_cli.recipe.messages import Fault
from mibias_cli.recipe.method_checks import BUILT_IN, COLOURED, METHOD_CHECKS, TABULAR, target_is_null
from mibias_cli.recipe.sections.training import DISCOVERED
from mibias_cli.recipe.tables import METHODS, MI
from mibias_cli.recipe.unbelievable import UNBELIEVABLE, Check
from mibias_cli.recipe.values import text_of_number
from mibias_cli.recipe.yaml_source import Yaml, YamlMapping, YamlPath

__all__ = ["WEIGHT_FILES", "Check", "cross_checks", "unknown_attribute", "written_gates"]

WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
"""How names of files with weights end."""

# of `debias`, with their defaults: how a penalty acts in the steps of the backbone
_OF_STEPS: dict[str, object] = {
    "warmup_epochs": 1.0, "schedule": "queue", "queue_batches": 32, "gradients": "sum", "recycle_every_steps": None,
    "watch": False,
}  # fmt: skip
# lists of names in which every name stands once
_LISTS: tuple[YamlPath, ...] = (
    ("debias", "attributes"),
    ("evaluation", "probes"),
    ("evaluation", "layers"),
    ("evaluation", "fidelity_columns"),
    ("export", "formats"),
    ("logging",),
    ("representation", "layers"),
    ("backbone", "train"),
    ("data", "features"),
    ("data", "columns", "target"),
)


def cross_checks(data: YamlMapping) -> list[Fault]:
    """Every place where two keys of the recipe contradict each other; places of the wrong type are passed over."""
    return [fault for check in _CHECKS for fault in check(data)]


def _list_at(path: YamlPath, data: YamlMapping) -> list[Yaml]:
    """The list at a path; empty where there is none."""
    value = value_at(path, data)
    return value if isinstance(value, list) else []


def _attributes(data: YamlMapping) -> list[str]:
    """Names of the attributes that the data have, as far as the recipe says."""
    # the colour protocol brings its own attribute
    declared = value_at(("data", "attributes"), data)
    coloured = value_at(("data", "source"), data) in COLOURED
    own = ["colour"] if coloured else list(declared) if isinstance(declared, dict) else []
    return [*own, DISCOVERED] if isinstance(value_at(("discover",), data), dict) else own


def _no_attribute(name: str, known: list[str]) -> str:
    """That the data do not have an attribute, with the name that was probably meant."""
    hint = did_you_mean(name, known) or f"; they are {', '.join(known)}"
    return f"the data have no attribute {name!r}{hint}"


def _debiased_attributes(data: YamlMapping) -> Iterator[Fault]:
    """What names attributes in `debias` names attributes of the data."""
    # where the data section itself is at fault, no attribute is known, and none is refused
    known = _attributes(data)
    if known and value_at(("debias", "attributes"), data) == []:
        yield ("debias", "attributes"), "is empty; leave it out to debias all, or set debias.estimator to none"
    for key in ("attributes", "attribute_weights", "budget_bits"):
        # items of a list stand at their index, items of a mapping at their name
        named = value_at(("debias", key), data)
        names = list(named) if isinstance(named, list | dict) else []
        for index, name in enumerate(names):
            if known and isinstance(name, str) and name not in known:
                yield ("debias", key, index if isinstance(named, list) else name), _no_attribute(name, known)


def _crossed_attributes(data: YamlMapping) -> Iterator[Fault]:
    """Crossings name two or more attributes of the data, and each crossing stands once."""
    known = _attributes(data)
    seen: list[set[Yaml]] = []
    for index, names in enumerate(_list_at(("evaluation", "crossings"), data)):
        # what is no list of names is the schema's to refuse
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            continue
        path: YamlPath = ("evaluation", "crossings", index)
        for k, name in enumerate(names):
            if known and name not in known:
                yield (*path, k), _no_attribute(str(name), known)
            elif name in names[:k]:
                yield (*path, k), f"{name!r} is named twice"
        if len(names) < 2:
            yield path, "names fewer than two attributes; name two or more, or leave it out"
        elif set(names) in seen:
            yield path, "is crossed above already; take it out"
        seen.append(set(names))


def _some_attribute(data: YamlMapping) -> Iterator[Fault]:
    """Without an attribute there is nothing to audit, unless one is to be discovered; its name is taken then."""
    declared = value_at(("data", "attributes"), data)
    discovers = isinstance(value_at(("discover",), data), dict)
    # only an empty mapping: a missing one is the schema's to refuse
    if declared == {} and not discovers:
        yield ("data", "attributes"), "is empty; name an attribute, or let one be found with `discover: {}`"
    if isinstance(declared, dict) and DISCOVERED in declared and discovers:
        yield ("data", "attributes", DISCOVERED), "is the name of what `discover` finds; call this one otherwise"


def _void_settings(data: YamlMapping) -> Iterator[Fault]:
    """Keys that mean nothing beside another one."""
    # in the fresh schedule the estimator's batches are the epoch's own, so nothing can be drawn for it
    fresh = value_at(("debias", "schedule"), data) == "fresh"
    if fresh and value_at(("debias", "balance_by"), data) == "draws":
        yield ("debias", "balance_by"), "draws go with `schedule: queue`; with `fresh` write weights"
    # nor is there a queue to look at
    if fresh and value_at(("debias", "watch"), data) is True:
        yield (
            ("debias", "watch"),
            "compares the critic with a fit on the queue, which schedule: fresh has not; leave it out",
        )
    # columns are of files
    if value_at(("data", "source"), data) in COLOURED and value_at(("evaluation", "fidelity_columns"), data):
        yield ("evaluation", "fidelity_columns"), "coloured digits have no columns; leave it out"
    # early stopping needs something to watch
    path: YamlPath = ("training", "select", "patience")
    if value_at(path, data) is not None and value_at(("training", "select", "metric"), data) is None:
        yield path, "needs training.select.metric, the metric that should improve"
    # peers part the rows of a class in two
    path = ("discover", "clusters")
    if value_at(path, data) not in (None, 2) and value_at(("discover", "by"), data) == "peers":
        yield path, "has no effect with discover.by: peers; leave it out"
    # views are of augmented images
    path = ("backbone", "cache_views")
    if value_at(path, data) not in (None, 1) and not value_at(("training", "augment"), data):
        yield path, "has no effect without training.augment: true; leave it out"
    # adam and sgd add the decay to the gradient, where a strong one means something else
    path = ("training", "head_weight_decay")
    optimizer = value_at(("training", "optimizer"), data)
    if value_at(path, data) is not None and optimizer in ("adam", "sgd"):
        yield path, f"is apart from the gradient, as only adamw has it, not {optimizer}; set training.optimizer: adamw"
    # one set of weights is exported
    path = ("training", "interpolation")
    if value_at(path, data) is not None and value_at(("training", "average_decay"), data) is not None:
        yield path, "exports other weights than training.average_decay; leave one of the two out"
    yield from _head_last(data)
    yield from _copies(data)
    # the prior is what the product leaves to the scores
    if value_at(("debias", "class_prior"), data) == "uniform" and not value_at(("debias", "bias_product"), data):
        yield ("debias", "class_prior"), "has no effect without debias.bias_product; set that to 1, or leave it out"
    # λ that is a share of the task's gradient has its own way to meet it
    path = ("debias", "gradients")
    if value_at(("debias", "weight"), data) == "auto" and value_at(path, data) not in (None, "sum"):
        yield path, "is ratio with debias.weight: auto; leave it out, or set weight to a number"
    # plain training weighs no sample, adds nothing to the scores, mixes nothing, and has no λ that a budget could move
    for key in ("balance", "bias_product", "mix", "budget_bits"):
        path = ("debias", key)
        # what the estimator alone sees otherwise is the default
        given = value_at(path, data) not in (None, 0, "none", "critic")
        if given and value_at(("debias", "estimator"), data) == "none":
            why = "has no effect with estimator: none, plain training; name an estimator (with weight: 0, if need be)"
            yield path, why


def _head_last(data: YamlMapping) -> Iterator[Fault]:
    """The last fit has a bottleneck to fit, whose output the penalty sees, and no budget that moves λ meanwhile."""
    path: YamlPath = ("training", "head_last")
    if value_at(path, data) is None:
        return
    if value_at(("representation", "bottleneck"), data) is None:
        yield path, "fits a bottleneck anew; set representation.bottleneck, for example { width: 6, hidden: [] }"
    layers = value_at(("representation", "layers"), data)
    if layers is not None and layers != ["features"]:
        yield path, "penalises the bottleneck's output alone; set representation.layers: [features]"
    if value_at(("debias", "budget_bits"), data) is not None:
        yield path, "has a penalty of fixed weight; leave debias.budget_bits out"
    if value_at(("debias", "balance_by"), data) == "draws":
        yield path, "sees all samples, none drawn; set debias.balance_by: weights"
    if target_is_null(data):
        yield path, "has no head to fit without a target; leave it out"
    # a recipe that was written out in full has the defaults
    for key, default in _OF_STEPS.items():
        if value_at(("debias", key), data) not in (None, default):
            why = "is about a penalty in the steps, but with training.head_last it acts after them; leave it out"
            yield ("debias", key), why


def _copies(data: YamlMapping) -> Iterator[Fault]:
    """Copies are what critic and penalty see in the steps, in place of samples that are drawn or read for them."""
    if not value_at(("debias", "mix", "copies"), data):
        return
    if value_at(("debias", "mix", "share"), data) == 0:
        yield ("debias", "mix", "share"), "is 0, so that with copies critic and penalty see no sample; set more"
    if value_at(("debias", "balance_by"), data) == "draws":
        yield (
            ("debias", "balance_by"),
            "draws samples for the estimator, which debias.mix.copies gives copies; leave it out",
        )
    if value_at(("debias", "schedule"), data) == "fresh":
        yield ("debias", "schedule"), "reads batches for the critic, which debias.mix.copies gives copies; leave it out"
    if value_at(("training", "head_last"), data) is not None:
        why = "is about a penalty in the steps, but with training.head_last it acts after them; leave it out"
        yield ("debias", "mix", "copies"), why


def _shared_batch(data: YamlMapping) -> Iterator[Fault]:
    """The ranks share each batch evenly."""
    found = [value_at(("training", key), data) for key in ("batch_size", "devices", "num_nodes")]
    size, devices, nodes = (default if n is None else n for n, default in zip(found, (128, 1, 1), strict=True))
    # what is no number of ranks is the schema's to refuse
    if not (_is_count(size) and _is_count(devices) and _is_count(nodes)):
        return
    reason = undivided(size, devices, nodes)
    if reason is not None:
        yield ("training", "batch_size" if found[0] is not None else "devices"), reason


def _is_count(value: Yaml) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _backbone_fits_data(data: YamlMapping) -> Iterator[Fault]:
    """Rows go through an MLP, images do not."""
    source, name = value_at(("data", "source"), data), value_at(("backbone", "name"), data)
    # what is no text is the schema's to refuse
    if not isinstance(source, str) or not isinstance(name, str):
        return
    if source in TABULAR:
        if name != "mlp":
            yield ("backbone", "name"), f"data of source {source} are rows of numbers, they need `mlp`, not {name!r}"
        if value_at(("debias", "mix"), data) is not None:
            yield ("debias", "mix"), "mixes channels of a network's maps, which rows of numbers have not; leave it out"
    channels = next((c for key in ("in_chans", "channels") if (c := value_at(("backbone", key), data)) is not None), 3)
    if source in COLOURED and channels not in (1, 3):
        yield ("backbone", "in_chans"), f"{source} are coloured as they are read: 1 or 3 channels, not {channels!r}"
    if source in ("manifest", "imagefolder", "webdataset", *COLOURED) and name == "mlp":
        yield ("backbone", "name"), f"`mlp` takes rows of numbers, data of source {source} are images"


def _computes_again(data: YamlMapping) -> Iterator[Fault]:
    """What is done to a forward pass from outside is not done again in the backward pass."""
    path: YamlPath = ("backbone", "grad_checkpointing")
    if value_at(path, data) is not True:
        return
    if value_at(("backbone", "name"), data) in BUILT_IN:
        yield path, "the built-in networks are small and keep their activations; leave it out"
    if value_at(("debias", "mix"), data) is not None:
        yield path, "with debias.mix, whose channel statistics would not be computed again; leave one of them out"


def _weights(data: YamlMapping) -> Iterator[Fault]:
    """backbone.weights has one of its forms, and the built-in networks have nothing pretrained."""
    weights, name = value_at(("backbone", "weights"), data), value_at(("backbone", "name"), data)
    if not isinstance(weights, str) or weights == "none":
        return
    path: YamlPath = ("backbone", "weights")
    # timm knows which of its models have pretrained weights; of the built-in networks none has
    if weights == "pretrained":
        if name in BUILT_IN:
            yield path, f"{name} has no pretrained weights; write none, or the path of a file"
    elif not weights.startswith(("local-dir:", "hf-hub:")) and not weights.endswith(WEIGHT_FILES):
        hint = did_you_mean(weights, ["none", "pretrained"])
        forms = "none, pretrained, a .safetensors or .pth path, local-dir:FOLDER, or hf-hub:ORG/MODEL"
        yield path, f"must be {forms}; not {weights!r}{hint}"


def _no_repeats(data: YamlMapping) -> Iterator[Fault]:
    """Lists of names name everything once."""
    for path in _LISTS:
        # columns may be written as numbers: [0, "0"] is one of them twice
        names = [text_of_number(name) for name in _list_at(path, data)]
        for index, name in enumerate(names):
            if isinstance(name, str) and name in names[:index]:
                yield (*path, index), f"{name!r} is named twice"


def _target_kind(data: YamlMapping) -> Iterator[Fault]:
    """data.target_kind fits the target's columns."""
    path: YamlPath = ("data", "target_kind")
    kind, n_columns = value_at(path, data), len(_list_at(("data", "columns", "target"), data))
    if kind in ("classes", "multilabel", "regression") and target_is_null(data):
        yield path, f"is {kind}, which needs a target; name its columns in data.columns.target"
    if kind == "classes" and n_columns > 1:
        wanted = f"is classes, which are of one column, but data.columns.target has {n_columns}"
        yield path, f"{wanted}; set it to multilabel or regression"


def _without_target(data: YamlMapping) -> Iterator[Fault]:
    """Settings that need a target, where there is none."""
    if not (target_is_null(data) or value_at(("data", "target_kind"), data) == "none"):
        return
    if value_at(("debias", "objective"), data) == "conditional":
        yield ("debias", "objective"), "conditional leaves what the target tells, but there is none; set it to marginal"
    for index, layer in enumerate(_list_at(("representation", "layers"), data)):
        if layer == "output":
            yield ("representation", "layers", index), "output is the task's, but there is no target; take it out"
    learns = METHODS.get(str(value_at(("method",), data) or MI))
    if value_at(("representation", "bottleneck"), data) is not None and learns is None:
        message = "is drawn at random, and without a target nothing would teach it; leave it out"
        yield ("representation", "bottleneck"), message
    if value_at(("debias", "erase"), data) == "splince":
        message = "splince keeps what features tell of the target, but there is none; set it to leace or transport"
        yield ("debias", "erase"), message
    for section in ("original", "discover"):
        if value_at((section,), data) is not None:
            yield (section,), "trains on the task, but there is no target; leave it out, or name data.columns.target"


def written_gates(data: YamlMapping) -> Iterator[tuple[YamlPath, str]]:
    """The gates of a parsed recipe that are text, each with its place."""
    for index, gate in enumerate(_list_at(("gates",), data)):
        place: YamlPath = ("gates", index, "fail_on") if isinstance(gate, dict) else ("gates", index)
        text = gate.get("fail_on") if isinstance(gate, dict) else gate
        if isinstance(text, str):
            yield place, text


def _gated_attributes(data: YamlMapping) -> Iterator[Fault]:
    """Gates name attributes of the data."""
    for place, text in written_gates(data):
        try:
            reason = unknown_attribute(data, parse_gate(text))
        except GateError:
            continue  # the schema says so already
        if reason is not None:
            yield place, reason


def unknown_attribute(data: YamlMapping, gate: GateExpression) -> str | None:
    """Why a gate names an attribute that the recipe's data do not have, or None where it does not."""
    known, name = _attributes(data), gate.name
    # other figures of the report are not by attribute
    if known and name[0] in ("attributes", "fairness") and len(name) > 1 and name[1] not in known:
        return _no_attribute(name[1], known)
    return None


_CHECKS: tuple[Check, ...] = (
    _some_attribute,
    _void_settings,
    _shared_batch,
    *METHOD_CHECKS,
    _debiased_attributes,
    _crossed_attributes,
    _gated_attributes,
    _backbone_fits_data,
    _computes_again,
    _weights,
    _no_repeats,
    _target_kind,
    _without_target,
    *UNBELIEVABLE,
)
