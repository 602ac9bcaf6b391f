"""What planned trainings and evaluations cost: clips, multiply-adds, and hours at this machine's measured speed.

A training step counts as three forward passes (one forward, two for the gradients), that of a sampler as four where it
runs twice (`algorithm.recompute`). Not counted are reading the videos,
other work on the machine, and frozen blocks whose activations are stored: those are computed once for all runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsn_lightning.config.build import build_classifier, build_observation
from dsn_lightning.config.build_part import build_part, located
from dsn_lightning.config.network_costs import ClipShape, count_classifier, count_observation, input_shape
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.cost.speed import time_networks
from dsn_lightning.errors import UsageError
from dsn_lightning.selections import BASELINE_CLASSIFIER, Dense, Scheme, Selection
from reproduce.configurations import Settings, build_source, selection_of

_TRAINING_STEP = 3  # forward passes
_FRAMES = 300  # of a typical video, for the positions of clips
_KINETICS_CLASSES = 400  # where the number of classes is unknown


@dataclass(frozen=True)
class CostEstimate:
    """What one command costs.

    Attributes:
        clips: clips that the classifier scores; each of a training's clips counts once an epoch.
        gmacs: 10^9 multiply-adds of both networks.
        hours: at the measured speed; None where that is unknown.
    """

    clips: int
    gmacs: float
    hours: float | None

    def __add__(self, other: "CostEstimate") -> "CostEstimate":
        hours = None if self.hours is None or other.hours is None else self.hours + other.hours
        return CostEstimate(self.clips + other.clips, self.gmacs + other.gmacs, hours)


class Costs:
    """Counts the multiply-adds of networks and measures their speed on this machine, each once.

    Args:
        timed: measure the speed; otherwise hours are unknown.
    """

    def __init__(self, *, timed: bool) -> None:
        self.timed = timed
        self._macs: dict[str, tuple[float, float]] = {}
        self._macs_here: dict[str, tuple[float, float]] = {}
        self._speeds: dict[str, dict[str, float]] = {}
        self._videos: dict[str, tuple[int, int]] = {}

    def macs(self, settings: Settings) -> tuple[float, float]:
        """Return the multiply-adds of a clip in the classifier and in the observation network."""
        key = _key(settings)
        if key not in self._macs:
            self._macs[key] = _count(settings, clip=None)
        return self._macs[key]

    def macs_here(self, settings: Settings) -> tuple[float, float]:
        """Return the same without the blocks whose activations are stored."""
        key = _key(settings)
        if key not in self._macs_here:
            self._macs_here[key] = _count(settings, clip=_input_shape(settings))
        return self._macs_here[key]

    def video(self, settings: Settings, selection: str, num_sections: int | None) -> VideoCost | None:
        """Return what one video costs with a selection method; None for oracles, which know the label."""
        method = selection_of(selection)
        if method.kind == "upper_bound":
            return None
        m = num_sections or settings.test.M[0]
        classifier, observation = self.macs(settings)
        return VideoCost.of(
            clips=settings.dataset.reading.dense_clips if selection == Dense.name else m,
            classifier=classifier * settings.test.crops,
            candidates=m * settings.test.N if method.sampler is not None else 0,
            observation=observation,
        )

    def videos(self, settings: Settings) -> tuple[int, int]:
        """Return the numbers of training and test videos: those on disk, or the official ones if there are none.

        Raises:
            UsageError: the data set is not on disk, and has no official numbers.
        """
        key = str(settings.dataset.keys)
        if key not in self._videos:
            self._videos[key] = _count_videos(settings)
        return self._videos[key]

    def training(self, settings: Settings) -> CostEstimate:
        """Return what a training costs."""
        classifier, observation = self.macs_here(settings)
        algorithm, epochs = settings.algorithm, settings.schedule.max_epochs
        clips_per_epoch = self.videos(settings)[0] * settings.M
        trained = 0 if algorithm.freezes_classifier else epochs * clips_per_epoch * _TRAINING_STEP
        observed = rewards = 0
        if algorithm.has_sampler:
            learning = epochs - algorithm.warmup_epochs
            passes = _TRAINING_STEP + (algorithm.recompute and not algorithm.freezes_classifier)
            observed = learning * clips_per_epoch * settings.N * passes
            rewards = learning * clips_per_epoch * 2  # at most: a sampled and the most probable clip
        macs = (trained + rewards) * classifier, observed * observation
        return self._estimate(settings, epochs * clips_per_epoch, *macs)

    def training_of_max_response(self, settings: Settings) -> CostEstimate:
        """Return what it costs to train the observation network's trunk as a classifier."""
        clips = settings.schedule.max_epochs * self.videos(settings)[0] * settings.M
        return self._estimate(settings, clips, 0.0, clips * _TRAINING_STEP * self.macs_here(settings)[1])

    def evaluation(self, settings: Settings, roles: Sequence[str], methods: Sequence[Selection]) -> CostEstimate:
        """Return what an evaluation costs: each clip once in each network that the methods need."""
        videos = self.videos(settings)[1]
        classifier, observation = self.macs_here(settings)
        name, test = settings.algorithm.name, settings.test
        networks = {name if role == "checkpoint" and settings.algorithm.has_sampler else role for role in roles}
        if "dsn_fixed" in networks:  # it keeps the baseline's classifier
            networks.add(BASELINE_CLASSIFIER)
        methods = [method for method in methods if method.sampler is None or method.sampler in networks]
        samplers = {method.sampler for method in methods} - {None}
        scored: dict[str, set[int]] = {}  # classifier -> start frames
        candidates = 0
        for m in test.M:
            scheme = _scheme(settings, m)
            for method in methods:
                positions = np.unique(method.candidates("video", _FRAMES, scheme)).tolist()
                for network in {*method.classifiers} & networks:
                    scored.setdefault(network, set()).update(positions)
            candidates += len(samplers) * m * test.N
        clips = videos * sum(map(len, scored.values()))
        return self._estimate(settings, clips, clips * classifier * test.crops, videos * candidates * observation)

    def speeds(self) -> dict[str, dict[str, float]]:
        """Return what was measured: networks -> role -> multiply-adds a second."""
        return dict(self._speeds)

    def _estimate(self, settings: Settings, clips: int, classifier: float, observation: float) -> CostEstimate:
        hours = None
        if self.timed:
            speed = self._speed(settings)
            hours = (classifier / speed["classifier"] + observation / speed["observation"]) / 3600
        return CostEstimate(clips, (classifier + observation) / 1e9, hours)

    def _speed(self, settings: Settings) -> dict[str, float]:
        """Return the forward multiply-adds a second of both networks, measured once for all modalities and schemes."""
        key = f"{settings.backbone.name} & {settings.observation.name}"
        if key not in self._speeds:
            classifier, observation = self.macs_here(settings)
            # batch size and repeats: seconds on a CPU
            batch, repeats = (1, 1) if classifier > 5e10 else (4, 3) if classifier > 1e9 else (32, 15)
            clip, arguments = _input_shape(settings), _arguments(settings)
            found = time_networks(
                {
                    "classifier": (build_classifier(settings.backbone, **arguments), classifier, (batch, *clip)),
                    "observation": (
                        build_observation(settings.observation, **arguments),
                        observation,
                        (batch, settings.N, *clip),
                    ),
                },
                repeats=repeats,
            )
            self._speeds[key] = {n["network"]: 1e9 * n["gmacs_per_second"] for n in found["networks"]}
        return self._speeds[key]


def _key(settings: Settings) -> str:
    networks = f"{settings.backbone.name} & {settings.observation.name}"
    return f"{networks}, {settings.dataset.modality}, N = {settings.N}"


def _input_shape(settings: Settings) -> ClipShape:
    return input_shape(settings.backbone, modality=settings.dataset.modality)


def _arguments(settings: Settings) -> dict[str, Any]:
    classes = _dataset_class(settings).num_classes or _KINETICS_CLASSES
    return {"num_classes": classes, "modality": settings.dataset.modality}


def _count(settings: Settings, *, clip: ClipShape | None) -> tuple[float, float]:
    arguments = _arguments(settings)
    classifier = count_classifier(settings.backbone, clip=clip, **arguments)
    observation = count_observation(
        settings.observation,
        settings.backbone,
        num_sections=settings.M,
        clips_per_section=settings.N,
        clip=clip,
        **arguments,
    )
    return classifier.macs, observation.macs


def _scheme(settings: Settings, num_sections: int) -> Scheme:
    span = settings.backbone.frames_per_clip * settings.backbone.frame_stride
    test, reading = settings.test, settings.dataset.reading
    how = (span, reading.dense_clips, test.random_draws)
    return Scheme(num_sections, test.N, *how, placement=reading.placement)


def _dataset_class(settings: Settings) -> Any:
    return located(settings.dataset.source["_target_"], "dataset")


def _count_videos(settings: Settings) -> tuple[int, int]:
    arguments: Mapping[str, Any] = {k: v for k, v in settings.dataset.source.items() if k != "_target_"}
    official = _dataset_class(settings).official_counts(**arguments)
    try:
        source = build_source(settings)
        find = build_part(settings.dataset.reading.decoder, "dataset.reading.decoder").find
        subsets = ("train", settings.test.subset)
        train, test = ([r for r in source.records(s) if find(r.path).exists()] for s in subsets)  # type: ignore[arg-type]
    except (UsageError, OSError) as error:
        if official is None:
            reason = "its videos cannot be counted before the data set is made or its root is given"
            raise UsageError(f"dataset={settings.dataset.name}: {reason}") from error
        return official["train"], official["test"]
    if not train and not test and official is not None:
        return official["train"], official["test"]
    return len(train), len(test)
