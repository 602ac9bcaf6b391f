"""Reading files that another process may be writing, or that a killed process left half-written."""

import json
from pathlib import Path
from typing import Any

import yaml

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is installed


def read_text(path: Path) -> str:
    """Return the text of a file; an empty one if the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing or incomplete."""
    try:
        return json.loads(read_text(path))
    except ValueError:
        return None


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; None if it is missing, incomplete or not YAML."""
    text = read_text(path)
    try:
        return yaml.load(text, YAML_LOADER) if text.endswith("\n") else None
    except (yaml.YAMLError, ValueError):
        return None
