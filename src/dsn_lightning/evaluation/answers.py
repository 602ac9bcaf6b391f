"""What one selection method keeps and predicts, video by video: pure functions of the clip scores."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.consensus import Consensus
from dsn_lightning.evaluation.results import Row, answers_of
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.splits import HEADINGS
from dsn_lightning.selections import Scheme, Selection, VideoScores, softmax
from dsn_lightning.video.sections import IntArray


@dataclass(frozen=True)
class KeptClip:
    """A clip that a selection method keeps."""

    section: int  #: index in [0, M)
    start_frame: int  #: position on the video's time line
    start_seconds: float  #: likewise, in seconds
    #: (N,), the sampler's probabilities of the section's clips; None for a method without a policy
    policy: NDArray[np.float64] | None
    clip: int | None  #: index of the kept clip in the section, in [0, N); None for a method without a policy

    @property
    def probability(self) -> float | None:
        """The sampler's probability of this clip."""
        return None if self.policy is None or self.clip is None else float(self.policy[self.clip])


def predicted_classes(
    scores: ClipScores, selection: Selection, scheme: Scheme, classifier: str, *, consensus: Consensus
) -> NDArray[np.int64]:
    """Return the predicted class of each video, (V,); for a random method, that of its first draw."""
    kept = [video.logits_at(classifier, selection.select(video, scheme, classifier)[0]) for video in scores.videos()]
    return np.asarray(answers_of(kept, consensus=consensus).argmax(-1).numpy(), np.int64)


def kept_clips(
    scores: ClipScores, selection: Selection, scheme: Scheme, classifier: str, chosen: Iterable[int]
) -> list[list[KeptClip]]:
    """Return the kept clips of each chosen video, in the order of time."""
    videos = scores.videos()
    return [_kept_of(videos[v], float(scores.fps[v]), selection, scheme, classifier) for v in chosen]


def _kept_of(video: VideoScores, fps: float, selection: Selection, scheme: Scheme, classifier: str) -> list[KeptClip]:
    grid: IntArray = scheme.grid(video.num_frames)  # (M, N)
    policies = video.policies.get(str(selection.sampler), {})
    logits = policies.get((scheme.num_sections, scheme.clips_per_section))
    policy = None if logits is None else softmax(logits)
    kept = np.sort(selection.select(video, scheme, classifier)[0])
    clips = []
    for start, section in zip(kept.tolist(), scheme.sections_of(kept, video.num_frames).tolist(), strict=True):
        clip = None if policy is None else int((grid[section] == start).argmax())
        clips.append(KeptClip(section, start, start / fps, None if policy is None else policy[section], clip))
    return clips


def sheet_videos(num_videos: int, *, at_most: int = 6, seed: int = 0) -> NDArray[np.int64]:
    """Return the indices of the videos on a contact sheet, ascending: chosen by ``seed``, not by hand.

    >>> sheet_videos(100).tolist(), sheet_videos(2).tolist()
    ([5, 16, 20, 36, 82, 93], [0, 1])
    """
    return np.sort(np.random.default_rng(seed).permutation(num_videos)[:at_most])


def confusion_matrix(targets: NDArray[np.float32], predicted: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Count the videos of each class (row) by predicted class (column), (J, J).

    None if some video has several labels or none.

    >>> confusion_matrix(np.eye(2, dtype=np.float32)[[0, 0, 1]], np.array([0, 1, 1]))
    array([[1, 1],
           [0, 1]])
    """
    if ((targets > 0).sum(1) != 1).any():
        return None
    counts = np.zeros((targets.shape[1],) * 2, np.int64)
    np.add.at(counts, (targets.argmax(1), predicted), 1)
    return counts


def row_figures(rows: Iterable[Row], main_classifiers: Mapping[str, str], *, prefix: str = "test") -> dict[str, float]:
    """Return the figures of all rows under names such as ``test/dsn/M3/top1``.

    ``main_classifiers``: selection method -> its main classifier; the names of rows of any other classifier contain it.

    >>> row = {"selection": "uniform", "classifier": "dsn", "M": 3, "top1": 0.5}
    >>> row_figures([row], {"uniform": "baseline"})
    {'test/uniform+dsn/M3/top1': 0.5}
    """
    figures: dict[str, float] = {}
    for row in rows:
        name = row["selection"]
        if row["classifier"] != main_classifiers[name]:
            name += f"+{row['classifier']}"
        figures |= {f"{prefix}/{name}/M{row['M']}/{figure}": value for figure, value in figures_of(row).items()}
    return figures


def figures_of(row: Row) -> dict[str, float]:
    """Return the metrics of a row that apply, and its cost in GMACs."""
    return {figure: float(row[figure]) for figure in (*HEADINGS, "gmacs") if row.get(figure) is not None}
