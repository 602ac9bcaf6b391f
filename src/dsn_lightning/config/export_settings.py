"""Everything that an export depends on: the configuration of ``dsn-export``, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dsn_lightning.config import setting_rules as rules
from dsn_lightning.files import user_path


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Everything that an export depends on."""

    checkpoint: str | None = rules.text(optional=True)
    format: Literal["onnx", "torch_export"] = rules.one_of("onnx", "torch_export")
    output: str | None = rules.text(optional=True)
    trust: tuple[str, ...] = rules.setting(lambda _: True, "", convert=rules.as_tuple)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "ExportSettings":
        """Read a resolved configuration; a `UsageError` names the key, its value and the remedy."""
        settings = rules.read(cls, plain)
        rules.require_paths(settings, {"checkpoint": "RUN/checkpoints/last.ckpt", "output": "exported"})
        return settings

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return user_path(str(self.output))
