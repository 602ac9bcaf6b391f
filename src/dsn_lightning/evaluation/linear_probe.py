"""Logistic regression on frozen features: what a classifier that was trained further has to beat."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dsn_lightning.metrics import top_k_hits

_INVERSE_PENALTY = 0.1
"""C of scikit-learn, for features of mean 0 and variance 1."""
_MAX_ITERATIONS = 1000

Features = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Features of videos (V, D), and their targets (V, J), as in a batch."""


def linear_probe_top1(train: Features, test: Features) -> float:
    """Return the top-1 rate, in [0, 1], on test videos of logistic regression on the features of training videos.

    Features are standardised. A video with several labels counts as one video of each with a part of its weight, and is
    right if the answer is one of its labels.

    Raises:
        ValueError: the training videos have fewer than two classes.
    """
    features, targets = train
    video, label = targets.nonzero()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MAX_ITERATIONS))
    model.fit(features[video], label, logisticregression__sample_weight=targets[video, label])
    scores = np.zeros_like(test[1])
    scores[:, model.classes_] = model.predict_proba(test[0])
    return float(top_k_hits(torch.from_numpy(scores), torch.from_numpy(test[1]), 1).float().mean())
