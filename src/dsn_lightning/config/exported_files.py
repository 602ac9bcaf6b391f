"""What is known of a classifier in a file: its digest, and what ``export.json`` of dsn-export says beside it."""

import hashlib
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import UnreadableFileError, parse_json, read_bounded, user_path

SUFFIXES = (".onnx", ".pt", ".pt2", ".ts")
"""How the names of classifiers in files end."""

_RECORD = "export.json"
_KEY = "backbone.model"
_ASPECT = 4 / 3  # width / height of most videos
_FIELDS = {"frames": "T", "stride": "stride", "frame_size": "frame_size", "resize": "resize", "crop_size": "crop_size"}
_FIELDS |= {name: name for name in ("mean", "std", "fps", "classes")}
_OTHERWISE = {"stride": 1, "resize": "short_side", "fps": None, "classes": None, "pixels": False}
_KEYS = {"frames": "frames_per_clip", "crop_size": "crop_size", "mean": "mean", "std": "std"}  # of backbone


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def exported_preset(model: str | None, what: str, crop_size: int | None = None) -> Any:
    """Return what is known of an exported classifier.

    Args:
        model: its file.
        what: ``name``, ``file``, ``digest``, ``pixels`` (whether it takes uint8 pixels), ``classes``, or, of its clips,
            ``frames``, ``stride``, ``fps``, ``frame_size``, ``resize``, ``crop_size``, ``mean``, ``std``.
        crop_size: of its clips; frames are as high unless the record says another size.

    Raises:
        UsageError: there is no such file, or nothing says what is asked for.
    """
    if model is None or not (file := user_path(model)).is_file():
        problem = "no such file; " if model is not None else ""
        raise UsageError(
            f"{_KEY}={model or 'null'}: {problem}give {_KEY}=FILE, a classifier as .pt, .ts, .pt2 or .onnx"
        )
    if what == "name":
        return printable(file.stem)
    if what == "file":
        return str(file.absolute())
    if what == "digest":
        return file_digest(file)
    record = _record_of(file)
    if what == "pixels" and record:
        return record["networks"]["classifier"]["input"]["type"] == "uint8"
    if what in _FIELDS and _FIELDS[what] in record:
        return record[_FIELDS[what]]
    if what == "frame_size" and crop_size is not None:
        return [crop_size, round(_ASPECT * crop_size)]
    if what in _OTHERWISE:
        return _OTHERWISE[what]
    key = _KEYS.get(what, what)
    raise UsageError(
        f"{_KEY}={model}: the file does not say its {key}, and there is no {_RECORD}; give backbone.{key}="
    )


def _record_of(file: Path) -> dict[str, Any]:
    """Return the content of dsn-export's record beside a file; empty where there is none of this file."""
    record = file.parent / _RECORD
    if not record.is_file():
        return {}
    try:
        content = parse_json(read_bounded(record))
        classifier = content["networks"]["classifier"]
        if classifier["file"] != file.name:
            return {}
        if not isinstance(classifier["input"]["type"], str):
            raise TypeError("the type of the input is not a text")
        return dict(content)
    except (UnreadableFileError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{record}: cannot be read ({type(error).__name__}: {error})") from error
