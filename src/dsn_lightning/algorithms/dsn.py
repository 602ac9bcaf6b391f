"""Dynamic Sampling Networks: the paper's equations and Algorithm 1, in the paper's order.

See *Dynamic Sampling Networks for Efficient Action Recognition in Videos* by Zheng, Liu, Lu and Wang. A video is cut
into M sections of N clips. The observation network (theta) gives a policy over the clips of a section (Eq. 3). One clip
per section is kept, and the classifier (phi) sees only the kept clips (Eq. 4).

Eq. 3 is in `dsn_lightning.observations`, Eq. 8 and Eq. 11 are in `dsn_lightning.estimators`.

Shapes: B videos, M sections, N clips per section, C channels, T frames, H W pixels, J classes.
"""

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from dsn_lightning.algorithms.policy_monitor import PolicyMonitor
from dsn_lightning.algorithms.recognizer import MakeOptimizer, Recognizer, evaluating
from dsn_lightning.backbones.activation_checkpoints import recomputed
from dsn_lightning.backbones.clip_network import ClipNetwork, middle_frames
from dsn_lightning.estimators.estimate import Estimator, sample_actions
from dsn_lightning.estimators.greedy_baseline import reinforce_with_greedy_baseline
from dsn_lightning.observations.observation_network import ObservationNetwork, frames_looked_at
from dsn_lightning.schedules import Schedule
from dsn_lightning.stateless_random import CLASSIFIER_ACTION

Consensus = Literal["probabilities", "logits"]


def keep(clips: Tensor, action: Tensor) -> Tensor:
    """G: the clip that the action (B, M) keeps in each section of clips (B, M, N, ...): (B, M, ...) (Eq. 1)."""
    index = action.reshape(*action.shape, *[1] * (clips.dim() - 2)).expand(*action.shape, 1, *clips.shape[3:])
    return clips.gather(2, index).squeeze(2)


def consensus_log_probabilities(logits: Tensor, *, consensus: Consensus = "probabilities") -> Tensor:
    """log H: log-probabilities of a video's classes from the logits of its kept clips (Eq. 4).

    Args:
        logits: classifier output for each kept clip, (..., M, J).
        consensus: ``probabilities`` averages the clips' probabilities; ``logits`` averages their logits.

    >>> clips = torch.tensor([[[0.8, 0.2], [0.4, 0.6]]]).log()
    >>> consensus_log_probabilities(clips).exp()
    tensor([[0.6000, 0.4000]])
    """
    if consensus == "logits":
        return logits.mean(-2).log_softmax(-1)
    return logits.log_softmax(-1).logsumexp(-2) - math.log(logits.shape[-2])


def video_cross_entropy(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of log H (B, J) with targets (B, J) that sum to 1 (Eq. 5).

    The paper's Eq. 5 lacks the minus sign. Its lambda is the optimiser's weight decay.
    """
    return -(targets * log_probabilities).sum(-1).mean()


def clip_reward(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """R(A): the probability of the true class if the clip's top-1 is right, else -gamma (Eq. 6).

    With several labels, a clip is right if its top-1 is one of them; the reward is the probability of that class.

    Args:
        logits: classifier output for single clips, (..., J).
        targets: one-hot or multi-hot labels of their videos, (..., J).
        gamma: penalty for a wrong prediction, >= 0.

    >>> scores = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()
    >>> clip_reward(scores, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), gamma=0.5)
    tensor([ 0.7500, -0.5000])
    """
    score, answer = logits.softmax(-1).max(-1)
    right = targets.gather(-1, answer[..., None]).squeeze(-1) > 0
    return torch.where(right, score, -gamma)


def _of_actions(rewards: Tensor, actions: Tensor) -> Tensor:
    """Return the rewards (..., B, M) that actions (..., B, M) have among those of all clips, (B, M, N)."""
    return rewards.expand(*actions.shape, rewards.shape[-1]).gather(-1, actions[..., None]).squeeze(-1)


class DSN(Recognizer):
    """Algorithm 1: a classifier step, then a sampler step, on each batch.

    Args:
        classifier: phi, normalised clips (B, C, T, H, W) -> logits (B, J).
        observation: theta, normalised section clips (..., N, C, T, H, W) -> policy logits (..., N) (Eq. 3).
        sampler_optimizer: makes theta's optimiser from its parameter groups.
        classifier_optimizer: makes phi's optimiser; None keeps the classifier fixed, bit for bit (the paper's DSN-f).
        sampler_schedule: schedule of theta's learning rate; None takes the classifier's schedule.
        estimator: estimator of the policy gradient.
        gamma: penalty of Eq. 6, >= 0.
        consensus: see `consensus_log_probabilities`.
        warmup_epochs: first epochs, in which only the classifier learns, from uniformly drawn clips ("pre-training the
            classification module before the optimization of the sampling module", Sec. IV-A). Batches may then have
            the drawn clips alone, N = 1.
        exploration: weight of the policy's entropy in the sampler's objective; 0 in the paper.
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
        gamma: float,
        consensus: Consensus = "probabilities",
        warmup_epochs: int = 0,
        exploration: float = 0.0,
        recompute: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.classifier = classifier.requires_grad_(False) if classifier_optimizer is None else classifier
        self.observation = observation
        self.make_sampler_optimizer = sampler_optimizer
        self.make_classifier_optimizer = classifier_optimizer
        self.estimator = estimator
        self.gamma = gamma
        self.consensus: Consensus = consensus
        self.warmup_epochs = warmup_epochs
        self.schedules["sampler"] = sampler_schedule or self.schedules["classifier"]
        self.optimizer_names = ["sampler"] if classifier_optimizer is None else ["sampler", "classifier"]
        self.exploration = exploration
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
        reward = (
            partial(self.stored_reward, batch["clip_logits"]) if "clip_logits" in batch else partial(self.reward, clips)
        )
        sampler, *classifier = self.optimizer_list()
        warming_up = self.current_epoch < self.warmup_epochs
        if warming_up:
            log_policy = torch.zeros(clips.shape[:3], device=clips.device).log_softmax(-1)
        else:
            policy_logits = self.recomputed_policy_logits if self.recompute else self.policy_logits
            log_policy = policy_logits(clips).log_softmax(-1)  # (B, M, N): Eq. 3, lines 6 and 11
        if classifier:  # line 5
            action = sample_actions(log_policy, self.uniforms(batch["video_id"], clips.shape[1], CLASSIFIER_ACTION))
            log_probabilities = self.classify_video(keep(clips, action))  # lines 6, 7
            loss = video_cross_entropy(log_probabilities, targets)
            self.update(classifier[0], loss, batch_idx, name="classifier")  # line 8
        if warming_up:
            return
        estimate = self.estimator(  # lines 12, 13: a fresh A, since phi has just been trained on that of line 6
            log_policy,
            uniforms=self.uniforms(batch["video_id"], clips.shape[1], "action/sampler"),
            reward=partial(reward, targets),
        )
        entropy = -(log_policy.exp() * log_policy).sum(-1).mean()
        self.update(sampler, estimate.loss - self.exploration * entropy, batch_idx, name="sampler")  # line 14
        self.monitor.update(log_policy.detach(), estimate, self.num_videos)

    def policy_logits(self, clips: Tensor) -> Tensor:
        """Return Eq. 3 before its softmax, (B, M, N), for uint8 section clips (B, M, N, C, T, H, W)."""
        looked_at = middle_frames(clips, frames_looked_at(self.observation, clips.shape[-3]))
        return self.observation(self.normalize(looked_at)).float()

    def recomputed_policy_logits(self, clips: Tensor) -> Tensor:
        """Return `policy_logits` without activations of theta, which line 14 makes by running Eq. 3 again.

        So those of theta and of phi are not in memory at the same time, at the price of a second forward pass of theta.
        The results are the same; see `recomputed`.
        """
        return recomputed(self.policy_logits, clips, module=self.observation)

    def classify_video(self, kept: Tensor) -> Tensor:
        """Return log H (B, J) for the kept clips (B, M, C, T, H, W) (Eq. 4)."""
        return consensus_log_probabilities(self.classify(kept), consensus=self.consensus)

    @torch.no_grad()
    def reward(self, clips: Tensor, targets: Tensor, actions: Tensor) -> Tensor:
        """Return R of actions (..., B, M), of the same shape, without gradient (Eq. 6).

        The classifier sees each clip once, however many actions choose it, and all of them in one batch.
        """
        chosen = torch.zeros(clips.shape[:3], dtype=torch.bool, device=clips.device)  # (B, M, N)
        chosen.scatter_(2, actions.reshape(-1, *chosen.shape[:2]).movedim(0, -1), True)
        video, section, clip = chosen.nonzero(as_tuple=True)  # (K,): the one point at which a step waits for the device
        with evaluating(self.classifier):
            logits = self.classify(clips[video, section, clip])  # (K, J)
        rewards = torch.zeros(chosen.shape, device=clips.device)
        rewards[video, section, clip] = clip_reward(logits, targets[video], gamma=self.gamma)
        return _of_actions(rewards, actions)

    def stored_reward(self, logits: Tensor, targets: Tensor, actions: Tensor) -> Tensor:
        """Return what `reward` does, from the classifier's logits of all candidates, (B, M, N, J)."""
        labels = targets[:, None, None].expand_as(logits)
        return _of_actions(clip_reward(logits, labels, gamma=self.gamma), actions)

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Return log H (B, J) with the most probable clip of each section; NaN where the policy is not finite."""
        policy = self.policy_logits(batch["clips"])  # (B, M, N)
        log_probabilities = self.classify_video(keep(batch["clips"], policy.argmax(-1)))
        return torch.where(policy.isfinite().flatten(1).all(1)[:, None], log_probabilities, torch.nan)
