"""Reads the ``environment.json`` of a run or an evaluation, which may come from anybody."""

from typing import Any

from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import note_problem, read_json

_COUNTS = ("videos", "videos_of", "classes", "classes_of")
_TEXTS = ("classifier_from", "observation_from", "own_folder")
_START = "classifier_from"  # of every network


def read_environment(run: RunFolder) -> dict[str, Any]:
    """Return the content of ``environment.json``; empty if it is missing, or if it is not what runs write.

    What the results stand on has its types then: `tested_on`, `trained_on` and each network are null, or have the
    counts, and a network says what it started from.
    """
    content = read_json(run.environment_json)
    if content is None:
        return {}
    if problem := _problem(content):
        note_problem(run.environment_json, problem)
        return {}
    return dict(content)


def _problem(content: Any) -> str:
    networks = content.get("networks") if isinstance(content, dict) else []
    if not isinstance(networks, dict | None):
        return "expected an object, with the networks by name"
    facts = {name: content.get(name) for name in ("tested_on", "trained_on")}
    facts |= {f"networks.{name}": network for name, network in (networks or {}).items()}
    for name, value in facts.items():
        needed = {*_COUNTS, _START} if name.startswith("networks.") else {*_COUNTS}
        if value and not (isinstance(value, dict) and needed <= {*value} and _has_types(value)):
            return f"{name}: expected an object with {', '.join(sorted(needed))}"
    return "" if isinstance(content.get("gpus"), list | None) else "gpus: expected a list"


def _has_types(facts: dict[str, Any]) -> bool:
    counts, texts = (facts.get(name) for name in _COUNTS), (facts.get(name) for name in _TEXTS)
    return (
        all(count is None or (type(count) is int and count >= 0) for count in counts)
        and all(isinstance(text, str | None) for text in texts)
        and not any(isinstance(value, dict | list) for value in facts.values())
    )
