"""The documents: every relative link leads to a file, and every anchor to a heading of it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "experiments/README.md")
DOCUMENTS = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/[\w-]+\.(?:py|yaml|ipynb)|(?:src|conf|docs|experiments)/[\w./-]+)`")


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub and MyST give to a document's headings."""
    fenced = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    slugs = set()
    for title in HEADING.findall(fenced):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = found.get(slug, 0)
        found[slug] = number + 1
        slugs.add(f"{slug}-{number}" if number else slug)
    return slugs


def broken_links(document: Path, *, root: Path = ROOT) -> list[str]:
    """Return a document's relative links that lead nowhere, or out of ``root``."""
    broken = []
    for link in LINK.findall(CODE.sub("", document.read_text())):
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue  # another site
        name, _, anchor = unquote(link).partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or not target.is_relative_to(root):
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target.read_text()):
            broken.append(f"{link}: no such heading")
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(document):
    assert broken_links(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(document):
    places = (ROOT, ROOT / "src" / "dsn_lightning", document.parent)
    names = [name for name in FILE.findall(document.read_text()) if "_build" not in name]  # made by `make docs`
    assert [name for name in names if not any((place / name).exists() for place in places)] == []


def test_broken_links_and_anchors_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# A `name`, and more\n\n```\n# not a heading\n```\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[1](other.md#a-name-and-more) [2](other.md#twice-1) [3](other.md#not-a-heading) [4](missing.md) `[5](code.md)`"
        " [6](https://example.org/x) [a [b]](../outside.md)\n"
    )
    assert broken_links(page, root=tmp_path) == [
        "other.md#not-a-heading: no such heading",
        "missing.md: no such file",
        "../outside.md: no such file",
    ]
