"""Hostile files: made to run code, to leave their folder, to steer who reads of them, or to fill the machine."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

import numpy as np
import torch
from bad_data import npy
from cases import TRAIN, Place
from stock import people

__all__ = ["CANARY", "Hostile", "cases", "got_in"]

CANARY = "canary"
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_TEXTS = (".html", ".md", ".json", ".log", ".xml", ".yaml", ".svg", ".csv", ".jsonl", ".txt")
OSC, BIDI, CSI = "\x1b]0;owned\x07", "\u202egnp.exe", "\x1b[2J\x1b[31m"
NAMES = {
    "a title of the terminal": OSC, "an override of direction": BIDI, "colours": CSI, "a bell": "a\x07b",
    "a carriage return": "a\rerror: all is well", "an 8-bit control": "a\x9b31m", "a backspace": "a\x08\x08\x08b",
    "HTML": "<script>document.title=1</script>", "an attribute of HTML": '" onmouseover="alert(1)',
    "a Markdown link": "[a](javascript:alert(1))", "a template": "{{ 7777*1287 }}{% raw %}", "a formula": '=HYPERLINK("http://x","y")',
    "a workflow command": "::error::owned", "a format": "%s%n{0}{x!r}", "Rich markup": "[red]x[/red][link=http://x]",
}  # fmt: skip


class _Code:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A case: what is laid out, and the commands that meet it."""

    name: str
    make: Callable[[Place], Sequence[Sequence[str]]]


def got_in(place: Place, output: str) -> str | None:
    """What the attack reached, or None."""
    if any(path.name == CANARY for path in (*place.folder.rglob(CANARY), *place.folder.parent.glob(CANARY))):
        return "code ran, or a file was written where none should be"
    if (place.folder / ".network").exists():
        return "a connection was tried"
    if _RAW.search(output.replace("\r\n", "\n")):
        return "the terminal was steered"
    if re.search(r"^\s*::(error|add-mask|set-output)", output, re.MULTILINE) or "##[" in output:
        return "a workflow command was given"
    for path in place.folder.rglob("*"):
        if path.suffix in _TEXTS and path.is_file() and not path.name.startswith("given"):
            text = path.read_text(encoding="utf-8", errors="replace")
            if path.suffix == ".html" and (_runs_script(text) or "10008999" in text):
                return f"{path.name} runs a script"
            if path.suffix != ".csv" and "given" not in path.parts and _RAW.search(text):
                return f"{path.name} steers who reads it"
    return None


def _runs_script(page: str) -> bool:
    """Whether a browser would take one of the names for a script: as an element, or as an attribute of one."""
    found = False

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            nonlocal found
            found |= any(name.startswith("on") for name, _ in attrs)

    Reader().feed(page)
    return found or "<script>document" in page


def cases() -> Iterator[Hostile]:
    """All of them."""
    yield from _code()
    yield from _paths()
    yield from _names()


def _case(name: str, make: Callable[[Place], Sequence[Sequence[str]]]) -> Hostile:
    return Hostile(name=name, make=make)


def _code() -> Iterator[Hostile]:
    """Files that run code where a careless reader opens them."""
    pickled = pickle.dumps(_Code())
    whole = io.BytesIO()
    torch.save({"x": _Code()}, whole)
    archive = io.BytesIO()
    np.savez(archive, features=np.array([_Code()], dtype=object))
    objects = io.BytesIO()
    np.save(objects, np.array([_Code()] * 4, dtype=object))

    for suffix in (".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors"):
        for kind, content in (("pickle", pickled), ("torch file", whole.getvalue())):

            def weights(place: Place, suffix: str = suffix, content: bytes = content) -> Sequence[Sequence[str]]:
                place.table().write(f"given{suffix}", content)
                return [[*TRAIN, "--set", f"backbone.weights=given{suffix}"]]

            yield _case(f"code in weights: {kind} as {suffix}", weights)
    for kind, content in (("pickle", pickled), ("torch file", whole.getvalue())):

        def checkpoint(place: Place, content: bytes = content) -> Sequence[Sequence[str]]:
            place.stock("table_run", "people.csv").remove("table_run/export").write(
                "table_run/checkpoints/last.pt", content
            )
            return [["train", "--resume", "table_run", "--offline"], ["export", "table_run"], ["evaluate", "table_run"]]

        yield _case(f"code in a checkpoint: {kind}", checkpoint)
    for suffix, content in (
        (".npy", objects.getvalue()),
        (".npz", archive.getvalue()),
        (".npy", pickled),
        (".pkl", pickled),
    ):

        def data(place: Place, suffix: str = suffix, content: bytes = content) -> Sequence[Sequence[str]]:
            place.table().write(f"given{suffix}", content)
            settings = f"data={{source: embeddings, path: given{suffix}, manifest: people.csv, columns: {{target: y, split: split}}, attributes: {{sex: {{}}}}}}"
            return [
                [*TRAIN, "--set", settings],
                ["estimate", f"given{suffix}", "--z", "z", "--c", "c"],
                ["init", f"given{suffix}"],
            ]

        yield _case(f"code in embeddings: {len(content)} bytes as {suffix}", data)
    for tag in (
        "python/object/apply:os.system",
        "python/name:os.system",
        "python/object/new:os.system",
        "python/module:os",
    ):

        def recipe(place: Place, tag: str = tag) -> Sequence[Sequence[str]]:
            place.write("given.yaml", f"version: 1\nname: !!{tag} ['touch {CANARY}']\n")
            return [["validate", "given.yaml"], ["train", "given.yaml"], ["sweep", "given.yaml", "--over", "seed=1,2"]]

        yield _case(f"code in a recipe: {tag}", recipe)
    for expression in (
        f"__import__('os').system('touch {CANARY}') > 0",
        f"$(touch {CANARY}) > 0",
        f"x[`touch {CANARY}`] > 0",
    ):

        def gate(place: Place, expression: str = expression) -> Sequence[Sequence[str]]:
            place.stock("table_run")
            return [
                ["gate", "table_run", "--fail-on", expression],
                ["train", "r.yaml", "--set", f"gates=[{{fail_on: {json.dumps(expression)}}}]"],
            ]

        yield _case(f"code in a gate: {expression[:20]}", gate)

    def hub(place: Place) -> Sequence[Sequence[str]]:
        (place.images().folder / "model").mkdir()
        place.write(
            "model/config.json",
            json.dumps(
                {
                    "architecture": "test_resnet",
                    "pretrained_cfg": {"url": "http://127.0.0.1:9/x", "hf_hub_id": "a/b", "input_size": [3, 32, 32]},
                }
            ),
        )
        place.write("model/pytorch_model.bin", pickled)
        return [[*TRAIN, "--set", "backbone={name: 'local-dir:model'}"]]

    yield _case("code and addresses in a folder of weights", hub)
    yield _case("an architecture that is a path", lambda place: _config(place, "../../x"))
    yield _case("an architecture of the hub", lambda place: _config(place, "hf-hub:a/b"))


def _config(place: Place, architecture: str) -> Sequence[Sequence[str]]:
    place.images().write("model/config.json", json.dumps({"architecture": architecture}))
    return [[*TRAIN, "--set", "backbone={name: 'local-dir:model'}"]]


def _paths() -> Iterator[Hostile]:
    """Names that lead out of where they should stay."""
    for path in ("../given.png", "/etc/hostname", "images/../../given.png", "link.png", "folder/given.png"):

        def manifest(place: Place, path: str = path) -> Sequence[Sequence[str]]:
            place.images().edit("pictures.csv", "images/0.png", path)
            (place.folder.parent / "given.png").write_bytes((place.folder / "images/1.png").read_bytes())
            (place.folder / "link.png").symlink_to(place.folder.parent / "given.png")
            (place.folder / "folder").symlink_to(place.folder.parent)
            return [TRAIN]

        yield _case(f"a picture out of the root: {path}", manifest)
    for name in (f"../{CANARY}", f"/tmp/{CANARY}", f"a/../../{CANARY}", f"..\\{CANARY}"):

        def run_name(place: Place, name: str = name) -> Sequence[Sequence[str]]:
            place.table().edit("r.yaml", "name: people", f"name: {json.dumps(name)}")
            return [["train", "r.yaml", "--offline"], ["sweep", "r.yaml", "--over", "seed=1", "--dry-run"]]

        yield _case(f"a run's name that is a path: {name}", run_name)

    def slip(place: Place) -> Sequence[Sequence[str]]:
        with zipfile.ZipFile(place.table().folder / "given.npz", "w") as archive:
            archive.writestr(f"../{CANARY}", "x")
            archive.writestr("features.npy", npy("(4, 4)", bytes(64)))
        return [["estimate", "given.npz", "--z", "features", "--c", f"../{CANARY}"], ["init", "given.npz"]]

    yield _case("an archive with a path that climbs", slip)

    def export_of(place: Place) -> Sequence[Sequence[str]]:
        path = place.stock("table_run", "people.csv").folder / "table_run/export/mibias.json"
        values = json.loads(path.read_text())
        values["backbone"]["name"] = f"../../{CANARY}"
        path.write_text(json.dumps(values))
        return [["embed", "table_run/export", "--data", "people.csv", "--out", "z.parquet"]]

    yield _case("an export whose backbone is a path", export_of)


def _names() -> Iterator[Hostile]:
    """Names of columns, classes, files and keys that steer whoever reads them."""
    for name, text in NAMES.items():

        def classes(place: Place, text: str = text) -> Sequence[Sequence[str]]:
            place.table()
            people(place.folder / "people.csv")
            content = (place.folder / "people.csv").read_text().replace("yes", '"' + text.replace('"', '""') + '"')
            (place.folder / "people.csv").write_text(content, newline="")
            return [
                [*TRAIN, "--dry-run"],
                TRAIN,
                ["gate", "run", "--fail-on", "task.after.accuracy < 0", "--junit", "j.xml"],
            ]

        yield _case(f"a class that is {name}", classes)

        def keys(place: Place, text: str = text) -> Sequence[Sequence[str]]:
            place.write("given.yaml", json.dumps({"version": 1, text: 1, "data": {"source": text}}, ensure_ascii=False))
            setting = [*TRAIN, "--set", f"{text}={text}"]
            return [["validate", "given.yaml"], ["gate", text, "--fail-on", f"{text} > 1"], setting]

        yield _case(f"a key that is {name}", keys)
