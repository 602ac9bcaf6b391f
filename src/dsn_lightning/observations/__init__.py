"""Observation networks: section clips (..., M, N, C, T, H, W) -> policy logits (..., M, N).

`ObservationNetwork` states their contract.
"""

from dsn_lightning.observations.attention_set import SetObservation
from dsn_lightning.observations.concat import ConcatObservation
from dsn_lightning.observations.observation_network import ObservationNetwork, check_observation_network
from dsn_lightning.observations.recurrent import RecurrentObservation
from dsn_lightning.observations.section_agreement import SectionObservation
from dsn_lightning.observations.shared import SharedObservation
from dsn_lightning.observations.video_transformer import TransformerObservation
from dsn_lightning.observations.whole_video import VideoObservation

__all__ = [
    "ConcatObservation",
    "ObservationNetwork",
    "RecurrentObservation",
    "SectionObservation",
    "SetObservation",
    "SharedObservation",
    "TransformerObservation",
    "VideoObservation",
    "check_observation_network",
]
