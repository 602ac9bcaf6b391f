"""How clips are chosen at test time: one file a method (Table I)."""

from dsn_lightning.selections.max_response import MaxResponse, MostConfident
from dsn_lightning.selections.oracle import Oracle, OracleVideo
from dsn_lightning.selections.policy import DSN_SAMPLER, Policy
from dsn_lightning.selections.random_clips import Random
from dsn_lightning.selections.scheme import Scheme, VideoScores, softmax
from dsn_lightning.selections.selection import BASELINE_CLASSIFIER, DSN_CLASSIFIER, Kind, Selection, check_selection
from dsn_lightning.selections.uniform import Dense, Uniform

__all__ = [
    "BASELINE_CLASSIFIER",
    "DSN_CLASSIFIER",
    "DSN_SAMPLER",
    "Dense",
    "Kind",
    "MaxResponse",
    "MostConfident",
    "Oracle",
    "OracleVideo",
    "Policy",
    "Random",
    "Scheme",
    "Selection",
    "Uniform",
    "VideoScores",
    "check_selection",
    "softmax",
]
