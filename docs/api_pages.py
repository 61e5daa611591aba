"""MkDocs hook: the site's API pages, made from the package's layout, so that no list of names is kept by hand.

One page for what `import mibias_cli` offers, and one for each package (room or sub-room) with a section for each of its
modules. What a page shows are the names in `__all__`, read from the source without importing it. A name that
cannot be found there is an error of mkdocstrings, and so fails the build.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mibias_cli"


class Readable(griffe.Extension):
    """Two things that Griffe leaves out of what it reads from the source."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Griffe knows sections called `Examples:`; ours, of one example mostly, are called `Example:`."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)

    def on_module_members(self, *, node: object, mod: griffe.Module, **kwargs: object) -> None:
        """Griffe skips constants that are assigned as a tuple, `A, B = 1, 2`."""
        for statement in node.body if isinstance(node, ast.Module) else []:
            for target in statement.targets if isinstance(statement, ast.Assign) else []:
                for item in target.elts if isinstance(target, ast.Tuple) else []:
                    if isinstance(item, ast.Name) and item.id not in mod.members:
                        mod.set_member(item.id, griffe.Attribute(item.id, lineno=item.lineno))


def public_names(path: Path) -> list[str]:
    """The names in a module's `__all__`; none where it has no such list."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(getattr(node, "value", None)))
    return []


def homes(path: Path) -> dict[str, str]:
    """Where a module's imported names are defined: {"estimate": "mibias_cli.estimate.file.estimate_file"}."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in imports for alias in node.names}


def dotted(path: Path) -> str:
    """`mibias_cli.data.batch` for mibias_cli/data/batch.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def modules(folder: Path) -> list[Path]:
    """The modules of one package, without those of its sub-packages."""
    return [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("__")]


def public_page() -> str:
    """The Markdown of the page on `import mibias_cli`, name by name."""
    lines = ["# import mibias_cli", "", "What a program can use; how, is on the page [Python](../python.md).", ""]
    defined = homes(PACKAGE / "__init__.py")
    for name in public_names(PACKAGE / "__init__.py"):
        if name.startswith("__"):
            continue
        options = ["    options:", "      heading_level: 2"]
        if (PACKAGE / name).is_dir():
            # a room has the function's name: the function is shown from where it is defined
            lines += [f'<a id="mibias_cli.{name}"></a>', "", f"::: {defined[name]}", *options]
            lines += [f"      heading: mibias_cli.{name}", f"      toc_label: {name}", ""]
        else:
            lines += [f"::: mibias_cli.{name}", *options, ""]
    return "\n".join(lines)


def page(folder: Path) -> str:
    """The Markdown of one package's page: a section for each module, with its public names."""
    lines = [f"# {dotted(folder)}", ""]
    for path in modules(folder):
        names = public_names(path)
        lines += [f"::: {dotted(path)}", "    options:", "      heading_level: 2", f"      members: {names}", ""]
    return "\n".join(lines)


def pages() -> dict[str, tuple[str, str]]:
    """Title and Markdown of every API page, by its place in the site's sources."""
    folders = [path.parent for path in sorted(PACKAGE.rglob("*/__init__.py"))]
    found = {"api/public.md": ("import mibias_cli", public_page())}
    for folder in [PACKAGE, *(folder for folder in folders if modules(folder))]:
        title = dotted(folder).partition(".")[2] or "errors, progress, seeds"
        found[f"api/{dotted(folder)}.md"] = (title, page(folder))
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation, below those that mkdocs.yml names."""
    assert config.nav is not None, "mkdocs.yml has a navigation"
    config.nav = [*config.nav, {"API": [{title: place} for place, (title, _) in pages().items()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for place, (_, text) in pages().items():
        files.append(File.generated(config, place, content=text))
    return files
