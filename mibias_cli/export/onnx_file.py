"""The extractor's features as an ONNX file, compared in onnxruntime."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from mibias_cli.backbone.extractor import Extractor
from mibias_cli.errors import ExportError

__all__ = ["ONNX_FILE", "ONNX_PACKAGES", "write_onnx"]

ONNX_FILE = "model.onnx"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""Largest difference to torch's features, relative to the largest of them."""


class _FeaturesOnly(nn.Module):
    """Inputs → the representation, without the rest."""

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, x: Tensor) -> Tensor:
        return self.extractor.refined(self.extractor.pooled(x))


def write_onnx(extractor: Extractor, sample_inputs: Tensor, folder: Path) -> None:
    """Write `model.onnx` (input `input`, output `features`, any batch size) and compare it in onnxruntime.

    The extractor is on the CPU, float32, in evaluation mode.

    Raises:
        ExportError: onnx is not installed, the model cannot be written as ONNX, or its features differ.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"onnx: {', '.join(missing)} not installed; pip install 'mibias[onnx]'")
    path = folder / ONNX_FILE
    module = _FeaturesOnly(extractor).eval()
    # two samples or more: a batch of one would be traced as a constant
    traced = sample_inputs if len(sample_inputs) > 1 else sample_inputs.repeat(2, *[1] * (sample_inputs.ndim - 1))
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns of its own dependencies
            # the batch is the only free axis: image size is baked into position embeddings and pooling
            torch.onnx.export(
                module,
                (traced,),
                path,
                input_names=["input"],
                output_names=["features"],
                dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1, max=1 << 20)}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors are of many classes, all mean the same to the user
        # what it says itself is advice to those who mend exporters; the cause below is about the model
        text = str(error.__cause__ or error).partition("Next steps")[0]
        reason = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
        raise ExportError(
            f"onnx: torch cannot write this model as ONNX ({reason}); leave onnx out of export.formats"
        ) from error
    finally:
        logger.setLevel(level)
    # a batch and a single sample, since the batch size is meant to be free
    for x in (sample_inputs, sample_inputs[:1]):
        _compare(module, path, x)


def _compare(module: nn.Module, path: Path, x: Tensor) -> None:
    import onnxruntime  # an extra: only those who ask for ONNX need it

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = torch.from_numpy(session.run(["features"], {session.get_inputs()[0].name: x.numpy()})[0])
    with torch.no_grad():
        wanted = module(x)
    if given.shape != wanted.shape:
        raise ExportError(f"onnx: gives features {tuple(given.shape)} where torch gives {tuple(wanted.shape)}")
    # relative to the largest feature: ONNX Runtime fuses and reorders operations, small features differ by more
    scale = max(float(wanted.abs().max()), torch.finfo(torch.float32).tiny)
    difference = float((given - wanted).abs().max()) / scale
    if not difference <= TOLERANCE:
        raise ExportError(
            f"onnx: features differ from torch's by {difference:.2g} of their largest value, allowed are {TOLERANCE:g}"
        )
