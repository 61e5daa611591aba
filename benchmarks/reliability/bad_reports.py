"""Bad reports, gates and comparisons; and commands on new data, columns and folders that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from cases import Bad, Place, bad

__all__ = ["cases"]

_DEEP = "[" * 50_000 + "]" * 50_000
_GATE = "attributes.sex.after.leakage_bits > 5"
REPORTS = {
    "empty": "", "null": "null", "a number": "5", "text": '"x"', "a list": "[]", "an empty mapping": "{}",
    "brackets 50,000 deep": _DEEP, "mappings 50,000 deep": '{"a":' * 50_000 + "1" + "}" * 50_000, "cut": '{"schema_ver',
    "NaN": '{"schema_version": NaN}', "binary": "\x00\x01\x02", "of a later version": '{"schema_version": 99}',
    "a version that is text": '{"schema_version": "one"}', "a number of 5,000 digits": '{"schema_version": ' + "9" * 5000 + "}",
    "an archive": "PK\x03\x04", "another tool's": '{"tests": [], "passed": true}',
}  # fmt: skip
PARTS: dict[str, tuple[str, object]] = {
    "attributes is null": ("attributes", None), "attributes is a list": ("attributes", [1]), "task is text": ("task", "x"),
    "similarity is a number": ("similarity", 5), "provenance is null": ("provenance", None),
    "no attribute is left": ("attributes", {"sex": {}}), "schema_version is -1": ("schema_version", -1),
    "schema_version is 1e400": ("schema_version", float("inf")), "gates is text": ("gates", "x"),
}  # fmt: skip
_AFTER = ("attributes", "sex", "after")
EDITS: dict[str, tuple[tuple[str, ...], object]] = {
    "an interval turned around": ((*_AFTER, "leakage_bits", "lower"), 9), "leakage before, alone": (("attributes", "sex", "before", "leakage_bits", "estimate"), 0.9),
    "a change, alone": (("attributes", "sex", "change", "leakage_bits", "estimate"), -0.9), "an accuracy of 7": (("task", "after", "accuracy"), 7),
    "a p-value of 5": ((*_AFTER, "p_value"), 5), "a probe that is not there": ((*_AFTER, "headline_probe"), "oracle"),
    "no probes": ((*_AFTER, "probes"), {}), "an entropy below 0": (("attributes", "sex", "entropy_bits"), -1),
    "text as a number": ((*_AFTER, "leakage_bits", "lower"), "0.1"), "true as a number": ((*_AFTER, "leakage_bits", "lower"), True),
    "10^400 rows": (("attributes", "sex", "n_known"), 10**400),
}  # fmt: skip
EXPRESSIONS = (
    "", " ", "x", "x >", "> 1", "task.after.accuracy", "task.after.accuracy >> 1", "task.after.accuracy > x",
    "task.after.accuracy > 1e999", "task.after.accuracy > nan", "task.nothing > 1", "attributes.colour.after.leakage_bits > 1",
    "__import__('os').system('id') > 1", "task.after.accuracy > 1; task.after.accuracy > 2", "(" * 3000 + "x > 1",
    "attributes > 1", "task.after.accuracy > 1 or 2", "a" * 10_000 + " > 1", "task..accuracy > 1", "task.after.accuracy = 1",
)  # fmt: skip


def cases() -> Iterator[Bad]:
    """All of them."""
    yield from _reports()
    yield from _gates()
    yield from _new_data()
    yield from _columns()
    yield from _folders()


def _reports() -> Iterator[Bad]:
    for name, text in REPORTS.items():
        for command, arguments in (
            ("gate", ("gate", "leakage.json", "--fail-on", _GATE)),
            ("compare", ("compare", "leakage.json", "table_run")),
            ("baseline", ("gate", "table_run", "--baseline", "leakage.json")),
        ):

            def make(place: Place, text: str = text, arguments: Sequence[str] = arguments) -> Sequence[str]:
                place.stock("table_run").write("leakage.json", text)
                return arguments

            if command != "baseline" or name in ("null", "cut", "brackets 50,000 deep"):
                yield bad(f"report: {name} ({command})", make)
    for name, (key, value) in PARTS.items():

        def part(place: Place, key: str = key, value: object = value) -> Sequence[str]:
            path = place.stock("table_run").folder / "table_run/report/leakage.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
            return ("compare", "table_run", "table_run/export")

        yield bad(f"report: {name}", part)

    for name, (place_of, value) in EDITS.items():

        def edit(place: Place, place_of: tuple[str, ...] = place_of, value: object = value) -> Sequence[str]:
            path = place.stock("table_run").folder / "table_run/report/leakage.json"
            report = json.loads(path.read_text())
            holder = report
            for key in place_of[:-1]:
                holder = holder[key]
            holder[place_of[-1]] = value
            path.write_text(json.dumps(report))
            return ("gate", "table_run/export", "--baseline", "table_run")

        yield bad(f"report: edited, {name}", edit)


def _gates() -> Iterator[Bad]:
    for expression in EXPRESSIONS:
        yield _on_run(f"gate: {expression[:40]!r}", ["gate", "table_run", "--fail-on", expression])
    for name, arguments in {
        "no gate": ["gate", "table_run"],
        "a report that is not there": ["gate", "nothing", "--fail-on", _GATE],
        "a folder without a report": ["gate", "table_run/checkpoints", "--fail-on", _GATE],
        "a tolerance of nothing": ["gate", "table_run", "--fail-on", _GATE, "--tolerance", "0.1"],
        "a tolerance below 0": ["gate", "table_run", "--baseline", "table_run", "--tolerance", "-1"],
        "a tolerance that is no number": ["gate", "table_run", "--baseline", "table_run", "--tolerance", "much"],
        "a tolerance twice": ["gate", "table_run", "--baseline", "table_run", "--tolerance", "1", "--tolerance", "2"],
        "JUnit over a report": ["gate", "table_run", "--fail-on", _GATE, "--junit", "table_run/report/leakage.json"],
        "JUnit into a folder": ["gate", "table_run", "--fail-on", _GATE, "--junit", "table_run"],
        "JUnit below a file": ["gate", "table_run", "--fail-on", _GATE, "--junit", "people.csv/x.xml"],
    }.items():
        yield _on_run(f"gate: {name}", arguments)
    for name, arguments in {
        "nothing": ["compare"],
        "a folder that is no run": ["compare", "table_run/checkpoints"],
        "a run that is not there": ["compare", "nothing"],
        "a table": ["compare", "people.csv"],
        "out that is a file": ["compare", "table_run", "--out", "people.csv"],
    }.items():
        yield _on_run(f"compare: {name}", arguments)


def _on_run(name: str, arguments: Sequence[str]) -> Bad:
    return bad(name, lambda place: (place.stock("table_run", "people.csv", "images", "pictures.csv"), arguments)[1])


def _new_data() -> Iterator[Bad]:
    for name, arguments in {
        "images for a table": ["embed", "table_run", "--data", "images", "--out", "z.parquet"],
        "a table for images": ["embed", "images_run", "--data", "people.csv", "--out", "z.parquet"],
        "nothing": ["embed", "table_run", "--data", "nothing.csv", "--out", "z.parquet"],
        "an unknown suffix": ["embed", "table_run", "--data", "people.csv", "--out", "z.docx"],
        "a folder that is a file": ["predict", "table_run", "--data", "people.csv", "--out", "people.csv/x.csv"],
        "a target that is no model": ["predict", "people.csv", "--data", "people.csv", "--out", "p.csv"],
        "an empty folder": ["embed", "images_run", "--data", "table_run/.lock", "--out", "z.parquet"],
        "other columns": ["predict", "table_run", "--data", "pictures.csv", "--out", "p.csv"],
    }.items():
        yield bad(f"new data: {name}", lambda place, a=arguments: _everything(place, a))
    rows = {
        "a number too large": "a,b\n1e300,2\n", "words": "a,b\nmuch,2\n", "inf": "a,b\ninf,1\n", "no rows": "a,b\n",
        "one column less": "a\n1\n", "10^400": "a,b\n1" + "0" * 400 + ",1\n",
    }  # fmt: skip
    for name, text in rows.items():

        def make(place: Place, text: str = text) -> Sequence[str]:
            place.stock("table_run").write("new.csv", text)
            return ("predict", "table_run", "--data", "new.csv", "--out", "p.csv")

        yield bad(f"new data: {name}", make)


def _everything(place: Place, arguments: Sequence[str]) -> Sequence[str]:
    place.stock("table_run", "images_run", "people.csv", "images", "pictures.csv")
    return arguments


def _columns() -> Iterator[Bad]:
    good = ["z_0,z_1,c,y\n", *(f"{k % 5},{k % 7},{'ab'[k % 2]},{k % 3}\n" for k in range(60))]
    texts: dict[str, tuple[str, Sequence[str]]] = {
        "no such file": ("", ["nothing.csv", "--z", "z_", "--c", "c"]),
        "no such column": ("".join(good), ["f.csv", "--z", "z_", "--c", "colour"]),
        "no such prefix": ("".join(good), ["f.csv", "--z", "w_", "--c", "c"]),
        "an unknown estimator": ("".join(good), ["f.csv", "--z", "z_", "--c", "c", "--estimators", "oracle"]),
        "no estimator": ("".join(good), ["f.csv", "--z", "z_", "--c", "c", "--estimators", ","]),
        "an empty file": ("", ["f.csv", "--z", "z_", "--c", "c"]),
        "a header alone": (good[0], ["f.csv", "--z", "z_", "--c", "c"]),
        "two rows": ("".join(good[:3]), ["f.csv", "--z", "z_", "--c", "c"]),
        "one value of c": ("z_0,c\n" + "1,a\n2,a\n" * 30, ["f.csv", "--z", "z_", "--c", "c"]),
        "words as numbers": ("z_0,c\n" + "much,a\n2,b\n" * 30, ["f.csv", "--z", "z_", "--c", "c"]),
        "words as a continuous c": ("".join(good), ["f.csv", "--z", "z_", "--c", "c", "--kind", "continuous"]),
        "inf": ("z_0,c\n" + "inf,a\n2,b\n" * 30, ["f.csv", "--z", "z_", "--c", "c"]),
        "c given itself": ("".join(good), ["f.csv", "--z", "z_", "--c", "c", "--given", "c"]),
        "a value of c in every row": (
            "z_0,c\n" + "".join(f"{k % 5},id{k}\n" for k in range(60)),
            ["f.csv", "--z", "z_", "--c", "c"],
        ),
    }
    for name, (text, arguments) in texts.items():
        yield bad(
            f"estimate: {name}", lambda place, t=text, a=arguments: (place.write("f.csv", t), ["estimate", *a])[1]
        )


def _folders() -> Iterator[Bad]:
    layouts: dict[str, Callable[[Place], Sequence[str]]] = {
        "nothing": lambda place: ["init", "nothing", "--out", "r2.yaml"],
        "an empty folder": lambda place: ((place.folder / "d").mkdir(), ["init", "d", "--out", "r2.yaml"])[1],
        "a folder of text": lambda place: (place.write("d/a.txt", "x"), ["init", "d", "--out", "r2.yaml"])[1],
        "an empty table": lambda place: (place.write("t.csv", ""), ["init", "t.csv", "--out", "r2.yaml"])[1],
        "a table of one column": lambda place: (
            place.write("t.csv", "a\n1\n2\n"),
            ["init", "t.csv", "--out", "r2.yaml"],
        )[1],
        "a binary file": lambda place: (place.write("t.csv", bytes(300)), ["init", "t.csv", "--out", "r2.yaml"])[1],
        "a device": lambda place: ["init", "/dev/zero", "--out", "r2.yaml"],
        "faces of nothing": lambda place: ["data", "faces", "nothing", "--out", "m.csv"],
        "celeba of an empty folder": lambda place: (
            (place.folder / "d").mkdir(),
            ["data", "celeba", "d", "--out", "m.csv"],
        )[1],
        "waterbirds of text": lambda place: (
            place.write("d/metadata.csv", "x"),
            ["data", "waterbirds", "d", "--out", "m.csv"],
        )[1],
    }
    for name, make in layouts.items():
        yield bad(f"folder: {name}", make)
