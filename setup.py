"""Puts the top-level `recipes/` into the wheel as `mibias_cli/recipes/`; everything else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """build_py, and the recipes. (An editable install reads them from the checkout.)"""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "mibias_cli" / "recipes"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in sorted(Path("recipes").glob("*.yaml")) + sorted(Path("recipes").glob("*.json")):
            shutil.copyfile(path, target / path.name)


setup(cmdclass={"build_py": BuildWithRecipes})
