"""Logistic regression on frozen features: where a classification layer starts, and what its network has to beat."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dsn_lightning.metrics import top_k_hits

_INVERSE_PENALTY = 0.1
"""C of scikit-learn, for features of mean 0 and variance 1."""
_MAX_ITERATIONS = 1000
_NEVER = -100.0
"""Logit of a class without training videos."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LinearProbe:
    """A linear layer: features (V, D) -> logits (V, J)."""

    weight: Array  # (J, D)
    bias: Array  # (J,)

    def top1(self, features: Array, targets: Array) -> float:
        """Return the share of videos, in [0, 1], whose answer is one of their labels; targets as in a batch, (V, J)."""
        scores = features @ self.weight.T + self.bias
        return float(top_k_hits(torch.from_numpy(scores), torch.from_numpy(targets), 1).float().mean())


def fit_linear_probe(features: Array, targets: Array) -> LinearProbe:
    """Fit multinomial logistic regression (scikit-learn's, C = 0.1) to standardised features.

    Args:
        features: of training videos, (V, D).
        targets: their targets, (V, J), as in a batch. A video with several labels counts as one video of each, with a
            part of its weight.

    Raises:
        ValueError: the videos have fewer than two classes.
    """
    video, label = targets.nonzero()
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MAX_ITERATIONS)
    model.fit(scaler.transform(features[video]), label, sample_weight=targets[video, label])
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn has the difference of the two classes
        coefficients, intercepts = (np.stack([-one[0] / 2, one[0] / 2]) for one in (coefficients, intercepts))
    weight = np.zeros((targets.shape[1], features.shape[1]))
    bias = np.full(targets.shape[1], _NEVER)
    weight[model.classes_] = coefficients / scaler.scale_
    bias[model.classes_] = intercepts - weight[model.classes_] @ scaler.mean_
    return LinearProbe(weight.astype(np.float32), bias.astype(np.float32))
