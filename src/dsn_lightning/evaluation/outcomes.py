"""What each method makes of every video, and evaluations of the same videos laid side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.results import FIELDS, Row, draw_probabilities, hit_counts
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.splits import FIGURES as ROW_FIGURES
from dsn_lightning.selections.most_confident import MostConfident
from dsn_lightning.selections.scheme import Scheme, Selection, VideoScores


@dataclass(frozen=True, order=True)
class Method:
    """A way to choose clips, and who classifies them.

    Attributes:
        selection: name of the selection method.
        classifier: whose classifier answers.
        M: sections.
        N: candidates of a section.
    """

    selection: str
    classifier: str
    M: int
    N: int

    def __str__(self) -> str:
        return f"{self.selection} ({self.classifier}'s classifier), {self.M}:{self.N}"


@dataclass(frozen=True)
class Outcome:
    """What a method makes of each video.

    Attributes:
        probabilities: float32 (D, V, J), class probabilities of each of D draws; D = 1 unless the method is random.
        hits: (V,), kept clips of each video that show the action, over all draws; None where no span is known.
        held: (V,), kept clips in sections that hold it, which `hits` is counted among; None likewise.
        sampler: whose policy or scores chose the clips; None if nobody's.
        row: fields of ``results.json``.
    """

    probabilities: NDArray[np.float32]
    hits: NDArray[np.int64] | None
    held: NDArray[np.int64] | None
    sampler: str | None
    row: Row


@dataclass(frozen=True)
class StoredEvaluation:
    """One evaluation: the outcomes of all its methods on the same V videos.

    Attributes:
        name: for messages.
        classes: (J,) names.
        video_id: (V,).
        targets: (V, J), positive at the labels.
        test: how the test was made; evaluations go together only if it is the same.
        networks: hashes of the weights that gave the scores, by name.
        outcomes: by method; where the oracle is, also `MostConfident` with the same classifier and scheme, which has
            no row.
        left_out: methods of the results that could not be worked out again, with the reason.
    """

    name: str
    classes: tuple[str, ...]
    video_id: NDArray[np.str_]
    targets: NDArray[np.float32]
    test: Mapping[str, Any]
    networks: Mapping[str, str]
    outcomes: Mapping[Method, Outcome]
    left_out: tuple[str, ...] = ()


def take(outcome: Outcome, places: NDArray[np.int64]) -> Outcome:
    """Return what is known of the videos at ``places``, (V',), in their order."""
    hits, held = (None if counts is None else counts[places] for counts in (outcome.hits, outcome.held))
    return replace(outcome, probabilities=outcome.probabilities[:, places], hits=hits, held=held)


NOT_WANTED = "its selection method was not asked for or is not known here"
"""Why a row of the results may be left out."""

_TEST = ("frames_per_clip", "frame_stride", "crops", "consensus", "dense_clips", "random_draws")
_HOW = ("crops", "consensus", "dense_clips", "random_draws")  # what two trainings must share, too
_SAME = tuple(f for f in FIELDS if f not in (*ROW_FIGURES, "top5", "seed", "videos", "videos_missing", "videos_failed"))


def outcome_of(
    scores: ClipScores, videos: Sequence[VideoScores], selection: Selection, scheme: Scheme, row: Row
) -> Outcome:
    """Return what one row's method makes of each video.

    Args:
        scores: of all videos.
        videos: the same, video by video.
        selection: the method.
        scheme: of the row's test.
        row: of the results.
    """
    classifier = row["classifier"]
    starts = [selection.select(video, scheme, classifier) for video in videos]  # each (D, K)
    draws = [
        draw_probabilities(videos, [own[d] for own in starts], classifier, consensus=scores.consensus).numpy()
        for d in range(len(starts[0]))
    ]
    counts = hit_counts(scores, starts, scheme)  # (V, 2)
    hits, held = (None, None) if counts is None else (counts[:, 0], counts[:, 1])
    return Outcome(np.stack(draws), hits, held, selection.sampler, row)


def evaluation_of(
    name: str, rows: Sequence[Row], scores: ClipScores, selections: Iterable[Selection]
) -> StoredEvaluation:
    """Return the outcomes behind the rows of a ``results.json``, from the clip scores that it came from.

    Args:
        name: for messages.
        rows: of the results.
        scores: that they came from.
        selections: the methods; rows of others are left out and named.
    """
    by_name = {selection.name: selection for selection in selections}
    videos = scores.videos()
    outcomes: dict[Method, Outcome] = {}
    left_out = []
    for row in rows:
        method = Method(row["selection"], row["classifier"], row["M"], row["N"])
        if method.selection not in by_name:
            left_out.append(f"{method}: {NOT_WANTED}")
            continue
        scheme = scores.scheme(method.M, method.N)
        try:
            outcomes[method] = outcome_of(scores, videos, by_name[method.selection], scheme, row)
        except KeyError:
            left_out.append(f"{method}: the scores of what it keeps are not stored; had it other settings?")
        if method.selection == "oracle":  # its candidates are scored, so this is known as well
            surest = MostConfident()
            described = {**row, **dict.fromkeys(ROW_FIGURES), "top5": None, "selection": surest.name}
            own = replace(method, selection=surest.name)
            outcomes[own] = outcome_of(scores, videos, surest, scheme, described)
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


def align(evaluations: Sequence[StoredEvaluation]) -> list[StoredEvaluation]:
    """Return the evaluations with their videos in the first one's order and with the methods that all have.

    Raises:
        UsageError: they differ in classes, videos, labels or test; a method's rows differ in more than the seed; or two
            of them are of the same networks, which would make the spread over seeds nothing.
    """
    if not evaluations:
        raise UsageError("nothing to compare: give at least one evaluation")
    first = evaluations[0]
    aligned = [_in_order_of(first, own) for own in evaluations]
    for i, own in enumerate(evaluations):
        for other in evaluations[:i]:
            if own.networks == other.networks:
                raise UsageError(f"{other.name} and {own.name} are evaluations of the same networks; give one of them")
    shared = [method for method in first.outcomes if all(method in own.outcomes for own in aligned)]
    if not shared:
        names = " and ".join(own.name for own in evaluations)
        raise UsageError(f"{names} have no method (selection, classifier, M and N) in common")
    for method in shared:
        _refuse_other_rows(method, aligned)
    return [_only(own, shared) for own in aligned]


def beside(own: StoredEvaluation, label: str, other: StoredEvaluation) -> StoredEvaluation:
    """Return ``own`` with the methods of another training's evaluation on the same videos, for a control.

    Their classifiers get names such as ``control:dsn``. What answers with the same networks in both is left out of the
    other's. It may have other clips (T, stride) and more videos, as a stream has that a fusion is held against: then
    only those of ``own`` count, and that is said in ``left_out``.

    Args:
        own: an evaluation.
        label: of the other one, such as ``control``.
        other: of the same seed.

    Raises:
        UsageError: they differ in classes, videos, labels or test, or have every network in common.
    """
    aligned = _in_order_of(own, other, of_another=True)

    def new(method: Method, outcome: Outcome) -> bool:
        names = [name for name in (method.classifier, outcome.sampler, f"{outcome.sampler} sampler") if name]
        return any(other.networks.get(name) != own.networks.get(name) for name in names)

    added = {
        replace(method, classifier=f"{label}:{method.classifier}"): outcome
        for method, outcome in aligned.outcomes.items() if new(method, outcome)
    }  # fmt: skip
    if not added:
        raise UsageError(f"{other.name} has the same networks as {own.name}; give another training's evaluation")
    networks = {**own.networks, **{f"{label}:{name}": value for name, value in other.networks.items()}}
    left_out = [f"{label}: {reason}" for reason in other.left_out]
    if len(other.video_id) > len(own.video_id):
        more = len(other.video_id) - len(own.video_id)
        left_out.append(f"{label}: {more} videos that {own.name} was not tested on")
    return replace(
        own, outcomes={**own.outcomes, **added}, networks=networks, left_out=(*own.left_out, *left_out),
        name=f"{own.name} + {label}={other.name}",
    )  # fmt: skip


def _in_order_of(first: StoredEvaluation, own: StoredEvaluation, *, of_another: bool = False) -> StoredEvaluation:
    """Return ``own`` with the videos of ``first``.

    Args:
        first: another seed, or, if ``of_another``, the evaluation that this one is held against.
        own: what is put in order.
        of_another: see above.
    """
    if own.classes != first.classes:
        raise UsageError(f"{own.name} has other classes than {first.name}")
    for field in _HOW if of_another else dict.fromkeys((*first.test, *own.test)):
        here, there = own.test.get(field), first.test.get(field)
        if here != there:
            raise UsageError(f"{own.name} was tested with {field}={here}, {first.name} with {there}")
    at = {video: v for v, video in enumerate(own.video_id)}
    lacking = [video for video in first.video_id if video not in at]
    if lacking or (len(own.video_id) != len(first.video_id) and not of_another):
        other = f"{lacking[0]} is lacking there" if lacking else f"it has {len(own.video_id)} videos"
        raise UsageError(
            f"{own.name} was tested on other videos than {first.name}: {other}; comparisons are "
            "made video by video, so evaluate both on the same ones"
        )
    order = np.array([at[video] for video in first.video_id], np.int64)
    differ = ((own.targets[order] > 0) != (first.targets > 0)).any(1)
    if differ.any():
        raise UsageError(f"{own.name} and {first.name} have other labels for video {first.video_id[differ][0]}")
    return replace(
        own, video_id=own.video_id[order], targets=own.targets[order],
        outcomes={method: take(outcome, order) for method, outcome in own.outcomes.items()},
    )  # fmt: skip


def _refuse_other_rows(method: Method, evaluations: Sequence[StoredEvaluation]) -> None:
    first = evaluations[0]
    for own in evaluations[1:]:
        for field in _SAME:
            here, there = own.outcomes[method].row.get(field), first.outcomes[method].row.get(field)
            if here != there:
                raise UsageError(
                    f"{own.name} and {first.name} differ in more than the seed: {method} has {field}={here} and {there}"
                )


def _only(own: StoredEvaluation, methods: Sequence[Method]) -> StoredEvaluation:
    left_out = [f"{method}: not in every evaluation" for method in own.outcomes if method not in methods]
    return replace(
        own,
        outcomes={method: own.outcomes[method] for method in methods},
        left_out=(*own.left_out, *left_out),
    )
