"""Selection methods: the first clip of each section, and the policy of a network with a name of its own."""

import numpy as np

from dsn_lightning.selections import Scheme, VideoScores


class FirstClip:
    """The first clip of each section."""

    name = "first_clip"
    kind = "reference"
    sampler = None
    classifiers = ("dsn",)

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> np.ndarray:
        return scheme.grid(num_frames)[:, 0]

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> np.ndarray:
        return scheme.grid(scores.num_frames)[None, :, 0]
