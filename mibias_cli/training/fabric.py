"""The device and precision of a run, and the processes that share it."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import DoublePrecision
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch.nn import Module

from mibias_cli.errors import TrainingError
from mibias_cli.ranks.place import Place

__all__ = ["has_bf16", "keep_freed_memory", "make_fabric", "own_device"]

# on import Fabric makes its logger talk: of what mixed precision is called, and of settings no recipe has
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}
_ENVIRONMENTS = {"mibias": LightningEnvironment, "torchrun": TorchElasticEnvironment, "SLURM": SLURMEnvironment}
# of mallopt(3), from malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MOST = -1, -2, -3, 2**31 - 1
_LARGE = 12 * 2**20
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

_Output = TypeVar("_Output")


class _DoubleThroughout(DoublePrecision):
    """Double precision whose outputs stay double: Fabric rounds them to float32, and the critic would see that."""

    def convert_output(self, data: _Output) -> _Output:
        return data


class _Bare(DDPStrategy):
    """Fabric's processes and devices for data parallelism, without DDP's wrapper: `Ranks` joins the gradients."""

    def setup_module(self, module: Module) -> Module:  # type: ignore[override]  # there it is wrapped
        return module


def make_fabric(device: str, precision: str, *, deterministic: bool, place: Place | None = None) -> Fabric:
    """Lightning Fabric on the CPU or one GPU; with a place among several ranks, joined with the others.

    Args:
        device: auto, cpu or cuda.
        precision: 32, 64, bf16 or 16 (the last two mixed), or auto: bf16 where the device computes in it, else 32.
        place: This process's among the ranks that were started; None: it is alone.

    Raises:
        TrainingError: GPUs are asked for that are not there, or half precision is asked for on the CPU.
    """
    accelerator = _accelerator(device)
    if precision == "auto":
        precision = "bf16" if has_bf16(accelerator) else "32"
    if accelerator == "cpu" and precision == "16":
        raise TrainingError("training.precision 16 needs a GPU: on the CPU use 32 or bf16")
    if deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    if place is not None:
        return _joined(accelerator, precision, place)
    if precision == "64":
        return Fabric(accelerator=accelerator, devices=1, plugins=[_DoubleThroughout()])
    return Fabric(accelerator=accelerator, devices=1, precision=PRECISIONS[precision])


def own_device(device: str, place: Place | None = None) -> torch.device:
    """The device of one process; of several ranks, which here need not meet, each has a GPU of its own.

    Args:
        device, place: As `make_fabric` takes them.

    Raises:
        TrainingError: GPUs are asked for that are not there.
    """
    accelerator = _accelerator(device)
    if accelerator == "cpu":
        return torch.device("cpu")
    if place is not None:
        _refuse_few_gpus(place)
    return torch.device(accelerator, 0 if place is None else place.local_rank)


def _accelerator(device: str) -> Literal["cuda", "cpu"]:
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise TrainingError("training.device is cuda and torch sees no GPU: set it to auto or cpu, or check the driver")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


def _refuse_few_gpus(place: Place) -> None:
    if torch.cuda.device_count() < place.devices:
        raise TrainingError(
            f"training.devices (or --devices) is {place.devices}, but torch sees {torch.cuda.device_count()} GPUs "
            "here: each rank needs one of its own, and sees all of its machine"
        )


def _joined(accelerator: str, precision: str, place: Place) -> Fabric:
    """Fabric on one of several ranks, which has met the others."""
    if accelerator == "cuda":
        _refuse_few_gpus(place)
    fabric = Fabric(
        accelerator=accelerator,
        devices=place.devices,
        num_nodes=place.nodes,
        strategy=_Bare(cluster_environment=_ENVIRONMENTS[place.by]()),
        precision=None if precision == "64" else PRECISIONS[precision],
        plugins=[_DoubleThroughout()] if precision == "64" else None,
    )
    fabric.launch()
    return fabric


def keep_freed_memory(device: torch.device) -> None:
    """Let glibc's malloc keep what tensors of the CPU free for the next ones, where nobody has set it otherwise.

    By default every large tensor is mapped and given back to the system, which clears its pages each time: on some
    machines half of the time of a convolutional network on the CPU. Kept, large ones leave gaps that no other one fits,
    a third of all memory; so where torch has them in huge pages, which are fewer to map, they are given back. The
    settings are those of mallopt(3). It is for after the data are read: what reading frees would be kept, too.
    """
    if device.type != "cpu":
        return
    is_set = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    if is_set or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return
    mapped = _LARGE if _uses_huge_pages() else _MOST
    for setting, value in ((_TRIM_THRESHOLD, _MOST), (_TOP_PAD, 64 * 2**20), (_MMAP_THRESHOLD, mapped)):
        mallopt(setting, value)


def _uses_huge_pages() -> bool:
    """Whether torch was told to ask for huge pages (the command line tells it so), and the system has them."""
    try:
        modes = _HUGE_PAGES.read_text(encoding="ascii")
    except OSError:  # a system without them
        return False
    return os.environ.get("THP_MEM_ALLOC_ENABLE") == "1" and "[never]" not in modes


def has_bf16(accelerator: str) -> bool:
    """Whether a device has instructions for bf16: elsewhere it is emulated, and slower than single precision."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # what torch asks of the processor has no public name; a torch without these is taken to have none
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asked)
