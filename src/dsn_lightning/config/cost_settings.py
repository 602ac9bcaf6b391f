"""The settings of dsn-cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from dsn_lightning.config import setting_rules as rules
from dsn_lightning.config.compose import plain
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

    table: Any = rules.anything()
    format: str = rules.one_of("text", "json")
    M: tuple[int, ...] = rules.wholes(1)
    N: tuple[int, ...] = rules.wholes(1)
    dense_clips: tuple[int, ...] = rules.wholes(1)
    num_classes: int = rules.whole(1)
    dataset: CostDataset = rules.section(CostDataset)
    test: CostTest = rules.section(CostTest)
    measure: bool = rules.flag()
    precision: str = rules.text()
    device: str = rules.one_of("auto", "cpu", "cuda")
    threads: int | None = rules.whole(1, optional=True)
    batch_size: int = rules.whole(1)
    repeats: int = rules.whole(1)
    backbone: BackboneSettings = rules.section(BackboneSettings)
    observations: Mapping[int, ObservationSettings] = rules.anything()

    @classmethod
    def of(cls, cfg: DictConfig) -> "CostSettings":
        """Read the configuration of dsn-cost; a `UsageError` names the key, its value and the remedy."""
        values = plain(cfg)
        for key in ("M", "N"):
            if values[key] == []:
                raise UsageError(f"{key}=[]: give at least one number")
        observed = rules.as_tuple(values["N"]) if cfg.get("observation") is not None else ()
        return rules.read(cls, {**values, "observations": {n: _observation(cfg, n) for n in observed}})


def _observation(cfg: DictConfig, clips_per_section: int) -> ObservationSettings:
    """Return the observation network for sections of so many clips."""
    changed = cfg.copy()
    changed.N = clips_per_section
    return rules.read(ObservationSettings, plain(changed)["observation"], prefix="observation.")
