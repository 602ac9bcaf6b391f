"""The comments of the configuration files, key by key, for ``--help``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from dsn_lightning.config.compose import config_folders, names_in_group

_GLOBAL = "# @package _global_"


def comments_of(command: str, choices: Mapping[str, str | Sequence[str]]) -> dict[str, str]:
    """Return the comments on keys by their dotted names, those of a whole file under the name of its group.

    A key without a comment in the chosen configuration gets that of another one of its group, if one has some.

    Args:
        command: name of the file that is composed, such as ``train``; its comment is that of the empty name.
        choices: the configuration, or all configurations, that were chosen in each group, by the group's name or, where
            its keys are elsewhere, ``GROUP@PLACE``.
    """
    found: dict[str, str] = {}
    for choice in choices:
        group, place = _group_and_place(choice)
        for name in names_in_group(group):
            found |= {f"{place}.{key}": text for key, text in _in_file(f"{group}/{name}") if key}
    found |= dict(_in_file(command))
    for choice in sorted(choices, key=lambda choice: "@" not in choice):
        group, place = _group_and_place(choice)
        chosen = choices[choice]
        for name in [chosen] if isinstance(chosen, str) else chosen:
            found |= {f"{place}.{key}".strip("."): text for key, text in _in_file(f"{group}/{name}")}
    return found


def _group_and_place(choice: str) -> tuple[str, str]:
    group, _, place = choice.partition("@")
    return group, place.removeprefix("_global_.") or group.replace("/", ".")


def _in_file(name: str) -> Iterator[tuple[str, str]]:
    """Yield key and comment; nothing of files that set keys of other groups, or that are not in a known folder."""
    files = [file for folder in config_folders() if (file := Path(folder, f"{name}.yaml")).is_file()]
    if not files:
        return
    text = files[-1].read_text(encoding="utf-8")
    if text.startswith(_GLOBAL):
        return
    lines = text.splitlines()
    above = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    yield "", " ".join(line.lstrip("# ") for line in lines[:above])
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        for base in _bases(root):
            yield from ((key, comment) for key, comment in _in_file(f"{Path(name).parent}/{base}") if key)
        yield from _in_node(root, "", lines, after=above)


def _bases(root: yaml.MappingNode) -> list[str]:
    """Return the configurations of the same group that a file begins with."""
    entries = [entry for key, value in root.value if key.value == "defaults" for entry in value.value]
    return [entry.value for entry in entries if isinstance(entry, yaml.ScalarNode) and entry.value != "_self_"]


def _in_node(node: yaml.MappingNode, place: str, lines: list[str], *, after: int) -> Iterator[tuple[str, str]]:
    for key, value in node.value:
        name, line = f"{place}{key.value}", key.start_mark.line
        is_block = isinstance(value, yaml.MappingNode) and not value.flow_style
        end = key.end_mark if is_block or value.end_mark.line > line else value.end_mark
        comment = [*_above(lines, line, key.start_mark.column, after), *_behind(lines, line, end.column)]
        if comment:
            yield name, " ".join(comment)
        if isinstance(value, yaml.MappingNode):
            yield from _in_node(value, f"{name}.", lines, after=after)


def _above(lines: list[str], line: int, column: int, after: int) -> list[str]:
    """Return the comments in the lines directly above a key, as far indented as the key."""
    first = line
    while first > after and lines[first - 1][column : column + 1] == "#" and not lines[first - 1][:column].strip():
        first -= 1
    return [text[column:].lstrip("# ") for text in lines[first:line]]


def _behind(lines: list[str], line: int, column: int) -> list[str]:
    """Return the comment behind a value, with the lines that go on with it in the same column."""
    rest = lines[line][column:].lstrip(": ")
    if not rest.startswith("#"):
        return []
    place, found = len(lines[line]) - len(rest), [rest]
    for text in lines[line + 1 :]:
        if text[:place].strip() or text[place : place + 1] != "#":
            break
        found.append(text[place:])
    return [text.lstrip("# ") for text in found]
