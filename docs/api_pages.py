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


def packages() -> list[Path]:
    """Folders of the package that hold modules, `mibias_cli` itself first."""
    folders = [PACKAGE, *sorted(path.parent for path in PACKAGE.rglob("*/__init__.py"))]
    return [folder for folder in folders if modules(folder)]


def modules(folder: Path) -> list[Path]:
    """The modules of one package, its `__init__` first where that has public names."""
    own = [folder / "__init__.py"] if public_names(folder / "__init__.py") else []
    return own + [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("__")]


def dotted(path: Path) -> str:
    """`mibias_cli.data.batch` for mibias_cli/data/batch.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def page_name(folder: Path) -> str:
    """Where the page of a package stands in the site's sources: api/data.files.md."""
    return f"api/{dotted(folder).partition('.')[2] or 'mibias_cli'}.md"


def page(folder: Path) -> str:
    """The Markdown of one package's page: a section for each module, with directives for its public names."""
    title = dotted(folder)
    lines = [f"# {title}", ""]
    for path in modules(folder):
        names = [name for name in public_names(path) if not name.startswith("__")]
        if path.name == "__init__.py":
            # the package's own offer: each name by itself, so that one without documentation fails the build
            for name in names:
                lines += [f"::: {title}.{name}", "    options:", "      heading_level: 2", ""]
            continue
        lines += [f"::: {dotted(path)}", "    options:", "      heading_level: 2", f"      members: {names}", ""]
    return "\n".join(lines)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for folder in packages():
        files.append(File.generated(config, page_name(folder), content=page(folder)))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation, below those that mkdocs.yml names."""
    entries = [{dotted(folder).partition(".")[2] or "mibias_cli": page_name(folder)} for folder in packages()]
    assert config.nav is not None, "mkdocs.yml has a navigation"
    config.nav = [*config.nav, {"API": entries}]
    return config
