"""A progress that keeps what is said."""

from __future__ import annotations

from mibias_cli.progress import Silent

__all__ = ["Told"]


class Told(Silent):
    """Notes and warnings in order."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
