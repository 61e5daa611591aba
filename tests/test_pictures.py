"""Pictures of the documentation: small, loading nothing from elsewhere, and drawn as the script says."""

from __future__ import annotations

import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest
from html_pages import check_page

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("terminal_picture", DOCS / "terminal_picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_stands_on_the_terminal_at_the_end_is_drawn(script: ModuleType) -> None:
    code = (
        "print('bar 1', end='\\r\\x1b[2K')\nprint('\\x1b[31m<red>\\x1b[0m'); print('gone\\n\\x1b[1A\\x1b[2K', end='')"
    )
    screen = script.on_screen(script.recorded([sys.executable, "-c", code], 60))
    svg = script.picture("mibias x", screen, 60)
    text = "".join(ET.fromstring(svg).itertext()).replace("\xa0", " ")
    assert "$ mibias x" in text
    assert "<red>" in text
    assert "bar 1" not in text
    assert "gone" not in text
    assert addresses(svg) == set()


def addresses(text: str) -> set[str]:
    return set(re.findall(r"https?://[^\s\"'<>)]+", text)) - NAMES


NAMES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink", "https://www.textualize.io"}
"""Namespaces, and what Rich says in a comment of who drew it: addresses that nothing loads."""


def test_pictures_are_small_and_load_nothing() -> None:
    pictures = [*(DOCS / "pictures").iterdir()]
    assert {path.suffix for path in pictures} <= {".svg", ".webp"}
    assert all(path.stat().st_size < 150_000 for path in pictures)
    for path in (DOCS / "pictures").glob("*.svg"):
        assert addresses(path.read_text(encoding="utf-8")) == set(), path


@pytest.mark.parametrize("path", sorted((DOCS / "reports").glob("*.html")), ids=lambda path: path.stem)
def test_reports_of_the_gallery_are_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    check_page(text)
    assert "<script" not in text
    assert addresses(text) == set()
    assert path.stat().st_size < 400_000
    assert f"(reports/{path.name})" in (DOCS / "gallery.md").read_text(encoding="utf-8")
