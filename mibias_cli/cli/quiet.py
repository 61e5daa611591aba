"""What libraries say to programmers does not reach users: warnings, and loggers that nobody has asked for."""

from __future__ import annotations

import logging
import os
import sys
import warnings

__all__ = ["quiet_libraries"]


def quiet_libraries() -> None:
    """Keep other libraries' warnings and logs from stderr for the rest of the process; `python -W` shows warnings."""
    # in place of a filter: libraries set filters of their own when they are imported
    if not sys.warnoptions:
        warnings.showwarning = lambda *_args, **_options: None
    # without a handler Python would print a library's warnings itself
    logging.getLogger().addHandler(logging.NullHandler())
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
