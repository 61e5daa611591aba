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

# more than any recipe has, and few enough to stop aliases that multiply
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
    """Where a key or a list item stands, and where its value does: (line, column), counted from 1."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A parsed YAML mapping with the position of every key and item, and the problems found on the way."""

    path: str
    lines: list[str]
    data: dict[str, Yaml] = field(default_factory=dict)
    positions: dict[YamlPath, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, place: YamlPath, at: tuple[int, int], message: str) -> Problem:
        """A problem at a key, with the line that `at` (line, column) stands on."""
        line, column = at
        text = self.lines[line - 1][:200] if line <= len(self.lines) else ""
        # one column a character, so that carets line up
        text = "".join(character if character.isprintable() else " " for character in text)
        key = ".".join(map(str, place))
        return Problem(path=self.path, line=line, column=column, key=key, message=message, source_line=text)


def parse_yaml(text: str, *, path: str) -> Source:
    """Parse a YAML mapping, keeping positions; errors call it by `path`.

    Raises:
        RecipeError: The text is not YAML, or not a mapping. (Repeated keys and the like are kept in `problems`.)

    Example:
        >>> source = parse_yaml("rate: 1e-3\\nmode: off\\n", path="recipe.yaml")
        >>> source.data
        {'rate': 0.001, 'mode': 'off'}
        >>> source.positions[("mode",)].key
        (2, 1)
    """
    source = Source(path=path, lines=_LINE_BREAK.split(text))
    node = _compose(text, source)
    if node is None:
        message = "the file is empty; a recipe is a mapping that begins `version: 1`"
        raise RecipeError([source.problem((), (1, 1), message)])
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        message = f"a recipe is a mapping of keys to values, this is {kind}"
        raise RecipeError([source.problem((), _start(node), message)])
    data = _Builder(source=source).build(node, ())
    if not isinstance(data, dict):  # a tag before the mapping that a recipe may not have
        raise RecipeError(source.problems)
    source.data.update(data)
    return source


def parse_value(text: str) -> Yaml:
    """The value of `--set key=TEXT`, read as YAML 1.2.

    Raises:
        RecipeError: The text is no YAML value.

    Example:
        >>> parse_value("[1e-3, off]")
        [0.001, 'off']
    """
    source = Source(path="--set", lines=_LINE_BREAK.split(text))
    node = _compose(text, source)
    value = None if node is None else _Builder(source=source).build(node, ())
    if source.problems:
        raise RecipeError(source.problems)
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

    source: Source
    open_nodes: set[int] = field(default_factory=set)
    n_values: int = 0

    def build(self, node: yaml.Node, path: YamlPath) -> Yaml:
        # a few aliases of aliases can stand for billions of values, and an alias inside its own anchor for endless ones
        self.n_values += 1
        if self.n_values > _MAX_VALUES or id(node) in self.open_nodes:
            what = "an alias that contains itself" if id(node) in self.open_nodes else "aliases that expand without end"
            raise RecipeError([self.source.problem(path, _start(node), f"{what}; write the values out")])
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
        self.source.problems.append(self.source.problem(path, _start(node), message))

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Yaml]:
        data: dict[str, Yaml] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            # the first of two keys counts, so that the rest is checked as one reads it
            if key in data:
                first, _ = self.source.positions[here].key
                self._note(key_node, here, f"key repeated, it stands on line {first} already; keep one of the two")
                continue
            self.source.positions[here] = _position(key_node, value_node)
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
            at = _start(item if item.start_mark.index >= node.start_mark.index else node)
            self.source.positions[(*path, index)] = Position(key=at, value=at)
            items.append(self.build(item, (*path, index)))
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


def _compose(text: str, source: Source) -> yaml.Node | None:
    """The document's node; syntax errors become a RecipeError."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        # this error knows how many characters lie before it, but no line
        before = _LINE_BREAK.split(text[: error.position])
        code = ord(text[error.position])
        message = f"the character U+{code:04X} is not allowed in YAML; is this a text file?"
        raise RecipeError([source.problem((), (len(before), len(before[-1]) + 1), message)]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise RecipeError([source.problem((), at, _syntax_message(error, source.lines[at[0] - 1 :]))]) from error
    except RecursionError as error:
        raise RecipeError([source.problem((), (1, 1), "nested too deeply for a recipe")]) from error


def _syntax_message(error: yaml.MarkedYAMLError, lines: list[str]) -> str:
    """What is wrong with the first of these lines, in words that say what to do where the cause is a usual one."""
    text = lines[0] if lines else ""
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
    block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    empty = isinstance(value, yaml.ScalarNode) and not value.style and value.value == ""
    elsewhere = block or empty or value.start_mark.index < key.end_mark.index
    return Position(key=_start(key), value=_start(key if elsewhere else value))


def _short_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
