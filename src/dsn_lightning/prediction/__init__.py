"""The deployed path: choose clips by their light frames, classify only those, and say what came out."""

from dsn_lightning.prediction.answer import Clip, Prediction, WindowAnswer
from dsn_lightning.prediction.predictor import Effort, Predictor

__all__ = ["Clip", "Effort", "Prediction", "Predictor", "WindowAnswer"]
