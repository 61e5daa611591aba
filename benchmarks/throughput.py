"""Plain fine-tuning by mibias against a loop of timm's own parts: images a second, and memory.

python benchmarks/throughput.py [--size 224] [--images 512] [--batch 64] [--workers 2] [--rounds 5]
    [--channels-last]

Both read the same JPEG files with the same augmentation (random crop and flip), batch size and number of workers, and
train the same network with AdamW. The peer is timm.data's dataset and loader, timm.create_model and a cross-entropy;
its images come as bytes and are normalised in the training process, as timm does. Channels are innermost in memory in
ours, as `mibias init` writes it; in timm's, whose training script has an option for it, with --channels-last. Each
round is a process of its own for each of the two, in turn: one epoch to warm up, one that counts. The last line is
JSON: the median over rounds of ours over theirs, images a second and peak resident memory of the training process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm import create_model
from timm.data import create_dataset, create_loader, resolve_data_config
from torch.nn import functional

N_CLASSES, SIDE = 4, 256
RECIPE = """
version: 1
name: throughput
data:
  source: manifest
  path: images.csv
  columns: {{ target: label, split: split }}
  attributes: {{ place: {{}} }}
backbone: {{ name: {backbone}, input_size: {size}, weights: none }}
debias: {{ estimator: none }}
training:
  {{ epochs: 1, batch_size: {batch}, num_workers: {workers}, augment: true, device: cpu, precision: 32,
    channels_last: true }}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true", help="the peer's channels innermost in memory, too")
    parser.add_argument("--one", choices=list(EPOCHS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in EPOCHS}
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), options.images)
        for _ in range(options.rounds):
            for way, rows in found.items():
                command = [sys.executable, *sys.argv, "--one", way, "--folder", folder]
                # `mibias train` tells torch so before it is loaded
                env = os.environ | ({"THP_MEM_ALLOC_ENABLE": "1"} if way == "mibias" else {})
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{way}: {rows[-1]['images_per_s']:.1f} images/s, {rows[-1]['peak_mb']:.0f} MB", flush=True)

    def ratio(key: str) -> float:
        pairs = zip(found["mibias"], found["timm"], strict=True)
        return round(statistics.median(ours[key] / theirs[key] for ours, theirs in pairs), 3)

    print(json.dumps({"images_per_s_ratio": ratio("images_per_s"), "peak_memory_ratio": ratio("peak_mb")}))


def draw(folder: Path, n: int) -> None:
    """Photographs of nothing in class folders, and a manifest of them."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        # the peer trains on all files of a folder; validation and audit are not read
        split = "validation" if k < 2 * N_CLASSES else "test" if k < 4 * N_CLASSES else "train"
        label = f"class{k % N_CLASSES}"
        path = folder / ("images" if split == "train" else "held") / label / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # smooth, as photographs are: noise would make files of several times the size
        coarse = Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)
        rows.append((path.relative_to(folder).as_posix(), label, f"place{rng.integers(2)}", split))
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "place", "split"), *rows])


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Images a second of the second epoch, and the process's peak memory in MB."""
    torch.manual_seed(0)
    epoch = EPOCHS[options.one](options)
    epoch(0)
    started = time.perf_counter()
    n = epoch(1)
    seconds = time.perf_counter() - started
    return {"images_per_s": n / seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def timm_epoch(options: argparse.Namespace) -> Callable[[int], int]:
    """An epoch of timm's parts: it returns how many images it trained on."""
    dataset = create_dataset("", root=str(options.folder / "images"))
    model = create_model(options.backbone, num_classes=N_CLASSES)
    # resampled as ours is, which is as the weights of this architecture ask for
    config = resolve_data_config({"input_size": (3, options.size, options.size)}, model=model)
    loader = create_loader(
        dataset,
        input_size=config["input_size"],
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        batch_size=options.batch,
        is_training=True,
        color_jitter=0.0,
        num_workers=options.workers,
        device=torch.device("cpu"),
        pin_memory=False,
    )
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    model.to(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def epoch(_: int) -> int:
        n = 0
        model.train()
        for x, y in loader:
            loss = functional.cross_entropy(model(x.contiguous(memory_format=layout)), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            n += len(y)
        return n

    return epoch


def mibias_epoch(options: argparse.Namespace) -> Callable[[int], int]:
    """An epoch of a recipe's plain training."""
    from mibias_cli.progress import Silent
    from mibias_cli.recipe.load import parse_recipe
    from mibias_cli.run.assemble import assemble
    from mibias_cli.run.stages import Run, make_stage
    from mibias_cli.run_folder import RunFolder

    text = RECIPE.format(**vars(options))
    recipe = parse_recipe(text, path=str(options.folder / "recipe.yaml"))
    parts = assemble(recipe, offline=True)
    run = Path(tempfile.mkdtemp(dir=options.folder))
    going = Run(folder=RunFolder(run), progress=Silent())
    trainer = make_stage(parts, going, going.log(), parts.new_model(), name="debias")

    def epoch(k: int) -> int:
        n = 0
        for batch in trainer.train_batches(k, 0):
            trainer.try_step(batch, k)
            n += len(batch.y)
        return n

    return epoch


EPOCHS: dict[str, Callable[[argparse.Namespace], Callable[[int], int]]] = {"timm": timm_epoch, "mibias": mibias_epoch}


if __name__ == "__main__":
    main()
