"""YAML as recipes are read: YAML 1.2 scalars, no duplicate keys, and where every key stands.

PyYAML follows YAML 1.1, in which `1e-3` is text, `off` is False, `1:30` is ninety, and a repeated key silently wins.
So PyYAML only parses the text into nodes. What the nodes mean is decided here, by YAML 1.2's core schema; a repeated
key is a problem, and lines and columns are kept so that later errors can point at them.
(ruamel.yaml knows YAML 1.2, but gives up at the first repeated key and accepts tags, dates and merge keys.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from mibias_cli.errors import Problem, RecipeError

__all__ = ["PLAIN_SCALARS", "Position", "Source", "Yaml", "YamlMapping", "YamlPath", "parse_value", "parse_yaml"]

Yaml: TypeAlias = "bool | int | float | str | list[Yaml] | dict[str, Yaml] | None"
"""A value as YAML holds it."""

YamlMapping: TypeAlias = Mapping[str, Yaml]
"""A parsed recipe."""

YamlPath = tuple[str | int, ...]

_MAX_VALUES = 100_000
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
PLAIN_SCALARS: dict[str, tuple[re.Pattern[str], list[str]]] = {
    _TAG + "null": (_NULL, ["~", "n", "N", ""]),
    _TAG + "bool": (_BOOL, list("tTfF")),
    _TAG + "int": (_INT, list("-+0123456789")),
    _TAG + "float": (_FLOAT, list("-+.0123456789")),
}
"""YAML 1.2's core schema: tag → (pattern, first characters) of the plain scalars that are not text."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a key or a list item stands, and where its value does; lines and columns count from 1."""

    line: int
    column: int
    value_line: int
    value_column: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """A parsed YAML mapping with the position of every key and item, and the problems found on the way."""

    path: str
    lines: tuple[str, ...]
    data: dict[str, Yaml]
    positions: dict[YamlPath, Position]
    problems: tuple[Problem, ...]

    def line(self, number: int) -> str:
        """The text of a line as errors show it, or an empty string beyond the end."""
        return _shown(self.lines, number)


def parse_yaml(text: str, *, path: str) -> Source:
    """Parse a YAML mapping, keeping positions.

    Args:
        text: The document.
        path: What to call it in errors.

    Raises:
        RecipeError: The text is not YAML, or not a mapping. (Repeated keys and the like are kept in `problems`.)

    Example:
        >>> source = parse_yaml("rate: 1e-3\\nmode: off\\n", path="recipe.yaml")
        >>> source.data
        {'rate': 0.001, 'mode': 'off'}
        >>> source.positions[("mode",)].line
        2
    """
    builder = _Builder(path=path, lines=tuple(_LINE_BREAK.split(text)))
    node = _compose(text, builder)
    if node is None:
        message = "the file is empty; a recipe is a mapping that begins `version: 1`"
        raise RecipeError([builder.problem((), 1, 1, message)])
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        message = f"a recipe is a mapping of keys to values, this is {kind}"
        raise RecipeError([builder.problem((), *_start(node), message)])
    data = builder.build(node, ())
    if not isinstance(data, dict):  # a tag before the mapping that a recipe may not have
        raise RecipeError(builder.problems)
    return Source(
        path=path, lines=builder.lines, data=data, positions=builder.positions, problems=tuple(builder.problems)
    )


def parse_value(text: str) -> Yaml:
    """The value of `--set key=TEXT`, read as YAML 1.2.

    Raises:
        RecipeError: The text is no YAML value.

    Example:
        >>> parse_value("[1e-3, off]")
        [0.001, 'off']
    """
    builder = _Builder(path="--set", lines=tuple(_LINE_BREAK.split(text)))
    node = _compose(text, builder)
    value = None if node is None else builder.build(node, ())
    if builder.problems:
        raise RecipeError(builder.problems)
    return value


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and parser with the scalars of YAML 1.2's core schema."""


# an own, empty table first: PyYAML's is shared by all loaders and holds the scalars of YAML 1.1
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in PLAIN_SCALARS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


@dataclass(kw_only=True)
class _Builder:
    """Turns composed nodes into plain values while noting positions and problems."""

    path: str
    lines: tuple[str, ...]
    positions: dict[YamlPath, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    open_nodes: set[int] = field(default_factory=set)
    n_values: int = 0

    def problem(self, path: YamlPath, line: int, column: int, message: str) -> Problem:
        key, text = ".".join(map(str, path)), _shown(self.lines, line)
        return Problem(path=self.path, line=line, column=column, key=key, message=message, source_line=text)

    def build(self, node: yaml.Node, path: YamlPath) -> Yaml:
        # a few aliases of aliases can stand for billions of values, and an alias inside its own anchor for endless ones
        self.n_values += 1
        if self.n_values > _MAX_VALUES or id(node) in self.open_nodes:
            what = "an alias that contains itself" if id(node) in self.open_nodes else "aliases that expand without end"
            raise RecipeError([self.problem(path, *_start(node), f"{what}; write the values out")])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        # only plain mappings and lists: a tag such as !!python/object would call code in other loaders
        value: Yaml = None
        self.open_nodes.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            value = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            value = self._sequence(node, path)
        else:
            self._note(node, path, f"the tag {_short_tag(node.tag)} is not allowed in a recipe")
        self.open_nodes.discard(id(node))
        return value

    def _note(self, node: yaml.Node, path: YamlPath, message: str) -> None:
        self.problems.append(self.problem(path, *_start(node), message))

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Yaml]:
        data: dict[str, Yaml] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in data:
                first = self.positions[here].line
                self._note(key_node, here, f"key repeated, it stands on line {first} already; keep one of the two")
                continue
            self.positions[here] = _position(key_node, value_node)
            data[key] = self.build(value_node, here)
        return data

    def _key(self, node: yaml.Node, path: YamlPath) -> str | None:
        """The key as it is written (`off` and `1` are text, too), or None for what cannot be one."""
        if not isinstance(node, yaml.ScalarNode):
            self._note(node, path, "a key must be plain text")
        elif node.value == "<<" and not node.style:
            self._note(node, (*path, "<<"), "merge keys are not part of YAML 1.2; write the keys out")
        elif node.value == "":
            self._note(node, path, "a key is empty")
        else:
            return str(node.value)
        return None

    def _sequence(self, node: yaml.SequenceNode, path: YamlPath) -> list[Yaml]:
        items = []
        for index, item in enumerate(node.value):
            # an aliased item lies before the list that uses it: point at the list instead
            line, column = _start(item if item.start_mark.index >= node.start_mark.index else node)
            here = (*path, index)
            self.positions[here] = Position(line=line, column=column, value_line=line, value_column=column)
            items.append(self.build(item, here))
        return items

    def _scalar(self, node: yaml.ScalarNode, path: YamlPath) -> Yaml:
        text = node.value
        if node.tag == _TAG + "str":
            return text
        # a tag may also be written out (`!!int x`), so the text has to fit it
        if node.tag == _TAG + "null" and _NULL.match(text):
            return None
        if node.tag == _TAG + "bool" and _BOOL.match(text):
            return text.lower() == "true"
        if node.tag == _TAG + "int" and _INT.match(text) and len(text) < 1000:
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            return int(text[2:] if base != 10 else text, base)
        if node.tag == _TAG + "float" and _FLOAT.match(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if node.tag not in PLAIN_SCALARS:
            self._note(node, path, f"the tag {_short_tag(node.tag)} is not allowed in a recipe")
        elif _INT.match(text):
            self._note(node, path, "the number is too long")
        else:
            self._note(node, path, f"{text!r} does not fit its tag {_short_tag(node.tag)}")
        return None


def _compose(text: str, builder: _Builder) -> yaml.Node | None:
    """The document's node; syntax errors become a RecipeError."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        before = _LINE_BREAK.split(text[: error.position])
        code = ord(text[error.position])
        message = f"the character U+{code:04X} is not allowed in YAML; is this a text file?"
        raise RecipeError([builder.problem((), len(before), len(before[-1]) + 1, message)]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise RecipeError([builder.problem((), line, column, _syntax_message(error, builder, line))]) from error
    except RecursionError as error:
        raise RecipeError([builder.problem((), 1, 1, "nested too deeply for a recipe")]) from error


def _syntax_message(error: yaml.MarkedYAMLError, builder: _Builder, line: int) -> str:
    """What is wrong with the syntax, in words that say what to do where the cause is a usual one."""
    text = builder.lines[line - 1] if line <= len(builder.lines) else ""
    problem = " ".join(str(error.problem or "").split())
    if "\\t" in problem or "\t" in text[: len(text) - len(text.lstrip())]:
        return "a tab cannot indent YAML; use spaces"
    if "mapping values are not allowed" in problem:
        return "`:` is not expected here; is the indentation right, and is text that holds `: ` in quotes?"
    if "but found another document" in problem:
        return "a second document begins here; a recipe is one document"
    if "undefined alias" in problem:
        return f"not valid YAML: {problem}; define it with & before it is used with *"
    context = f" ({' '.join(str(error.context).split())})" if error.context else ""
    return f"not valid YAML: {problem.replace('<', '').replace('>', '')}{context}"


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _position(key: yaml.Node, value: yaml.Node) -> Position:
    """The key's place, and the value's where that is on the page right behind it (no block, no alias, not empty)."""
    line, column = _start(key)
    block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    empty = isinstance(value, yaml.ScalarNode) and not value.style and value.value == ""
    value_line, value_column = _start(key if block or empty or value.start_mark.index < key.end_mark.index else value)
    return Position(line=line, column=column, value_line=value_line, value_column=value_column)


def _shown(lines: tuple[str, ...], number: int) -> str:
    """A line as errors show it: one column per character, so that carets line up, and at most 200 of them."""
    if not 0 < number <= len(lines):
        return ""
    return "".join(character if character.isprintable() else " " for character in lines[number - 1][:200])


def _short_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
