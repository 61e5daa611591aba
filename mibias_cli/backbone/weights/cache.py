"""The user's own folder for what can be made again; it loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["user_cache"]


def user_cache() -> Path:
    """MIBIAS_CACHE, or ~/.cache/mibias."""
    given = os.environ.get("MIBIAS_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "mibias"
