"""Trainings of a sampler on stored clips: the package's DSN with a fixed classifier, in seconds each.

The sampler's trunk is fixed as well: its features are those of a trained clip network. So a training differs from
`algorithm=dsn_fixed algorithm.rewards=stored` only in two points: the trunk is not trained, and the clips are at the
positions of the test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dsn_lightning.algorithms.batch_rewards import BatchRewards
from dsn_lightning.algorithms.dsn import DSN, keep_one
from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.observations.observation_network import ObservationNetwork
from dsn_lightning.schedules import Cosine
from dsn_lightning.selections.scheme import softmax
from reproduce.stored_clips import StoredClips

_BATCH_SIZE = 16
_INVERSE_PENALTY = 1e-3
"""C of scikit-learn's logistic regression; of 1e-5, 1e-4, 1e-3 and 1e-2 the best on the development videos."""


class StoredFeatures(ClipNetwork):
    """Stands for a trunk whose features are known: clips (B, D, 1, 1, 1) -> (B, J), or (B, D) without a layer."""

    head = "fc"
    stacked_frames = 1
    frozen_blocks = 0

    def __init__(self, num_features: int, num_classes: int = 0) -> None:
        super().__init__()
        self.in_channels = self.num_features = num_features
        self.fc = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, clips: Tensor) -> Tensor:
        """Return the features, or the class logits."""
        return self.fc(clips.flatten(1))


class _NoClassifier(ClipNetwork):
    """Takes the classifier's place: its logits are in the batches, so it is never run."""

    in_channels, num_features, stacked_frames, frozen_blocks, head = 3, 1, 1, 0, "fc"

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Identity()

    def forward(self, clips: Tensor) -> Tensor:
        raise AssertionError("the classifier's logits are stored")


class _CountingDSN(DSN):
    """Counts the clips that a classifier would have to see for the rewards."""

    classified = 0

    def batch_rewards(self, batch: dict[str, Any], *, num_arms: int) -> BatchRewards:
        rewards = super().batch_rewards(batch, num_arms=num_arms)
        stored = rewards.logits

        def logits(chosen: Tensor) -> Tensor:
            self.classified += int(chosen.sum())
            return stored(chosen)

        rewards.logits = logits
        return rewards


@dataclass(frozen=True)
class Variant:
    """A way to train a sampler."""

    name: str
    observation: Callable[[StoredClips], ObservationNetwork]
    estimator: Callable[[], Any]
    reward: Any
    exploration: float = 0.02
    lr: float = 0.01
    epochs: int = 10


@dataclass(frozen=True)
class Outcome:
    """What a sampler does after an epoch of its training.

    Attributes:
        classified: clips that the classifier has seen for rewards so far, in training.
        reward: mean reward of the most probable arms on the training videos.
        correct: which of the evaluated videos are answered correctly, bool (V,).
        probabilities: of their classes, (V, J).
        clips: kept clips a video.
        hit_rate: share of kept clips that show the action, in sections that contain it; None without annotation.
    """

    classified: int
    reward: float
    correct: np.ndarray
    probabilities: np.ndarray
    clips: float
    hit_rate: float | None


def train(
    variant: Variant, clips: StoredClips, evaluated: StoredClips, *, seed: int, at: Mapping[int, int] | None = None
) -> list[Outcome]:
    """Train a sampler on some videos, and return what it does on others after each epoch."""
    torch.manual_seed(seed)
    observation = variant.observation(clips)
    model = _CountingDSN(
        _NoClassifier(),
        observation,
        sampler_optimizer=lambda groups: torch.optim.SGD(groups, lr=variant.lr, momentum=0.9, weight_decay=5e-4),
        classifier_optimizer=None,
        estimator=variant.estimator(),
        reward=variant.reward,
        exploration=variant.exploration,
        schedule=Cosine(variant.epochs),
        mean=[0.0],
        std=[1.0],
        seed=seed,
    )
    outcomes: list[Outcome] = []

    class Evaluate(pl.Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            outcomes.append(outcome(model, clips, evaluated))

    items = [
        {"clips": seen, "targets": targets, "clip_logits": logits, "video_id": str(video_id)}
        for seen, targets, logits, video_id in zip(
            _as_clips(clips),
            torch.from_numpy(clips.targets),
            torch.from_numpy(clips.logits),
            clips.video_id,
            strict=True,
        )
    ]
    generator = torch.Generator().manual_seed(seed)
    trainer = pl.Trainer(
        max_epochs=variant.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Evaluate()],
    )
    whole = len(items) >= _BATCH_SIZE  # the last batch, which is smaller, is left out
    loader = DataLoader(cast(Any, items), _BATCH_SIZE, shuffle=True, generator=generator, drop_last=whole)
    trainer.fit(model, loader)
    return outcomes


def _as_clips(clips: StoredClips) -> Tensor:
    return torch.from_numpy(clips.features)[..., None, None, None]  # (V, M, N, D, 1, 1, 1)


@torch.no_grad()
def outcome(model: _CountingDSN, clips: StoredClips, evaluated: StoredClips) -> Outcome:
    """Return what a sampler does now."""
    model.eval()
    logits = model.policy_logits(_as_clips(clips))
    batch = {"clips": _as_clips(clips), "targets": torch.from_numpy(clips.targets)}
    batch["clip_logits"] = torch.from_numpy(clips.logits)
    reward = DSN.batch_rewards(model, batch, num_arms=logits.shape[-1])(logits.argmax(-1)).mean()
    logits = model.policy_logits(_as_clips(evaluated))
    model.train()
    action = logits.argmax(-1)
    if logits.shape[-1] > evaluated.logits.shape[2]:
        action = keep_one(logits, action)
    return _answered(evaluated, action.numpy(), classified=model.classified, reward=float(reward))


def _answered(clips: StoredClips, action: np.ndarray, *, classified: int = 0, reward: float = 0.0) -> Outcome:
    kept = torch.from_numpy(action < clips.logits.shape[2])  # (V, M)
    clip = np.minimum(action, clips.logits.shape[2] - 1)[..., None]
    chosen = torch.from_numpy(np.take_along_axis(clips.logits, clip[..., None], 2).squeeze(2))
    answers = consensus_log_probabilities(chosen, kept=kept).exp().numpy()
    contains = clips.shows.any(2) & kept.numpy()
    hits = np.take_along_axis(clips.shows, clip, 2).squeeze(2) & contains
    return Outcome(
        classified=classified,
        reward=reward,
        correct=clips.targets[np.arange(len(answers)), answers.argmax(-1)] > 0,
        probabilities=answers,
        clips=float(kept.sum(1).float().mean()),
        hit_rate=float(hits.sum() / contains.sum()) if contains.any() else None,
    )


def references(clips: StoredClips, training: StoredClips) -> dict[str, Outcome]:
    """Return the methods that need no sampler: uniform and dense clips, max response and the greedy oracle.

    Where the action's spans are annotated also two that know more than a sampler may: ``told where`` keeps a clip that
    shows the action in each section that has one, and ``taught where`` is logistic regression from a clip's features to
    whether it shows the action, on the annotation of the training videos.
    """
    scores = softmax(clips.logits)
    labels = clips.targets[:, None, None] > 0
    merit = np.where(labels, scores, 0).max(-1) + np.take_along_axis(
        np.broadcast_to(labels, scores.shape), scores.argmax(-1)[..., None], -1
    ).squeeze(-1)
    found = {
        "max response": _answered(clips, softmax(clips.responses).max(-1).argmax(-1)),
        "oracle": _answered(clips, merit.argmax(-1)),
    }
    if clips.shows.any() and training.shows.any():
        found["told where"] = _answered(clips, clips.shows.argmax(-1))
        found["taught where"] = _answered(clips, taught_where(training)(clips.features).argmax(-1))
    for name, logits in (("uniform", clips.uniform), ("dense", clips.dense)):
        answers = consensus_log_probabilities(torch.from_numpy(logits)).exp().numpy()
        correct = clips.targets[np.arange(len(answers)), answers.argmax(-1)] > 0
        found[name] = Outcome(0, 0.0, correct, answers, float(logits.shape[1]), None)
    return found


def what_rewards_tell(clips: StoredClips) -> dict[str, float]:
    """Return the share of clips on which the classifier is right, and of sections with right and wrong clips.

    In other sections the rewards of Eq. 6 differ by no more than the probability of the label.
    """
    right = np.take_along_axis(clips.targets[:, None, None] > 0, clips.logits.argmax(-1)[..., None], -1)
    share = right.mean((2, 3))  # (V, M)
    return {"clips_right": float(share.mean()), "sections_with_both": float(((share > 0) & (share < 1)).mean())}


def taught_where(training: StoredClips) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Return logistic regression from features (..., D) to whether the clip shows the action, as scores (...)."""
    features = training.features.reshape(-1, training.features.shape[-1])
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000).fit(
        scaler.transform(features), training.shows.reshape(-1)
    )

    def scores(values: NDArray[np.float32]) -> NDArray[np.float64]:
        flat = model.decision_function(scaler.transform(values.reshape(-1, values.shape[-1])))
        return np.asarray(flat.reshape(values.shape[:-1]))

    return scores


def gradients(variant: Variant, clips: StoredClips, *, seed: int, draws: int) -> tuple[float, float]:
    """Return the relative bias and the relative variance of an estimator's gradient on one batch, at the start.

    Both are relative to the squared norm of the exact gradient of the expected reward: the bias as
    |mean - exact| / |exact|, which draws blur by about sqrt(variance / draws), the variance as its trace.
    """
    from dsn_lightning.estimators import exact
    from dsn_lightning.estimators.estimate import num_draws

    torch.manual_seed(seed)
    observation = variant.observation(clips)
    for parameter in observation.parameters():
        nn.init.normal_(parameter, std=0.02) if not parameter.any() else None
    part = slice(0, 16)
    batch = {"clips": _as_clips(clips)[part], "targets": torch.from_numpy(clips.targets)[part]}
    batch["clip_logits"] = torch.from_numpy(clips.logits)[part]
    model = DSN(
        _NoClassifier(),
        observation,
        sampler_optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
        classifier_optimizer=None,
        reward=variant.reward,
        schedule=Cosine(1),
        mean=[0.0],
        std=[1.0],
    )
    parameters = list(observation.parameters())
    generator = torch.Generator().manual_seed(seed)

    def gradient(estimator: Any) -> Tensor:
        log_policy = model.log_policy(batch["clips"])
        count = num_draws(estimator, log_policy.shape[-1])
        shape = (*log_policy.shape[:2],) if count == 1 else (count, *log_policy.shape[:2])
        uniforms = torch.rand(shape, generator=generator, dtype=torch.float64)
        rewards = model.batch_rewards(batch, num_arms=log_policy.shape[-1])
        loss = estimator(log_policy, uniforms=uniforms, reward=rewards).loss
        parts = torch.autograd.grad(loss, parameters, allow_unused=True)
        return torch.cat([p.flatten() for p in parts if p is not None]).double()

    estimator = variant.estimator()
    if hasattr(estimator, "average"):  # as after many batches
        for _ in range(50):
            gradient(estimator)
    found = torch.stack([gradient(estimator) for _ in range(draws)])
    true = gradient(exact)
    bias = (found.mean(0) - true).norm() / true.norm()
    variance = found.var(0).sum() / true.square().sum()
    return float(bias), float(variance)
