"""Every error that a user can cause.

MibiasError                       exit code 2
├── RecipeError                   the recipe: syntax, unknown keys, wrong values (all problems at once)
├── DataError                     a missing file, a missing column, an empty split, an unreadable image
├── BackboneError                 an unknown model, layer or stage; weights that do not fit
├── RunError                      a run folder: exists already, cannot be resumed, is not a run
├── TrainingError                 training diverged
├── ExportError                   an export that does not reload to the same features
├── GateError                     a gate: no expression, or a name that no report has
└── EvaluationError               a split too small to audit, an unknown probe
"""

from __future__ import annotations

import difflib
import inspect
import numbers
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from mibias_cli.output.text import appearance, one_line

__all__ = [
    "BackboneError",
    "DataError",
    "EvaluationError",
    "ExportError",
    "GateError",
    "MibiasError",
    "Problem",
    "RecipeError",
    "RunError",
    "TrainingError",
    "checked",
    "did_you_mean",
    "shortened",
]

P = ParamSpec("P")
T = TypeVar("T")

_ARRAYS = "ArrayLike"
"""Whatever numpy makes an array of: who asks for it looks at it himself."""


class MibiasError(Exception):
    """Base of all errors that are the user's to fix; its text names the place, the problem and the fix."""


class DataError(MibiasError):
    """The data cannot be read as the recipe says."""


class BackboneError(MibiasError):
    """The backbone, its weights or its layers cannot be had."""


class RunError(MibiasError):
    """A run folder is in the way, or is not what it should be."""


class TrainingError(MibiasError):
    """Training cannot go on."""


class ExportError(MibiasError):
    """The export failed its own check."""


class EvaluationError(MibiasError):
    """The audit cannot be done on these data."""


class GateError(MibiasError):
    """A gate cannot be read, or names a figure that no report has.

    Args:
        shown: The whole error.
        text: The expression.
        message: What is wrong with it, without the expression.
    """

    def __init__(self, shown: str, *, text: str, message: str) -> None:
        self.text = text
        self.message = message
        super().__init__(shown)


_MOST_SHOWN, _LONGEST_TEXT, _LONGEST_KEY = 50, 4000, 200


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault in a recipe: where it stands, what is wrong, and the line itself."""

    path: str
    message: str
    line: int = 0
    column: int = 0
    key: str = ""
    source_line: str = ""

    def __str__(self) -> str:
        path, key = one_line(self.path), one_line(self.key)
        if len(key) > _LONGEST_KEY:
            key = f"{key[:_LONGEST_KEY]}…"
        where = f"{path}:{self.line}:{self.column}" if self.line else path
        text = f"{where} {key}: {self.message}" if key else f"{where}: {self.message}"
        if self.source_line.strip():
            text += f"\n    {self.source_line.rstrip()}"
            # of a very long line only the beginning is kept
            if self.column <= len(self.source_line) + 1:
                text += f"\n    {' ' * (self.column - 1)}^"
        return text


class RecipeError(MibiasError):
    """A recipe with one or more problems: all in `problems`, the first of very many in its text."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        # of thousands the first are enough to see what file this is
        lines = [str(problem) for problem in self.problems[:_MOST_SHOWN]]
        while len(lines) > 1 and sum(map(len, lines)) > _LONGEST_TEXT:
            lines.pop()
        more = len(self.problems) - len(lines)
        super().__init__("\n".join([*lines, *([f"… and {more:,} more"] if more > 0 else [])]))


def shortened(text: str, at: int = 0, *, most: int = 200) -> tuple[str, int]:
    """A text of at most so many characters around one of them, and where that one is then.

    Example:
        >>> shortened("a" * 30 + "b" + "a" * 30, 30, most=9)
        ('…aaaabaaaa…', 5)
    """
    start = max(0, min(at - most // 2, len(text) - most))
    piece = text[start : start + most]
    before, after = "…" if start else "", "…" if start + most < len(text) else ""
    return f"{before}{piece}{after}", at - start + len(before)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`, did you mean 'x'?` for the closest of the choices, or an empty string.

    Example:
        >>> did_you_mean("critc_steps", ["critic_steps", "weight"])
        ", did you mean 'critic_steps'?"
    """
    # the backbone itself is a module whose name is empty: nobody means that
    there = list(filter(None, choices))
    # x is X, which letter by letter is nothing alike
    close = [c for c in there if c.lower() == name.lower()] or difflib.get_close_matches(name, there, n=1)
    if not close:
        return ""
    same = f" (which looks the same, and is written {close[0]!a})" if appearance(close[0]) == appearance(name) else ""
    return f", did you mean '{close[0]}'{same}?"


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """A function that names every argument of another type than its signature says, before it does anything.

    Raises:
        MibiasError: There are such arguments.

    Example:
        >>> def half(n: int) -> float:
        ...     return n / 2
        >>> checked(half)("3")
        Traceback (most recent call last):
        mibias_cli.errors.MibiasError: half: n must be int, found str
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        hints, named = inspect.get_annotations(function, eval_str=True), function.__annotations__
        wrong = [name for name, value in given.items() if _ARRAYS not in str(named[name])]
        wrong = [name for name in wrong if not _fits(given[name], hints[name])]
        if wrong:
            faults = [f"{name} must be {_text(named[name])}, found {type(given[name]).__name__}" for name in wrong]
            raise MibiasError(f"{function.__name__}: {'; '.join(faults)}")
        return function(*args, **kwargs)

    return call


def _text(hint: object) -> str:
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type, as far as one sees without looking into containers."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is int:
        # numpy's integers too
        return isinstance(value, numbers.Integral)
    # a text is a sequence of letters, which nobody means
    is_text = origin is not None and issubclass(origin, Collection) and isinstance(value, str)
    return isinstance(value, origin or hint) and not is_text
