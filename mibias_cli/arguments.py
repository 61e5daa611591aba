"""Arguments of public functions, held against the types that their signatures name."""

from __future__ import annotations

import inspect
import numbers
import types
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from mibias_cli.errors import MibiasError

__all__ = ["checked"]

P = ParamSpec("P")
T = TypeVar("T")

_ARRAYS = "ArrayLike"
"""Whatever numpy makes an array of: who asks for it looks at it himself."""


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
