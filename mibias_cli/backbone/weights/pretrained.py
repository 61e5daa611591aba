"""Whether a model's pretrained weights are on this machine, or what would have to be fetched."""

from __future__ import annotations

from mibias_cli.backbone.timm_source import cached_weights, find_source

__all__ = ["weights_to_fetch"]


def weights_to_fetch(name: str) -> str | None:
    """What `weights: pretrained` would fetch for a timm model: a place on the hub or an address; None: nothing.

    One would ask before one writes a recipe: nothing here opens a connection.

    Returns:
        None where the weights are in timm's cache; else their place, or empty text where timm has none.

    Raises:
        BackboneError: There is no such model.
    """
    cfg = find_source(name, "pretrained", offline=True).pretrained_cfg
    if cached_weights(cfg) is not None:
        return None
    repository, url = cfg.get("hf_hub_id"), cfg.get("url")
    return f"https://huggingface.co/{repository}" if repository else str(url or "")
