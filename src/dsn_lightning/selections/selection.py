"""The contract of a selection method: how the clips of a video are chosen at test time.

A selection method is one Python class and one file in ``conf/selection``. It declares what it is (`Selection.kind`) and
which networks it needs (`Selection.sampler`, `Selection.classifiers`); tables, statistics and figures follow from that.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast, get_args

from dsn_lightning.errors import UsageError
from dsn_lightning.selections.scheme import Scheme, VideoScores
from dsn_lightning.video.sections import IntArray

Kind = Literal["reference", "learned", "upper_bound"]
"""What a method is compared as; see `Selection`."""

BASELINE_CLASSIFIER = "baseline"
"""The classifier that is trained without a sampler; most methods are evaluated with it."""

DSN_CLASSIFIER = "dsn"
"""The classifier that is trained together with DSN's sampler."""


class Selection(Protocol):
    """A way to choose a video's clips.

    Attributes:
        name: identifies the method in results.
        kind: ``learned`` methods choose by a trained network and come first in tables. ``reference`` methods choose
            without one; learned methods are compared with them. ``upper_bound`` methods know the label, so their cost
            is meaningless and no difference to them is reported.
        sampler: name of the network that it needs besides the classifier: a sampler whose policy it follows, or a
            classifier whose scores it ranks by. None if it needs no other network.
        classifiers: names of the classifiers that are evaluated on the chosen clips, one row of results each; the
            method's main classifier comes first.
    """

    name: str
    kind: Kind
    sampler: str | None
    classifiers: tuple[str, ...]

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the first frames of all clips whose class scores `select`, or the result, may need, (K,)."""

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the first frames of the kept clips, (D, K): D draws of K clips; D = 1 unless the method is random."""


_ATTRIBUTES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a non-empty string", lambda value: isinstance(value, str) and value != ""),
    "kind": (f"one of {', '.join(get_args(Kind))}", lambda value: value in get_args(Kind)),
    "sampler": ("the name of a network or None", lambda value: value is None or isinstance(value, str)),
    "classifiers": (
        "a non-empty tuple of names",
        lambda value: isinstance(value, tuple) and value != () and all(isinstance(name, str) for name in value),
    ),
}
_METHODS = {"candidates": ("video_id", "num_frames", "scheme"), "select": ("scores", "scheme", "classifier")}
_MISSING = object()


def check_selection(selection: object) -> Selection:
    """Return the object if it fulfils the contract of `Selection`.

    Raises:
        UsageError: lists every attribute and method that is missing or of the wrong type.
    """
    problems = []
    for name, (expected, is_valid) in _ATTRIBUTES.items():
        value = getattr(selection, name, _MISSING)
        if value is _MISSING or not is_valid(value):
            problems.append(f"{name}: expected {expected}, {'missing' if value is _MISSING else f'got {value!r}'}")
    for name, parameters in _METHODS.items():
        method = getattr(selection, name, None)
        if not callable(method):
            problems.append(f"{name}({', '.join(parameters)}): missing")
            continue
        try:
            inspect.signature(method).bind(*parameters)
        except TypeError:
            problems.append(f"{name}: expected parameters ({', '.join(parameters)}), got {inspect.signature(method)}")
    if problems:
        raise UsageError(f"{type(selection).__name__} is not a selection method: {'; '.join(problems)}")
    return cast(Selection, selection)
