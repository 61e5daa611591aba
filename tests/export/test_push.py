"""Exports on the hub: a push to a local server, what goes, what is refused, and what stays where it fails."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
from typer.testing import CliRunner

import mibias_cli.run
from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.weights import network
from mibias_cli.cli.main import app
from mibias_cli.errors import ExportError
from mibias_cli.export import push as push_room
from mibias_cli.export.export import write_export
from mibias_cli.export.push import HubTarget, files_to_push, push

REPOSITORY = "someone/debiased"
# what a user of the pushed model does, with an empty cache and without mibias
LOADS = f"""
import numpy as np, sys, timm, torch
model = timm.create_model("hf-hub:{REPOSITORY}", pretrained=True).eval()
with torch.no_grad():
    np.save(sys.argv[2], model(torch.from_numpy(np.load(sys.argv[1]))).numpy())
"""


@dataclasses.dataclass
class Hub:
    """A hub that knows one repository: what it was asked, who may see it, and its files."""

    url: str = ""
    private: bool | None = None
    """None: the repository is not there."""
    refuses: bool = False
    asked: list[str] = dataclasses.field(default_factory=list)
    tokens: set[str | None] = dataclasses.field(default_factory=set)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def answer(self, status: int, body: bytes | dict[str, Any], **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            hub.tokens.add(self.headers.get("Authorization"))
            if path.startswith(f"/api/models/{REPOSITORY}") and hub.private is not None:
                self.answer(200, {"id": REPOSITORY, "private": hub.private, "sha": "0" * 40, "siblings": []})
            elif (name := path.removeprefix(f"/{REPOSITORY}/resolve/main/")) in hub.files:
                data = hub.files[name]
                tag = f'"{hashlib.sha256(data).hexdigest()}"'
                self.answer(200, data, ETag=tag, X_Repo_Commit="0" * 40)
            else:
                code = "EntryNotFound" if hub.private is not None else "RepoNotFound"
                self.answer(404, {"error": "not found"}, X_Error_Code=code)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hub.asked.append(f"POST {path}")
            if hub.refuses:
                self.answer(403, {"error": "this token\ncannot write"})
            elif path == "/api/repos/create":
                # newer clients say it in another word
                asked = json.loads(body)
                hub.private = asked.get("private", asked.get("visibility") == "private")
                self.answer(200, {"url": f"{hub.url}/{REPOSITORY}"})
            elif "/preupload/" in path:
                names = [file["path"] for file in json.loads(body)["files"]]
                files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                self.answer(200, {"files": files})
            elif "/commit/" in path:
                for item in map(json.loads, body.splitlines()):
                    if item["key"] == "file":
                        hub.files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
                self.answer(200, {"commitUrl": f"{hub.url}/{REPOSITORY}/commit/0", "commitOid": "0" * 40})
            else:
                self.answer(200, {"errors": [], "warnings": []})

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    found.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(network, "getproxies", dict)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real export, of a bottleneck of one linear layer folded into timm's classifier or none."""
    place = tmp_path_factory.mktemp("export") / "debiased"
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", input_size=32)
    write_export(
        place, backbone=backbone, extractor=Extractor(backbone.module, backbone.n_features, layers=("features",)),
        head=None, class_names=(), layers=["features"], report=None, report_folder=None,
        sample_inputs=torch.rand(2, 3, 32, 32),
    )  # fmt: skip
    return place


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_push_arrives_whole_in_a_private_repository_and_timm_loads_it(hub: Hub, folder: Path, tmp_path: Path) -> None:
    target = HubTarget.of(REPOSITORY, public=False)
    target.check()
    assert push(folder, target) == f"{hub.url}/{REPOSITORY}"
    assert hub.private is True
    assert hub.files == content(folder)
    assert hub.tokens == {"Bearer hf_of_a_test"}
    # pushed once more, as after a failure: the repository is there now
    target.check()
    push(folder, target)
    # what its users get
    x = torch.rand(2, 3, 32, 32)
    np.save(tmp_path / "x.npy", x.numpy())
    command = [sys.executable, "-c", LOADS, str(tmp_path / "x.npy"), str(tmp_path / "out.npy")]
    settings = {"HF_HOME": str(tmp_path / "cache"), "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, check=True, timeout=300, env=os.environ | settings)
    with torch.no_grad():
        wanted = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(x)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted.numpy(), atol=1e-6)


def test_public_is_what_was_asked_for(hub: Hub, folder: Path) -> None:
    push(folder, HubTarget.of(REPOSITORY, public=True))
    assert hub.private is False
    # what is public already is no place for what should not be
    with pytest.raises(ExportError, match="is there and public.*--public.*nothing was exported"):
        HubTarget.of(REPOSITORY, public=False).check()


def test_a_hub_that_refuses_costs_nothing_local(hub: Hub, folder: Path) -> None:
    hub.refuses = True
    before = content(folder)
    with pytest.raises(ExportError) as caught:
        push(folder, HubTarget.of(REPOSITORY, public=False))
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{REPOSITORY}: not pushed: ")
    # what is private stays private, also by the command that is named
    assert f"`hf upload {REPOSITORY} {folder} --private` tries again" in said
    assert content(folder) == before
    with pytest.raises(ExportError, match=f"`hf upload {REPOSITORY} {folder}` tries again"):
        push(folder, HubTarget.of(REPOSITORY, public=True))


def test_no_login_and_no_hub_are_said_before_the_export(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ExportError, match=r"127\.0\.0\.1 cannot be reached.*nothing was exported"):
        HubTarget.of(REPOSITORY, public=False).check()
    monkeypatch.setattr(push_room, "get_token", lambda: None)
    with pytest.raises(ExportError, match="no login to the hub: `hf auth login`"):
        HubTarget.of(REPOSITORY, public=False).check()
    assert hub.asked == []


@pytest.mark.parametrize("name", ["debiased", "a/b/c", "some one/x", "", "a/b--c"])
def test_names_that_the_hub_does_not_take(name: str) -> None:
    # the client's own words name arguments of its functions, which nobody can set here
    with pytest.raises(ExportError, match="--push-to-hub .*(is no ORG/NAME|is no name that the hub takes)") as caught:
        HubTarget.of(name, public=False)
    assert "repo_type" not in str(caught.value)


# --- the command ---


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Mock:
    """`workflow.export`, which only makes files."""

    def export(_: Path, *, out: Path | None, **__: object) -> Path:
        if out is None:
            return folder
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"x" * 1200)
        (out / "report").mkdir()
        (out / "report" / "leakage.json").write_bytes(b"{}")
        return out

    workflow = Mock(export=Mock(side_effect=export))
    monkeypatch.setitem(sys.modules, "mibias_cli.run.workflow", workflow)
    monkeypatch.setattr(mibias_cli.run, "workflow", workflow, raising=False)
    return workflow.export


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", "a_run", *arguments])


def test_a_dry_run_lists_what_would_go_and_asks_nobody(hub: Hub, exported: Mock) -> None:
    result = run("--push-to-hub", REPOSITORY, "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"would go to {hub.url}/{REPOSITORY} (private):",
        "1,200  model.safetensors",
        "    2  report/leakage.json",
        "1,202  bytes together",
    ]
    assert hub.asked == []
    assert exported.call_args.kwargs["offline"] is True
    assert not exported.call_args.kwargs["out"].exists()


def test_the_command_exports_and_pushes(hub: Hub, exported: Mock, folder: Path) -> None:
    result = run("--push-to-hub", REPOSITORY)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-2:] == [f"exported to {folder}", f"pushed to {hub.url}/{REPOSITORY}"]
    assert dict(files_to_push(folder)) == {name: len(data) for name, data in hub.files.items()}
    # what the hub refuses is said before anything is exported
    hub.private = False
    exported.reset_mock()
    assert run("--push-to-hub", REPOSITORY).exit_code == 2
    assert not exported.called


@pytest.mark.parametrize(
    "options",
    [
        ["--public"],
        ["--dry-run"],
        ["--push-to-hub", REPOSITORY, "--offline"],
        ["--push-to-hub", REPOSITORY, "--dry-run", "--out", "here"],
    ],
)
def test_options_that_do_not_fit(options: list[str], exported: Mock) -> None:
    assert run(*options).exit_code == 2
    assert not exported.called
