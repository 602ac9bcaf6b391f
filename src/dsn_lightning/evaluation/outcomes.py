"""The predictions of each method for every video, and evaluations of the same videos brought together."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.exact_oracle import ExactOracle
from dsn_lightning.evaluation.results import FIELDS, Row, hit_counts, select_and_classify
from dsn_lightning.evaluation.scores import ClipScores, sampler_network
from dsn_lightning.evaluation.splits import COUNTS, varies
from dsn_lightning.evaluation.splits import FIGURES as ROW_FIGURES
from dsn_lightning.selections import Kind, MostConfident, Oracle, Scheme, Selection, Uniform, VideoScores


@dataclass(frozen=True, order=True)
class Method:
    """A way to choose clips, and the classifier that is evaluated on them."""

    selection: str  #: name of the selection method
    classifier: str  #: its name; ``control:dsn`` is that of the other training ``control``
    M: int  #: sections
    N: int  #: candidates in a section

    def __str__(self) -> str:
        return f"{self.selection} ({self.classifier}'s classifier), {self.M}:{self.N}"

    @property
    def training(self) -> str:
        """Label of the other training that the method belongs to, see `add_training`; empty for the first one."""
        return self.classifier.rpartition(":")[0]


@dataclass(frozen=True)
class Outcome:
    """The predictions of a method for each video."""

    #: float32 (D, V, J), class probabilities of each of D draws; D = 1 unless the method is random
    probabilities: NDArray[np.float32]
    #: (V,), kept clips of each video that show the action, over all draws; None without annotated spans
    hits: NDArray[np.int64] | None
    #: (V,), kept clips in sections that contain the action; None without annotated spans
    possible_hits: NDArray[np.int64] | None
    kind: Kind  #: kind of the selection method
    sampler: str | None  #: name of the network that chose the clips; None if no network did
    row: Row  #: fields of ``results.json``
    #: (V, D, K), start times of the kept clips, padded with NaN for a video that keeps fewer than others; None
    #: for fused streams, each of which keeps its own clips
    kept_seconds: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class StoredEvaluation:
    """One evaluation: the outcomes of all its methods on the same V videos."""

    name: str  #: used in messages
    classes: tuple[str, ...]  #: (J,) names
    video_id: NDArray[np.str_]  #: (V,)
    targets: NDArray[np.float32]  #: (V, J), positive at the labels
    test: Mapping[str, Any]  #: settings of the test; only evaluations with equal settings can be compared
    networks: Mapping[str, str]  #: name of a network -> hash of its weights
    #: by method; beside an oracle, those of `WITHOUT_ROWS` with the same classifier and scheme
    outcomes: Mapping[Method, Outcome]
    policy_messages: tuple[str, ...] = ()  #: lines about samplers whose policy is uniform or has collapsed
    left_out: tuple[str, ...] = ()  #: methods of the results whose outcomes could not be computed, with the reason


WITHOUT_ROWS = (MostConfident.name, ExactOracle.name)
"""Methods that statistics compare others with and that have no row in the results."""

NOT_SELECTED = "its selection method was not requested or is unknown"
"""A reason why a row of the results is left out."""

_TEST = ("frames_per_clip", "frame_stride", "placement", "crops", "consensus", "dense_clips", "random_draws")
_TEST_OF_TRAININGS = ("crops", "consensus", "dense_clips", "random_draws")  # equal in two trainings; clips may differ
_EQUAL_IN_SEEDS = tuple(field for field in FIELDS if field not in (*ROW_FIGURES, *COUNTS, "seed"))


def outcome_of(
    scores: ClipScores, videos: Sequence[VideoScores], selection: Selection, scheme: Scheme, row: Row
) -> Outcome:
    """Return the outcome of one row's method; ``videos`` are the scores, video by video."""
    starts, draws = select_and_classify(videos, selection, scheme, row["classifier"], consensus=scores.consensus)
    counts = hit_counts(scores, starts, scheme)  # (V, 2)
    hits, possible_hits = (None, None) if counts is None else (counts[:, 0], counts[:, 1])
    kept_seconds = np.full((len(starts), len(draws), max(kept.shape[1] for kept in starts)), np.nan)
    for seconds, kept, fps in zip(kept_seconds, starts, scores.fps, strict=True):
        seconds[:, : kept.shape[1]] = kept / fps
    probabilities = torch.stack(draws).numpy()
    return Outcome(probabilities, hits, possible_hits, selection.kind, selection.sampler, row, kept_seconds)


def evaluation_of(
    name: str, rows: Sequence[Row], scores: ClipScores, selections: Iterable[Selection]
) -> StoredEvaluation:
    """Return the outcomes behind the rows of a ``results.json``, computed from its clip scores.

    Rows of methods that are not among ``selections`` are left out, with the reason.
    """
    by_name = {selection.name: selection for selection in selections}
    videos = scores.videos()
    outcomes: dict[Method, Outcome] = {}
    left_out = []
    for row in rows:
        method = Method(row["selection"], row["classifier"], row["M"], row["N"])
        if method.selection not in by_name:
            left_out.append(f"{method}: {NOT_SELECTED}")
            continue
        scheme = scores.scheme(method.M, method.N)
        try:
            outcomes[method] = outcome_of(scores, videos, by_name[method.selection], scheme, row)
        except KeyError:
            left_out.append(f"{method}: the scores of its clips are not stored; were its settings different?")
    outcomes |= _outcomes_without_rows(scores, videos, outcomes)
    return StoredEvaluation(
        name=name,
        classes=tuple(str(c) for c in scores.classes),
        video_id=scores.video_id,
        targets=scores.targets,
        test={field: getattr(scores, field) for field in _TEST},
        networks=dict(zip(map(str, scores.network_name), map(str, scores.network_hash), strict=True)),
        outcomes=outcomes,
        left_out=tuple(left_out),
    )


def _outcomes_without_rows(
    scores: ClipScores, videos: Sequence[VideoScores], outcomes: Mapping[Method, Outcome]
) -> dict[Method, Outcome]:
    """Return the outcomes of `WITHOUT_ROWS` beside each oracle; the bound needs uniform clips too."""
    found = {}
    for method, outcome in outcomes.items():
        if method.selection != Oracle.name:
            continue
        selections: list[Selection] = [MostConfident()]
        if replace(method, selection=Uniform.name) in outcomes:
            selections.append(ExactOracle(scores.consensus))
        for selection in selections:
            row = {**outcome.row, **dict.fromkeys(ROW_FIGURES), "selection": selection.name}
            scheme = scores.scheme(method.M, method.N)
            found[replace(method, selection=selection.name)] = outcome_of(scores, videos, selection, scheme, row)
    return found


def align(evaluations: Sequence[StoredEvaluation]) -> list[StoredEvaluation]:
    """Return evaluations of several seeds with the videos in the first one's order and only the common methods.

    Raises:
        UsageError: they differ in classes, videos, labels or test; the rows of a method differ in more than the seed;
            or two evaluations have the same networks, which would hide the spread over seeds.
    """
    if not evaluations:
        raise UsageError("nothing to compare: give at least one evaluation")
    first = evaluations[0]
    aligned = [_in_order_of(first, evaluation) for evaluation in evaluations]
    for earlier, later in itertools.combinations(evaluations, 2):
        if later.networks == earlier.networks:
            raise UsageError(f"{earlier.name} and {later.name} evaluate the same networks; give only one of them")
    common = [method for method in first.outcomes if all(method in evaluation.outcomes for evaluation in aligned)]
    if not common:
        names = " and ".join(evaluation.name for evaluation in evaluations)
        raise UsageError(f"{names} have no method (selection, classifier, M and N) in common")
    for method, evaluation, field in itertools.product(common, aligned[1:], _EQUAL_IN_SEEDS):
        value, expected = evaluation.outcomes[method].row.get(field), aligned[0].outcomes[method].row.get(field)
        rows = [aligned[0].outcomes[method].row, evaluation.outcomes[method].row]
        if value != expected and not any(varies(row, field) for row in rows):
            difference = f"{method} has {field}={value} and {field}={expected}"
            raise UsageError(f"{evaluation.name} and {first.name} differ in more than the seed: {difference}")
    for i, evaluation in enumerate(aligned):
        missing = [f"{method}: not in every evaluation" for method in evaluation.outcomes if method not in common]
        outcomes = {method: evaluation.outcomes[method] for method in common}
        aligned[i] = replace(evaluation, outcomes=outcomes, left_out=(*evaluation.left_out, *missing))
    return aligned


def add_training(evaluation: StoredEvaluation, label: str, other: StoredEvaluation) -> StoredEvaluation:
    """Return the evaluation with the methods of another training on the same videos, with the same seed.

    With the label ``control``, its classifiers are named as in ``control:dsn``. Methods whose networks are the same in
    both are not added. The other evaluation may have other clips (T, stride, placement), and more videos, as a stream
    has that was fused: then only the videos of ``evaluation`` count, which ``left_out`` reports.

    Raises:
        UsageError: they differ in classes, videos, labels or test, or have all networks in common.
    """
    aligned = _in_order_of(evaluation, other, fields=_TEST_OF_TRAININGS, may_have_more_videos=True)

    def has_other_networks(method: Method, outcome: Outcome) -> bool:
        names = [method.classifier]
        if outcome.sampler is not None:
            names += [outcome.sampler, sampler_network(outcome.sampler)]
        return any(other.networks.get(name) != evaluation.networks.get(name) for name in names)

    added = {
        replace(method, classifier=f"{label}:{method.classifier}"): outcome
        for method, outcome in aligned.outcomes.items()
        if has_other_networks(method, outcome)
    }
    if not added:
        raise UsageError(f"{other.name} has the same networks as {evaluation.name}; give another training's evaluation")
    left_out = [f"{label}: {reason}" for reason in other.left_out]
    if more := len(other.video_id) - len(evaluation.video_id):
        left_out.append(f"{label}: {more} videos that {evaluation.name} was not tested on")
    return replace(
        evaluation,
        name=f"{evaluation.name} + {label}={other.name}",
        outcomes={**evaluation.outcomes, **added},
        networks={**evaluation.networks, **{f"{label}:{name}": value for name, value in other.networks.items()}},
        left_out=(*evaluation.left_out, *left_out),
    )


def _in_order_of(
    first: StoredEvaluation,
    evaluation: StoredEvaluation,
    *,
    fields: Sequence[str] | None = None,
    may_have_more_videos: bool = False,
) -> StoredEvaluation:
    """Return the evaluation with the videos of ``first``, in their order; settings ``fields`` (None: all) are equal."""
    if evaluation.classes != first.classes:
        raise UsageError(f"{evaluation.name} and {first.name} have different classes")
    for field in dict.fromkeys((*first.test, *evaluation.test)) if fields is None else fields:
        value, expected = evaluation.test.get(field), first.test.get(field)
        if value != expected:
            raise UsageError(f"{evaluation.name} was tested with {field}={value}, {first.name} with {field}={expected}")
    index = {video: v for v, video in enumerate(evaluation.video_id)}
    missing = [video for video in first.video_id if video not in index]
    if missing or (len(evaluation.video_id) != len(first.video_id) and not may_have_more_videos):
        difference = f"{missing[0]} is missing" if missing else f"it has {len(evaluation.video_id)} videos"
        remedy = "comparisons are made video by video, so evaluate both on the same videos"
        raise UsageError(f"{evaluation.name} was not tested on the same videos as {first.name}: {difference}; {remedy}")
    order = np.array([index[video] for video in first.video_id], np.int64)
    differ = ((evaluation.targets[order] > 0) != (first.targets > 0)).any(1)
    if differ.any():
        video = first.video_id[differ][0]
        raise UsageError(f"{evaluation.name} and {first.name} have different labels for video {video}")
    outcomes = {}
    for method, outcome in evaluation.outcomes.items():
        by_video = {name: getattr(outcome, name) for name in ("hits", "possible_hits", "kept_seconds")}
        reordered: dict[str, Any] = {
            name: None if values is None else values[order] for name, values in by_video.items()
        }
        outcomes[method] = replace(outcome, probabilities=outcome.probabilities[:, order], **reordered)
    return replace(evaluation, video_id=first.video_id, targets=evaluation.targets[order], outcomes=outcomes)
