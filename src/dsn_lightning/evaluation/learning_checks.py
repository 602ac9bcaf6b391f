"""Signs that a network has learned nothing: a classifier at chance, a policy that is still uniform or has collapsed."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from dsn_lightning.algorithms.policy_monitor import has_collapsed, is_uniform
from dsn_lightning.evaluation.outcomes import WITHOUT_ROWS, Method, Outcome, StoredEvaluation
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.metrics import top_k_hits


def learning_warnings(evaluations: Sequence[StoredEvaluation]) -> tuple[dict[str, float], list[str]]:
    """Return the classifiers at chance in every evaluation, with their mean top-1, and all lines of warning.

    The evaluations are those of several seeds on the same videos.
    """
    found = [classifiers_at_chance(evaluation.outcomes, evaluation.targets) for evaluation in evaluations]
    common = [name for name in found[0] if all(name in other for other in found)]
    at_chance = {name: fmean(rates[name] for rates in found) for name in common}
    first = evaluations[0]
    messages = chance_messages(at_chance, num_classes=len(first.classes), num_videos=len(first.video_id))
    policies = dict.fromkeys(message for evaluation in evaluations for message in evaluation.policy_messages)
    return at_chance, [*messages, *policies]


def classifiers_at_chance(outcomes: Mapping[Method, Outcome], targets: NDArray[np.float32]) -> dict[str, float]:
    """Return the best top-1 of each classifier for which none exceeds chance.

    Chance is the mean share of classes that are labels: 1/J with one label a video. A top-1 exceeds it if its 95%
    interval (Clopper and Pearson) does. Upper bounds, which know the label, and random methods do not count.
    """
    labelled = (targets > 0).any(1)
    if not labelled.any():
        return {}
    chance = float((targets[labelled] > 0).mean())
    best: dict[str, int] = {}
    for method, outcome in outcomes.items():
        counts = outcome.kind != "upper_bound" and len(outcome.probabilities) == 1
        if counts and method.selection not in WITHOUT_ROWS:
            hits = top_k_hits(torch.from_numpy(outcome.probabilities[0]), torch.from_numpy(targets), 1).numpy()
            best[method.classifier] = max(best.get(method.classifier, 0), int(hits[labelled].sum()))
    videos = int(labelled.sum())
    return {
        name: correct / videos
        for name, correct in best.items()
        if binomtest(correct, videos).proportion_ci(0.95).low <= chance
    }


def chance_messages(at_chance: Mapping[str, float], *, num_classes: int, num_videos: int) -> list[str]:
    """Return a line for each classifier at chance.

    >>> chance_messages({"baseline": 0.1}, num_classes=10, num_videos=30)
    ["baseline's classifier is at chance: 10.0% of 10 classes on 30 videos; differences and gains are not reported"]
    """
    return [
        f"{name}'s classifier is at chance: {100 * rate:.1f}% of {num_classes} classes on {num_videos} videos; "
        "differences and gains are not reported"
        for name, rate in at_chance.items()
    ]


def policy_messages(scores: ClipScores) -> list[str]:
    """Return a line for each sampler and M:N whose policy is still uniform, or has collapsed, on these videos."""
    messages = []
    keys = zip(scores.section_network.tolist(), scores.section_scheme[:, :2].tolist(), strict=True)
    rows: dict[tuple[str, int, int], list[int]] = {}
    for i, (name, (m, n)) in enumerate(keys):
        rows.setdefault((name, m, n), []).append(i)
    for (name, m, n), indices in rows.items():
        logits = scores.section_logits[indices, :n]
        if not np.isnan(scores.section_nothing[indices]).any():
            logits = np.column_stack([logits, scores.section_nothing[indices]])
        log_policy = torch.from_numpy(logits).log_softmax(-1)
        arms = log_policy.shape[-1]
        shares = torch.bincount(log_policy.argmax(-1), minlength=arms) / len(indices)
        statistics = {"entropy": -(log_policy.exp() * log_policy).sum(-1).mean(), "position_share": shares}
        entropy = f"entropy {float(statistics['entropy']):.4f}, ln {arms} = {np.log(arms):.4f}"
        if is_uniform(statistics):
            messages.append(f"{name}'s policy is still uniform at {m}:{n} ({entropy}): it has learned nothing yet")
        elif has_collapsed(statistics):
            arm = int(shares.argmax())
            kept = f"{f'clip {arm}' if arm < n else 'nothing'} in {float(shares.max()):.1%} of the sections"
            messages.append(f"{name}'s policy has collapsed at {m}:{n}: it keeps {kept} ({entropy})")
    return messages
