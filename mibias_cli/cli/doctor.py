"""What of a machine mibias needs, looked at part by part; torch is loaded for the devices alone."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from mibias_cli import __version__
from mibias_cli.errors import BackboneError

__all__ = ["Check", "broken", "check_extras", "check_folder", "check_hub", "check_packages", "examine", "requirements"]

PACKAGE = "mibias"
_OLDEST_PYTHON = (3, 11)
_HUB_SECONDS = 2.0
_FOR_DEVELOPERS = ("all", "check", "docs", "test")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What it is.
        state: ok; absent: an extra that nobody needs to have; warning: something may fail later; broken: mibias cannot
            work so.
        found: What is there.
        fix: What to do about it, where that is something.
    """

    name: str
    state: Literal["ok", "absent", "warning", "broken"]
    found: str
    fix: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """As JSON has it."""
        return asdict(self)


def broken(checks: Sequence[Check]) -> list[Check]:
    """Those without which mibias does not work."""
    return [check for check in checks if check.state == "broken"]


def examine(*, offline: bool) -> list[Check]:
    """Look at Python, packages, devices, folders and the hub.

    Args:
        offline: Whether to leave the hub alone.
    """
    # the hub may take seconds to answer, torch as long to load: both at once
    asked: list[Check] = []
    asking = None if offline else threading.Thread(target=lambda: asked.append(check_hub()), daemon=True)
    if asking is not None:
        asking.start()
    lines = _declared()
    checks = [_check_python(), *check_packages(lines), *_check_devices()]
    checks += [check_folder("runs", Path("runs"), needed=True), *_check_caches()]
    if asking is not None:
        asking.join()
    checks += asked or [Check(name="hub", state="ok", found="not asked (--offline)")]
    return checks + check_extras(lines)


def _check_python() -> Check:
    found = f"{platform.python_version()} on {platform.platform()} ({sys.executable})"
    if sys.version_info >= _OLDEST_PYTHON:
        return Check(name="python", state="ok", found=found)
    fix = f"mibias needs Python {'.'.join(map(str, _OLDEST_PYTHON))} or later: make an environment with one"
    return Check(name="python", state="broken", found=found, fix=fix)


# --- packages ---


def _declared() -> list[str]:
    """The requirements of the installed package, or none where mibias runs from a folder of its source."""
    try:
        return metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []


def requirements(lines: Sequence[str], extra: str = "") -> list[Requirement]:
    """What mibias requires on this machine, or what an extra requires beyond that.

    Args:
        lines: Requirements as package metadata have them, markers included.
        extra: Name of the extra; empty: none.

    Example:
        >>> lines = ["numpy>=1.26", 'onnx>=1.16; extra == "onnx"', 'mibias[onnx]; extra == "test"']
        >>> [[str(each) for each in requirements(lines, extra)] for extra in ("", "test")]
        [['numpy>=1.26'], ['onnx>=1.16; extra == "onnx"']]
    """
    found = []
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always if not extra else (marker is not None and not always and marker.evaluate({"extra": extra})):
            # an extra of mibias may stand for others
            inner = sorted(requirement.extras) if requirement.name == PACKAGE else []
            found += [each for name in inner for each in requirements(lines, name)] if inner else [requirement]
    return found


def _lack(requirement: Requirement) -> tuple[str, str]:
    """The version that is installed, and in words what is wrong with it; each may be empty."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return "", "not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return version, ""
    return version, f"{version}, needed is {requirement.specifier}"


def check_packages(lines: Sequence[str]) -> list[Check]:
    """mibias itself and what it requires: a line each, by their versions; nothing is imported."""
    checks = [Check(name=PACKAGE, state="ok", found=__version__)]
    if not lines:
        fix = f"pip install {PACKAGE}, so that versions can be checked"
        checks = [Check(name=PACKAGE, state="warning", found=f"{__version__}, not installed as a package", fix=fix)]
    for requirement in requirements(lines):
        version, lack = _lack(requirement)
        if lack:
            wanted = f"{requirement.name}{requirement.specifier}"
            checks.append(Check(name=requirement.name, state="broken", found=lack, fix=f"pip install '{wanted}'"))
        else:
            checks.append(Check(name=requirement.name, state="ok", found=version))
    return checks


def check_extras(lines: Sequence[str]) -> list[Check]:
    """Each extra that users have a use for: installed, or how to install it."""
    named = {name for line in lines for name in _extras_in(line)}
    checks = []
    for extra in sorted(named - set(_FOR_DEVELOPERS)):
        found = [(each.name, *_lack(each)) for each in requirements(lines, extra)]
        lacking = [f"{name} {lack}" for name, _, lack in found if lack]
        text = ", ".join(lacking or [f"{name} {version}" for name, version, _ in found])
        fix = f"pip install '{PACKAGE}[{extra}]'" if lacking else None
        checks.append(Check(name=f"extra {extra}", state="absent" if lacking else "ok", found=text, fix=fix))
    return checks


def _extras_in(line: str) -> Iterator[str]:
    """The extra that a requirement belongs to: `extra == "onnx"`, as every build backend writes it."""
    _, found, rest = line.partition("extra ==")
    if found:
        yield rest.strip(" \"')").split('"')[0].split("'")[0]


# --- devices ---


def _check_devices() -> list[Check]:
    """Whether torch loads, what it computes on, and how."""
    try:
        import torch

        from mibias_cli.training.fabric import has_bf16
    except (ImportError, OSError, RuntimeError) as error:
        # a library that is not there, or is of another build
        fix = "install torch anew, as pytorch.org says for this machine"
        return [Check(name="device", state="broken", found=f"torch cannot be loaded: {error}", fix=fix)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    checks = [_bf16("device cpu", f"{cores} cores, {torch.get_num_threads()} threads", has_bf16("cpu"))]
    if not torch.cuda.is_available():
        # the driver says that there is a GPU, whatever torch was built for
        if Path("/proc/driver/nvidia/version").exists():
            fix = "look at nvidia-smi; install a torch that was built for this driver (pytorch.org)"
            checks.append(Check(name="device cuda", state="warning", found="torch sees no GPU", fix=fix))
        return checks
    for i in range(torch.cuda.device_count()):
        name = f"device cuda:{i}"
        found = torch.cuda.get_device_name(i)
        try:
            # a torch that was built without this GPU's instructions fails here, and not when it is asked for them
            (torch.ones(1, device=f"cuda:{i}") + 1).item()
            found += f", {torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB"
            checks.append(_bf16(name, found, has_bf16("cuda")))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            fix = "install a torch that was built for this GPU (pytorch.org), or train with --device cpu"
            checks.append(Check(name=name, state="broken", found=f"{found}: {reason}", fix=fix))
    return checks


def _bf16(name: str, found: str, native: bool) -> Check:
    text = "bf16 native" if native else "bf16 emulated: slower than precision 32"
    return Check(name=name, state="ok", found=f"{found}; {text}")


# --- folders and network ---


def check_folder(name: str, folder: Path, *, needed: bool) -> Check:
    """Whether files can be written below a folder, which need not be there; nothing stays behind."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    state: Literal["warning", "broken"] = "broken" if needed else "warning"
    fix = f"choose another folder, or give yourself the right to write to {there}"
    try:
        # the folder above stands for one that is still to be made
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"mibias")
        free = shutil.disk_usage(there).free / 2**30
    except OSError as error:
        return Check(name=f"folder {name}", state=state, found=f"{folder}: {error.strerror}", fix=fix)
    return Check(name=f"folder {name}", state="ok", found=f"{folder}: can be written, {free:,.0f} GiB free")


def _check_caches() -> Iterator[Check]:
    """The folders that keep downloads and outputs of frozen stages: runs can do without them."""
    from huggingface_hub.constants import HF_HUB_CACHE

    from mibias_cli.backbone.weights.cache import user_cache

    yield check_folder("cache", user_cache(), needed=False)
    yield check_folder("hub cache", Path(HF_HUB_CACHE), needed=False)


def check_hub(ask: Callable[[], None] | None = None) -> Check:
    """Whether the hub can be reached, asked for two seconds (by `ask`, in tests)."""
    from mibias_cli.backbone.weights.network import HUB_URL, require_network

    try:
        (ask or (lambda: require_network(HUB_URL, what="hub", seconds=_HUB_SECONDS)))()
    except BackboneError as error:
        fix = "pretrained weights from a folder: backbone.weights: local-dir:FOLDER; behind a proxy set HTTPS_PROXY"
        return Check(name="hub", state="warning", found=str(error).removeprefix("hub: "), fix=fix)
    return Check(name="hub", state="ok", found=f"{HUB_URL} answers")
