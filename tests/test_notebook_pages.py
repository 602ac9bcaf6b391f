"""The notebooks as pages of the documentation."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

FILE = Path(__file__).resolve().parents[1] / "docs" / "notebook_pages.py"


@pytest.fixture
def pages() -> ModuleType:
    specification = importlib.util.spec_from_file_location("notebook_pages", FILE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def write(folder: Path, name: str, source: str, *, output: str = "") -> None:
    cell = new_code_cell(source, outputs=[new_output("stream", text=output)] if output else [])
    folder.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[cell]), folder / f"{name}.ipynb")


def test_an_executed_copy_is_shown_unless_its_code_is_another(pages, tmp_path):
    notebooks, executed, output = (tmp_path / name for name in ("notebooks", "executed", "pages"))
    for name in ("current", "stale", "never_run"):
        write(notebooks, name, "print(1)")
    write(executed, "current", "print(1)", output="1\n")
    write(executed, "stale", "print(0)", output="0\n")
    write(output, "removed", "print(2)")
    assert pages.write_notebook_pages(notebooks, executed, output) == ["never_run", "stale"]
    shown = {path.stem: nbformat.read(path, as_version=4).cells[0].outputs for path in sorted(output.glob("*.ipynb"))}
    assert {name: len(outputs) for name, outputs in shown.items()} == {"current": 1, "never_run": 0, "stale": 0}

    before = {path: path.stat().st_mtime_ns for path in output.glob("*.ipynb")}
    pages.write_notebook_pages(notebooks, executed, output)
    assert {path: path.stat().st_mtime_ns for path in output.glob("*.ipynb")} == before  # Sphinx reads nothing again
