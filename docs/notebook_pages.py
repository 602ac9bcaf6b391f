"""Puts the notebooks among the sources of the documentation, with their outputs where `make notebooks` has run."""

import shutil
from pathlib import Path

import nbformat


def write_notebook_pages(notebooks: Path, executed: Path, output: Path) -> list[str]:
    """Copy each notebook to ``output``, and return the names of those without outputs.

    Args:
        notebooks: folder of the notebooks as they are in Git, without outputs.
        executed: folder of executed copies; one whose code differs from the notebook's is not used.
        output: folder of the pages. A page that would stay the same is not touched.
    """
    sources = sorted(notebooks.glob("*.ipynb"))
    for old in output.glob("*.ipynb"):
        if old.name not in {source.name for source in sources}:
            old.unlink()
    bare = []
    for source in sources:
        copy = executed / source.name
        if not copy.is_file() or _cells(copy) != _cells(source):
            bare.append(source.stem)
            copy = source
        page = output / source.name
        if not page.is_file() or page.read_bytes() != copy.read_bytes():
            shutil.copyfile(copy, page)
    return bare


def _cells(notebook: Path) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in nbformat.read(notebook, as_version=4).cells]
