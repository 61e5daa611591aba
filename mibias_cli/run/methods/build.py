"""From a recipe's `method` to the method around the model that it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch

from mibias_cli.backbone.embed import embed
from mibias_cli.errors import MibiasError
from mibias_cli.methods.method import Method, MethodSpec
from mibias_cli.progress import Progress
from mibias_cli.recipe.tables import METHODS, MI
from mibias_cli.run.assemble import Parts
from mibias_cli.run.build import build_backbone, resolve
from mibias_cli.run.methods.early import train_early
from mibias_cli.seeds import derive_seed, scoped_torch_rng
from mibias_cli.training.model import TaskModel

__all__ = ["build_method", "method_settings", "method_spec"]

TrainEarly = Callable[[Parts, Method, int], None]
"""Trains a first model by a method for so many epochs."""


def method_settings(name: str, given: Mapping[str, float]) -> dict[str, float]:
    """What a method of the table goes by: settings that are not given are those of its row."""
    return {key: setting.default for key, setting in METHODS[name].settings.items()} | dict(given)


def build_method(parts: Parts, model: TaskModel, progress: Progress, train: TrainEarly | None = None) -> Method | None:
    """The recipe's `method` around the model that it trains, on the run's device; None where debiasing is by `debias`.

    `train` takes the place of the training of first models.

    Raises:
        MibiasError: The training rows lack what the method needs.
    """
    recipe = parts.recipe
    if recipe.method == MI:
        return None
    row = METHODS[recipe.method]
    if row.reads_bias:
        _check_bias(parts)
    spec = method_spec(parts, model, recipe.method, recipe.method_settings, progress, train)
    return _made(parts, resolve(row.code), spec)


def method_spec(
    parts: Parts,
    model: TaskModel,
    name: str,
    given: Mapping[str, float],
    progress: Progress,
    train: TrainEarly | None = None,
) -> MethodSpec:
    """What a method of the table around a model is made from; `train` takes the place of training first models."""
    seed = derive_seed(parts.recipe.seed, "method")

    def trained(parts: Parts, method: Method, epochs: int) -> None:
        train_early(parts, method.spec.model, method=method, epochs=epochs, progress=progress)

    spec = MethodSpec(
        model=model,
        data=parts.data,
        attributes=tuple(parts.debiased),
        settings=method_settings(name, given),
        seed=seed,
        batch_size=parts.recipe.training.batch_size,
        new_model=partial(_second_model, parts, seed),
        trained_by=lambda make, epochs: _trained_by(parts, make, spec, epochs, train or trained),
        embed=lambda of, split: embed(of.extractor, split, **parts.reading).features,
        gather=parts.ranks.gather,
        progress=progress,
    )
    return spec


def _made(parts: Parts, make: Callable[[MethodSpec], Method], spec: MethodSpec) -> Method:
    """A method on the run's device, in its precision."""
    with scoped_torch_rng():
        torch.manual_seed(spec.seed)
        method = make(spec)
    return method.to(parts.fabric.device, torch.float64 if parts.recipe.training.precision == "64" else torch.float32)


def _trained_by(
    parts: Parts, make: Callable[[MethodSpec], Method], spec: MethodSpec, epochs: int, train: TrainEarly
) -> Method:
    """A method after it trained a fresh model, which is its spec's, for some epochs."""
    method = _made(parts, make, replace(spec, model=parts.first_model()))
    train(parts, method, epochs)
    return method


def _check_bias(parts: Parts) -> None:
    """Raise where a method that reads the bias of training rows could not."""
    train, names = parts.data.train, parts.debiased
    known = np.logical_and.reduce([train.known[name] for name in names])
    values = np.concatenate([parts.data.attributes[name].classes(train.c[name][known]) for name in names], axis=1)
    if len(np.unique(values, axis=0)) < 2:
        others = ", ".join(name for name, row in METHODS.items() if not row.reads_bias)
        raise MibiasError(
            f"method: {parts.recipe.method} needs the bias of training rows, but {', '.join(names)} has no two values "
            f"there ({known.sum()} of {len(known)} rows have one); of the other methods {others} need none"
        )
    lost = np.setdiff1d(train.y, train.y[known]) if METHODS[parts.recipe.method].knows_all else ()
    if len(lost):
        missing = ", ".join(parts.data.class_names[k] for k in lost[:5])
        raise MibiasError(
            f"method: {parts.recipe.method} trains on rows whose {', '.join(names)} is known, {known.sum()} of "
            f"{len(known)}, and none of them is of class {missing}, which it would never learn; fill in the attribute, "
            "or take another method"
        )


def _second_model(parts: Parts, seed: int) -> TaskModel:
    """A model like the run's own; what is drawn of it is drawn anew, and what is pretrained or kept is the same."""
    recipe = parts.recipe.model_copy(update={"seed": seed % 2**31})
    other = replace(parts, recipe=recipe)
    if recipe.backbone.weights == "none" and parts.computed is None:
        load = cache(partial(build_backbone, recipe, parts.data.input_shape, offline=True))
        other = replace(other, load_backbone=load)
    return other.first_model()
