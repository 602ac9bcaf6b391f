"""What planned trainings and evaluations cost: clips, multiply-adds, and hours at this machine's measured speed.

A training step is taken as three forward passes (one forward, two for the gradients). Left out are reading the videos,
whatever runs beside, and frozen blocks whose activations are stored: those are computed once for all runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from dsn_lightning.commands.held_out import evaluated
from dsn_lightning.commands.measuring import measured
from dsn_lightning.commands.networks import as_list, count_classifier, count_observation, input_shape
from dsn_lightning.commands.source import build_source
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.errors import UsageError
from dsn_lightning.selections.scheme import Scheme, Selection

NUM_CLASSES = {"ucf101": 101, "hmdb51": 51, "thumos14": 101, "activitynet": 200}
OFFICIAL_VIDEOS = {  # training, test: of the owners' lists (split 1), where the data set is not there to be counted
    "ucf101": (9537, 3783), "hmdb51": (3570, 1530), "thumos14": (1010, 1574),
    "thumos14 training+validation": (14330, 1574), "activitynet": (10024, 4926),
}  # fmt: skip
_BACKWARD = 3  # forward passes that a training step amounts to
_FRAMES = 300  # of a typical video, for the positions of clips


@dataclass(frozen=True)
class Estimate:
    """What one command costs.

    Attributes:
        clips: that the classifier looks at; each of a training's counts once, however often it is passed.
        gmacs: 10^9 multiply-adds of both networks.
        hours: at the measured speed; None where that is not known.
    """

    clips: int
    gmacs: float
    hours: float | None


class Costs:
    """Counts networks, and times them on this machine, each once.

    Args:
        timed: whether to time them; otherwise hours are not known.
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
            own = _countable(cfg)
            self._macs[key] = count_classifier(own).macs, count_observation(own, own.N).macs
        return self._macs[key]

    def macs_here(self, cfg: DictConfig) -> tuple[float, float]:
        """Return the same without what stored activations spare."""
        key = _key(cfg)
        if key not in self._macs_here:
            own, clip = _countable(cfg), input_shape(cfg)
            self._macs_here[key] = count_classifier(own, clip=clip).macs, count_observation(own, own.N, clip=clip).macs
        return self._macs_here[key]

    def video(self, cfg: DictConfig, selection: str, num_sections: int | None) -> VideoCost | None:
        """Return what one video costs with a method of selection; None where that means nothing."""
        if selection.startswith("oracle"):
            return None
        m = num_sections or first_of(cfg.test.M)
        classifier, observation = self.macs(cfg)
        clips = cfg.dataset.reading.dense_clips if selection == "dense" else m
        looks = selection in ("dsn", "dsn_fixed", "max_response")  # the latter's network is the sampler's trunk
        return VideoCost.of(
            clips=clips, classifier=classifier * cfg.test.crops,
            candidates=m * cfg.test.N if looks else 0, observation=observation,
        )  # fmt: skip

    def videos(self, cfg: DictConfig) -> tuple[int, int]:
        """Return how many training and test videos there are: those that are there, or the official numbers.

        Raises:
            UsageError: it is neither there nor a public data set.
        """
        key = str(OmegaConf.to_container(cfg.dataset, resolve=True))
        if key not in self._videos:
            self._videos[key] = _count_videos(cfg)
        return self._videos[key]

    def training(self, cfg: DictConfig) -> Estimate:
        """Return what a training costs."""
        videos = self.videos(cfg)[0]
        classifier, observation = self.macs_here(cfg)
        epochs, warmup = cfg.schedule.max_epochs, cfg.algorithm.get("warmup_epochs", 0)
        kept = videos * cfg.M  # clips of an epoch
        trained = 0 if cfg.algorithm.name == "dsn_fixed" else epochs * kept * _BACKWARD
        looked = rewards = 0
        if cfg.algorithm.name != "baseline":
            looked = (epochs - warmup) * kept * cfg.N * _BACKWARD
            rewards = (epochs - warmup) * kept * 2  # of a sampled and the most probable clip, at most
        clips = epochs * kept
        return self._estimate(cfg, clips, (trained + rewards) * classifier, looked * observation)

    def training_of_sampler(self, cfg: DictConfig) -> Estimate:
        """Return what a baseline of the observation network's trunk costs."""
        clips = cfg.schedule.max_epochs * self.videos(cfg)[0] * cfg.M
        return self._estimate(cfg, clips, 0.0, clips * _BACKWARD * self.macs_here(cfg)[1])

    def evaluation(self, cfg: DictConfig, roles: Sequence[str], selections: Sequence[DictConfig]) -> Estimate:
        """Return what an evaluation costs: each clip once in each network that the methods need."""
        videos = self.videos(cfg)[1]
        classifier, observation = self.macs_here(cfg)
        given = {"dsn" if role == "checkpoint" and cfg.algorithm.name == "dsn" else role for role in roles}
        given |= {"baseline"} if "dsn_fixed" in given else set()
        seen: dict[str, set[int]] = {}
        candidates = 0
        for m in as_list(cfg.test.M):
            scheme = Scheme(m, cfg.test.N, cfg.backbone.frames_per_clip * cfg.backbone.frame_stride,
                            cfg.dataset.reading.dense_clips, cfg.test.random_draws)  # fmt: skip
            samplers = set()
            for own in selections:
                selection: Selection = instantiate(own, _convert_="all")
                if selection.sampler is not None and selection.sampler not in given:
                    continue
                samplers |= {selection.sampler} - {None}
                for name in set(selection.classifiers) & given:
                    positions = selection.candidates("video", _FRAMES, scheme)
                    seen.setdefault(name, set()).update(np.unique(positions).tolist())
            candidates += len(samplers) * m * cfg.test.N
        clips = videos * sum(map(len, seen.values()))
        return self._estimate(cfg, clips, clips * classifier * cfg.test.crops, videos * candidates * observation)

    def _estimate(self, cfg: DictConfig, clips: int, classifier: float, observation: float) -> Estimate:
        hours = None
        if self.timed:
            speed = self._speed(cfg)
            hours = (classifier / speed["classifier"] + observation / speed["observation"]) / 3600
        return Estimate(clips, (classifier + observation) / 1e9, hours)

    def _speed(self, cfg: DictConfig) -> dict[str, float]:
        """Return multiply-adds a second of both networks, forward, measured once for all modalities and schemes."""
        key = f"{cfg.backbone.name} & {cfg.observation.name}"
        if key not in self._speeds:
            own = _countable(cfg)
            classifier, observation = self.macs_here(cfg)
            few, often = (1, 1) if classifier > 5e10 else (4, 3) if classifier > 1e9 else (32, 15)  # seconds on a CPU
            with open_dict(own):
                own.update(device="auto", threads=None, batch_size=few, repeats=often, precision="32-true")
            found = measured(own, {"classifier": classifier, "observation": observation}, own.N, clip=input_shape(cfg))
            self._speeds[key] = {n["network"]: 1e9 * n["gmacs_per_second"] for n in found["networks"]}
        return self._speeds[key]

    def speeds(self) -> dict[str, dict[str, float]]:
        """Return what was measured: networks -> role -> multiply-adds a second."""
        return dict(self._speeds)


def first_of(value: int | Sequence[int]) -> int:
    """Return a configured number, or the first one of a list."""
    return int(as_list(value)[0])


def _key(cfg: DictConfig) -> str:
    return f"{cfg.backbone.name} & {cfg.observation.name}, {cfg.dataset.get('modality', 'rgb')}, N = {cfg.N}"


def _countable(cfg: DictConfig) -> DictConfig:
    own = cfg.copy()
    with open_dict(own):
        own.num_classes = NUM_CLASSES.get(cfg.dataset.name, 400)
    return own


def _count_videos(cfg: DictConfig) -> tuple[int, int]:
    name = cfg.dataset.name
    official = OFFICIAL_VIDEOS.get(f"{name} {cfg.dataset.get('train_on')}", OFFICIAL_VIDEOS.get(name))
    try:
        source = build_source(cfg.dataset)
        find = instantiate(cfg.dataset.reading.decoder).find
        train, test = ([r for r in source.records(s) if find(r.path).exists()] for s in ("train", evaluated(cfg)))
    except (InstantiationException, UsageError, OSError) as error:
        if official is None:
            raise UsageError(f"dataset={name}: its videos cannot be counted before it is made or its root is given") \
                from error  # fmt: skip
        return official
    if not train and not test and official is not None:
        return official
    return len(train), len(test)
