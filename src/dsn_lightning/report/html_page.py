"""A page of HTML that loads nothing else, from its template, style and script in ``page_files/``."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render_html(template: str, *, styles: Sequence[str], script: str, **content: Any) -> str:
    """Return a page; all that ``content`` names is escaped, and the content security policy allows the one script only.

    Args:
        template: name of the template, which receives ``style``, ``script``, the script's ``digest`` and ``content``.
        styles: names of the style sheets, in order.
        script: name of the script.
        content: what the page shows.
    """
    code = _file(script)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    environment = Environment(
        loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup("".join(map(_file, styles)))
    return environment.get_template(template).render(
        style=style, script=Markup(code), digest=digest, **content
    )  # style and script hold nothing that a user wrote


def _file(name: str) -> str:
    return (files(__package__) / "page_files" / name).read_text(encoding="utf-8")
