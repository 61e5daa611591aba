"""What libraries say to programmers does not reach users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mibias_cli

TALKING = """
import logging, warnings
from mibias_cli.cli.quiet import quiet_libraries
quiet_libraries()
warnings.simplefilter("always")
warnings.warn("call super().frobnicate()", RuntimeWarning)
logging.getLogger("timm.models").warning("Next steps:)")
"""


@pytest.mark.parametrize(("options", "said"), [([], ""), (["-W", "always"], "frobnicate")])
def test_warnings_and_loggers_are_silent_unless_python_was_asked(options: list[str], said: str) -> None:
    root = str(Path(mibias_cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *options, "-c", TALKING], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert "Next steps" not in done.stderr
    assert (said in done.stderr) if said else (done.stderr == "")
