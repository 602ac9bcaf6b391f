"""Observation networks: section clips (..., N, C, T, H, W) -> policy logits (..., N)."""

from dsn_lightning.observations.concat import ConcatObservation
from dsn_lightning.observations.shared import SharedObservation
from dsn_lightning.observations.whole_video import VideoObservation

__all__ = ["ConcatObservation", "SharedObservation", "VideoObservation"]
