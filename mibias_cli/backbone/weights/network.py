"""Whether a server can be reached at all: asked before a download, whose library may wait and try again for minutes."""

from __future__ import annotations

import os
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from mibias_cli.errors import BackboneError

__all__ = ["HUB_URL", "require_network"]

HUB_URL = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
_SECONDS = 6.0
_PORTS = {"http": 80, "https": 443}


def require_network(url: str, *, what: str, seconds: float | None = None) -> None:
    """Return once the server of a URL, or the proxy that stands before it, takes a connection.

    Args:
        what: What it is needed for, the beginning of the error.
        seconds: How long to wait; None: as long as before a download.

    Raises:
        BackboneError: It takes none within some seconds.
    """
    limit = _SECONDS if seconds is None else seconds
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = None if proxy_bypass(host) else getproxies().get(parts.scheme)
    if proxy:
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}", scheme="http")
    place = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443))
    faults = [f"no answer within {limit:.0f} s"]

    def connect() -> None:
        try:
            with socket.create_connection(place, timeout=limit):
                faults.clear()
        except OSError as error:
            faults[:] = [error.strerror or str(error)]

    # in a thread: looking a name up has no time limit of its own
    asking = threading.Thread(target=connect, daemon=True)
    asking.start()
    asking.join(limit + 1)
    if faults:
        through = f" through the proxy {place[0]}" if proxy else ""
        raise BackboneError(f"{what}: {host} cannot be reached{through} ({faults[0]})")
