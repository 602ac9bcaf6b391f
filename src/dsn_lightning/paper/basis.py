"""What a result of ours stands on, and whether it can be compared with a figure of the paper.

The facts are those of ``environment.json`` beside a ``results.json``: ``tested_on``, and ``networks`` by name.
"""

from collections.abc import Mapping
from typing import Any

from dsn_lightning.paper import lines_of

Json = Mapping[str, Any]


def counts_text(result: Json, environment: Json) -> str:
    """Return how many videos and classes a row of ``results.json`` was trained and tested on.

    Args:
        result: the row; its ``classifier`` and ``selection`` name the networks.
        environment: content of ``environment.json``.

    >>> facts = {"videos": 84, "videos_of": 3570, "classes": 12, "classes_of": 51, "classifier_from": "kinetics400"}
    >>> tested = {"videos": 36, "videos_of": 1530, "classes": 12, "classes_of": 51}
    >>> row = {"selection": "uniform", "classifier": "baseline"}
    >>> counts_text(row, {"networks": {"baseline": facts}, "tested_on": tested})
    'trained on 84 of 3570 videos, 12 of 51 classes; tested on 36 of 1530 videos, 12 of 51 classes'
    """
    network, tested = _network(result, environment), environment.get("tested_on")
    if not network or not tested:
        return "not recorded"
    return f"trained on {_counts(network)}; tested on {_counts(tested)}"


def start_text(result: Json, environment: Json) -> str:
    """Return what the networks behind a row started from; empty where it is not recorded.

    >>> networks = {"dsn": {"classifier_from": "kinetics400", "observation_from": "imagenet"}}
    >>> start_text({"selection": "dsn", "classifier": "dsn"}, {"networks": networks})
    'kinetics400; sampler: imagenet'
    """
    network = _network(result, environment)
    if not network:
        return ""
    text = str(network["classifier_from"])
    sampler = (environment.get("networks") or {}).get(result.get("selection"))
    if sampler:
        text += f"; sampler: {sampler.get('observation_from') or sampler['classifier_from']}"
    return text


def why_not_comparable(result: Json, environment: Json) -> str:
    """Return why no difference to the paper may be shown for a row; empty where it may.

    There is nothing to compare with on other data sets than the paper's.
    """
    expected = _num_classes(str(result.get("dataset")))
    if expected is None:
        return ""
    network, tested = _network(result, environment), environment.get("tested_on")
    if not network or not tested:
        return "what it was trained on is not recorded"
    for facts, what in ((network, "trained"), (tested, "tested")):
        if facts["classes"] != expected:
            return f"{what} on {facts['classes']} classes, the paper on {expected}"
    return ""


def _network(result: Json, environment: Json) -> Json | None:
    found: Json | None = (environment.get("networks") or {}).get(result.get("classifier"))
    return found


def _counts(facts: Json) -> str:
    return f"{facts['videos']} of {facts['videos_of']} videos, {facts['classes']} of {facts['classes_of']} classes"


def _num_classes(dataset: str) -> int | None:
    return next((int(line["classes"]) for line in lines_of("classes.csv") if line["dataset"] == dataset), None)
