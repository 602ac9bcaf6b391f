"""Everything that a prediction depends on: the configuration of ``dsn-predict``, read once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dsn_lightning.config import setting_rules as rules
from dsn_lightning.errors import UsageError
from dsn_lightning.files import user_path

_WITHOUT_EFFECT = (
    *("videos", "output", "trust", "progress", "device", "hydra", "deadline", "pictures", "overlay"),
    *("engine", "trainer"),
)
ENGINES = ("plain", "lightning", "ray")
"""Who hands out the videos: this process, Lightning's prediction loop, or Ray Data."""


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """``budget``: what a video may cost."""

    gmacs: float | None = rules.number(above=0, optional=True)
    seconds: float | None = rules.number(above=0, optional=True)
    confidence: float | None = rules.setting(
        lambda value: rules.is_number(value) and 0 < value <= 1,
        "must be a number above 0 and at most 1, such as 0.9",
        optional=True,
    )


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """``window``: parts of long recordings."""

    seconds: float | None = rules.number(above=0, optional=True)
    stride: float | None = rules.number(above=0, optional=True)


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """``engine``: who hands out the videos; all keys but the name are those of Ray."""

    name: str = rules.one_of(*ENGINES)
    address: str | None = rules.text(optional=True, default=None)
    actors: int = rules.whole(1, default=1)
    cpus: float = rules.number(above=0, default=1)
    gpus: float = rules.number(at_least=0, default=0)


@dataclass(frozen=True, kw_only=True)
class PredictTrainerSettings:
    """``trainer``: the processes of ``engine=lightning``; see `TrainerSettings`."""

    accelerator: str = rules.text(default="auto")
    devices: Any = rules.anything(default=1)
    num_nodes: int = rules.whole(1, default=1)
    strategy: str = rules.one_of("auto", "ddp", default="auto")


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Everything that a prediction depends on."""

    checkpoint: str | None = rules.text(optional=True)
    videos: tuple[str, ...] = rules.setting(
        lambda value: all(isinstance(entry, str) for entry in rules.as_tuple(value)),
        "must be a path or a list of paths, such as [clip.mp4,folder]",
        convert=rules.as_tuple,
    )
    output: str | None = rules.text(optional=True)
    M: int | None = rules.whole(1, optional=True)
    N: int | None = rules.whole(1, optional=True)
    budget: BudgetSettings = rules.section(BudgetSettings)
    window: WindowSettings = rules.section(WindowSettings)
    deadline: float = rules.number(above=0)
    precision: str = rules.one_of("32-true", "bf16-mixed", "16-mixed")
    device: str = rules.text()
    trust: tuple[str, ...] = rules.setting(lambda _: True, "", convert=rules.as_tuple)
    progress: bool = rules.flag()
    pictures: bool = rules.flag()
    overlay: bool = rules.flag()
    engine: EngineSettings = rules.section(EngineSettings)
    trainer: PredictTrainerSettings = rules.section(PredictTrainerSettings)
    plain: Mapping[str, Any] = rules.all_keys()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "PredictSettings":
        """Read a resolved configuration; a `UsageError` names the key, its value and the remedy."""
        settings = rules.read(cls, plain)
        rules.require_paths(settings, {"checkpoint": "RUN/checkpoints/last.ckpt", "output": "answers"})
        window = settings.window
        if window.stride is not None and window.seconds is None:
            raise UsageError(f"window.stride={window.stride}: needs window.seconds as well, such as window.seconds=10")
        if window.stride is not None and window.seconds is not None and window.stride > window.seconds:
            raise UsageError(
                f"window.stride={window.stride}: leaves gaps between windows of window.seconds={window.seconds}; "
                "must be at most as long"
            )
        if settings.M is not None and settings.budget.gmacs is not None:
            raise UsageError(f"budget.gmacs={settings.budget.gmacs}: chooses M; leave out M={settings.M}")
        _check_engine(settings)
        return settings

    @property
    def folder(self) -> Path:
        """Where the answers go."""
        return user_path(str(self.output))

    @property
    def answers_depend_on(self) -> dict[str, Any]:
        """The settings that change an answer, as plain values."""
        return {key: value for key, value in self.plain.items() if key not in _WITHOUT_EFFECT}


def _check_engine(settings: PredictSettings) -> None:
    name, trainer = settings.engine.name, settings.trainer
    if name == "lightning" and settings.device != "auto":
        raise UsageError(f"device={settings.device}: does not apply to engine={name}; use trainer.accelerator")
    for field in fields(trainer):
        value = getattr(trainer, field.name)
        if name != "lightning" and value != field.default:
            raise UsageError(f"trainer.{field.name}={rules.shown(value)}: needs engine=lightning, got engine={name}")
