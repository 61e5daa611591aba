"""The whole recipe: a frozen pydantic model of one section per YAML key, and its JSON Schema.

Every key that a recipe may hold is declared in :mod:`mibias_cli.recipe.sections` with its default and a one-line
description. Names of data sources, estimators and probes are literals there and keys of the tables in
:mod:`mibias_cli.run.build`; a test compares the two.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field

from mibias_cli.recipe.sections.backbone import BackboneSection, RepresentationSection
from mibias_cli.recipe.sections.data import DataSection
from mibias_cli.recipe.sections.debias import DebiasSection
from mibias_cli.recipe.sections.evaluation import EvaluationSection, GateSection, gate_may_be_text
from mibias_cli.recipe.sections.training import DiscoverSection, ExportSection, OriginalSection, TrainingSection
from mibias_cli.recipe.tables import MI, MethodName
from mibias_cli.recipe.values import Believable, NonNegative, Section, Whole

__all__ = ["Recipe", "schema_text"]

LoggerName = Literal["jsonl", "tensorboard", "wandb", "mlflow"]
_LOGGERS: list[LoggerName] = ["jsonl", "tensorboard"]


class Recipe(Section):
    """A whole recipe."""

    version: Literal[1] = Field(description="Version of the recipe format.")
    # as long as a folder's name may be, with room for what a sweep adds to it
    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"), Believable(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    ] = Field("run", description="Name of the folder below runs/.")
    # the range that all of Python, numpy and torch take
    seed: Annotated[int, Field(ge=0, lt=2**31), Whole] = Field(0, description="Seed of all but the colours of digits.")
    data: DataSection
    backbone: BackboneSection
    representation: RepresentationSection = RepresentationSection()
    original: OriginalSection | None = Field(None, description="Plain training first; null: none.")
    discover: DiscoverSection | None = Field(
        None, description="Find a bias attribute where nobody knows the bias; null: attributes are those of the data."
    )
    method: MethodName = Field(
        MI,
        description="mi: what `debias` says; otherwise a method of the field (docs/methods.md), which heeds of debias "
        "only attributes and erase, and not training.head_last; contrastive: without a target.",
    )
    method_settings: dict[str, NonNegative] = Field(
        default_factory=dict, description="Settings of `method`; those that are not named have its paper's values."
    )
    debias: DebiasSection = DebiasSection()
    training: TrainingSection = TrainingSection()
    logging: list[LoggerName] = Field(
        default_factory=_LOGGERS.copy,
        description="Where the figures of training go: jsonl (metrics.jsonl, always written), tensorboard, and by "
        "extras wandb and mlflow, in the run's folder unless their environment variables say otherwise.",
    )
    evaluation: EvaluationSection = EvaluationSection()
    gates: list[GateSection] = Field(
        default_factory=list,
        description="Conditions under which the audit fails: texts, or fail_on and inconclusive.",
        json_schema_extra=gate_may_be_text,
    )
    export: ExportSection = ExportSection()


def schema_text() -> str:
    """The JSON Schema (draft 2020-12) that `mibias schema` prints and `recipes/recipe.schema.json` holds.

    Editors complete and check recipes by it.
    """
    # editors show the title, and know by $schema which draft they read
    schema = Recipe.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mibias recipe"}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
