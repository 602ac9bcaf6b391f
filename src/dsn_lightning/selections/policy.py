"""The most probable clip of each section under a trained sampler: DSN and DSN-f (Table I)."""

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.selections.scheme import Scheme, SectionGrid, VideoScores, take_best
from dsn_lightning.selections.selection import Kind
from dsn_lightning.video.sections import IntArray


def keeps_something(logits: NDArray[np.floating], nothing: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which sections a policy keeps a clip of, bool (M,): those where a clip is the most probable arm.

    If skipping is the most probable arm of every section, the one whose clips have the highest probability is kept.

    Args:
        logits: of the clips, (M, N).
        nothing: logits of skipping, (M,).

    >>> clips = np.log([[0.2, 0.1], [0.1, 0.3]])
    >>> keeps_something(clips, np.log([0.1, 0.6])).tolist(), keeps_something(clips, np.log([0.7, 0.6])).tolist()
    ([True, False], [False, True])
    """
    logits, nothing = logits.astype(np.float64), nothing.astype(np.float64)
    keeps = logits.max(-1) >= nothing
    if not keeps.any():
        keeps[(np.logaddexp.reduce(logits, axis=-1) - nothing).argmax()] = True
    return np.asarray(keeps)


DSN_SAMPLER = "dsn"
"""The sampler of the paper's DSN, trained together with its classifier; the paper's tables report it as "DSN"."""


class Policy(SectionGrid):
    """The most probable clip of each section under a trained policy (Sec. III-B).

    Args:
        sampler: name of the sampler, which is also the name of the method: ``dsn``, ``dsn_fixed``, or another one.
        classifiers: names of the classifiers to evaluate, the main one first.
    """

    kind: Kind = "learned"

    def __init__(self, sampler: str, classifiers: tuple[str, ...]) -> None:
        self.name = sampler
        self.sampler: str | None = sampler
        self.classifiers = tuple(classifiers)

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the most probable clips, (1, M), or (1, K) of the K <= M sections that are not skipped."""
        of_scheme = scheme.num_sections, scheme.clips_per_section
        logits = scores.policies[str(self.sampler)][of_scheme].astype(np.float64)
        kept = take_best(scheme.grid(scores.num_frames), logits)
        nothing = scores.nothing.get(str(self.sampler), {}).get(of_scheme)
        return kept if nothing is None else kept[:, keeps_something(logits, nothing)]
