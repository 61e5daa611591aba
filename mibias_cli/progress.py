"""Progress of long work, without printing: a protocol that the CLI implements and that all other code only calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

__all__ = ["Progress", "Silent"]


@runtime_checkable
class Progress(Protocol):
    """Told of what happens; how it is shown, if at all, is its own matter."""

    def stage(self, text: str) -> None:
        """A new stage begins, for example `training` or `auditing colour`."""

    def begin(self, description: str, total: int) -> None:
        """A counted piece of work of `total` steps begins."""

    def advance(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        """`done` steps of the current piece of work are finished; metrics may be shown beside them."""

    def end(self) -> None:
        """The current piece of work has ended."""

    def note(self, text: str) -> None:
        """A line that the user should see."""

    def warn(self, text: str) -> None:
        """A line that the user should heed."""


class Silent:
    """Shows nothing."""

    def stage(self, text: str) -> None: ...
    def begin(self, description: str, total: int) -> None: ...
    def advance(self, done: int, metrics: Mapping[str, float] | None = None) -> None: ...
    def end(self) -> None: ...
    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
