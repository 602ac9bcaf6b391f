"""From a checkpoint to what answers for video files."""

from pathlib import Path

import torch

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.config.network_costs import count_classifier, count_observation
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.config.saved_folder import is_saved_folder
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import Trained, check_clips_per_section, load_trained
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import weights_hash
from dsn_lightning.files import user_path
from dsn_lightning.prediction.predictor import ClipCosts, Effort, Predictor
from dsn_lightning.prediction.video_files import FilePredictor, Windows
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.video.clip_reader import ClipReader, DecodedFrames
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.pyav_decoder import PyAV


def load_sampler(path: str | Path, *, key: str = "checkpoint", trusted: tuple[str, ...] = ()) -> Trained:
    """Load a run that can choose clips of RGB videos, from its checkpoint, its folder, or a folder of `write_folder`.

    Raises:
        UsageError: see `load_trained`; or the run has no sampler, or is of optical flow.
    """
    file = user_path(path)
    if file.is_dir() and not is_saved_folder(file):
        file = RunFolder(file).last_checkpoint
    trained = load_trained(file, key=key, trusted=trusted)
    where, settings = f"{key}={path}", trained.settings
    if not settings.algorithm.has_sampler:
        raise UsageError(
            f"{where}: is a run of algorithm={settings.algorithm.name}, which does not choose clips; give a run of "
            "algorithm=dsn or dsn_fixed"
        )
    if settings.dataset.modality != "rgb":
        raise UsageError(
            f"{where}: is a run of dataset.modality={settings.dataset.modality}, which has to be computed first; give "
            "a run of RGB videos"
        )
    return trained


def predictor_of(trained: Trained, *, clips_per_section: int, device: torch.device, precision: str) -> Predictor:
    """Return what answers for videos on their time lines with the networks of a run."""
    settings, model = trained.settings, trained.recognizer
    assert isinstance(model, DSN)
    return Predictor(
        model.to(device),
        _reader(settings),
        classes=trained.classes,
        placement=settings.dataset.reading.placement,
        costs=clip_costs(trained, clips_per_section=clips_per_section),
        precision=precision,
    )


def clip_costs(trained: Trained, *, clips_per_section: int) -> ClipCosts:
    """Count the multiply-adds of a clip in both networks of a run, for the largest M that it was tested with."""
    settings, num_classes = trained.settings, len(trained.classes)
    modality = settings.dataset.modality
    classifier = count_classifier(settings.backbone, num_classes=num_classes, modality=modality)
    observation = count_observation(
        settings.observation,
        settings.backbone,
        num_sections=max(settings.test.M),
        clips_per_section=clips_per_section,
        num_classes=num_classes,
        modality=modality,
    )
    return ClipCosts(classifier.macs, observation.macs)


def file_predictor(settings: PredictSettings) -> FilePredictor:
    """Load the checkpoint, and return what answers for files as the settings say."""
    trained = load_sampler(str(settings.checkpoint), trusted=settings.trust)
    clips_per_section = settings.N or trained.settings.test.N
    check_clips_per_section(trained.recognizer, clips_per_section, where=f"checkpoint={settings.checkpoint}", key="N")
    predictor = predictor_of(
        trained,
        clips_per_section=clips_per_section,
        device=device_named(settings.device),
        precision=settings.precision,
    )
    sections = settings.M or trained.settings.test.M[0]
    if settings.budget.gmacs is not None:
        sections = sections_within(settings.budget.gmacs, predictor.costs, clips_per_section=clips_per_section)
    reading, window = trained.settings.dataset, settings.window
    return FilePredictor(
        predictor,
        PyAV(settings.deadline),
        Effort(sections, clips_per_section, settings.budget.confidence, settings.budget.seconds),
        fps=reading.fps,
        refuse_damage=reading.reading.on_damage == "refuse",
        windows=None if window.seconds is None else Windows(window.seconds, window.stride or window.seconds),
    )


def answers_made_with(settings: PredictSettings, answer: FilePredictor) -> dict[str, object]:
    """Return what all answers in a folder have in common: settings, and the networks."""
    return {**settings.answers_depend_on, "networks": weights_hash(answer.predictor.model)}


def sections_within(gmacs: float, costs: ClipCosts, *, clips_per_section: int) -> int:
    """Return the largest M whose multiply-adds stay within a budget.

    Raises:
        UsageError: one section costs more.
    """
    one = costs.gmacs(classified=1, candidates=clips_per_section)
    if gmacs < one:
        raise UsageError(f"budget.gmacs={gmacs:g}: one section of N={clips_per_section} clips takes {one:.4g}")
    return int(gmacs / one)


def device_named(name: str) -> torch.device:
    """Return a device; ``auto`` is the GPU if there is one.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"device={name}: {reason}") from None
    return device


def _reader(settings: Settings) -> ClipReader:
    backbone = settings.backbone
    crop = Crop(backbone.frame_size, backbone.crop_size, resize=settings.dataset.reading.resize)
    return ClipReader(DecodedFrames(PyAV()), crop, backbone.frames_per_clip, backbone.frame_stride)
