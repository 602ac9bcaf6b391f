"""The settings of dsn-evaluate, and how they complete those of the runs that it evaluates."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsn_lightning.child_process import START_METHODS
from dsn_lightning.config import setting_rules as rules
from dsn_lightning.config.settings import Settings, bootstrap_rule, crops_rule, subset_rule
from dsn_lightning.datasets.records import Subset
from dsn_lightning.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class EvaluationTestSettings:
    """``test`` of dsn-evaluate; M and N are those of the training unless given."""

    subset: Subset = subset_rule()
    M: Any = rules.setting(
        lambda value: value is None or _wholes(value), "must be a whole number of at least 1, or a list"
    )
    N: int | None = rules.whole(1, optional=True)
    crops: int = crops_rule()
    random_draws: int = rules.whole(1)
    bootstrap: int = bootstrap_rule()
    figures: bool = rules.flag()
    keys: rules.Node = rules.all_keys()


def _wholes(value: Any) -> bool:
    numbers = rules.as_tuple(value)
    return bool(numbers) and all(type(number) is int and number >= 1 for number in numbers)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What dsn-evaluate is given."""

    checkpoint: str | None = rules.text(optional=True)  # known by its algorithm
    networks: Mapping[str, str | None] = rules.node()  # by the name under which selection methods and rows know them
    fusion: tuple[str, ...] | None = rules.setting(
        lambda value: isinstance(value, list),
        "must be a list of folders, such as fusion=[RGB,FLOW]",
        optional=True,
        convert=lambda value: tuple(map(str, value)),
    )
    fusion_weights: tuple[float, ...] = rules.numbers(remedy="must be numbers of at least 0, such as [1,1.5]")
    dataset: rules.Node = rules.node()
    trust: tuple[str, ...] = rules.setting(lambda _: True, "", convert=rules.as_tuple)
    seed: int = rules.whole(0)
    num_workers: int | str = rules.whole_or_auto(0)
    start_workers: str | None = rules.one_of(*START_METHODS, optional=True)
    devices: int = rules.whole(1)
    test: EvaluationTestSettings = rules.section(EvaluationTestSettings)
    selection: rules.Node = rules.node()
    logger: rules.Node | None = rules.node(optional=True)
    run_dir: str = rules.text()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "EvaluationSettings":
        """Read a resolved configuration; a `UsageError` names the key, its value and the remedy."""
        settings = rules.read(cls, plain)
        if settings.fusion is not None:
            _check_fusion(settings)
        return settings

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return Path(self.run_dir)

    @property
    def replaces_dataset(self) -> bool:
        """Whether another data set is named than the one that was trained on."""
        return "_target_" in self.dataset

    def gives_dataset(self, *path: str) -> bool:
        """Return whether the command line gives a key of the data set, such as ``root``, or another data set."""
        value: Any = self.dataset
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return self.replaces_dataset or value is not None

    def completed_by(self, trained: Settings) -> Settings:
        """Return the settings of the evaluation: those of a training, changed by what was given."""
        plain: dict[str, Any] = {
            **trained.plain,
            "selection": self.selection,
            "logger": self.logger,
            "seed": self.seed,
            "num_workers": self.num_workers,
            "run_dir": self.run_dir,
        }
        if self.start_workers is not None:
            plain["start_workers"] = self.start_workers
        of_training = trained.plain["test"]
        test = {key: of_training[key] if value is None else value for key, value in self.test.keys.items()}
        plain["test"] = {**of_training, **test}
        plain["dataset"] = self._dataset(trained)
        return Settings.of(plain)

    def _dataset(self, trained: Settings) -> dict[str, Any]:
        of_training = trained.plain["dataset"]
        if self.replaces_dataset:
            given = {k: v for k, v in self.dataset.items() if v is not None or k not in ("split", "fps")}
            reading = {**given["reading"], "placement": trained.dataset.reading.placement}
            return {"fps": trained.dataset.fps, **given, "reading": reading}
        given = {key: value for key, value in _given(self.dataset).items() if key != "reading"}
        if unknown := [key for key in given if key not in of_training]:
            raise UsageError(f"dataset.{unknown[0]}: dataset={trained.dataset.name} has no such key")
        reading = {**of_training["reading"], **_given(self.dataset["reading"])}
        return {**of_training, **given, "reading": reading}


def _check_fusion(settings: EvaluationSettings) -> None:
    test = settings.test
    given = {
        "checkpoint": settings.checkpoint,
        "test.M": test.M,
        "test.N": test.N,
        "test.subset": None if test.subset == "test" else test.subset,
        "dataset.root": settings.dataset.get("root"),
        "logger": settings.logger,
        **settings.networks,
    }
    for key, value in given.items():
        if value:
            raise UsageError(f"{key}={value}: does not apply to fusion=, which reads stored scores; leave it out")


def _given(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}
