"""Finding a data set's classes among those of a classifier that one already has."""

import difflib
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from dsn_lightning.errors import UsageError


def class_rows(wanted: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """Return for each wanted class its number among the known ones; None if one of them is not among them.

    Names match as they are or, where they do not, without regard to case, spaces and underscores.

    >>> class_rows(["Playing_Guitar", "run"], ["run", "playing guitar"])
    [1, 0]
    """
    exact, alike = _numbers(known, str), _numbers(known, _canonical)
    rows = [exact.get(name, alike.get(_canonical(name))) for name in wanted]
    found = [row for row in rows if row is not None]
    return found if len(found) == len(set(found)) == len(wanted) else None


def refuse_other_classes(wanted: Sequence[str], known: Sequence[str], *, where: str) -> None:
    """Raise `UsageError` unless all wanted classes are among the known ones, each another one; names the nearest."""
    rows = [class_rows([name], known) for name in wanted]
    missing = [name for name, row in zip(wanted, rows, strict=True) if row is None]
    if missing:
        name = missing[0]
        nearest = _nearest(name, known)
        more = f" and {len(missing) - 1} more classes of the data set are" if len(missing) > 1 else " is"
        raise UsageError(
            f"{where}: {name!r}{more} not among its {len(known)} classes (nearest: {', '.join(nearest)}); name the "
            "class folders or labels as it does, or fine-tune it with algorithm=baseline"
        )
    if class_rows(wanted, known) is None:
        names = sorted(wanted, key=_canonical)
        same = next(pair for pair in pairwise(names) if _canonical(pair[0]) == _canonical(pair[1]))
        raise UsageError(f"{where}: {same[0]!r} and {same[1]!r} of the data set are the same class of it")


def _numbers(names: Sequence[str], key: Callable[[str], str]) -> dict[str, int]:
    """Return the number of each name, the first of several alike."""
    return {key(name): number for number, name in reversed(list(enumerate(names)))}


def _canonical(name: str) -> str:
    return re.sub(r"[\s_]+", "", name.casefold())


def _nearest(name: str, known: Sequence[str], count: int = 3) -> list[str]:
    """Return the known names that resemble a name most, by words that they share and by letters."""
    words = set(re.split(r"[\W_]+", name.casefold())) - {""}

    def likeness(other: str) -> tuple[int, float]:
        shared = words & set(re.split(r"[\W_]+", other.casefold()))
        return len(shared), difflib.SequenceMatcher(None, _canonical(name), _canonical(other)).ratio()

    return sorted(known, key=likeness, reverse=True)[:count]
