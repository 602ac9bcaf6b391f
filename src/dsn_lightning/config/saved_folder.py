"""A trained run as a folder for others: weights as safetensors, plain values as JSON, and a model card.

The layout is that of Hugging Face's hub.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from dsn_lightning.backbones.weights import read_weights
from dsn_lightning.config.exported_files import file_digest
from dsn_lightning.errors import UsageError
from dsn_lightning.files import UnreadableFileError, parse_json, read_bounded, replaced, write_atomically, write_json

WEIGHTS = "model.safetensors"
RECORD = "config.json"
CARD = "README.md"
WEIGHTS_DIGEST = "weights_sha256"
"""Key of the record: SHA-256 of the file of weights."""


def write_folder(folder: Path, record: Mapping[str, Any], state: Mapping[str, Tensor], *, card: str) -> None:
    """Write the record of a run, its weights and its model card.

    Raises:
        UsageError: there is something else in the folder.
    """
    others = {path.name for path in folder.iterdir()} - {WEIGHTS, RECORD, CARD} if folder.is_dir() else set()
    if others or folder.is_file():
        raise UsageError(f"{folder}: holds something else ({', '.join(sorted(others)) or 'a file'}); use a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with replaced(folder / WEIGHTS) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})
    digest = file_digest(folder / WEIGHTS)
    write_json(folder / RECORD, {"library_name": "dsn_lightning", **record, WEIGHTS_DIGEST: digest})
    write_atomically(folder / CARD, card)


def is_saved_folder(folder: Path) -> bool:
    """Whether `write_folder` wrote this folder."""
    return (folder / WEIGHTS).is_file() and (folder / RECORD).is_file()


def read_folder(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the record and the weights; nothing that they say is executed.

    Raises:
        UnreadableFileError, WeightsError: a file is damaged.
    """
    content = read_bounded(folder / RECORD)
    try:
        record = parse_json(content)
    except ValueError as error:
        raise UnreadableFileError(folder / RECORD, f"is no JSON ({error})") from error
    state = read_weights(folder / WEIGHTS)
    known = record.get(WEIGHTS_DIGEST) if isinstance(record, dict) else None
    if known != file_digest(folder / WEIGHTS):  # safetensors files have no checksums
        raise UnreadableFileError(
            folder / WEIGHTS, f"is damaged: its digest is not that in {RECORD} ({WEIGHTS_DIGEST}); save the model again"
        )
    return record, state
