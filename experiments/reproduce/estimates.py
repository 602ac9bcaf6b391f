"""What planned trainings and evaluations cost: clips, multiply-adds, and hours at this machine's measured speed.

A training step counts as three forward passes (one forward, two for the gradients). Not counted are reading the videos,
other work on the machine, and frozen blocks whose activations are stored: those are computed once for all runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.errors import UsageError
from dsn_lightning.selections import Scheme, Selection
from reproduce.configurations import (
    as_list,
    build_source,
    count_classifier,
    count_observation,
    evaluated,
    input_shape,
    measured,
)

USES_OBSERVATION = ("dsn", "dsn_fixed", "max_response")
"""Selection methods that look at each candidate clip: the policies, and a classifier that costs as much as theirs."""

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

    def macs(self, cfg: DictConfig) -> tuple[float, float]:
        """Return the multiply-adds of a clip in the classifier and in the observation network."""
        key = _key(cfg)
        if key not in self._macs:
            countable = _countable(cfg)
            self._macs[key] = count_classifier(countable).macs, count_observation(countable, cfg.N).macs
        return self._macs[key]

    def macs_here(self, cfg: DictConfig) -> tuple[float, float]:
        """Return the same without the blocks whose activations are stored."""
        key = _key(cfg)
        if key not in self._macs_here:
            countable, clip = _countable(cfg), input_shape(cfg)
            observation = count_observation(countable, cfg.N, clip=clip)
            self._macs_here[key] = count_classifier(countable, clip=clip).macs, observation.macs
        return self._macs_here[key]

    def video(self, cfg: DictConfig, selection: str, num_sections: int | None) -> VideoCost | None:
        """Return what one video costs with a selection method; None for oracles, which know the label."""
        if selection.startswith("oracle"):
            return None
        m = num_sections or first_of(cfg.test.M)
        classifier, observation = self.macs(cfg)
        return VideoCost.of(
            clips=cfg.dataset.reading.dense_clips if selection == "dense" else m,
            classifier=classifier * cfg.test.crops,
            candidates=m * cfg.test.N if selection in USES_OBSERVATION else 0,
            observation=observation,
        )

    def videos(self, cfg: DictConfig) -> tuple[int, int]:
        """Return the numbers of training and test videos: those on disk, or the official ones if there are none.

        Raises:
            UsageError: the data set is not on disk, and has no official numbers.
        """
        key = str(OmegaConf.to_container(cfg.dataset, resolve=True))
        if key not in self._videos:
            self._videos[key] = _count_videos(cfg)
        return self._videos[key]

    def training(self, cfg: DictConfig) -> CostEstimate:
        """Return what a training costs."""
        classifier, observation = self.macs_here(cfg)
        epochs, warmup = cfg.schedule.max_epochs, cfg.algorithm.get("warmup_epochs", 0)
        clips_per_epoch = self.videos(cfg)[0] * cfg.M
        trained = 0 if cfg.algorithm.name == "dsn_fixed" else epochs * clips_per_epoch * _TRAINING_STEP
        observed = rewards = 0
        if cfg.algorithm.name != "baseline":
            observed = (epochs - warmup) * clips_per_epoch * cfg.N * _TRAINING_STEP
            rewards = (epochs - warmup) * clips_per_epoch * 2  # at most: a sampled and the most probable clip
        return self._estimate(cfg, epochs * clips_per_epoch, (trained + rewards) * classifier, observed * observation)

    def training_of_max_response(self, cfg: DictConfig) -> CostEstimate:
        """Return what it costs to train the observation network's trunk as a classifier."""
        clips = cfg.schedule.max_epochs * self.videos(cfg)[0] * cfg.M
        return self._estimate(cfg, clips, 0.0, clips * _TRAINING_STEP * self.macs_here(cfg)[1])

    def evaluation(self, cfg: DictConfig, roles: Sequence[str], selections: Sequence[DictConfig]) -> CostEstimate:
        """Return what an evaluation costs: each clip once in each network that the methods need."""
        videos = self.videos(cfg)[1]
        classifier, observation = self.macs_here(cfg)
        networks = {"dsn" if role == "checkpoint" and cfg.algorithm.name == "dsn" else role for role in roles}
        networks |= {"baseline"} if "dsn_fixed" in networks else set()
        methods: list[Selection] = [instantiate(selection, _convert_="all") for selection in selections]
        methods = [method for method in methods if method.sampler is None or method.sampler in networks]
        samplers = {method.sampler for method in methods} - {None}
        scored: dict[str, set[int]] = {}  # classifier -> start frames
        candidates = 0
        for m in as_list(cfg.test.M):
            scheme = _scheme(cfg, m)
            for method in methods:
                positions = np.unique(method.candidates("video", _FRAMES, scheme)).tolist()
                for name in {*method.classifiers} & networks:
                    scored.setdefault(name, set()).update(positions)
            candidates += len(samplers) * m * cfg.test.N
        clips = videos * sum(map(len, scored.values()))
        return self._estimate(cfg, clips, clips * classifier * cfg.test.crops, videos * candidates * observation)

    def speeds(self) -> dict[str, dict[str, float]]:
        """Return what was measured: networks -> role -> multiply-adds a second."""
        return dict(self._speeds)

    def _estimate(self, cfg: DictConfig, clips: int, classifier: float, observation: float) -> CostEstimate:
        hours = None
        if self.timed:
            speed = self._speed(cfg)
            hours = (classifier / speed["classifier"] + observation / speed["observation"]) / 3600
        return CostEstimate(clips, (classifier + observation) / 1e9, hours)

    def _speed(self, cfg: DictConfig) -> dict[str, float]:
        """Return the forward multiply-adds a second of both networks, measured once for all modalities and schemes."""
        key = f"{cfg.backbone.name} & {cfg.observation.name}"
        if key not in self._speeds:
            countable = _countable(cfg)
            classifier, observation = self.macs_here(cfg)
            # batch size and repeats: seconds on a CPU
            batch, repeats = (1, 1) if classifier > 5e10 else (4, 3) if classifier > 1e9 else (32, 15)
            with open_dict(countable):
                countable.update(device="auto", threads=None, batch_size=batch, repeats=repeats, precision="32-true")
            macs = {"classifier": classifier, "observation": observation}
            found = measured(countable, macs, cfg.N, clip=input_shape(cfg))
            self._speeds[key] = {n["network"]: 1e9 * n["gmacs_per_second"] for n in found["networks"]}
        return self._speeds[key]


def first_of(value: int | Sequence[int]) -> int:
    """Return a configured number, or the first one of a list."""
    return int(as_list(value)[0])


def _official(cfg: DictConfig) -> tuple[int, tuple[int, int] | None]:
    """Return the number of classes of a configuration's data set, and of its owner's training and test videos."""
    name, train_on = str(cfg.dataset.name), cfg.dataset.get("train_on")
    thumos14 = (14330, 1574) if train_on == "training+validation" else (1010, 1574)
    known: dict[str, tuple[int, tuple[int, int]]] = {
        "ucf101": (101, (9537, 3783)),
        "hmdb51": (51, (3570, 1530)),
        "thumos14": (101, thumos14),
        "activitynet": (200, (10024, 4926)),
    }
    return known.get(name, (_KINETICS_CLASSES, None))


def _key(cfg: DictConfig) -> str:
    return f"{cfg.backbone.name} & {cfg.observation.name}, {cfg.dataset.get('modality', 'rgb')}, N = {cfg.N}"


def _countable(cfg: DictConfig) -> DictConfig:
    """Return the configuration with the number of classes that its networks are counted for."""
    countable = cfg.copy()
    with open_dict(countable):
        countable.num_classes = _official(cfg)[0]
    return countable


def _scheme(cfg: DictConfig, num_sections: int) -> Scheme:
    span = cfg.backbone.frames_per_clip * cfg.backbone.frame_stride
    return Scheme(num_sections, cfg.test.N, span, cfg.dataset.reading.dense_clips, cfg.test.random_draws)


def _count_videos(cfg: DictConfig) -> tuple[int, int]:
    name, official = cfg.dataset.name, _official(cfg)[1]
    try:
        source = build_source(cfg.dataset)
        find = instantiate(cfg.dataset.reading.decoder).find
        train, test = ([r for r in source.records(s) if find(r.path).exists()] for s in ("train", evaluated(cfg)))
    except (InstantiationException, UsageError, OSError) as error:
        if official is None:
            reason = "its videos cannot be counted before the data set is made or its root is given"
            raise UsageError(f"dataset={name}: {reason}") from error
        return official
    if not train and not test and official is not None:
        return official
    return len(train), len(test)
