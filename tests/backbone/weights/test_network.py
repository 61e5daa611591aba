"""Without a network a download ends at once, and says how to do without."""

from __future__ import annotations

import socket
import time

import pytest

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.weights import network
from mibias_cli.backbone.weights.network import require_network
from mibias_cli.errors import BackboneError


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "getproxies", dict)


def refusing(*_: object, **__: object) -> socket.socket:
    raise OSError(101, "Network is unreachable")


def silent(*_: object, **__: object) -> socket.socket:
    time.sleep(4)
    raise TimeoutError("long after anybody waits")


def test_a_server_that_answers_is_no_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        require_network(f"http://127.0.0.1:{server.getsockname()[1]}/x", what="weights")


def test_a_proxy_is_asked_in_place_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "proxy_bypass", lambda host: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(network, "getproxies", lambda: {"https": f"http://127.0.0.1:{port}"})
        require_network("https://nowhere.invalid/x", what="weights")
    with pytest.raises(BackboneError, match=r"nowhere\.invalid cannot be reached through the proxy 127"):
        require_network("https://nowhere.invalid/x", what="weights")


@pytest.mark.parametrize("connect", [refusing, silent])
def test_no_network_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch, connect: object) -> None:
    monkeypatch.setattr(network, "_SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", connect)
    started = time.monotonic()
    for name, weights in (("resnet18", "pretrained"), ("resnet18", "hf-hub:nobody/nothing")):
        with pytest.raises(BackboneError, match=r"cannot be (fetched|reached).*\n.*On a machine with network"):
            create_backbone(name, weights=weights)
    assert time.monotonic() - started < 4


def test_images_and_rows_are_told_apart() -> None:
    for name in ("test_resnet", "digit_cnn"):
        with pytest.raises(BackboneError, match="rows of 5 numbers; set backbone.name: mlp"):
            create_backbone(name, input_shape=(5,))


@pytest.mark.parametrize("options", [{"hidden": [10**9]}, {"features": 10**9}])
def test_a_layer_without_end_is_refused_by_its_width(options: dict[str, object]) -> None:
    with pytest.raises(BackboneError, match="1,000,000,000 is too much"):
        create_backbone("mlp", options=options, input_shape=(5,))
