"""What `pip install mibias` gives: the wheel, in an environment of its own, away from the source."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# what the image is built from has to suffice; the others are for the source distribution alone
IMAGE = re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
SOURCES = (*" ".join(IMAGE).split(), "CHANGELOG.md", "SECURITY.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without the network from a copy: nothing of the build stays in the source."""
    # the oldest that reads pyproject.toml's licence; isolated from this environment, pip would download one
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        place, copied = ROOT / name, folder / "source" / name
        if place.is_dir():
            shutil.copytree(place, copied, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(place, copied)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder / "dist")]
    run(sys.executable, "-m", "pip", "wheel", *options, str(folder / "source"), cwd=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_docker_is_sent_what_the_image_is_built_from() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert set(sent) == set(" ".join(IMAGE).split())


@pytest.mark.slow  # as below
def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    source = wheel.parents[1] / "source"
    build = "from setuptools import build_meta; import sys; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
    sdist = run(sys.executable, "-c", build, "build_sdist", str(tmp_path), cwd=source).split()[-1]
    shutil.unpack_archive(tmp_path / sdist, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    built = run(sys.executable, "-c", build, "build_wheel", str(tmp_path), cwd=unpacked).split()[-1]
    names = [sorted(zipfile.ZipFile(path).namelist()) for path in (wheel, tmp_path / built)]
    assert names[0] == names[1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a fresh environment in which the wheel was installed, and what mibias requires is found."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "env"), cwd=folder)
    python = folder / "env" / "bin" / "python"
    options = ["--no-deps", "--no-index", "--no-compile"]
    run(sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel), cwd=folder)
    # the packages of this environment stand behind those of the fresh one; links to the source that .pth files there
    # may hold are not followed
    purelib = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    (Path(purelib.strip()) / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def run(*command: str, cwd: Path) -> str:
    """What a command says on stdout; it knows nothing of where the tests run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shipped(folder: Path) -> set[str]:
    """Files below a folder of the source that are no leftovers of running it."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow  # builds a wheel and an environment, and starts Python in it six times
def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    recipes = {f"mibias_cli/{name}" for name in shipped(ROOT / "recipes")}
    assert names == shipped(ROOT / "mibias_cli") | recipes


@pytest.mark.slow  # as above
def test_commands_work_outside_of_the_source(installed: Path, tmp_path: Path) -> None:
    where = run(str(installed / "python"), "-c", "import mibias_cli; print(mibias_cli.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(installed.parent)
    mibias = str(installed / "mibias")
    assert "Usage: mibias" in run(mibias, "--help", cwd=tmp_path)
    assert run(mibias, "schema", cwd=tmp_path) == (ROOT / "recipes" / "recipe.schema.json").read_text()
    # files that stand beside the code: a shipped recipe, copied and read
    run(mibias, "recipes", "copy", "quickstart", "recipe.yaml", cwd=tmp_path)
    run(mibias, "validate", "recipe.yaml", cwd=tmp_path)


@pytest.mark.slow  # as above
def test_doctor_reads_what_the_wheel_requires(installed: Path, tmp_path: Path) -> None:
    found = json.loads(run(str(installed / "mibias"), "doctor", "--offline", "--format", "json", cwd=tmp_path))
    names = {check["name"] for check in found["checks"]}
    assert found["ok"]
    assert {"torch", "timm", "extra onnx"} <= names
    assert not {"extra test", "extra check"} & names
