"""What a frozen prefix makes of a data set, computed once and kept in files that any run may read."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mibias_cli.backbone.prefix import NoPrefix, Prefix
from mibias_cli.data.batch import OTHER_VIEW, Reader, Split
from mibias_cli.data.loader import batches
from mibias_cli.progress import Progress
from mibias_cli.seeds import derived_generator

__all__ = ["AugmentedView", "StoredPrefix", "batch_sizes"]

_VIEWS = 0x71E5
"""Marks the stream that draws views, which is not the order's."""


def batch_sizes(n: int, batch_size: int) -> set[int]:
    """The sizes of the batches in which n samples are read: full ones, and the last (see `loader.batches`).

    Example:
        >>> batch_sizes(100, 32), batch_sizes(97, 32)
        ({32, 4}, {32, 33})
    """
    last = n % batch_size
    if last == 1 < batch_size < n:
        last += batch_size
    return {size for size in (min(n, batch_size), last) if size}


@dataclass(frozen=True, kw_only=True)
class StoredPrefix:
    """Keeps a prefix's outputs of splits in a folder, as float32 in .npy files that are mapped into memory.

    The same image may give another last bit in a batch of another size, whose kernels add in another order. So that
    figures are those of a run on images to the bit, each size of batch that is read is compared with a fresh pass, and
    one that differs gets a file of its own.

    Files are written under another name and then renamed: runs that share the folder see whole files only.

    Args:
        folder: For these weights, these data and this transform alone.
        prefix, backbone: The backbone is in evaluation mode, on `device`, in single precision.
        batch_size, num_workers: With which images are read where the outputs are not there yet.
        channels_last: Whether images have their channels innermost in memory: faster convolutions, other last bits.
    """

    folder: Path
    prefix: Prefix
    backbone: nn.Module
    batch_size: int
    num_workers: int
    device: torch.device
    progress: Progress
    channels_last: bool = False

    def reading(
        self, split: Split, positions: np.ndarray, *, sizes: Iterable[int] = (), n_views: int = 0, seed: int = 0
    ) -> Split:
        """The split with a reader that gives the prefix's outputs of the samples at some positions.

        Args:
            sizes: Further sizes of batches that will be read, beside those in which the samples are read in order.
            n_views: Augmented views of each sample, of which every epoch draws one by the seed; 0: no augmentation.
            seed: Of the split's reader.

        Raises:
            NoPrefix: The outputs cannot be kept, or are not the same in another batch.
            DataError: An input cannot be read.
        """
        if not len(positions):
            return split
        part = split.at(positions)
        usual = min(self.batch_size, len(part))
        wanted = sorted({*batch_sizes(len(part), self.batch_size), *sizes} - {usual})
        try:
            arrays = {size: self._outputs(part, size) for size in (usual, *wanted)}
            views = [self._view(part, usual, k, seed) for k in range(n_views)]
        except OSError as error:
            raise NoPrefix(f"{self.folder} cannot be written or read: {error}") from error
        # rows of the split now count positions in the arrays
        rows = np.full(len(split), -1, dtype=np.int64)
        rows[positions] = np.arange(len(part))
        return replace(split, rows=rows, reader=_StoredReader(arrays, arrays[usual], views, seed))

    def has(self, part: Split, *, view: int | None = None, seed: int = 0) -> bool:
        """Whether outputs of a split are kept already: as its samples are, or of an augmented view."""
        if view is None:
            return any(self._opened(path, len(part)) is not None for path in self.folder.glob(f"{_stem(part)}-of*.npy"))
        return self._opened(self.folder / f"{_stem(part)}-view{view}-seed{seed}.npy", len(part)) is not None

    def compute(self, part: Split) -> None:
        """Compute outputs and keep none, to see how long it takes."""
        for _ in self._in_batches(part, min(self.batch_size, len(part))):
            pass

    # --- outputs in evaluation mode ---

    def _outputs(self, part: Split, size: int) -> np.ndarray:
        """Outputs (n, …) as batches of a size give them: of any file that has them so, or of a new one."""
        rows, fresh = self._some(part, size)
        for path in sorted(self.folder.glob(f"{_stem(part)}-of*.npy")):
            kept = self._opened(path, len(part))
            if kept is not None and np.array_equal(kept[rows], fresh):
                return kept
        path = self.folder / f"{_stem(part)}-of{size}.npy"
        kept = self._written(path, part, size)
        if not np.array_equal(kept[rows], fresh):
            raise NoPrefix(f"its outputs for a sample depend on the other samples of a batch of {size}")
        return kept

    def _view(self, part: Split, size: int, k: int, seed: int) -> np.ndarray:
        """Outputs (n, …) of the k-th augmented view of every sample: as the k-th epoch would augment it."""
        path, view = self.folder / f"{_stem(part)}-view{k}-seed{seed}.npy", augmented(part, k)
        kept = self._opened(path, len(part))
        if kept is not None:
            rows, fresh = self._some(view, size)
            if np.array_equal(kept[rows], fresh):
                return kept
        return self._written(path, view, size)

    def _some(self, part: Split, size: int) -> tuple[np.ndarray, np.ndarray]:
        """A batch of rows from anywhere in the split, as training mixes them, and their outputs, computed now."""
        rows = np.resize(derived_generator(len(part), size).permutation(len(part)), size)
        with torch.no_grad():
            return rows, self._pass(part.reader.read(part.rows[rows], None))

    # --- files ---

    def _opened(self, path: Path, n: int) -> np.ndarray | None:
        """A file's outputs, mapped into memory; None where there is no such file, or one that is broken."""
        # a pipe would never end
        if not path.is_file():
            return None
        try:
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return found if found.shape == (n, *self.prefix.shape) and found.dtype == np.float32 else None

    def _written(self, path: Path, part: Split, size: int) -> np.ndarray:
        """Compute all outputs in batches of a size, into a file."""
        shape = (len(part), *self.prefix.shape)
        n_bytes = 4 * int(np.prod(shape))
        # of all views of a split together the same would be said once for each
        kept_already = [self._opened(other, len(part)) for other in self.folder.glob(f"{_stem(part)}-*.npy")]
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if all(one is None for one in kept_already):
            self.progress.note(
                f"backbone.cache: outputs of the frozen stages for {len(part)} {part.name} samples take "
                f"{_readable(n_bytes)} a view; they are kept in {self.folder}"
            )
        if n_bytes > free:
            raise NoPrefix(f"{self.folder} has {_readable(free)} left, {_readable(n_bytes)} are needed")
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            kept = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
            # room is taken now: where a disk fills up later, writing to mapped memory would kill the process
            if hasattr(os, "posix_fallocate"):
                with partial.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
            done = 0
            self.progress.begin(f"computing frozen stages: {part.name}", len(part))
            for outputs in self._in_batches(part, size):
                end = min(done + size, len(part))
                kept[done:end] = outputs[: end - done]
                self.progress.advance(done := end)
            self.progress.end()
            kept.flush()
            del kept
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return found

    def _in_batches(self, part: Split, size: int) -> Iterator[np.ndarray]:
        """Outputs of all samples in order; the last batch is filled up with the first samples."""
        n = -(-len(part) // size) * size
        filled = part.at(np.resize(np.arange(len(part)), n))
        # no_grad, not inference_mode: models that keep a buffer of a forward pass could not train on it afterwards
        with torch.no_grad():
            for batch in batches(filled, batch_size=size, shuffle=False, num_workers=self.num_workers):
                yield self._pass(batch.x)

    def _pass(self, x: Tensor) -> np.ndarray:
        x = x.to(self.device)
        if self.channels_last and x.ndim == 4:
            x = x.to(memory_format=torch.channels_last)
        return np.ascontiguousarray(self.prefix.outputs(self.backbone, x).cpu().numpy())


def augmented(part: Split, epoch: int = 0) -> Split:
    """The split in one augmented view, wherever the evaluation transform is asked for."""
    return replace(part, reader=AugmentedView(part.reader, epoch))


@dataclass(frozen=True)
class NoiseReader:
    """Noise of one shape in place of outputs: what costs as long to train on, and is there at once."""

    shape: tuple[int, ...]

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Noise (n, *shape), the same for the same number of rows."""
        return torch.rand((len(rows), *self.shape), generator=torch.Generator().manual_seed(len(rows)))


@dataclass(frozen=True)
class AugmentedView:
    """Reads one augmented view wherever the evaluation transform is asked for."""

    source: Reader
    epoch: int

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        return self.source.read(rows, self.epoch)


@dataclass(frozen=True)
class _StoredReader:
    """Reads outputs by position: as batches of that size gave them, or in training one of the views."""

    by_size: dict[int, np.ndarray]
    usual: np.ndarray
    views: Sequence[np.ndarray]
    seed: int
    _drawn: dict[int, np.ndarray] = field(default_factory=dict)

    def read(self, rows: np.ndarray, epoch: int | None) -> Tensor:
        """Outputs (n, …) of these rows."""
        if epoch is None or not self.views:
            return torch.from_numpy(np.array(self.by_size.get(len(rows), self.usual)[rows]))
        if epoch not in self._drawn:
            self._drawn.clear()
            self._drawn.update(self._draw(epoch % OTHER_VIEW))
        view = self._drawn[epoch][rows]
        outputs = np.empty((len(rows), *self.usual.shape[1:]), dtype=np.float32)
        for k, array in enumerate(self.views):
            outputs[view == k] = array[rows[view == k]]
        return torch.from_numpy(outputs)

    def _draw(self, epoch: int) -> dict[int, np.ndarray]:
        """By epoch, its view and its other view of every sample (n,): two that differ, if two are kept."""
        generator, n = derived_generator(self.seed, epoch, _VIEWS), len(self.views)
        drawn = generator.integers(n, size=len(self.usual))
        other = (drawn + generator.integers(1, max(n, 2), size=len(self.usual))) % n
        return {epoch: drawn, epoch + OTHER_VIEW: other}


def _stem(part: Split) -> str:
    """How files of these samples are called."""
    return f"{part.name}-{hashlib.sha256(np.ascontiguousarray(part.rows).data).hexdigest()[:12]}"


def _readable(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
