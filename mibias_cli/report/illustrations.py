"""What a report's page shows beside the figures of leakage.json: the course of training, and example images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import JsonValue

__all__ = ["ExampleCell", "Illustrations", "Metrics", "read_metrics"]

Metrics: TypeAlias = Mapping[str, JsonValue]
"""A record of metrics.jsonl."""


@dataclass(frozen=True, kw_only=True)
class ExampleCell:
    """A few images of one (y, c) cell.

    Args:
        attribute, channel, y, c: Which cell, by names as in leakage.json.
        images: Each an encoded image, small.
        media_type: What they are encoded as, for example image/jpeg.
        side: Their longer side in pixels.
    """

    attribute: str
    channel: str
    y: str
    c: str
    images: tuple[bytes, ...]
    media_type: str
    side: int


@dataclass(frozen=True, kw_only=True)
class Illustrations:
    """What the page shows beside the figures: records of metrics.jsonl, in order, and cells with example images."""

    metrics: tuple[Metrics, ...] = ()
    examples: tuple[ExampleCell, ...] = ()


def read_metrics(path: Path) -> tuple[Metrics, ...]:
    """The records of metrics.jsonl; empty where there is no such file, without a last line that was cut short."""
    if not path.is_file():
        return ()
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            # a run that was killed while it wrote; nothing comes after
            break
        if isinstance(record, dict):
            records.append(record)
    return tuple(records)
