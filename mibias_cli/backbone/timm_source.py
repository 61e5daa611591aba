"""Where a timm model and its weights come from: the registry, a file, a local folder, the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg, is_model, load_model_config_from_hf
from torch import nn

from mibias_cli.backbone.weights.matching import LoadReport, load_weights
from mibias_cli.backbone.weights.state_files import weights_file_of
from mibias_cli.errors import BackboneError, did_you_mean

__all__ = ["HUB", "LOCAL", "TimmSource", "build_timm", "cached_weights", "find_source", "input_config"]

LOCAL, HUB = "local-dir:", "hf-hub:"
_OURS = {
    "num_classes": "a backbone has no classifier",
    "in_chans": "set backbone.channels",
    "img_size": "set backbone.input_size",
    "pretrained": "set backbone.weights",
    "pretrained_cfg": "set backbone.weights",
    "checkpoint_path": "set backbone.weights",
    "features_only": "set representation.layers",
}


@dataclass(frozen=True, kw_only=True)
class TimmSource:
    """A timm model that is known, not yet built.

    Args:
        name: What the user wrote.
        weights: none, pretrained, a path, local-dir:… or hf-hub:….
        architecture: timm's name without a tag.
        pretrained_cfg: timm's description of the weights: input, mean, std, licence, where to fetch them.
        model_args: Arguments that a folder's or a hub's config holds.
        folder: The folder that config and weights are read from, if any.
        fetched: For an hf-hub model: whether weights come over the network (they are not in the cache).
    """

    name: str
    weights: str
    architecture: str
    pretrained_cfg: dict[str, Any]
    model_args: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    fetched: bool = False

    @property
    def licence(self) -> str | None:
        """Licence of the weights where timm or the folder's config knows it; none for weights drawn at random."""
        known = self.weights == "pretrained" or self.weights.startswith((LOCAL, HUB))
        return self.pretrained_cfg.get("license") if known else None


def find_source(name: str, weights: str, *, offline: bool) -> TimmSource:
    """Look a model up, without building it or fetching its weights (an hf-hub model's config is fetched).

    Raises:
        BackboneError: An unknown model or tag, a missing folder, a folder of another architecture, or no network.
    """
    if name.startswith((LOCAL, HUB)) and weights in ("none", "pretrained"):
        weights = name
    if weights.startswith(LOCAL):
        return _from_folder(name, weights, Path(weights.removeprefix(LOCAL)))
    if weights.startswith(HUB):
        return _from_hub(name, weights, offline=offline)
    _check_name(name)
    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        raise BackboneError(
            f"backbone {name}: unknown tag{did_you_mean(name, tags)}; timm has {', '.join(tags) or 'no weights for it'}"
        ) from error
    described = cfg.to_dict() if cfg is not None else {}
    return TimmSource(name=name, weights=weights, architecture=name.partition(".")[0], pretrained_cfg=described)


def build_timm(
    source: TimmSource,
    *,
    options: Mapping[str, Any],
    channels: int | None,
    input_size: int | None,
    offline: bool,
    seed: int,
) -> tuple[nn.Module, dict[str, Any], LoadReport | None]:
    """Build the model without its classifier, and load its weights.

    Returns:
        The module, the arguments with which timm builds it again, and the report of the weights file if one was read.

    Raises:
        BackboneError: An option that the model does not take, weights that cannot be had or do not fit.
    """
    for key in options:
        if key in _OURS:
            raise BackboneError(f"backbone.options.{key}: not an option here, {_OURS[key]}")
    arguments = {**source.model_args, **options}
    arguments.pop("num_classes", None)
    if channels is not None:
        arguments["in_chans"] = channels
    if input_size is not None and source.pretrained_cfg.get("fixed_input_size", False):
        arguments["img_size"] = input_size
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        module = _create(source, arguments, offline=offline)
    report = None
    if source.folder is not None:
        report = load_weights(module, weights_file_of(source.folder))
    elif source.weights not in ("none", "pretrained") and not source.weights.startswith(HUB):
        report = load_weights(module, Path(source.weights))
    return module, arguments, report


def input_config(pretrained_cfg: Mapping[str, Any], *, channels: int | None, input_size: int | None) -> dict[str, Any]:
    """What a timm model asks of its inputs: input_size (C, H, W), interpolation, mean, std, crop_pct, crop_mode.

    With another number of channels than timm's, mean and std are their means over timm's channels, as in timm.
    """
    cfg = dict(pretrained_cfg)
    config = dict(resolve_data_config({} if cfg else {"img_size": 224}, pretrained_cfg=cfg))
    c, height, width = config["input_size"]
    c = channels or c
    config["input_size"] = (c, input_size or height, input_size or width)
    for key in ("mean", "std"):
        values = tuple(float(v) for v in config[key])
        config[key] = values if len(values) == c else (sum(values) / len(values),) * c
    return config


def _create(source: TimmSource, arguments: dict[str, Any], *, offline: bool) -> nn.Module:
    """timm.create_model, with its errors put into words."""
    wanted = source.weights == "pretrained" or (source.weights.startswith(HUB) and source.fetched)
    timm_name = f"{LOCAL}{source.folder}" if source.folder is not None else source.name
    if source.weights.startswith(HUB) and source.folder is None:
        timm_name = source.weights
    overlay = _cached_overlay(source, offline=offline) if source.weights == "pretrained" else None
    try:
        return timm.create_model(
            timm_name, pretrained=wanted, pretrained_cfg_overlay=overlay, num_classes=0, **arguments
        )
    except TypeError as error:
        raise BackboneError(
            f"backbone {source.name}: timm's {source.architecture} does not take these arguments "
            f"({', '.join(f'{k}={v!r}' for k, v in arguments.items()) or 'none'}): {error}"
        ) from error
    except Exception as error:  # network errors come in as many classes as there are HTTP libraries
        if not wanted:
            raise BackboneError(f"backbone {source.name}: timm cannot build it with {arguments}: {error}") from error
        raise BackboneError(
            f"backbone {source.name}: the weights could not be fetched or loaded ({type(error).__name__}: {error}).\n"
            f"{_how_to_get(source)}"
        ) from error


def _cached_overlay(source: TimmSource, *, offline: bool) -> dict[str, Any] | None:
    """Offline: point timm at the cached file, or say what is missing. Online: None, timm fetches by itself."""
    cfg = source.pretrained_cfg
    if not (cfg.get("hf_hub_id") or cfg.get("url") or cfg.get("file")):
        tags = timm.list_pretrained(f"{source.architecture}.*")
        there_is = f"; with weights there are {', '.join(tags)}" if tags else ""
        raise BackboneError(f"backbone {source.name}: timm has no pretrained weights for it{there_is}")
    if not offline:
        return None
    if not cfg.get("custom_load") and (path := cached_weights(cfg)) is not None:
        return {"file": str(path)}
    raise BackboneError(
        f"backbone {source.name}: its pretrained weights are not in the cache, and --offline forbids fetching them.\n"
        f"{_how_to_get(source)}"
    )


def cached_weights(cfg: Mapping[str, Any]) -> Path | None:
    """Where this machine already has the weights that timm describes, or None."""
    if repository := cfg.get("hf_hub_id"):
        repository, _, revision = repository.partition("@")
        for file_name in filter(None, (cfg.get("hf_hub_filename"), "model.safetensors", "pytorch_model.bin")):
            path = try_to_load_from_cache(repository, file_name, revision=revision or None)
            if isinstance(path, str):
                return Path(path)
    if url := cfg.get("url"):
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
        if path.is_file():
            return path
    return None


def _how_to_get(source: TimmSource) -> str:
    """What would be fetched, and how to have it without a network."""
    repository = source.pretrained_cfg.get("hf_hub_id")
    if source.weights.startswith(HUB):
        repository = source.weights.removeprefix(HUB)
    url = source.pretrained_cfg.get("url")
    what = [f"https://huggingface.co/{repository} (model.safetensors)"] if repository else []
    what += [str(url)] if url else []
    get = f"`hf download {repository} --local-dir FOLDER`" if repository else f"download {url}"
    use = "backbone.weights: local-dir:FOLDER" if repository else "backbone.weights: FILE"
    return f"It would fetch {' or '.join(what)}. On a machine with network: {get}; then set `{use}`."


def _from_folder(name: str, weights: str, folder: Path) -> TimmSource:
    config_path = folder / "config.json"
    if not folder.is_dir():
        raise BackboneError(f"{LOCAL}{folder}: this folder does not exist")
    if not config_path.is_file():
        raise BackboneError(
            f"{LOCAL}{folder}: no config.json in it; for bare weights set backbone.weights to the file itself"
        )
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
        cfg = dict(config.get("pretrained_cfg", config))
        architecture = str(config["architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise BackboneError(f"{config_path}: not a timm config ({type(error).__name__}: {error})") from error
    _check_same(name, architecture, f"{LOCAL}{folder}")
    model_args = dict(config.get("model_args", {}))
    return TimmSource(
        name=architecture if name.startswith(LOCAL) else name,
        weights=weights,
        architecture=architecture,
        pretrained_cfg=_for_these(cfg, model_args),
        model_args=model_args,
        folder=folder,
    )


def _from_hub(name: str, weights: str, *, offline: bool) -> TimmSource:
    repository, _, revision = weights.removeprefix(HUB).partition("@")
    cached = try_to_load_from_cache(repository, "config.json", revision=revision or None)
    if offline:
        if not isinstance(cached, str):
            source = TimmSource(name=name, weights=weights, architecture="", pretrained_cfg={})
            raise BackboneError(
                f"{weights}: not in the cache, and --offline forbids fetching it.\n{_how_to_get(source)}"
            )
        return _from_folder(LOCAL if name.startswith(HUB) else name, weights, Path(cached).parent)
    try:
        cfg, architecture, model_args = load_model_config_from_hf(weights.removeprefix(HUB))
    except Exception as error:  # network errors come in as many classes as there are HTTP libraries
        source = TimmSource(name=name, weights=weights, architecture="", pretrained_cfg={})
        raise BackboneError(
            f"{weights}: its config could not be fetched ({type(error).__name__}: {error}).\n{_how_to_get(source)}"
        ) from error
    _check_same(name, architecture, weights)
    return TimmSource(
        name=architecture if name.startswith(HUB) else name,
        weights=weights,
        architecture=architecture,
        pretrained_cfg=_for_these(cfg, model_args or {}),
        model_args=dict(model_args or {}),
        fetched=True,
    )


def _for_these(cfg: Mapping[str, Any], model_args: Mapping[str, Any]) -> dict[str, Any]:
    """The description of weights, with the input that the saved arguments say: older folders keep the base's."""
    channels, height, width = cfg.get("input_size", (3, 224, 224))
    size = model_args.get("img_size") or (height, width)
    height, width = (size, size) if isinstance(size, int) else size
    return {**cfg, "input_size": (model_args.get("in_chans") or channels, height, width)}


def _check_same(name: str, architecture: str, where: str) -> None:
    if not is_model(architecture):
        raise BackboneError(f"{where}: its architecture '{architecture}' is unknown to timm {timm.__version__}")
    if not name.startswith((LOCAL, HUB)) and name.partition(".")[0] != architecture:
        raise BackboneError(
            f"{where}: holds a {architecture}, backbone.name is {name}; set backbone.name: {architecture}"
        )


def _check_name(name: str) -> None:
    if is_model(name.partition(".")[0]):
        return
    names = timm.list_models()
    hint = did_you_mean(name.partition(".")[0], [*names, "digit_cnn", "mlp"])
    raise BackboneError(
        f"backbone {name}: unknown{hint}; it may be digit_cnn, mlp, or one of the {len(names)} models of timm "
        f"{timm.__version__} (timm.list_models('*{name[:6]}*') searches them)"
    )
