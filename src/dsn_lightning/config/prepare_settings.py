"""Everything that a preparation depends on: the configuration of ``dsn-prepare``, read once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from dsn_lightning.config import setting_rules as rules
from dsn_lightning.config.settings import DatasetSettings
from dsn_lightning.prepare.copy_kinds import KINDS, CopyKind, FlowCopy, FrameCopy, SmallCopy
from dsn_lightning.video.resize import Resize

_STEPS = ("check", *KINDS)


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(type(n) is int and n >= 16 for n in value)


@dataclass(frozen=True, kw_only=True)
class TranscodeSettings:
    """The small copies (``transcode``)."""

    short_side: int = rules.whole(16)
    keyint: int = rules.whole(1)
    crf: int = rules.setting(
        lambda value: rules.is_whole(value) and 0 <= value <= 51, "must be a whole number of at least 0 and at most 51"
    )


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """The frames as JPEG images (``frames``)."""

    size: tuple[int, int] = rules.setting(_is_size, "must be [height, width], both at least 16 pixels", convert=tuple)
    resize: Resize = rules.one_of(*get_args(Resize))
    quality: int = rules.setting(
        lambda value: rules.is_whole(value) and 1 <= value <= 100, "must be a whole number from 1 to 100"
    )
    shard_size: int | None = rules.whole(1, optional=True)


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """The optical flow (``flow``)."""

    size: tuple[int, int] = rules.setting(_is_size, "must be [height, width], both at least 16 pixels", convert=tuple)
    bound: float = rules.number(above=0)


@dataclass(frozen=True, kw_only=True)
class PreparationSettings:
    """Everything that a preparation depends on."""

    output: str | None = rules.text(optional=True)
    steps: tuple[str, ...] = rules.setting(
        lambda value: set() < set(rules.as_tuple(value)) <= set(_STEPS),
        f"must be a list of one or more of {', '.join(_STEPS)}",
        convert=rules.as_tuple,
    )
    jobs: int | None = rules.whole(1, optional=True)
    strict: bool = rules.flag()
    dataset: DatasetSettings = rules.section(DatasetSettings)
    transcode: TranscodeSettings = rules.section(TranscodeSettings)
    frames: FrameSettings = rules.section(FrameSettings)
    flow: FlowSettings = rules.section(FlowSettings)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "PreparationSettings":
        """Read a resolved configuration; a `UsageError` names the key, its value and the remedy."""
        return rules.read(cls, plain)

    @property
    def folder(self) -> Path | None:
        """Where copies go: to the folder that training reads from unless ``output`` names another; None: default."""
        output = self.output or self.dataset.reading.prepared
        return None if output is None else Path(output)

    @property
    def kinds(self) -> list[CopyKind]:
        """The kinds of copies to make, in their order."""
        kinds: list[CopyKind] = [
            SmallCopy(self.transcode.short_side, self.transcode.keyint, self.transcode.crf),
            FrameCopy(self.frames.size, self.frames.resize, self.frames.quality),
            FlowCopy(self.flow.size, float(self.flow.bound)),
        ]
        return [kind for kind in kinds if any(isinstance(kind, KINDS[step]) for step in self.steps if step in KINDS)]

    @property
    def decoder_without_deadline(self) -> dict[str, Any]:
        """The decoder for copying: extracting flow takes its time between frames."""
        decoder = dict(self.dataset.reading.decoder)
        return decoder | ({"deadline": math.inf} if "deadline" in decoder else {})
