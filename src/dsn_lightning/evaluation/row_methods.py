"""What rows of results say about their selection methods: kind, name in texts, order.

A row does not hold its method's kind, so the kind follows from the row's costs. Nothing here knows a method by name.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dsn_lightning.selections import BASELINE_CLASSIFIER, Kind


def kind_of(row: Mapping[str, Any]) -> Kind:
    """Return a row's kind: an upper bound knows the label and has no cost; a learned method pays for a sampler.

    >>> kind_of({"gmacs": None}), kind_of({"gmacs": 3.0, "gmacs_observation": 1.0}), kind_of({"gmacs": 3.0})
    ('upper_bound', 'learned', 'reference')
    """
    if row.get("gmacs") is None:
        return "upper_bound"
    return "learned" if row.get("gmacs_observation") else "reference"


def kinds_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Kind]:
    """Return the kind of each selection method, in the order of their first rows."""
    kinds: dict[str, Kind] = {}
    for row in rows:
        kinds.setdefault(row["selection"], kind_of(row))
    return kinds


def own_classifier(selection: str, classifiers: Collection[str]) -> str:
    """Return whose classifier a method answers with by default, of all ``classifiers`` in the results.

    It is the one that was trained with the method's sampler and has its name, if there is one; else the baseline's.

    >>> own_classifier("dsn", {"dsn", "baseline"}), own_classifier("uniform", {"dsn", "baseline"})
    ('dsn', 'baseline')
    """
    return selection if selection in classifiers else BASELINE_CLASSIFIER


def method_name(selection: str, classifier: str, classifiers: Collection[str]) -> str:
    """Return a method's name in figures and texts: the classifier follows where it is not the method's own.

    >>> method_name("uniform", "baseline", {"dsn", "baseline"}), method_name("dsn", "baseline", {"dsn", "baseline"})
    ('uniform', "dsn (baseline's classifier)")
    """
    is_own = classifier == own_classifier(selection, classifiers)
    return selection if is_own else f"{selection} ({classifier}'s classifier)"


def merged_order(orders: Iterable[Sequence[str]]) -> list[str]:
    """Merge several orders of names: the longest one leads; what it lacks follows its predecessor in the others.

    >>> merged_order([["b", "x", "c"], ["a", "b", "c", "d"]])
    ['a', 'b', 'x', 'c', 'd']
    """
    merged: list[str] = []
    for order in sorted(orders, key=len, reverse=True):
        place = 0
        for name in order:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged
