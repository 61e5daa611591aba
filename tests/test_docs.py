"""The documentation builds into a site without a warning, and the site holds every page and every public name.

The examples of docs/python.md run as they stand.
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "mibias_cli"
needs_mkdocs = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings_handlers")),
    reason="mkdocs-material and mkdocstrings[python] are not installed: pip install 'mibias[docs]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built as `make docs` builds it: --strict makes every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout + done.stderr == "", "a build that is well says nothing"
    return folder


def pages() -> list[str]:
    return [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md"))]


def public_names() -> list[str]:
    """Every name in the `__all__` of every module, dotted."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names += [f"{module}.{name}" for name in ast.literal_eval(node.value) if not name.startswith("__")]
    return names


@needs_mkdocs
def test_every_page_is_in_the_site_and_in_its_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in pages():
        folder = page.removesuffix(".md").removesuffix("index")
        assert (site / folder / "index.html").is_file(), page
        assert f'href="{folder}/"' in home or folder == "", f"{page} is not in the navigation"


@needs_mkdocs
def test_every_public_name_has_its_place_on_an_api_page(site: Path) -> None:
    html = "".join(path.read_text(encoding="utf-8") for path in sorted((site / "api").rglob("*.html")))
    anchors = set(re.findall(r'id="(mibias_cli\.[^"]+)"', html))
    assert [name for name in public_names() if name not in anchors] == []


@needs_mkdocs
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """No fonts, scripts or pictures from other servers: the site reads the same without a network."""
    loaded = (
        r"""<(?:link|script|img|iframe|source)\b[^>]*\b(?:href|src)=["']?(https?:[^"'> ]+)|url\(["']?(https?:[^)]+)\)"""
    )
    texts = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert texts
    assert {path.name: found for path in texts if (found := re.findall(loaded, path.read_text("utf-8")))} == {}


@pytest.mark.parametrize("page", [*pages(), "../README.md", "../CONTRIBUTING.md"])
def test_links_between_files_lead_somewhere(page: str) -> None:
    """Links are relative to the file that holds them, so that they hold on GitHub as in the site."""
    path = DOCS / page
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (path.parent / link).exists(), link


def test_the_examples_for_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ```pycon blocks of docs/python.md, in order, as one session in an empty folder."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```pycon\n(.*?)```", text, flags=re.DOTALL))
    examples = doctest.DocTestParser().get_doctest(blocks, {}, "docs/python.md", "docs/python.md", 0)
    assert examples.examples
    shown: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert runner.run(examples, out=shown.append).failed == 0, "".join(shown)


def test_architecture_names_every_file() -> None:
    """One line per file: each module's file name stands in the section of its room (or of its sub-room)."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].strip("# "): part for part in re.split(r"\n(?=##+ )", text)}
    lacking = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if path.name == "__init__.py":
            continue
        room = sections.get("/".join(parts[:-1])) or sections.get(parts[0])
        if len(parts) == 1:
            room = sections["At the bottom, and beside the package"]
        if room is None or not re.search(rf"`(?:[a-z_]+/)?{re.escape(path.name)}`", room):
            lacking.append("/".join(parts))
    assert lacking == []


def test_architecture_and_walkthrough_name_no_file_that_is_gone() -> None:
    there = {path.name for path in [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *DOCS.glob("*.py")]}
    for page in ("architecture.md", "walkthrough.md"):
        named = re.findall(r"`(?:[a-z_]+/)*([a-z_]+\.py)`", (DOCS / page).read_text(encoding="utf-8"))
        assert sorted(set(named) - there) == [], page


def test_layers_are_those_that_are_checked() -> None:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][
        0
    ]
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert "\n".join(layers["layers"]) in text
