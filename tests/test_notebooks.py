"""The notebooks of the documentation run as they stand, in a kernel of their own and an empty folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "docs" / "notebooks"
NAMES = ("first_debiasing", "audit_own_images", "table")


def notebook(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    return found


def code_cells(name: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]


def test_the_page_of_the_notebooks_names_each_of_them() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES)
    page = (NOTEBOOKS.parent / "notebooks.md").read_text(encoding="utf-8")
    assert all(f"(notebooks/{name}.ipynb)" in page for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_was_run_from_top_to_bottom_and_is_small(name: str) -> None:
    counts = [cell["execution_count"] for cell in code_cells(name)]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in code_cells(name) for output in cell["outputs"]]
    assert outputs
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < 60_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's own transport
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_prints_as_much_as_is_stored(name: str, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    found = nbformat.reads(json.dumps(notebook(name)), as_version=4)
    nbclient.NotebookClient(
        found, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    def kinds(cells: list[dict[str, Any]]) -> list[list[str]]:
        return [[o["output_type"] for o in cell["outputs"] if o.get("name") != "stderr"] for cell in cells]

    # figures change in their last bits with the processor; an error would have ended it
    assert kinds([cell for cell in found.cells if cell.cell_type == "code"]) == kinds(code_cells(name))
    assert any(tmp_path.rglob("leakage.html"))
