"""Streams WebDataset's shards through the loader and prints what that takes of memory and time, as one line of JSON.

    python benchmarks/shards.py                # 10,000 and 100,000 images; one JSON line

Each size is written to a temporary folder (32 × 32 JPEGs of about 1 kB with a .json of labels, 1,000 samples a shard)
and read in a process of its own: all headers, then every image once, in a shuffled order of each split. `peak_mib` is
that process's most resident memory over what it held before it looked at the data; times are its CPU time, whatever
else the machine does.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import resource
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.loader import batches
from mibias_cli.data.sources.webdataset import load_webdataset

PER_SHARD, SIDE = 1_000, 32


def write_shards(folder: Path, n: int) -> int:
    """n images of noise around a class's shade; returns the bytes of all shards."""
    generator = np.random.default_rng(0)
    for first in range(0, n, PER_SHARD):
        with tarfile.open(folder / f"s-{first // PER_SHARD:06d}.tar", "w") as archive:
            for k in range(first, min(n, first + PER_SHARD)):
                y, site = k % 10, int(generator.integers(4))
                pixels = generator.normal(80 + 10 * y, 20, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
                image = io.BytesIO()
                Image.fromarray(pixels).save(image, "JPEG", quality=60)
                _add(archive, f"{k:09d}.jpg", image.getvalue())
                _add(archive, f"{k:09d}.json", json.dumps({"label": y, "site": site}).encode())
    return sum(path.stat().st_size for path in folder.iterdir())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stream(folder: Path) -> dict[str, float]:
    """Read every image once, each split in a shuffled order."""
    before, start = _peak_mib(), time.process_time()
    data = load_webdataset(folder, columns=Columns(target="label"), attributes={"site": AttributeColumn()})
    looked, peak = time.process_time(), _peak_mib()
    splits = (data.train, data.validation, data.audit)
    n = sum(len(batch) for split in splits for batch in batches(split, batch_size=256, shuffle=True))
    ended = time.process_time()
    return {
        "headers_cpu_seconds": round(looked - start, 2),
        "images": n,
        "headers_peak_mib": round(peak - before, 1),
        "epoch_cpu_seconds": round(ended - looked, 2),
        "images_per_cpu_second": round(n / (ended - looked)),
        "peak_mib": round(_peak_mib() - before, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    found: dict[str, object] = {}
    # a process of its own for each: peak memory is a process's
    context = multiprocessing.get_context("spawn")
    sizes = parser.parse_args().sizes
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder, context.Pool(1) as pool:
            n_bytes = write_shards(Path(folder), n)
            found[str(n)] = {"shards_mib": round(n_bytes / 2**20, 1), **pool.apply(stream, (Path(folder),))}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
