"""Loads trained recognisers from checkpoints, and checks that they fit the settings that use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.weights import WeightsError, load_exactly, read_weights
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.network_costs import REFUSALS, clip_shape, refusal
from dsn_lightning.config.saved_folder import is_saved_folder, read_folder
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.stored_settings import check_stored_parts, stored_settings
from dsn_lightning.config.trust import NETWORK_PARTS, trusted_file
from dsn_lightning.cost.macs import count_macs
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import weights_hash
from dsn_lightning.files import UnreadableFileError, user_path
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_text
from dsn_lightning.training.seen_videos import is_hashes

RECORD_KEY = "dsn_lightning"
"""Key of a checkpoint under which the record of its run is stored; see `checkpoint_record`."""

FORMAT = 1
"""Version of the record; a checkpoint with another one is refused."""


@dataclass(frozen=True)
class Trained:
    """A trained recogniser, in eval mode, with the settings of its run."""

    recognizer: Recognizer
    settings: Settings
    classes: list[str]  # in the order of its outputs
    path: Path
    trained_on: Tensor | None = None
    """Videos that it or its initial weights were trained on (`seen_videos.hashes_of`); None if unknown."""
    basis: Mapping[str, Any] | None = None
    """How many videos and classes it was trained on, and what it started from, see docs/file_formats.md; None if
    unknown."""

    @property
    def origin(self) -> str:
        """What a network that starts from this classifier started from, in words."""
        before = (self.basis or {}).get("classifier_from", "unknown weights")
        return f"{before}, then {self.settings.dataset.name}"

    @property
    def wandb_id(self) -> str | None:
        """Id of its run in W&B; None if it has none, or if the checkpoint is no longer in the run's folder."""
        text = read_text(RunFolder(self.path.absolute().parent.parent).wandb_id)
        return text.strip() or None


def checkpoint_record(
    settings: Settings,
    *,
    classes: Sequence[str],
    trained_on: Tensor | None,
    basis: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> dict[str, Any]:
    """Return the record of a run that its checkpoints store, as plain values."""
    record = {"format": FORMAT, "run_id": run_id, "config": dict(settings.plain), "classes": list(classes)}
    return {**record, "trained_on": trained_on, "basis": None if basis is None else dict(basis)}


def load_trained(path: str | Path, *, key: str, trusted: Sequence[str] = ()) -> Trained:
    """Load a checkpoint of ``dsn-train``; ``key`` is for messages; it may build from ``trusted`` packages.

    A folder of `write_folder` counts as one.

    Raises:
        UsageError: the file is missing, damaged, not of dsn-train, of another format, or would build foreign code.
    """
    file = user_path(path)
    where = f"{key}={path}"
    if not (file.is_file() or is_saved_folder(file)):
        raise UsageError(f"{where}: no such checkpoint file")
    try:
        content = read_weights(file) if file.is_file() else _content_of_folder(file)
    except (WeightsError, UnreadableFileError) as error:
        raise UsageError(f"{where}: {error}") from error
    record = content.get(RECORD_KEY)
    if not isinstance(record, dict) or "state_dict" not in content:
        raise UsageError(f"{where}: not a checkpoint of dsn-train")
    number = record.get("format", "none")
    if type(number) is not int or number != FORMAT:
        raise UsageError(
            f"{where}: expected checkpoint format {FORMAT}, got {str(number)[:20]}; train it again with this version"
        )
    settings = stored_settings(record.get("config"), where=f"{where}: stored configuration")
    check_record(record, where=where)
    classes, batches_seen = record["classes"], content.get("batches_seen", 0)
    if type(batches_seen) is not int:
        raise UsageError(f"{where}: not a checkpoint of dsn-train (its batches_seen is not a whole number)")
    check_stored_parts(settings, NETWORK_PARTS, where=where, trusted=trusted)
    if settings.backbone.is_exported and (moved := trusted_file(settings.backbone.network, trusted)) is not None:
        settings = settings.changed({"backbone.network.file": str(moved.absolute())})
    try:
        recognizer = build_recognizer(settings, len(classes))
    except (*REFUSALS, ArithmeticError, AttributeError, LookupError) as error:
        raise UsageError(f"{where}: its networks cannot be built ({error})") from error
    try:
        load_exactly(recognizer, content["state_dict"])
    except WeightsError as error:
        raise UsageError(f"{where}: {error}") from error
    recognizer.batches_seen = batches_seen
    return Trained(recognizer.eval(), settings, classes, file, record.get("trained_on"), record.get("basis"))


def check_record(record: Mapping[str, Any], *, where: str) -> None:
    """Refuse a record whose parts besides the configuration have other types than `checkpoint_record` gives them."""
    classes, seen, basis = record.get("classes"), record.get("trained_on"), record.get("basis")
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise UsageError(f"{where}: not a checkpoint of dsn-train (its classes are not a list of names)")
    if seen is not None and not is_hashes(seen):
        raise UsageError(f"{where}: not a checkpoint of dsn-train (its trained_on is not a list of int64 hashes)")
    if not isinstance(basis, dict | None):
        raise UsageError(f"{where}: not a checkpoint of dsn-train (its basis is not a mapping)")


def _content_of_folder(folder: Path) -> dict[str, Any]:
    record, state = read_folder(folder)
    return {RECORD_KEY: record, "state_dict": state}


def check_clips(recognizer: Recognizer, settings: Settings) -> None:
    """Refuse settings whose clips a network does not accept, naming the keys to change."""
    backbone = settings.backbone
    clip = clip_shape(backbone, modality=settings.dataset.modality)
    networks: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        f"backbone={backbone.name}": (recognizer.classifier, (1, *clip))
    }
    if settings.algorithm.has_sampler:
        networks[f"observation={settings.observation.name}"] = (recognizer.observation, (1, settings.N, *clip))
    for key, (network, shape) in networks.items():
        try:
            count_macs(network, *shape)
        except REFUSALS as error:
            raise refusal(key, backbone, error) from error


def check_fits(trained: Trained, *, classes: Sequence[str], settings: Settings, key: str) -> None:
    """Refuse a checkpoint that was trained for other classes or other clips than the settings describe."""
    where = f"{key}={trained.path}"
    modality, expected = trained.settings.dataset.modality, settings.dataset.modality
    if modality != expected:
        raise UsageError(f"{where}: expected a run of dataset.modality={expected}, got {modality}")
    check_classes(trained, classes, where=where)
    check_same_clips(trained, settings, where=where)


def check_same_clips(trained: Trained, settings: Settings, *, where: str) -> None:
    """Refuse a checkpoint of clips of other shapes, places or, unless flow starts from RGB, normalisation."""
    modality, expected = trained.settings.dataset.modality, settings.dataset.modality
    names = ["frames_per_clip", "frame_stride", "frame_size", "crop_size"]
    if expected == "rgb":
        names += ["mean", "std"]
    elif modality == expected:
        names.append("flow_std")
    for name in names:
        found, expected_value = getattr(trained.settings.backbone, name), getattr(settings.backbone, name)
        if found != expected_value:
            raise UsageError(f"{where}: expected a run of backbone.{name}={_text(expected_value)}, got {_text(found)}")
    placement, expected_placement = trained.settings.dataset.reading.placement, settings.dataset.reading.placement
    if placement != expected_placement:
        key = "dataset.reading.placement"
        raise UsageError(f"{where}: expected a run of {key}={expected_placement}, got {placement}")


def check_algorithm(trained: Trained, algorithm: str, *, key: str) -> None:
    """Refuse a checkpoint of another algorithm than ``key`` expects."""
    name = trained.settings.algorithm.name
    if name != algorithm:
        raise UsageError(f"{key}={trained.path}: expected a run of algorithm={algorithm}, got algorithm={name}")


def check_shared_classifier(fixed: Recognizer, baseline: Trained, *, where: str, key: str) -> None:
    """Refuse a baseline, named by ``key``, that does not share the classifier of a DSN-f, named by ``where``."""
    if weights_hash(fixed.classifier) != weights_hash(baseline.recognizer.classifier):
        raise UsageError(f"{where}: its classifier is not that of {key}={baseline.path}, which DSN-f must share")


def check_clips_per_section(recognizer: Recognizer, clips_per_section: int, *, where: str, key: str = "test.N") -> None:
    """Refuse another N, given as ``key``, than the observation network was made for; some accept any N."""
    expected = recognizer.observation.clips_per_section if isinstance(recognizer, DSN) else None
    if expected is not None and expected != clips_per_section:
        raise UsageError(
            f"{where}: {key}={clips_per_section}: this observation network was made for N={expected} clips per "
            f"section; use {key}={expected} or train one with N={clips_per_section}"
        )


def check_classes(trained: Trained, classes: Sequence[str], *, where: str) -> None:
    """Refuse a checkpoint that was trained for other classes."""
    if trained.classes != list(classes):
        raise UsageError(
            f"{where}: was trained for {len(trained.classes)} classes ({_first(trained.classes)}), "
            f"the data set has {len(classes)} ({_first(classes)})"
        )


def _first(classes: Sequence[str]) -> str:
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")


def _text(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
