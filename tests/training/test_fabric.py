"""Which precision `auto` comes to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mibias_cli.errors import TrainingError
from mibias_cli.ranks.place import Place
from mibias_cli.training.fabric import make_fabric, own_device


@pytest.mark.parametrize(("has_avx", "has_amx", "expected"), [
    (True, False, "bf16-mixed"), (False, True, "bf16-mixed"), (False, False, "32-true"),
])  # fmt: skip
def test_auto_is_half_precision_where_the_processor_computes_in_it(
    has_avx: bool, has_amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx, raising=False)
    assert make_fabric("cpu", "auto", deterministic=False).strategy.precision.precision == expected


def test_a_torch_that_cannot_say_computes_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert make_fabric("cpu", "auto", deterministic=False).strategy.precision.precision == "32-true"


def test_sixteen_bits_on_the_processor_are_refused() -> None:
    with pytest.raises(TrainingError, match="needs a GPU"):
        make_fabric("cpu", "16", deterministic=False)


def test_ranks_that_need_not_meet_have_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(by="torchrun", rank=7, local_rank=3, devices=4, nodes=2)
    assert own_device("cpu", place) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert own_device("auto", place) == torch.device("cuda", 3)
    assert own_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(TrainingError, match="--devices. is 4, but torch sees 3 GPUs here"):
        own_device("auto", place)


def test_fabric_itself_says_nothing() -> None:
    code = "from mibias_cli.training.fabric import make_fabric; make_fabric('cpu', 'bf16', deterministic=False)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


_MODES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
HUGE_PAGES = _MODES.read_text(encoding="ascii") if platform.libc_ver()[0] == "glibc" and _MODES.exists() else "[never]"
FAULTS = """
import resource, torch
from mibias_cli.training.fabric import keep_freed_memory, make_fabric
keep_freed_memory(make_fabric("cpu", "32", deterministic=False).device)
for _ in range(20):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc")
@pytest.mark.parametrize("is_set", [False, True])
def test_freed_memory_is_kept_unless_the_user_set_the_allocator(is_set: bool) -> None:
    """Twenty tensors of 64 MiB, one after the other: pages that are mapped anew fault, about 16,000 a tensor."""
    assert (_faults({"MALLOC_MMAP_THRESHOLD_": str(2**20)} if is_set else {}) > 100) == is_set


@pytest.mark.skipif("[never]" in HUGE_PAGES, reason="no huge pages")
def test_large_tensors_are_given_back_where_they_are_in_huge_pages() -> None:
    """They fault, too, but once for each huge page: 32 a tensor of 64 MiB."""
    assert 20 * 16 < _faults({"THP_MEM_ALLOC_ENABLE": "1"}) < 20 * 1600


def _faults(env: dict[str, str]) -> int:
    ours = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "THP_MEM")
    unset = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=unset | env)
    return int(done.stdout)
