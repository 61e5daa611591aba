"""What the audit's probes cost beside plain scikit-learn, and what an audit of features larger than memory costs.

    python benchmarks/probe_cost.py probes      # 50,000 × 512: one process per row of the table
    python benchmarks/probe_cost.py stream      # 1,000,000 × 1,024 (4 GB) written, audited, deleted
    python benchmarks/probe_cost.py stream --format parquet --folder /where/there/is/room

Features are standard normal; a binary attribute moves the first of them by one deviation and widens the second, so that
I(z; c) is near .2 bits. Half the rows fit a probe and half score it. "Ours" is a whole probe as the audit fits it:
tuned and calibrated on rows held out within the fitting half, then fitted on all of it; scikit-learn's is one fit at
one setting, with nothing chosen. Peak memory is that of the whole process, imports and features included. On a machine
that is busy with other work compare CPU seconds, not the clock's.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FAMILIES = ("logistic", "quadratic", "mlp", "knn", "gradient_boosting")
RECIPE = """
version: 1
name: streamed
data: {{source: embeddings, path: {file}, {manifest}attributes: {{scanner: }}, columns: {{split: split}}}}
backbone: {{name: mlp}}
debias: {{estimator: none}}
"""


def draw(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) float32 and a binary attribute (n,)."""
    generator = np.random.default_rng(seed)
    z = generator.standard_normal((n, d), dtype=np.float32)
    c = generator.integers(0, 2, n)
    z[:, 0] += c
    z[:, 1] *= 1 + 0.5 * c
    return z, c


# --- probes ---


def plain(family: str) -> Any:
    """What one would take from scikit-learn without tuning; None where there is no such thing."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = {
        "logistic": LogisticRegression(max_iter=300),
        "mlp": MLPClassifier((64,), early_stopping=True, random_state=0),
        "knn": KNeighborsClassifier(64, algorithm="brute"),
        "gradient_boosting": HistGradientBoostingClassifier(random_state=0),
    }
    return make_pipeline(StandardScaler(), models[family]) if family in models else None


def run_probe(family: str, ours: bool, n: int, d: int) -> dict[str, float]:
    """Fit on one half, score on the other; bits over the fitting half's frequencies."""
    z, c = draw(n, d, 0)
    half = n // 2
    fit, score = slice(0, half), slice(half, n)
    started, cpu = time.perf_counter(), time.process_time()
    prior = np.log(np.bincount(c[fit], minlength=2) / half)
    if ours:
        from mibias_cli.evaluation.probes.families import fit_probe, make_sight

        parts = np.array_split(np.random.default_rng(0).permutation(half), 3)
        folds = [(np.concatenate(parts[:k] + parts[k + 1 :]), parts[k]) for k in range(3)]
        nothing = np.zeros((n, 0), dtype=np.float32)
        sight = make_sight(z[fit], (family,), seed=0)
        probe = fit_probe(
            family, sight, c[fit], n_classes=2, extra=nothing[fit], baseline=np.tile(prior, (half, 1)),
            folds=folds, seed=0,
        )  # fmt: skip
        _, said = probe.predict(z[score], nothing[score], np.tile(prior, (n - half, 1)))
    else:
        model = plain(family).fit(z[fit], c[fit])
        said = np.log(np.maximum(model.predict_proba(z[score]), 1e-12))
    rows = np.arange(n - half)
    bits = float((said[rows, c[score]] - prior[c[score]]).mean() / np.log(2))
    right = float((said.argmax(axis=1) == c[score]).mean())
    return {
        "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu,
        "bits": bits, "accuracy": right,
    }  # fmt: skip


def probes(arguments: argparse.Namespace) -> None:
    """The table, one process per row."""
    print(f"{arguments.rows:,} × {arguments.columns} features, half of the rows fit, half score\n")
    print("| probe | whose | CPU s | clock s | peak MiB | bits found | accuracy |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for family in arguments.families:
        for whose in ("ours", "scikit-learn"):
            if whose != "ours" and plain(family) is None:
                print(f"| {family} | {whose} | – | – | – | – | – |")
                continue
            command = [
                sys.executable, __file__, "one", family, "--rows", str(arguments.rows), "--columns",
                str(arguments.columns), *(["--ours"] if whose == "ours" else []),
            ]  # fmt: skip
            output, _, _, peak = measured(command)
            found = json.loads(output.splitlines()[-1])
            print(
                f"| {family} | {whose} | {found['cpu_seconds']:.0f} | {found['seconds']:.0f} | {peak:.0f} "
                f"| {found['bits']:.3f} | {found['accuracy']:.3f} |",
                flush=True,
            )


def measured(command: list[str]) -> tuple[str, float, float, float]:
    """Output, clock and CPU seconds and peak memory (MiB) of a process."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return text, time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


# --- a file that does not fit in memory ---


def write_features(path: Path, n: int, d: int) -> np.ndarray:
    """Features in a safetensors or Parquet file, written a block at a time; returns the attribute (n,)."""
    block = 10_000
    starts = range(0, n, block)
    attributes = []
    if path.suffix == ".safetensors":
        entry = {"dtype": "F32", "shape": [n, d], "data_offsets": [0, 4 * n * d]}
        header = json.dumps({"features": entry}).encode()
        header += b" " * (-len(header) % 8)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for start in starts:
                z, c = draw(min(block, n - start), d, start)
                file.write(z.tobytes())
                attributes.append(c)
        return np.concatenate(attributes)
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"z_{k}" for k in range(d)]
    writer = None
    for start in starts:
        z, c = draw(min(block, n - start), d, start)
        columns = {name: z[:, k] for k, name in enumerate(names)} | labels(c, start)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=False, compression="none")
        writer.write_table(table)
        attributes.append(c)
    assert writer is not None
    writer.close()
    return np.concatenate(attributes)


def labels(c: np.ndarray, start: int) -> dict[str, np.ndarray]:
    """Target, attribute and split of rows from `start` on."""
    row = np.arange(start, start + len(c))
    return {
        "target": np.array(["healthy", "ill"])[row // 3 % 2],
        "scanner": np.array(["a", "b"])[c],
        "split": np.array(["train", "validation", "test"])[np.array([0, 0, 0, 1, 2])[row % 5]],
    }


def stream(arguments: argparse.Namespace) -> None:
    """Write, audit as a user does, print, delete."""
    n, d = arguments.rows, arguments.columns
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        file = folder / f"features.{arguments.format}"
        c = write_features(file, n, d)
        manifest = ""
        if file.suffix == ".safetensors":
            manifest = "manifest: labels.csv, "
            columns = labels(c, 0)
            lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
            (folder / "labels.csv").write_text("\n".join(lines) + "\n")
        (folder / "recipe.yaml").write_text(RECIPE.format(file=file.name, manifest=manifest))
        command = [
            sys.executable, "-m", "mibias_cli.cli", "evaluate", str(file), "--recipe", str(folder / "recipe.yaml"),
            "--out", str(folder / "report"),
        ]  # fmt: skip
        size = file.stat().st_size / 2**30
        _, seconds, cpu, peak = measured(command)
        report = json.loads((folder / "report" / "leakage.json").read_text())
    found = report["attributes"]["scanner"]["after"]
    interval = found["leakage_bits"]
    print("\n| file | size | clock s | CPU s | peak GiB | headline probe | leakage, bits |")
    print("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    print(
        f"| {n:,} × {d:,} .{arguments.format} | {size:.1f} GiB | {seconds:.0f} | {cpu:.0f} | {peak / 1024:.2f} "
        f"| {found['headline_probe']} | {interval['estimate']:.3f} ({interval['lower']:.3f} to "
        f"{interval['upper']:.3f}) |"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run, rows, columns in (("probes", probes, 50_000, 512), ("stream", stream, 1_000_000, 1_024)):
        command = commands.add_parser(name)
        command.add_argument("--rows", type=int, default=rows)
        command.add_argument("--columns", type=int, default=columns)
        command.set_defaults(run=run)
        if run is probes:
            command.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
        else:
            command.add_argument("--format", choices=("safetensors", "parquet"), default="safetensors")
            command.add_argument("--folder", type=Path, help="where the file is written for the while")
    one = commands.add_parser("one")
    one.add_argument("family", choices=FAMILIES)
    one.add_argument("--ours", action="store_true")
    one.add_argument("--rows", type=int)
    one.add_argument("--columns", type=int)
    one.set_defaults(run=lambda a: print(json.dumps(run_probe(a.family, a.ours, a.rows, a.columns))))
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
