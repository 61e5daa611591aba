"""Bad weights, checkpoints, runs and exports."""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from cases import TRAIN, Bad, Place, bad
from safetensors.torch import load_file, save_file

__all__ = ["cases"]

_RUN = ("people.csv", "table_run")
_DEEP = "[" * 50_000 + "]" * 50_000


def cases() -> Iterator[Bad]:
    """All of them."""
    yield from _weights()
    yield from _folders()
    yield from _checkpoints()
    yield from _runs()
    yield from _exports()


def _torch(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _weights() -> Iterator[Bad]:
    """Files named by backbone.weights."""
    cyclic: dict[str, object] = {}
    cyclic["state_dict"] = cyclic
    cyclic_list: list[object] = []
    cyclic_list.append(cyclic_list)
    nested: dict[str, object] = {"x": torch.zeros(1)}
    for _ in range(300):
        nested = {"state_dict": nested}
    huge = json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}}).encode()
    whole = _torch({"layer.weight": torch.zeros(1000)})
    contents: dict[tuple[str, str], bytes] = {
        ("text", ".pth"): b"hello, these are my weights\n",
        ("empty", ".pth"): b"",
        ("JSON", ".pth"): b'{"a": 1}',
        ("HTML of a sign-in page", ".pth"): b"<!DOCTYPE html><html></html>",
        ("an LFS pointer", ".pth"): b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        ("an archive of nothing", ".pth"): b"PK\x05\x06" + bytes(18),
        ("cut short", ".pth"): whole[: len(whole) // 2],
        ("cut by a few bytes", ".pth"): whole[:-10],
        ("cut at its first bytes", ".pth"): whole[:4],
        ("a list", ".pth"): _torch([1, 2]),
        ("a number", ".pth"): _torch(3),
        ("None", ".pth"): _torch(None),
        ("an empty mapping", ".pth"): _torch({}),
        ("a mapping of text", ".pth"): _torch({"a": "b"}),
        ("a mapping that holds itself", ".pth"): _torch(cyclic),
        ("a list that holds itself", ".pth"): _torch(cyclic_list),
        ("300 containers", ".pth"): _torch(nested),
        ("numbers as keys", ".pth"): _torch({1: torch.zeros(1), 2: torch.zeros(2)}),
        ("weights of another model", ".pth"): _torch({"fc.weight": torch.zeros(3, 3)}),
        ("a whole module", ".pth"): _torch(torch.nn.Linear(2, 2)),
        ("sparse tensors", ".pth"): _torch({"layers.0.weight": torch.zeros(8, 2).to_sparse()}),
        ("a plain pickle of a deep list", ".pkl"): b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b".",
        ("a plain pickle", ".bin"): pickle.dumps({"a": 1}),
        ("an old torch file of nothing", ".pt"): pickle.dumps(0x1950A86A20F9469CFC6C),
        ("empty", ".safetensors"): b"",
        ("text", ".safetensors"): b"hello, these are my weights\n",
        ("a header of 10^18 numbers", ".safetensors"): struct.pack("<Q", len(huge)) + huge,
        ("a header deep in brackets", ".safetensors"): struct.pack("<Q", len(_DEEP)) + _DEEP.encode(),
    }
    for (name, suffix), content in contents.items():
        yield bad(f"weights: {name} ({suffix})", lambda place, s=suffix, c=content: _with_weights(place, f"w{s}", c))
    yield bad("weights: a folder (.pth)", lambda place: _with_weights(place, "w.pth", None))
    yield bad("weights: of other widths", lambda place: _wider(place))


def _with_weights(place: Place, name: str, content: bytes | None) -> Sequence[str]:
    place.table()
    (place.folder / name).mkdir() if content is None else place.write(name, content)
    return [*TRAIN, "--set", f"backbone.weights={name}"]


def _wider(place: Place) -> Sequence[str]:
    place.table().stock("table_run")
    return [
        *TRAIN,
        "--set",
        "backbone.weights=table_run/export/model.safetensors",
        "--set",
        "backbone.options={hidden: [99]}",
    ]


def _folders() -> Iterator[Bad]:
    """Folders named as local-dir."""
    configs: dict[str, str | None] = {
        "no config": None,
        "a config of null": "null",
        "a config that is a list": "[]",
        "a config deep in brackets": _DEEP,
        "a config cut short": '{"architecture": "resn',
        "a config without architecture": "{}",
        "an architecture that is a number": '{"architecture": 5}',
        "an architecture that is a list": '{"architecture": ["resnet18"]}',
        "an architecture that nobody knows": '{"architecture": "resnet5000"}',
        "arguments that are text": '{"architecture": "test_resnet", "model_args": "x"}',
        "arguments that no model takes": '{"architecture": "test_resnet", "model_args": {"wings": 2}}',
        "an input size of null": '{"architecture": "test_resnet", "pretrained_cfg": {"input_size": null}}',
        "a mean that is text": '{"architecture": "test_resnet", "pretrained_cfg": {"mean": "grey", "input_size": [3, 32, 32]}}',
        "no weights": '{"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 32, 32]}}',
        "a config in UTF-16": '{"architecture": "test_resnet"}'.encode("utf-16").decode("latin-1"),
    }
    for name, config in configs.items():

        def make(place: Place, config: str | None = config) -> Sequence[str]:
            place.images()
            (place.folder / "model").mkdir()
            if config is not None:
                place.write("model/config.json", config.encode("latin-1"))
            return [*TRAIN, "--set", "backbone={name: 'local-dir:model'}"]

        yield bad(f"folder: {name}", make)

    def mismatch(place: Place) -> Sequence[str]:
        place.table()
        return [*TRAIN, "--set", "backbone={name: test_resnet}"]

    yield bad("folder: an image model on a table", mismatch)


def _begun(place: Place) -> Place:
    """A run that may be resumed: its training has ended, its report and export are gone."""
    place.stock(*_RUN)
    for name in ("report", "export"):
        place.remove(f"table_run/{name}")
    return place


_RESUME = ("train", "--resume", "table_run", "--offline")


def _checkpoints() -> Iterator[Bad]:
    """Training states that are damaged or of something else."""
    state = {"version": 6, "stage": "debias"}
    cyclic: dict[str, object] = {}
    cyclic["model"] = cyclic
    contents: dict[str, bytes] = {
        "empty": b"",
        "text": b"hello",
        "a list": _torch([1]),
        "a number": _torch(1),
        "None": _torch(None),
        "an empty mapping": _torch({}),
        "half of its parts": _torch(state),
        "a mapping that holds itself": _torch(cyclic),
        "the weights of a model": _torch({"weight": torch.zeros(3)}),
        "a plain pickle": pickle.dumps({"a": 1}),
    }
    for name, content in contents.items():
        for command, arguments in (
            ("resume", _RESUME),
            ("evaluate", ("evaluate", "table_run")),
            ("export", ("export", "table_run")),
        ):
            if command == "resume" or name in ("text", "a list", "an empty mapping"):

                def make(place: Place, content: bytes = content, arguments: Sequence[str] = arguments) -> Sequence[str]:
                    _begun(place).write("table_run/checkpoints/last.pt", content)
                    return arguments

                yield bad(f"checkpoint: {name} ({command})", make)
    yield bad("checkpoint: cut short", lambda place: (_begun(place).cut("table_run/checkpoints/last.pt"), _RESUME)[1])
    for part, value in {
        "position": {"epoch": "two"}, "model": {"weight": torch.zeros(3)}, "stage": "nothing", "stepper": None,
        "metrics_bytes": "many", "optimizers": [], "debiaser": {}, "version": "new", "average": 5,
    }.items():  # fmt: skip

        def changed(place: Place, part: str = part, value: object = value) -> Sequence[str]:
            path = _begun(place).folder / "table_run/checkpoints/last.pt"
            state = torch.load(path, weights_only=True)
            # as if it had stopped in the middle, so that the state is used
            state["position"] |= {"finished": False, "epoch": 1}
            path.write_bytes(_torch({**state, part: value}))
            return _RESUME

        yield bad(f"checkpoint: {part} of something else", changed)


def _runs() -> Iterator[Bad]:
    """Other files of a run."""

    def run(name: str, change: Callable[[Place], object], arguments: Sequence[str]) -> Bad:
        return bad(f"run: {name}", lambda place: (change(_begun(place)), arguments)[1])

    export, evaluate = ("export", "table_run"), ("evaluate", "table_run")
    best = "table_run/checkpoints/best.safetensors"
    yield run("best weights cut short", lambda place: place.cut(best), export)
    yield run("best weights gone", lambda place: place.remove(best), evaluate)
    yield run("best weights are text", lambda place: place.write(best, "hello"), evaluate)
    yield run(
        "best weights of another model", lambda place: save_file({"w": torch.zeros(2)}, place.folder / best), export
    )
    yield run(
        "original weights cut short", lambda place: place.cut("table_run/checkpoints/original.safetensors"), evaluate
    )
    yield run("original weights of one wrong shape", lambda place: _reshape(place.folder / best), evaluate)
    yield run("a recipe cut short", lambda place: place.cut("table_run/recipe.resolved.yaml"), _RESUME)
    yield run("a recipe that is null", lambda place: place.write("table_run/recipe.resolved.yaml", "null"), export)
    yield run(
        "a recipe that is binary", lambda place: place.write("table_run/recipe.resolved.yaml", bytes(9)), evaluate
    )
    for name, text in {
        "null": "null",
        "a list": "[]",
        "deep": _DEEP,
        "cut": '{"recipe',
        "other": '{"recipe": {}}',
    }.items():
        yield run(f"start.json: {name}", lambda place, text=text: place.write("table_run/start.json", text), _RESUME)
    yield run("start.json is binary", lambda place: place.write("table_run/start.json", b"\xff\xfe\x00"), _RESUME)
    yield run("metrics cut short", lambda place: place.cut("table_run/metrics.jsonl"), _RESUME)
    # the data of a run are changed before it is evaluated or exported
    wide = "a,b,d,y,sex,split\n" + "".join(
        f"{k % 5},{k % 7},{k},{'yes' if k % 2 else 'no'},{'fm'[k // 2 % 2]},{('train', 'validation', 'test')[k % 3]}\n"
        for k in range(120)
    )
    for command in ("export", "evaluate"):
        arguments = (command, "table_run")
        yield run(f"data of another width ({command})", lambda place: _own_data(place, wide), arguments)
        yield run(f"data that are gone ({command})", lambda place: _own_data(place, None), arguments)


def _reshape(path: Path) -> None:
    state = load_file(path)
    name = next(iter(state))
    save_file({**state, name: torch.zeros(5, 7)}, path)


def _own_data(place: Place, text: str | None) -> None:
    """Let the run's recipe name the data beside it, and change these."""
    recipe = place.folder / "table_run" / "recipe.resolved.yaml"
    lines = recipe.read_text().splitlines()
    kept = [f"  path: {place.folder}/people.csv" if line.startswith("  path: /") else line for line in lines]
    recipe.write_text("\n".join(kept) + "\n")
    place.remove("people.csv")
    if text is not None:
        place.write("people.csv", text)


def _exports() -> Iterator[Bad]:
    """Exported folders that were damaged."""
    texts = {
        "null": "null",
        "a list": "[]",
        "deep": _DEEP,
        "cut": '{"a',
        "other": "{}",
        "a number": "5",
        "binary": "\0\1",
    }
    for file in ("mibias.json", "config.json"):
        for name, text in texts.items():

            def make(place: Place, file: str = file, text: str = text) -> Sequence[str]:
                place.stock(*_RUN, "table.yaml").write(f"table_run/export/{file}", text)
                return ("embed", "table_run/export", "--data", "people.csv", "--out", "z.parquet")

            yield bad(f"export: {file} is {name}", make)
    for file in ("model.safetensors", "heads.safetensors"):
        for name, change in {
            "cut short": lambda place, path: place.cut(path),
            "gone": lambda place, path: place.remove(path),
            "text": lambda place, path: place.write(path, "hello"),
        }.items():

            def damaged(place: Place, file: str = file, change: Callable[..., object] = change) -> Sequence[str]:
                change(place.stock(*_RUN, "table.yaml"), f"table_run/export/{file}")
                return ("evaluate", "table_run/export", "--recipe", "table.yaml", "--out", "audit")

            yield bad(f"export: {file} {name}", damaged)
    for key, value in {
        "n_features": -1,
        "bottleneck": 10**9,
        "layers": 5,
        "input_shape": [],
        "inputs": 3,
        "format": 99,
    }.items():

        def other(place: Place, key: str = key, value: object = value) -> Sequence[str]:
            path = place.stock(*_RUN).folder / "table_run/export/mibias.json"
            path.write_text(json.dumps(_replaced(json.loads(path.read_text()), key, value)))
            return ("predict", "table_run/export", "--data", "people.csv", "--out", "p.csv")

        yield bad(f"export: {key} of {value}", other)


def _replaced(value: object, key: str, new: object) -> object:
    """The value with `key` replaced wherever it stands."""
    if not isinstance(value, dict):
        return value
    return {k: new if k == key else _replaced(v, key, new) for k, v in value.items()}
