"""Dynamic Sampling Networks: the paper's equations and Algorithm 1, in the paper's order.

See *Dynamic Sampling Networks for Efficient Action Recognition in Videos* by Zheng, Liu, Lu and Wang. A video is cut
into M sections of N clips. The observation network (theta) gives a policy over the clips of a section (Eq. 3). One clip
per section is kept, and the classifier (phi) sees only the kept clips (Eq. 4).

Eq. 3 is in `dsn_lightning.observations`, Eq. 4 in `dsn_lightning.consensus`, Eq. 6 in `dsn_lightning.rewards`, Eq. 8
and Eq. 11 in `dsn_lightning.estimators`.

Shapes: B videos, M sections, N clips per section, C channels, T frames, H W pixels, J classes. A policy has A arms in
each section: N, one for each clip, or N + 1 if the observation network may skip a section (not the paper's).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dsn_lightning.algorithms.batch_rewards import BatchRewards
from dsn_lightning.algorithms.policy_monitor import PolicyMonitor
from dsn_lightning.algorithms.recognizer import MakeOptimizer, Recognizer, evaluating
from dsn_lightning.backbones.activation_checkpoints import recomputed
from dsn_lightning.backbones.clip_network import ClipNetwork, middle_frames
from dsn_lightning.consensus import Consensus, consensus_log_probabilities
from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import Estimator, num_draws, num_updates, sample_actions
from dsn_lightning.estimators.greedy_baseline import reinforce_with_greedy_baseline
from dsn_lightning.observations.observation_network import ObservationNetwork, frames_looked_at
from dsn_lightning.rewards.reward import Reward
from dsn_lightning.schedules import Schedule
from dsn_lightning.stateless_random import CLASSIFIER_ACTION


def keep(clips: Tensor, action: Tensor) -> Tensor:
    """G: the clip that the action (B, M) keeps in each section of clips (B, M, N, ...): (B, M, ...) (Eq. 1)."""
    index = action.reshape(*action.shape, *[1] * (clips.dim() - 2)).expand(*action.shape, 1, *clips.shape[3:])
    return clips.gather(2, index).squeeze(2)


def video_cross_entropy(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of log H (B, J) with targets (B, J) that sum to 1 (Eq. 5).

    The paper's Eq. 5 lacks the minus sign. Its lambda is the optimiser's weight decay.
    """
    return -(targets * log_probabilities).sum(-1).mean()


def keep_one(policy_logits: Tensor, action: Tensor) -> Tensor:
    """Return the action (B, M) with at least one clip kept in each video, for policy logits (B, M, N + 1).

    If the action skips all sections of a video, the section in which the policy gives the clips the highest
    probability keeps its most probable clip.

    >>> keep_one(torch.tensor([[[0.2, 0.1, 0.7], [0.1, 0.3, 0.6]]]).log(), torch.tensor([[2, 2]]))
    tensor([[2, 1]])
    """
    policy_logits = policy_logits.double()
    clips = policy_logits[..., :-1]
    nothing = (action == clips.shape[-1]).all(1, keepdim=True)  # (B, 1)
    best = (clips.logsumexp(-1) - policy_logits[..., -1]).argmax(1, keepdim=True)  # (B, 1), a section
    sections = torch.arange(action.shape[1], device=action.device)
    return torch.where(nothing & (sections == best), clips.argmax(-1), action)


class DSN(Recognizer):
    """Algorithm 1: a classifier step, then a sampler step, on each batch.

    Args:
        classifier: phi, normalised clips (B, C, T, H, W) -> logits (B, J).
        observation: theta, normalised section clips (..., N, C, T, H, W) -> policy logits (..., N) (Eq. 3).
        sampler_optimizer: makes theta's optimiser from its parameter groups.
        classifier_optimizer: makes phi's optimiser; None keeps the classifier fixed, bit for bit (the paper's DSN-f).
        sampler_schedule: schedule of theta's learning rate; None takes the classifier's schedule.
        reward: what an arm is worth (Eq. 6).
        estimator: estimator of the policy gradient.
        consensus: see `dsn_lightning.consensus`.
        warmup_epochs: first epochs, in which only the classifier learns, from uniformly drawn clips ("pre-training the
            classification module before the optimization of the sampling module", Sec. IV-A). Batches may then have
            the drawn clips alone, N = 1.
        exploration: weight of the policy's entropy in the sampler's objective; 0 in the paper. Up to a
            constant, the entropy is -KL(policy || uniform).
        prior_kl: weight of -KL(uniform || policy) in the objective, which keeps the probability of every arm away from
            0; 0 in the paper.
        recompute: True does not keep theta's activations during phi's step; see `recomputed_policy_logits`.
        **shared: arguments of `Recognizer`.
    """

    def __init__(
        self,
        classifier: ClipNetwork,
        observation: ObservationNetwork,
        *,
        sampler_optimizer: MakeOptimizer,
        classifier_optimizer: MakeOptimizer | None,
        sampler_schedule: Schedule | None = None,
        estimator: Estimator = reinforce_with_greedy_baseline,
        reward: Reward,
        consensus: Consensus = "probabilities",
        warmup_epochs: int = 0,
        exploration: float = 0.0,
        prior_kl: float = 0.0,
        recompute: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if num_updates(estimator) > 1 and self.accumulate > 1:
            raise UsageError(
                f"schedule.accumulate={self.accumulate}: this estimator makes {num_updates(estimator)} updates on each "
                "batch, so gradients cannot be accumulated over batches; set schedule.accumulate=1"
            )
        self.classifier = classifier.requires_grad_(False) if classifier_optimizer is None else classifier
        self.observation = observation
        self.make_sampler_optimizer = sampler_optimizer
        self.make_classifier_optimizer = classifier_optimizer
        self.estimator = estimator
        self.reward = reward
        self.consensus: Consensus = consensus
        self.warmup_epochs = warmup_epochs
        self.schedules["sampler"] = sampler_schedule or self.schedules["classifier"]
        self.optimizer_names = ["sampler"] if classifier_optimizer is None else ["sampler", "classifier"]
        self.exploration = exploration
        self.prior_kl = prior_kl
        self.recompute = recompute and classifier_optimizer is not None
        self.monitor = PolicyMonitor()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return theta's optimiser and, unless it is fixed, phi's."""
        optimizers = [self.make_sampler_optimizer(self.parameter_groups("sampler"))]
        if self.make_classifier_optimizer is not None:
            optimizers.append(self.make_classifier_optimizer(self.parameter_groups("classifier")))
        return optimizers

    def train(self, mode: bool = True) -> "DSN":
        """Set the training mode; a fixed classifier stays in eval mode, so its batch statistics stay fixed, too."""
        super().train(mode)
        if self.make_classifier_optimizer is None:
            self.classifier.eval()
        return self

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Run lines 4 to 15 of Algorithm 1 on one batch of section clips (B, M, N, C, T, H, W).

        A fixed classifier's logits may be in the batch, ``clip_logits`` (B, M, N, J); it is not run then.
        """
        clips, targets = batch["clips"], batch["targets"]  # line 4
        sampler, *classifier = self.optimizer_list()
        warming_up = self.current_epoch < self.warmup_epochs
        if warming_up:
            log_policy = torch.zeros(clips.shape[:3], device=clips.device).log_softmax(-1)
        else:
            log_policy = self.log_policy(clips)  # (B, M, A): Eq. 3, lines 6 and 11
        if classifier:  # line 5
            action = sample_actions(log_policy, self.uniforms(batch["video_id"], clips.shape[1], CLASSIFIER_ACTION))
            log_probabilities = self.classify_video(clips, action, log_policy)  # lines 6, 7
            loss = video_cross_entropy(log_probabilities, targets)
            self.update(classifier[0], loss, batch_idx, name="classifier")  # line 8
        if warming_up:
            return
        estimate = self.estimator(  # lines 12, 13: a fresh A, since phi has just been trained on that of line 6
            log_policy,
            uniforms=self.sampler_uniforms(batch["video_id"], *log_policy.shape[1:]),
            reward=self.batch_rewards(batch, num_arms=log_policy.shape[-1]),
        )
        self.monitor.update(log_policy.detach(), estimate, self.num_videos)
        self.update(sampler, estimate.loss - self.spread(log_policy), batch_idx, name="sampler")  # line 14
        for loss_of in estimate.further:
            log_policy = self.log_policy(clips)
            self.update(sampler, loss_of(log_policy) - self.spread(log_policy), batch_idx, name="sampler")

    def log_policy(self, clips: Tensor) -> Tensor:
        """Return log P, (B, M, A), for uint8 section clips, with gradient; see `recompute`."""
        policy_logits = self.recomputed_policy_logits if self.recompute else self.policy_logits
        return policy_logits(clips).log_softmax(-1)

    def policy_logits(self, clips: Tensor) -> Tensor:
        """Return Eq. 3 before its softmax, (B, M, A), for uint8 section clips (B, M, N, C, T, H, W)."""
        looked_at = middle_frames(clips, frames_looked_at(self.observation, clips.shape[-3]))
        return self.observation(self.normalize(looked_at)).float()

    def recomputed_policy_logits(self, clips: Tensor) -> Tensor:
        """Return `policy_logits` without activations of theta, which line 14 makes by running Eq. 3 again.

        So those of theta and of phi are not in memory at the same time, at the price of a second forward pass of theta.
        The results are the same; see `recomputed`.
        """
        return recomputed(self.policy_logits, clips, module=self.observation)

    def spread(self, log_policy: Tensor) -> Tensor:
        """Return the regularisation terms of the objective, of log P (B, M, A): entropy and -KL(uniform || policy)."""
        entropy = -(log_policy.exp() * log_policy).sum(-1).mean()
        added = self.exploration * entropy
        return added + self.prior_kl * (log_policy.mean() + math.log(log_policy.shape[-1])) if self.prior_kl else added

    def classify_video(self, clips: Tensor, action: Tensor, policy_logits: Tensor) -> Tensor:
        """Return log H (B, J) for the clips that an action (B, M) keeps of section clips (B, M, N, C, T, H, W) (Eq. 4).

        If the policy (B, M, A) may skip sections, at least one clip of each video is kept.
        """
        if policy_logits.shape[-1] == clips.shape[2]:
            return consensus_log_probabilities(self.classify(keep(clips, action)), consensus=self.consensus)
        action = keep_one(policy_logits, action)
        kept = action < clips.shape[2]  # (B, M)
        video, section = kept.nonzero(as_tuple=True)
        kept_logits = self.classify(clips[video, section, action[video, section]])  # (K, J)
        logits = kept_logits.new_zeros(*kept.shape, kept_logits.shape[-1]).index_put((video, section), kept_logits)
        return consensus_log_probabilities(logits, consensus=self.consensus, kept=kept)

    def batch_rewards(self, batch: dict[str, Any], *, num_arms: int) -> BatchRewards:
        """Return the rewards of a batch, from the logits in it or from the classifier as it is now (Eq. 6)."""
        clips = batch["clips"]
        logits = partial(self.clip_logits, clips)
        return BatchRewards(
            (lambda _: batch["clip_logits"]) if "clip_logits" in batch else logits,
            self.reward,
            batch["targets"],
            num_arms=num_arms,
            num_clips=clips.shape[2],
            consensus=self.consensus,
        )

    @torch.no_grad()
    def clip_logits(self, clips: Tensor, chosen: Tensor) -> Tensor:
        """Return the classifier's logits of the chosen clips, bool (B, M, N), without gradient: (B, M, N, J), else 0.

        The classifier sees each clip once, and all of them in one batch.
        """
        video, section, clip = chosen.nonzero(as_tuple=True)  # (K,): the one point at which a step waits for the device
        with evaluating(self.classifier):
            seen = self.classify(clips[video, section, clip])  # (K, J)
        logits = seen.new_zeros(*chosen.shape, seen.shape[-1])
        logits[video, section, clip] = seen
        return logits

    def sampler_uniforms(self, video_ids: Sequence[str], num_sections: int, num_arms: int) -> Tensor:
        """Return the numbers that decide the sampler's actions, (B, M), or (K, B, M) if the estimator needs K."""
        draws = num_draws(self.estimator, num_arms)
        uniforms = self.uniforms(video_ids, draws * num_sections, "action/sampler")
        return uniforms if draws == 1 else uniforms.unflatten(1, (draws, num_sections)).movedim(1, 0)

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Return log H (B, J) with the most probable arm of each section; NaN where the policy is not finite."""
        policy = self.policy_logits(batch["clips"])  # (B, M, A)
        log_probabilities = self.classify_video(batch["clips"], policy.argmax(-1), policy)
        return torch.where(policy.isfinite().flatten(1).all(1)[:, None], log_probabilities, torch.nan)
