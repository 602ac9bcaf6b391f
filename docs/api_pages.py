"""Writes one API page for each folder of the package, from the files that exist when the documentation is built."""

import ast
from collections.abc import Sequence
from pathlib import Path


def write_api_pages(package: Path, output: Path) -> None:
    """Write ``output/<folder>.rst`` for each folder of ``package``, and ``output/top_level.rst`` for its own modules.

    Pages of folders that no longer exist are removed. A page that would stay the same is not touched, so that Sphinx
    does not read it again.
    """
    pages = {f"{folder.name}.rst": _page_of_folder(folder) for folder in _packages(package)}
    pages["top_level.rst"] = _page(
        "Top level", ["The modules that several folders use.", *map(_section, _modules(package))]
    )
    for old in output.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        file = output / name
        if not file.is_file() or file.read_text() != text:
            file.write_text(text)


def _page_of_folder(folder: Path) -> str:
    name = f"{folder.parent.name}.{folder.name}"
    parts = [f"``{name}``", f".. automodule:: {name}\n   :no-members:"]
    if names := _reexported(folder / "__init__.py"):
        links = ", ".join(f":py:obj:`~{module}.{item}`" for module, item in names)
        parts.append(f"Import from ``{name}``: {links}.")
    return _page(folder.name, [*parts, *map(_section, _modules(folder))])


def _page(title: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *parts]) + "\n"


def _section(module: Path) -> str:
    root = next(parent for parent in module.parents if parent.name == "src")
    name = ".".join(module.relative_to(root).with_suffix("").parts)
    title = module.stem.replace("_", r"\_")
    return f"{title}\n{'-' * len(title)}\n\n.. automodule:: {name}\n   :members:\n   :show-inheritance:"


def _packages(package: Path) -> list[Path]:
    return sorted(file.parent for file in package.glob("*/__init__.py"))


def _modules(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.py") if not file.stem.startswith("_"))


def _reexported(init: Path) -> list[tuple[str, str]]:
    """Return the module and the name of each class and function that a folder's ``__init__`` offers."""
    imports = [node for node in ast.parse(init.read_text()).body if isinstance(node, ast.ImportFrom)]
    return [(str(node.module), alias.name) for node in imports for alias in node.names]
