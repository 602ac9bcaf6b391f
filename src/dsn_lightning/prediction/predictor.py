"""From a video to an answer: the observation network's frames are decoded first, then those of the chosen clips.

The steps are those of an evaluation (`dsn_lightning.evaluation.scoring`), which scores all clips, so the answers are
the same. Here the classifier sees only the clips that the policy chose, and nothing is decoded for the others but the
frames that the observation network looks at.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsn_lightning.algorithms.dsn import DSN, keep_one
from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.observations.observation_network import frames_looked_at
from dsn_lightning.prediction.answer import Clip, Prediction, Scores, best
from dsn_lightning.video.clip_reader import ClipReader, FrameReader
from dsn_lightning.video.decoder import Frames
from dsn_lightning.video.sections import IntArray, Placement, section_clip_starts
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""What the networks compute in -> the type of autocast."""


@dataclass(frozen=True)
class Effort:
    """What a video may cost.

    Attributes:
        num_sections: M, sections of the video; the classifier sees at most one clip of each.
        clips_per_section: N, candidates in each, which the observation network looks at.
        confidence: classify sections, the one with the most certain policy first, until the averaged answer has this
            probability, in (0, 1]; None classifies all.
        seconds: begin with no further section after this time from the opening of the file; None: no limit. At least
            one is classified.
    """

    num_sections: int
    clips_per_section: int
    confidence: float | None = None
    seconds: float | None = None

    @property
    def may_stop_early(self) -> bool:
        """Whether sections are classified one after the other."""
        return self.confidence is not None or self.seconds is not None


@dataclass(frozen=True)
class ClipCosts:
    """Multiply-adds of one clip in each network."""

    classifier: float
    observation: float

    def gmacs(self, *, classified: int, candidates: int) -> float:
        """Return the multiply-adds of a video, in 10^9."""
        return (classified * self.classifier + candidates * self.observation) / 1e9


@dataclass(frozen=True)
class Chosen:
    """The answer for one video before it is described.

    Attributes:
        starts: first frames of the candidates, (M, N).
        policy: their probabilities in their sections, (M, N); they sum to less than 1 if the sampler may skip sections.
        kept: number of the most probable clip of each section, (M,).
        order: the sections that were classified, in this order, (K,).
        clip_scores: class probabilities of the classified clips, in the same order, (K, J).
        scores: averaged class probabilities (Eq. 4), (J,).
    """

    starts: IntArray
    policy: Scores
    kept: IntArray
    order: IntArray
    clip_scores: Scores
    scores: Scores


class Predictor:
    """A trained DSN that answers for single videos.

    Args:
        model: DSN or DSN-f, in eval mode, on its device.
        reader: reads whole clips (T frames) at the middle window.
        classes: names of the classes.
        placement: what was divided into sections in training.
        costs: of a clip.
        precision: one of `PRECISIONS`.
    """

    def __init__(
        self,
        model: DSN,
        reader: ClipReader,
        *,
        classes: Sequence[str],
        placement: Placement,
        costs: ClipCosts,
        precision: str = "32-true",
    ) -> None:
        self.model = model.eval()
        self.reader = reader
        self.classes = list(classes)
        self.placement: Placement = placement
        self.costs = costs
        self.precision = precision
        self.frames_looked_at = frames_looked_at(model.observation, reader.frames_per_clip)

    def reading(self, read: FrameReader) -> "Predictor":
        """Return a predictor with the same networks that reads frames in another way."""
        other = copy.copy(self)
        other.reader = replace(self.reader, read=read)
        return other

    def __call__(self, video: Video, effort: Effort, *, name: str, started: float | None = None) -> Prediction:
        """Return the answer for a video.

        Args:
            video: on its time line.
            effort: what it may cost.
            name: the path as it was given.
            started: when the file was opened (`time.perf_counter`); None: now.

        Raises:
            VideoError: the video cannot be read, or a score is not finite.
        """
        started = time.perf_counter() if started is None else started
        indexed = time.perf_counter()
        frames = DecodedOnce(self.reader.read)
        chosen = self.choose(video, effort, frames, started=started)
        label, score = (top5 := best(chosen.scores, self.classes))[0]
        return Prediction(
            video=name,
            label=label,
            score=score,
            top5=top5,
            duration_seconds=video.num_frames / video.fps,
            clips=tuple(self._clips(video, chosen)),
            gmacs=self.costs.gmacs(classified=len(chosen.order), candidates=chosen.starts.size),
            seconds=time.perf_counter() - started,
            decoding_seconds=indexed - started + frames.seconds,
        )

    @torch.inference_mode()
    def choose(self, video: Video, effort: Effort, frames: "DecodedOnce", *, started: float) -> Chosen:
        """Choose a clip of each section, and classify the chosen clips as far as the effort goes."""
        starts, policy, sections = self._look(video, effort, frames)
        kept = policy.argmax(-1)
        order = sections[np.argsort(-policy.max(-1)[sections], kind="stable")] if effort.may_stop_early else sections
        logits: list[Tensor] = []
        whole = replace(self.reader, read=frames)
        for sections in order[:, None] if effort.may_stop_early else [order]:
            clips = whole(video, starts[sections, kept[sections]]).to(self.model.device)
            with self._autocast():
                logits += self.model.classify(clips)
            scores = _finite(self._average(logits), video)
            if effort.confidence is not None and scores.max() >= effort.confidence:
                break
            if effort.seconds is not None and time.perf_counter() - started >= effort.seconds:
                break
        clip_scores = _numpy(torch.stack(logits).double().softmax(-1))
        return Chosen(starts, policy, kept, order[: len(logits)], clip_scores, scores)

    def look(self, video: Video, effort: Effort) -> tuple[IntArray, Scores, IntArray]:
        """Return the first frames of the candidates and the policy over them, (M, N), and the sections of kept clips.

        Nothing is classified.
        """
        with torch.inference_mode():
            return self._look(video, effort, DecodedOnce(self.reader.read))

    def _look(self, video: Video, effort: Effort, frames: "DecodedOnce") -> tuple[IntArray, Scores, IntArray]:
        """Decode what the observation network sees of the candidates.

        Returns:
            The first frames of the candidates and the policy over them, both (M, N), and the sections of which a clip
            is kept, ascending.
        """
        starts = section_clip_starts(
            video.num_frames,
            num_sections=effort.num_sections,
            clips_per_section=effort.clips_per_section,
            clip_span=self.reader.clip_span,
            placement=self.placement,
        )
        count, stride = self.frames_looked_at, self.reader.frame_stride
        skipped = (self.reader.frames_per_clip - count) // 2 * stride  # it looks at the middle frames
        look = replace(self.reader, read=frames, frames_per_clip=count)
        clips = look(video, starts + skipped)[None].to(self.model.device)
        with self._autocast():
            logits = self.model.policy_logits(clips).double()  # (1, M, A)
        policy = _finite(_numpy(logits[0].softmax(-1)), video)
        action = logits.argmax(-1) if logits.shape[-1] == starts.shape[1] else keep_one(logits, logits.argmax(-1))
        return starts, policy[:, : starts.shape[1]], np.flatnonzero(_numpy(action[0]) < starts.shape[1])

    def _average(self, logits: Sequence[Tensor]) -> Scores:
        """Return the averaged class probabilities (J,) of clips from their logits (J,)."""
        return _numpy(consensus_log_probabilities(torch.stack(list(logits)), consensus=self.model.consensus).exp())

    def _autocast(self) -> AbstractContextManager[Any]:
        kind = PRECISIONS[self.precision]
        return nullcontext() if kind is None else torch.autocast(self.model.device.type, dtype=kind)

    def _clips(self, video: Video, chosen: Chosen) -> Iterator[Clip]:
        times = video.info.times
        answers = {
            int(m): best(row, self.classes, 1)[0] for m, row in zip(chosen.order, chosen.clip_scores, strict=True)
        }
        for (m, n), start in np.ndenumerate(chosen.starts):
            selected = m in answers and bool(n == chosen.kept[m])
            label, score = answers[m] if selected else (None, None)
            seconds = float(times[video.source[start]])
            yield Clip(m, n, int(start), seconds, float(chosen.policy[m, n]), selected, label, score)


class DecodedOnce:
    """Keeps the frames of one video that another reader decoded, so that chosen clips share those already seen.

    Attributes:
        seconds: that decoding has taken so far.
    """

    def __init__(self, read: FrameReader) -> None:
        self._read = read
        self._frames: dict[int, NDArray[Any]] = {}
        self.seconds = 0.0

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the file's frames ``indices``, uint8 (F, H, W, C)."""
        missing = np.array([index for index in indices.tolist() if index not in self._frames], np.int64)
        if len(missing):
            before = time.perf_counter()
            self._frames.update(zip(missing.tolist(), self._read(video, missing, size), strict=True))
            self.seconds += time.perf_counter() - before
        return np.stack([self._frames[index] for index in indices.tolist()])


def _finite(scores: Scores, video: Video) -> Scores:
    """Return probabilities, or raise the error of the video if a network gave NaN or infinity."""
    if not np.isfinite(scores).all():
        raise VideoError(video.file, "the networks' scores are not finite; check the weights, or use another precision")
    return scores


def _numpy(values: Tensor) -> Scores:
    return np.asarray(values.double().cpu())
