"""Bad recipes and bad command lines."""

from __future__ import annotations

from collections.abc import Iterator

from cases import TRAIN, Bad, Place, bad, table_case

__all__ = ["cases"]

# values that no run can mean, one of each kind: wrong type, sign, size, name, or a contradiction
SETTINGS = (
    "seed=-1", "seed=1.5", "seed=99999999999999999999", "version=2", "version=null", "name=[]",
    "training.epochs=0", "training.epochs=1000000000", "training.batch_size=0", "training.batch_size=100000000",
    "training.batch_size=1e3x", "training.learning_rate=0", "training.learning_rate=.inf", "training.learning_rate=1e30",
    "training.optimizer=adamm", "training.momentum=-1", "training.beta1=1", "training.schedule=linear",
    "training.precision=8", "training.device=tpu", "training.num_workers=100000", "training.num_workers=-1",
    "training.log_every_steps=0", "training.checkpoint_every_steps=0", "training.clip_norm=0",
    "training.select.metric=validation/nothing", "training.select.patience=0", "training.select.mode=most",
    "training.average_decay=1.5", "training=5", "training.epochs.x=1", "training.epochs={}",
    "debias.weight=-1", "debias.estimator=mime", "debias.attributes=[colour]", "debias.attributes=[]",
    "debias.budget_bits=-1", "debias.budget_bits={colour: 1}", "debias.queue_batches=0",
    "debias.queue_batches=1000000000", "debias.critic.steps=0", "debias.critic.hidden=[0]",
    "debias.critic.hidden=[100000000]", "debias.critic.hidden=[1000000000000]", "debias.critic.steps=1000000000",
    "debias.critic.n_random_features=1000000000", "debias.mix={layer: nothing}", "debias.bias_product=much",
    "debias.critic.batch_size=1000000000", "debias.attribute_weights={colour: 1}",
    "representation.bottleneck=0", "representation.bottleneck=1000000000", "representation.bottleneck={width: 99999999}",
    "representation.bottleneck={hidden: [1000000000]}", "representation.layers=[]", "representation.layers=[nothing]",
    "representation.pool=min", "backbone.name=resnet5000", "backbone.name=digit_cnn", "backbone.name=[]",
    "backbone.options={hidden: x}", "backbone.options={hidden: [-1]}", "backbone.options={hidden: [1000000000]}",
    "backbone.options={wings: 2}", "backbone.train=[nothing]", "backbone.layer_decay=2", "backbone.weights=nothing.pth",
    "backbone.weights=pretrained", "backbone.name=resnet18", "backbone.weights=local-dir:nothing",
    "backbone.weights=hf-hub:nobody/nothing", "backbone.in_chans=0", "backbone.input_size=1000000000",
    "evaluation.probes=[]", "evaluation.probes=[oracle]", "evaluation.n_bootstrap=10",
    "evaluation.n_bootstrap=1000000000", "evaluation.n_permutations=1000000000", "evaluation.confidence=1",
    "evaluation.max_samples=1", "evaluation.fit_fraction=0", "evaluation.layers=[nothing]",
    "evaluation.crossings=[[sex, colour]]", "evaluation.fidelity_columns=[nothing]", "export.formats=[torch]",
    "gates=[{fail_on: 'x >'}]", "gates=[{fail_on: 'attributes.colour.after.leakage_bits > 1'}]",
    "data.path=nothing.csv", "data.encoding=klingon", "data.encoding=rot13", "data.columns.target=nothing",
    "data.columns.split=nothing", "data.columns.group=nothing", "data.splits.audit=nothing", "data.ramps=100000000",
    "data.splits.fractions=[1, 1, 1]", "data.attributes={race: {}}", "data.attributes={sex: {kind: continuous}}",
    "data.attributes={a: {kind: continuous, bins: 1000000}}", "data.target_kind=regression", "data.features=[nothing]",
    "data.features=[]", "data.source=nothing", "discover={clusters: 1000000}",
    "original.epochs=0", "original.start_debiasing_from=end",
    # legal each by itself, and nobody means them
    "evaluation.confidence=0.05", "evaluation.confidence=0.9999", "evaluation.suppress_below=20",
    "training.momentum=1", "training.augment=true", "training.weight_decay=1e9",
    "discover={clusters: 1}", "data.columns.group=y", "data.columns.group=split", "data.features=[a, split]",
    "data.attributes={sex: {column: y}}", "data.columns.target=sex", "data.columns.target=[0, 0]",
    "data.path=https://example.org/people.csv", "backbone.weights=https://example.org/w.pth", "logging=[jsonl, jsonl]",
    "debias.budget_bits=0", "debias.budget_bits=1000", "debias.budget_bits={sex: .nan}", "data.values={sex: {f: .inf}}",
    "representation.layers.²=x", "gates.0=x", "backbone.options={hidden: [1.5]}", "representation.layers=['']",
    "name=" + "x" * 200, "data.path=.", "data.path=/dev/null",
)  # fmt: skip

TEXTS = {
    "an empty file": "",
    "only a comment": "# nothing\n",
    "a list": "- version: 1\n",
    "a single word": "hello\n",
    "tabs": "version: 1\ndata:\n\tsource: digits\n",
    "an open bracket": "version: 1\ndata: {source: digits\n",
    "an open quote": 'version: 1\nname: "x\n',
    "a repeated key": "version: 1\nversion: 1\ndata: {source: digits}\nbackbone: {name: mlp}\n",
    "a Python object": "version: !!python/object/apply:os.system [id]\n",
    "an alias that multiplies": "a: &a [x, x]\n"
    + "".join(f"{chr(98 + k)}: &{chr(98 + k)} [*{chr(97 + k)}, *{chr(97 + k)}]\n" for k in range(22)),
    "an alias inside itself": "version: &a [*a]\n",
    "an unknown alias": "version: *a\n",
    "2,000 brackets": "version: " + "[" * 2000 + "]" * 2000 + "\n",
    "100,000 brackets": "version: " + "[" * 100_000 + "\n",
    "5,000 unknown keys": "version: 1\n" + "".join(f"key{k}: {k}\n" for k in range(5000)),
    "5,000 unknown keys in a section": "version: 1\ntraining:\n" + "".join(f"  key{k}: 1\n" for k in range(5000)),
    "a megabyte in one key": f"{'k' * 1_000_000}: 1\n",
    "a megabyte in one value": f"version: 1\nname: {'v' * 1_000_000}\n",
    "a number of 5,000 digits": f"version: {'9' * 5000}\n",
    "two documents": "version: 1\n---\nversion: 1\n",
    "a merge key": "a: &a {x: 1}\nversion: 1\n<<: *a\n",
    "bytes that are no text": b"\x89PNG\r\n\x1a\n\x00\x00".decode("latin-1"),
    "no data": "version: 1\nbackbone: {name: mlp}\n",
    "another tool's file": "services:\n  web: {image: nginx}\n",
    "10 MB of keys": "".join(f"key{k}: 1\n" for k in range(600_000)),
}

COMMANDS = (
    ("an unknown command", ["trian"]),
    ("an unknown option", ["train", "r.yaml", "--fast"]),
    ("no recipe", ["train"]),
    ("a recipe that is not there", ["train", "nothing.yaml"]),
    ("a folder as recipe", ["train", "."]),
    ("a device file as recipe", ["train", "/dev/null"]),
    ("a set without a value", [*TRAIN, "--set", "training.epochs"]),
    ("a set of nothing", [*TRAIN, "--set", "=1"]),
    ("a set with a broken value", [*TRAIN, "--set", "training.epochs=["]),
    ("a set 3,000 deep", [*TRAIN, "--set", "a" + ".b" * 3000 + "=1"]),
    ("a set nested 3,000 deep", [*TRAIN, "--set", "training.epochs=" + "[" * 3000 + "]" * 3000]),
    ("a seed that is none", [*TRAIN, "--seed", "-5"]),
    ("an unknown device", [*TRAIN, "--device", "toaster"]),
    ("resume of nothing", ["train", "--resume", "nothing"]),
    ("resume with out", ["train", "--resume", ".", "--out", "x"]),
    ("out that is a file", ["train", "r.yaml", "--out", "people.csv", "--offline"]),
    ("out below a file", ["train", "r.yaml", "--out", "people.csv/run", "--offline"]),
    ("out with a name too long", ["train", "r.yaml", "--out", "x" * 300, "--offline"]),
    ("out with a NUL", ["train", "r.yaml", "--out", "a\x00b", "--offline"]),
    ("out in /proc", ["train", "r.yaml", "--out", "/proc/run", "--offline"]),
    ("examples beyond reason", [*TRAIN, "--examples", "1000000"]),
    ("sweep over nothing", ["sweep", "r.yaml", "--over", "x"]),
    ("sweep over an unknown key", ["sweep", "r.yaml", "--over", "training.wings=1,2", "--dry-run", "--jobs", "0"]),
    ("sweep of a million runs", ["sweep", "r.yaml", *["--over", "seed=" + ",".join(map(str, range(100)))] * 2]),
    ("validate of a binary file", ["validate", "people.bin"]),
    ("recipes that are not there", ["recipes", "show", "nothing"]),
    ("evaluate without a recipe", ["evaluate", "resnet18"]),
    ("evaluate of an unknown model", ["evaluate", "resnet5000", "--recipe", "r.yaml", "--offline"]),
    ("an empty out", [*TRAIN[:2], "--out", "", "--overwrite"]),
    ("an empty recipe", ["train", "", "--offline"]),
    ("an empty run to resume", ["train", "--resume", ""]),
    ("an empty prefix", ["estimate", "people.csv", "--z", "", "--c", "sex"]),
    ("a format without a dry run", [*TRAIN, "--format", "json"]),
    ("a gate on what the data lack", [*TRAIN, "--fail-on", "attributes.colour.after.leakage_bits > 1"]),
    ("JUnit below a file", [*TRAIN, "--junit", "people.csv/x.xml"]),
    ("JUnit over the data", [*TRAIN, "--junit", "people.csv"]),
    ("a schema over the data", ["schema", "--out", "people.csv"]),
    ("sweep over no seed, dry", ["sweep", "r.yaml", "--over", "seed=1,x", "--dry-run"]),
    ("sweep into a file, dry", ["sweep", "r.yaml", "--over", "seed=1,2", "--dry-run", "--out", "people.csv"]),
    ("init of a table with a root", ["init", "people.csv", "--root", "nothing", "--out", "o.yaml"]),
    ("init of a table with a timm model", ["init", "people.csv", "--backbone", "resnet18", "--out", "o.yaml"]),
    ("init with the target as group", ["init", "people.csv", "--target", "y", "--group", "y", "--out", "o.yaml"]),
    ("scan with weights of nothing", ["scan", "people.csv", "--weights", "none"]),
    ("scan of a device", ["scan", "/dev/null"]),
    ("export of nothing", ["export", "nothing"]),
    ("export of an unknown format", ["export", ".", "--format", "torch"]),
)


def cases() -> Iterator[Bad]:
    """All of them."""
    for setting in SETTINGS:
        yield table_case(f"recipe: {setting}", arguments=[*TRAIN, "--set", setting])
    for name, text in TEXTS.items():
        yield bad(f"recipe of {name}", lambda place, text=text: _validate(place, text))
    for name, arguments in COMMANDS:
        yield bad(f"command: {name}", lambda place, arguments=arguments: _command(place, arguments))


def _validate(place: Place, text: str) -> list[str]:
    place.write("r.yaml", text)
    return ["validate", "r.yaml"]


def _command(place: Place, arguments: list[str]) -> list[str]:
    place.table().write("people.bin", bytes(range(256)))
    return arguments
