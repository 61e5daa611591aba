"""What a report's page shows beside the figures of leakage.json: the course of training, and example images."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["ExampleCell", "Illustrations", "MetricsRecord", "data_address", "read_metrics", "thumbnail"]

_QUALITY = 70


class MetricsRecord(BaseModel):
    """A record of metrics.jsonl: what it is of, and figures and texts by further names.

    Example:
        >>> record = MetricsRecord.model_validate({"kind": "train", "step": 5, "task_loss": 0.5, "what": "x"})
        >>> record.figure("task_loss"), record.figure("what"), record.figure("mi_weight")
        (0.5, None, None)
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    step: float
    stage: str | None = None

    def figure(self, name: str) -> float | None:
        """A number by its name; None where there is none."""
        value = (self.model_extra or {}).get(name)
        return float(value) if isinstance(value, int | float) else None

    @property
    def names(self) -> tuple[str, ...]:
        """What it has beside kind, step and stage."""
        return tuple(self.model_extra or ())


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

    metrics: tuple[MetricsRecord, ...] = ()
    examples: tuple[ExampleCell, ...] = ()


def thumbnail(image: Image.Image, side: int) -> bytes:
    """A small JPEG of an image (grey or RGB), at most `side` pixels long."""
    small = image.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def data_address(image: bytes, media_type: str = "image/jpeg") -> str:
    """An encoded image as an address that holds it, so that a page needs no other file."""
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"


def read_metrics(path: Path) -> tuple[MetricsRecord, ...]:
    """The records of metrics.jsonl; empty where there is no such file, without a last line that was cut short."""
    if not path.is_file():
        return ()
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(MetricsRecord.model_validate_json(line))
        except ValidationError:
            # a run that was killed while it wrote; nothing comes after
            break
    return tuple(records)
