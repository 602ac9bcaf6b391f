"""Sphinx: the pages of this folder, the notebooks, and one API page for each folder of the package."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from api_pages import write_api_pages  # noqa: E402 - beside this file
from notebook_pages import write_notebook_pages  # noqa: E402

project = "dsn_lightning"
copyright = "the dsn_lightning authors, Apache-2.0"
release = installed_version("dsn-lightning")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "dsn_lightning"
html_static_path = ["_static"]
html_css_files = ["layout.css"]
html_copy_source = False

nb_execution_mode = "off"  # `make notebooks` executes them
myst_heading_anchors = 3  # the same anchors as on GitHub
highlight_language = "text"  # blocks without a language are commands and their output
add_module_names = False
default_role = "py:obj"  # `name` in a docstring links to the class or function where it exists
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list; their types are in the signature
napoleon_attr_annotations = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
suppress_warnings = ["ref.python"]  # a short name such as `select` may mean several classes


def _is_alias_of_a_field(app: Sphinx, what: str, name: str, item: object, skip: bool, options: object) -> bool | None:
    """Skip the fields of a named tuple, which its class docstring describes."""
    return True if str(getattr(item, "__doc__", "")).startswith("Alias for field number") else None


def _write_pages(app: Sphinx) -> None:
    """Write the pages that are made of other files."""
    write_api_pages(HERE.parent / "src" / "dsn_lightning", HERE / "api")
    bare = write_notebook_pages(HERE.parent / "notebooks", HERE.parent / "outputs" / "notebooks", HERE / "notebooks")
    if bare:
        logging.getLogger(__name__).info("without outputs, which `make notebooks` writes: %s", ", ".join(bare))


def setup(app: Sphinx) -> None:
    """Write these pages before Sphinx looks for its sources."""
    app.connect("autodoc-skip-member", _is_alias_of_a_field)
    app.connect("builder-inited", _write_pages)
