"""Where a timm model and its weights come from: the registry, a file, a local folder, the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from timm.models import get_pretrained_cfg, is_model
from torch import nn

from mibias_cli.backbone.timm_config import CONFIG, HUB, LOCAL, InputSize, PretrainedConfig, input_config, read_config
from mibias_cli.backbone.trainable import last_stages
from mibias_cli.backbone.weights.matching import LoadReport, load_weights, unfit_names
from mibias_cli.backbone.weights.network import HUB_URL, require_network
from mibias_cli.backbone.weights.state_files import weights_file_of
from mibias_cli.errors import BackboneError, did_you_mean

__all__ = [
    "TimmSource", "build_timm", "find_source", "last_stages_of", "read_by_stage", "stem_of", "takes_size",
    "weights_to_fetch",
]  # fmt: skip

_INPUT_ARGUMENTS = {"img_size", "in_chans"}
_EPSILON = {"fbnetc_100": 1e-3}
_OURS = {
    "num_classes": "a backbone has no classifier",
    "in_chans": "set backbone.in_chans",
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
    """

    name: str
    weights: str
    architecture: str
    pretrained_cfg: PretrainedConfig
    model_args: dict[str, object] = field(default_factory=dict)
    folder: Path | None = None

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
    architecture = name.partition(".")[0]
    if not is_model(architecture):
        names = timm.list_models()
        hint = did_you_mean(architecture, [*names, "digit_cnn", "mlp"])
        raise BackboneError(
            f"backbone {name}: unknown{hint}; it may be digit_cnn, mlp, or one of the {len(names)} models of timm "
            f"{timm.__version__} (timm.list_models('*{name[:6]}*') searches them)"
        )
    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        raise BackboneError(
            f"backbone {name}: unknown tag{did_you_mean(name, tags)}; timm has {', '.join(tags) or 'no weights for it'}"
        ) from error
    described: PretrainedConfig = cfg.to_dict() if cfg is not None else {}
    return TimmSource(name=name, weights=weights, architecture=architecture, pretrained_cfg=described)


def build_timm(
    source: TimmSource,
    *,
    options: Mapping[str, object],
    channels: int | None,
    input_size: InputSize | None,
    offline: bool,
    seed: int,
) -> tuple[nn.Module, dict[str, object], LoadReport | None]:
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
    # timm sets it where it fetches weights alone: built otherwise, from an export say, features would be others
    if source.architecture in _EPSILON:
        arguments.setdefault("bn_eps", _EPSILON[source.architecture])
    if channels is not None:
        arguments["in_chans"] = channels
    arguments |= _sized(source.pretrained_cfg, input_size)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        module = _create(source, arguments, offline=offline)
    # timm has loaded what it fetches itself; files and folders go through our matching, which tells what did not fit
    report = None
    if source.folder is not None:
        report = load_weights(module, weights_file_of(source.folder))
    elif source.weights not in ("none", "pretrained") and not source.weights.startswith(HUB):
        report = load_weights(module, Path(source.weights))
    if report is not None and report.mismatched and _INPUT_ARGUMENTS & arguments.keys():
        own, state = _on_meta(source, None)[0].state_dict(), module.state_dict()
        if misfits := [name for name in report.missing if name in own and own[name].shape != state[name].shape]:
            raise BackboneError(_other_inputs(source, arguments, misfits))
    return module, arguments, report


def _other_inputs(source: TimmSource, arguments: Mapping[str, object], names: Sequence[str]) -> str:
    """What to say of weights whose tensors of these names are made for images of another size or channels."""
    channels, height, width = input_config(source.pretrained_cfg, channels=None, input_size=None)["input_size"]
    given = ", ".join(f"{key}={arguments[key]}" for key in sorted(_INPUT_ARGUMENTS & arguments.keys()))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"backbone {source.name}: the weights are for other images than {given} ({names[0]}{more}), and these cannot "
        "be adapted; set backbone.input_size and backbone.in_chans as the weights were trained, or leave them out for "
        f"timm's own ({height} × {width}, {channels} channels)"
    )


def weights_to_fetch(name: str) -> str | None:
    """Where `weights: pretrained` would fetch a timm model from, told without a connection.

    Returns:
        None where the weights are in timm's cache; else their place, or empty text where timm has none.

    Raises:
        BackboneError: There is no such model.
    """
    cfg = find_source(name, "pretrained", offline=True).pretrained_cfg
    if _cached_weights(cfg) is not None:
        return None
    repository, url = cfg.get("hf_hub_id"), cfg.get("url")
    return f"https://huggingface.co/{repository}" if repository else url or ""


def last_stages_of(name: str) -> tuple[str, ...]:
    """The modules of a timm model that one trains with few images (`last_stages`); nothing is loaded or fetched."""
    model, x = _on_meta(_known(name), None)
    try:
        return tuple(last_stages(model, x))
    except _NO_PASS:
        return tuple(last_stages(model))


def stem_of(name: str) -> str | None:
    """A timm model's first convolution, if it reads the images as they are; nothing is loaded or fetched.

    Example:
        >>> stem_of("resnet18"), stem_of("mixer_b16_224"), stem_of("vit_tiny_patch16_224")
        ('conv1', 'stem.proj', 'patch_embed.proj')
    """
    model, x = _on_meta(_known(name), None)
    convolutions = (name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    stem = next(convolutions, None)
    return stem if stem is not None and read_by_stage(name, stem, None) == tuple(x.shape[1:]) else None


def read_by_stage(name: str, stage: str, size: int | None) -> tuple[int, ...] | None:
    """Shape of what a stage of a timm model reads of one image; None: no map or tokens, or it cannot be told.

    Args:
        name: The model; it is built without weights, and computes nothing.
        stage: A module of it.
        size: Height and width of images; None: the model's own.

    Example:
        >>> read_by_stage("resnet18", "layer4", 224)
        (256, 14, 14)
    """
    read: list[tuple[int, ...]] = []

    def hook(module: nn.Module, given: tuple[object, ...]) -> None:
        first = given[0] if given else None
        if isinstance(first, torch.Tensor) and first.ndim > 2 and len(first) == 1:
            read.append(tuple(first.shape[1:]))

    try:
        model, x = _on_meta(_known(name), size)
        model.get_submodule(stage).register_forward_pre_hook(hook)
        model(x)
    except _NO_PASS:
        return None
    return read[0] if read else None


def takes_size(name: str, size: int, *, weights: bool) -> bool:
    """Whether a timm model runs on square images of another size than its own; nothing is loaded or fetched.

    Args:
        weights: Whether weights for its own size are to fit, too: position embeddings can often be resized, layers that
            mix places cannot.

    Example:
        >>> takes_size("resnet18", 64, weights=True), takes_size("mixer_b16_224", 64, weights=True)
        (True, False)
    """
    try:
        model, x = _on_meta(_known(name), size)
        model(x)
        return not weights or not unfit_names(model, _on_meta(_known(name), None)[0].state_dict())
    except _NO_PASS:
        return False


_NO_PASS = (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError)
"""What models raise about a size that does not suit them, or where they compute on values, which are not there."""


def _known(name: str) -> TimmSource:
    return find_source(name, "none", offline=True)


def _on_meta(source: TimmSource, size: int | None) -> tuple[nn.Module, torch.Tensor]:
    """A timm model without numbers, in evaluation mode, and one image for it."""
    shape = input_config(source.pretrained_cfg, channels=None, input_size=size)["input_size"]
    arguments: dict[str, Any] = {**source.model_args, "num_classes": 0, **_sized(source.pretrained_cfg, size)}
    with torch.device("meta"):
        return timm.create_model(source.name, pretrained=False, **arguments).eval(), torch.empty(1, *shape)


def _sized(cfg: PretrainedConfig, input_size: InputSize | None) -> dict[str, InputSize]:
    """The argument of a model that is built for a size; convolutional ones take any."""
    return {"img_size": input_size} if input_size is not None and cfg.get("fixed_input_size", False) else {}


def _create(source: TimmSource, arguments: Mapping[str, Any], *, offline: bool) -> nn.Module:
    """timm.create_model, with its errors put into words."""
    from_hub = source.weights.startswith(HUB) and source.folder is None
    wanted = source.weights == "pretrained" or from_hub
    timm_name = source.weights if from_hub else source.name
    if source.folder is not None:
        timm_name = f"{LOCAL}{source.folder}"
    overlay = _cached_overlay(source, offline=offline) if source.weights == "pretrained" else None
    if wanted and overlay is None and not offline:
        _require(source.pretrained_cfg, source.weights, what=f"backbone {source.name}: the weights cannot be fetched")
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
        misfits = re.findall(r"size mismatch for ([\w.]+):", str(error))
        if misfits and _INPUT_ARGUMENTS & arguments.keys():
            raise BackboneError(_other_inputs(source, arguments, misfits)) from error
        if not wanted:
            raise BackboneError(
                f"backbone {source.name}: timm cannot build it with {arguments} ({type(error).__name__}: {error})"
            ) from error
        raise BackboneError(
            f"backbone {source.name}: the weights could not be fetched or loaded ({type(error).__name__}: {error}).\n"
            f"{_how_to_get(source.weights, source.pretrained_cfg)}"
        ) from error


def _cached_overlay(source: TimmSource, *, offline: bool) -> dict[str, str] | None:
    """Point timm at the cached file; where there is none, None: timm fetches by itself. Offline say what is missing."""
    cfg = source.pretrained_cfg
    if not (cfg.get("hf_hub_id") or cfg.get("url") or cfg.get("file")):
        tags = timm.list_pretrained(f"{source.architecture}.*")
        there_is = f"; with weights there are {', '.join(tags)}" if tags else ""
        raise BackboneError(f"backbone {source.name}: timm has no pretrained weights for it{there_is}")
    # what is there already needs no network, and is the same tomorrow
    if not cfg.get("custom_load") and (path := _cached_weights(cfg)) is not None:
        return {"file": str(path)}
    if not offline:
        return None
    raise BackboneError(
        f"backbone {source.name}: its pretrained weights are not in the cache, and --offline forbids fetching them.\n"
        f"{_how_to_get(source.weights, cfg)}"
    )


def _cached_weights(cfg: PretrainedConfig) -> Path | None:
    """Where this machine already has the weights that timm describes, or None."""
    # the hub's cache first, then torch's own: timm's order
    if found := cfg.get("hf_hub_id"):
        repository, _, revision = found.partition("@")
        for file_name in filter(None, (cfg.get("hf_hub_filename"), "model.safetensors", "pytorch_model.bin")):
            path = try_to_load_from_cache(repository, file_name, revision=revision or None)
            if isinstance(path, str):
                return Path(path)
    if url := cfg.get("url"):
        downloaded = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
        if downloaded.is_file():
            return downloaded
    return None


def _require(cfg: PretrainedConfig, weights: str, *, what: str) -> None:
    """Refuse a download at once where its server cannot be reached, with how to do without."""
    url = None if cfg.get("hf_hub_id") or weights.startswith(HUB) else cfg.get("url")
    try:
        require_network(url or HUB_URL, what=what)
    except BackboneError as error:
        raise BackboneError(f"{error}.\n{_how_to_get(weights, cfg)}") from error


def _how_to_get(weights: str, cfg: PretrainedConfig) -> str:
    """What would be fetched, and how to have it without a network."""
    # a user without a network needs the address, the command that fetches, and the setting to use then
    repository = weights.removeprefix(HUB) if weights.startswith(HUB) else cfg.get("hf_hub_id")
    url = cfg.get("url")
    what = [f"https://huggingface.co/{repository} (model.safetensors)"] if repository else []
    what += [url] if url else []
    get = f"`hf download {repository} --local-dir FOLDER`" if repository else f"download {url}"
    use = "backbone.weights: local-dir:FOLDER" if repository else "backbone.weights: FILE"
    return f"It would fetch {' or '.join(what)}. On a machine with network: {get}; then set `{use}`."


def _from_folder(name: str, weights: str, folder: Path) -> TimmSource:
    config = read_config(folder)
    try:
        architecture, model_args = str(config["architecture"]), dict(config.get("model_args", {}))
        cfg = _for_these(config.get("pretrained_cfg", config), model_args)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackboneError(f"{folder / CONFIG}: not a timm config ({type(error).__name__}: {error})") from error
    if not is_model(architecture):
        raise BackboneError(f"{weights}: its architecture '{architecture}' is unknown to timm {timm.__version__}")
    anonymous = name.startswith((LOCAL, HUB))
    if not anonymous and name.partition(".")[0] != architecture:
        raise BackboneError(
            f"{weights}: holds a {architecture}, backbone.name is {name}; set backbone.name: {architecture}"
        )
    return TimmSource(
        name=architecture if anonymous else name,
        weights=weights,
        architecture=architecture,
        pretrained_cfg=cfg,
        model_args=model_args,
        folder=folder,
    )


def _for_these(cfg: PretrainedConfig, model_args: Mapping[str, object]) -> PretrainedConfig:
    """The description of weights, with the input that the saved arguments say: older folders keep the base's."""
    channels, height, width = cfg.get("input_size", (3, 224, 224))
    size, in_chans = model_args.get("img_size"), model_args.get("in_chans")
    if isinstance(size, int | list | tuple):
        height, width = (size, size) if isinstance(size, int) else size
    if isinstance(in_chans, int):
        channels = in_chans
    return {**cfg, "input_size": (channels, height, width)}


def _from_hub(name: str, weights: str, *, offline: bool) -> TimmSource:
    """A model of the hub: its config is fetched, or taken from the cache, and read as a folder's is."""
    repository, _, revision = weights.removeprefix(HUB).partition("@")
    if not offline and not isinstance(try_to_load_from_cache(repository, CONFIG, revision=revision or None), str):
        _require({}, weights, what=f"{weights}: its config cannot be fetched")
    try:
        path = hf_hub_download(repository, CONFIG, revision=revision or None, local_files_only=offline)
    except Exception as error:  # network errors come in as many classes as there are HTTP libraries
        what = f"its config could not be fetched ({type(error).__name__}: {error})"
        if offline:
            what = "not in the cache, and --offline forbids fetching it"
        raise BackboneError(f"{weights}: {what}.\n{_how_to_get(weights, {})}") from error
    source = _from_folder(name, weights, Path(path).parent)
    # offline the weights lie beside the config in the cache; online timm fetches them by itself
    return source if offline else replace(source, folder=None)
