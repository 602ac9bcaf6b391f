"""The answer to ``--help``: the groups with their configurations, and all keys with their values and what they mean."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dsn_lightning.config.compose import compose_with_choices, config_folders, names_in_group
from dsn_lightning.config.key_comments import comments_of

_HELP_FLAGS = ("--help", "-h")
_WIDTH = 120
_NOT_SHOWN = ("_partial_",)
_TEXT = """\
{purpose}

usage: {command} [KEY=VALUE ...] [GROUP=NAME ...] [--config-dir DIR]
{sweep}
== Groups (GROUP=NAME) ==

{groups}

== Keys (KEY=VALUE), with the values that this command line gives them ==

{keys}

Completion of keys and names in bash: eval "$({command} -sc install=bash)"; --hydra-help lists Hydra's flags.
"""
_SWEEP = "       {command} -m KEY=A,B,... runs a sweep\n"
_SWEEPING = ("dsn-train",)
_EXAMPLES = {"dsn-prepare": "dataset=folder"}
"""What is shown of a group that must be chosen."""


def help_text(command: str, arguments: Sequence[str]) -> str | None:
    """Return what ``command --help`` prints with the overrides that are given.

    None if it is not asked for, or if Hydra must answer: other flags, settings of Hydra's own, a wrong override.
    """
    overrides = [argument for argument in arguments if argument not in _HELP_FLAGS]
    if len(overrides) == len(arguments) or any(o.startswith("-") or "hydra" in o for o in overrides):
        return None
    name, example = command.removeprefix("dsn-"), _EXAMPLES.get(command)
    if example and not any(o.partition("=")[0] == example.partition("=")[0] for o in overrides):
        overrides.append(example)
    try:
        config, choices = compose_with_choices(name, *overrides)
    except (HydraException, OmegaConfBaseException):
        return None
    comments = comments_of(name, choices)
    inside = {group.partition("/")[0] for group in _groups()}
    config = dict(sorted(config.items(), key=lambda item: item[0] in inside))  # the command's own keys first
    chosen = {group.replace("/", "."): name for group, name in choices.items() if isinstance(name, str)}
    groups = (_wrapped(f"{group}: {', '.join(names_in_group(group))}", len(group) + 2) for group in sorted(_groups()))
    return _TEXT.format(
        command=command,
        purpose=_wrapped(comments.get("", command), 0),
        sweep=_SWEEP.format(command=command) if command in _SWEEPING else "",
        groups="\n".join(groups),
        keys="\n".join(_lines(config, comments, chosen)),
    )


def _wrapped(text: str, indent: int) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _lines(
    node: Mapping[str, Any], comments: Mapping[str, str], choices: Mapping[str, Any], place: str = ""
) -> Iterator[str]:
    """Yield the lines of a mapping as YAML; a comment stands behind its value, or above it if it is long."""
    indent = "  " * place.count(".")
    for key, value in node.items():
        name = f"{place}{key}"
        chosen = choices.get(name)
        comment = " ".join(filter(None, [chosen and f"{name.replace('.', '/')}={chosen}.", comments.get(name)]))
        if key in _NOT_SHOWN:
            continue
        is_block = isinstance(value, Mapping) and value
        shown = f"{indent}{key}:" if is_block else f"{indent}{key}: {_flow(value)}"
        if not comment:
            yield shown
        elif len(shown) + len(comment) + 4 <= _WIDTH:
            yield f"{shown}  # {comment}"
        else:
            yield textwrap.fill(
                comment, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
            )
            yield shown
        if is_block:
            yield from _lines(value, comments, choices, f"{name}.")


def _flow(value: Any) -> str:
    """Return a value in YAML's short form.

    >>> _flow([1, None]), _flow("a: b"), _flow(None), _flow(True)
    ('[1, null]', "'a: b'", 'null', 'true')
    """
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


def _groups() -> set[str]:
    """Return the groups of configurations, Hydra's own left out."""
    folders = [Path(folder) for folder in config_folders()]
    groups = {file.parent.relative_to(folder) for folder in folders for file in folder.rglob("*.yaml")}
    return {group.as_posix() for group in groups if group.parts and group.parts[0] != "hydra"}
