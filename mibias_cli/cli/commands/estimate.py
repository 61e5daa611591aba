"""`mibias estimate`: how much columns tell of another one; a tool of its own, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mibias_cli.cli.options import FormatOption, column_option, seed_option
from mibias_cli.cli.output import print_found
from mibias_cli.cli.progress import shown_progress

if TYPE_CHECKING:
    from mibias_cli.estimate.file import FileEstimates

__all__ = ["estimate", "estimate_lines"]


def estimate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table (.csv, .tsv, .parquet, .feather, .jsonl), or .safetensors.")
    ],
    z: Annotated[str, typer.Option("--z", metavar="PREFIX", help="z is every column whose name starts with this.")],
    c: Annotated[
        str, column_option("--c", help="The attribute: the column of this name, else all whose names start with it.")
    ],
    given: Annotated[str | None, column_option("--given", help="Estimate I(z; c | given) instead of I(z; c).")] = None,
    estimators: Annotated[
        str | None, typer.Option("--estimators", metavar="A,B,…", help="Estimators to run. [default: all that suit c]")
    ] = None,
    kind: Annotated[
        Literal["auto", "discrete", "continuous"],
        typer.Option("--kind", help="Whether c are classes or numbers; auto: by what it holds."),
    ] = "auto",
    seed: Annotated[int, seed_option(help="Seed of the folds and the fits.")] = 0,
    output: FormatOption = None,
) -> None:
    """Estimate the mutual information between columns of a file.

    Every row is scored by fits that have not seen it; the headline is chosen without the rows that it is scored on.
    """
    from mibias_cli.estimate.file import estimate_file

    # None: all that suit c; an empty list is a mistake, not a wish for none
    names = None if estimators is None else [name.strip() for name in estimators.split(",") if name.strip()]
    if names == []:
        raise typer.BadParameter("name at least one estimator", param_hint="--estimators")
    with shown_progress() as progress:
        found = estimate_file(file, z=z, c=c, given=given, estimators=names, kind=kind, seed=seed, progress=progress)
    print_found(found, estimate_lines(found), output)


def estimate_lines(found: FileEstimates) -> list[str]:
    """The estimates of a file as aligned text, the headline marked.

    Example:
        >>> print("\\n".join(estimate_lines({
        ...     "estimates": {"logistic": {"nats": 0.21, "bits": 0.303, "lower": 0.19, "upper": 0.23}},
        ...     "headline": "logistic", "entropy_nats": 0.693, "n_pooled": 0, "kind": "discrete",
        ...     "n_rows": 100, "n_missing": 0, "z": {"prefix": "z_", "n_columns": 8},
        ...     "c": ["colour"], "given": None, "confidence": 0.95})))
        I(z; colour), 100 rows, z of 8 columns; c discrete, H(c) = 0.693 nats
                         nats  95 % interval       bits
        * logistic      0.210  [ 0.190,  0.230]   0.303
        * headline
    """
    # what was estimated, from how much, and what it can be compared with
    given = f" | {', '.join(found['given'])}" if found["given"] else ""
    title = f"I(z; {', '.join(found['c'][:3])}{', …' if len(found['c']) > 3 else ''}{given})"
    missing = f" ({found['n_missing']} more lack a value)" if found["n_missing"] else ""
    entropy = "" if found["entropy_nats"] is None else f", H(c) = {found['entropy_nats']:.3f} nats"
    lines = [
        f"{title}, {found['n_rows']} rows{missing}, z of {found['z']['n_columns']} columns; c {found['kind']}{entropy}"
    ]
    # one row for each estimator, the headline marked
    width = max(12, *(len(name) for name in found["estimates"]))
    interval = f"{found['confidence']:.0%} interval".replace("%", " %")
    lines.append(f"  {'':{width}}  {'nats':>6}  {interval:<17} {'bits':>6}")
    for name, e in found["estimates"].items():
        mark = "*" if name == found["headline"] else " "
        lines.append(f"{mark} {name:{width}} {e['nats']:7.3f}  [{e['lower']:6.3f}, {e['upper']:6.3f}] {e['bits']:7.3f}")
    lines.append("* headline")
    if found["n_pooled"]:
        few = f"{found['n_pooled']} classes of c were counted together, as some have fewer than ten rows"
        lines.append(f"{few}; H(c) is of all classes as they are")
    return [line.rstrip() for line in lines]
