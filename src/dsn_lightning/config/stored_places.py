"""Where a stored configuration may make files: below the working folder, where its data are, and through no link."""

import os
from collections.abc import Collection
from pathlib import Path

from dsn_lightning.config.build_part import build_source
from dsn_lightning.config.settings import Settings
from dsn_lightning.datasets.annotations import LIST_ARGUMENTS
from dsn_lightning.datasets.records import VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.files import is_inside
from dsn_lightning.prepare.video_index import INDEX

_LINK_OF_WANDB = ("logs", "debug-core.log")
"""A link to W&B's cache that it makes in the folder of each start, and never opens again."""


def refuse_places(
    settings: Settings,
    *,
    where: str,
    remedy: str,
    source: VideoSource | None = None,
    given: Collection[str] = (),
    own: Path | None = None,
) -> None:
    """Refuse stored settings that would make files in places which neither the command line nor this folder leads to.

    The index of a data set goes to ``dataset.reading.prepared``, and an embedded data set writes its videos.

    Args:
        settings: those stored, perhaps changed by the command line.
        where: names the file, for messages.
        remedy: what to do, for messages; ``{key}`` stands for the key.
        source: the data set; None builds it where the check needs it.
        given: the keys that the command line gives.
        own: the folder that the command line names, in which files may be made.

    Raises:
        UsageError: such a folder is named by the file alone, and does not hold the index or the data set already.
    """

    def is_foreign(key: str, value: str | None) -> bool:
        return value is not None and key not in given and not lies_here(value, own)

    prepared, root = settings.dataset.reading.prepared, settings.plain["dataset"].get("root")
    key = "dataset.reading.prepared"
    if is_foreign(key, prepared) and not Path(os.path.expanduser(str(prepared)), INDEX).is_file():
        raise UsageError(f"{where}: {key}={prepared} holds no index; {remedy.format(key=key)}")
    key = "dataset.root"
    if is_foreign(key, None if root is None else str(root)):
        is_there = Path(os.path.expanduser(str(root))).is_dir()
        if not (is_there and (source or build_source(settings.dataset)).root.is_dir()):
            raise UsageError(f"{where}: {key}={root} does not hold the data set; {remedy.format(key=key)}")


def refuse_lists(settings: Settings, *, where: str, given: Collection[str]) -> None:
    """Refuse stored settings whose data set reads lists that neither its root nor the command line leads to.

    Messages show parts of lists, so a stored configuration must not choose any file.

    Args:
        settings: those stored, perhaps changed by the command line.
        where: names the file, for messages.
        given: the keys that the command line gives.

    Raises:
        UsageError: a list lies outside of ``dataset.root``.
    """
    dataset = settings.plain["dataset"]
    root = dataset.get("root")
    for name in LIST_ARGUMENTS:
        key, path = f"dataset.{name}", dataset.get(name)
        if not isinstance(path, str) or key in given:
            continue
        if root is None or not Path(_real(path)).is_relative_to(_real(str(root))):
            leads = f", a link to {_real(path)}," if os.path.islink(os.path.expanduser(path)) else ""
            raise UsageError(
                f"{where}: {key}={path}{leads} is outside of dataset.root={root}; give +{key}=PATH to use it"
            )


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def lies_here(path: str, own: Path | None = None) -> bool:
    """Return whether a stored path stays below the working folder or below ``own``; ``~`` and links lead out of them.

    >>> [lies_here(path) for path in ("data/x", "~/x", "../x", "/x")], lies_here("/run/x", Path("/run"))
    ([True, False, False, False], True)
    """
    expanded = os.path.expanduser(path)
    real = Path(os.path.realpath(expanded))
    if is_inside(expanded):
        return real.is_relative_to(os.path.realpath("."))
    return own is not None and os.path.isabs(expanded) and real.is_relative_to(os.path.realpath(own))


def refuse_links(folder: Path, *, where: str) -> None:
    """Refuse a folder in which a file is a link, or that has a link out of it at any depth: a run would write there.

    Links of subfolders to places in the folder are accepted, and `_LINK_OF_WANDB`.

    Raises:
        UsageError: names the link; ``where`` names the folder as it was given.
    """
    inside = folder.resolve()
    for place, folders, files in os.walk(folder):
        for link in (path for name in sorted(folders + files) if (path := Path(place, name)).is_symlink()):
            if link.parts[-2:] == _LINK_OF_WANDB:
                continue
            is_file_of_the_run = Path(place) == folder and not link.is_dir()
            if is_file_of_the_run or not Path(os.path.realpath(link)).is_relative_to(inside):
                raise UsageError(f"{where}: {link} is a link; a run goes on with files of its own")
