"""The settings of dsn-cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from dsn_lightning.config.compose import plain
from dsn_lightning.config.setting_rules import anything, as_tuple, flag, one_of, read, section, text, whole, wholes
from dsn_lightning.config.settings import BackboneSettings, ObservationSettings, crops_rule, modality_rule
from dsn_lightning.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CostDataset:
    """``dataset`` of dsn-cost."""

    modality: str = modality_rule()


@dataclass(frozen=True, kw_only=True)
class CostTest:
    """``test`` of dsn-cost."""

    crops: int = crops_rule()


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """Networks, schemes and what to do with them; ``observations`` is empty where the classifier alone is counted."""

    table: Any = anything()
    format: str = one_of("text", "json")
    M: tuple[int, ...] = wholes(1)
    N: tuple[int, ...] = wholes(1)
    dense_clips: tuple[int, ...] = wholes(1)
    num_classes: int = whole(1)
    dataset: CostDataset = section(CostDataset)
    test: CostTest = section(CostTest)
    measure: bool = flag()
    precision: str = text()
    device: str = one_of("auto", "cpu", "cuda")
    threads: int | None = whole(1, optional=True)
    batch_size: int = whole(1)
    repeats: int = whole(1)
    backbone: BackboneSettings = section(BackboneSettings)
    observations: Mapping[int, ObservationSettings] = anything()

    @classmethod
    def of(cls, cfg: DictConfig) -> "CostSettings":
        """Read the configuration of dsn-cost; a `UsageError` names the key, its value and the remedy."""
        values = plain(cfg)
        for key in ("M", "N"):
            if values[key] == []:
                raise UsageError(f"{key}=[]: give at least one number")
        observed = as_tuple(values["N"]) if cfg.get("observation") is not None else ()
        return read(cls, {**values, "observations": {n: _observation(cfg, n) for n in observed}})


def _observation(cfg: DictConfig, clips_per_section: int) -> ObservationSettings:
    """Return the observation network for sections of so many clips."""
    changed = cfg.copy()
    changed.N = clips_per_section
    return read(ObservationSettings, plain(changed)["observation"], prefix="observation.")
