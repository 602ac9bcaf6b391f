"""Algorithm 1 as a reader of the paper would write it in plain PyTorch: what the package's step is compared with."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Normalize = Callable[[Tensor], Tensor]


@dataclass
class NaiveStep:
    """One step of Algorithm 1 for B videos of M sections with N clips each, a pass for each line that needs one.

    Args:
        classifier: phi, normalised clips (B, C, T, H, W) -> logits (B, J).
        observation: theta, normalised section clips (B, M, N, C, T, H, W) -> policy logits (B, M, N).
        classifier_sgd, observation_sgd: their optimisers.
        normalize: uint8 clips -> normalised ones.
        gamma: penalty of Eq. 6.
    """

    classifier: nn.Module
    observation: nn.Module
    classifier_sgd: torch.optim.Optimizer
    observation_sgd: torch.optim.Optimizer
    normalize: Normalize
    gamma: float
    seconds: dict[str, float] = field(default_factory=dict, init=False)  # CPU seconds of the last step's parts

    def __call__(self, clips: Tensor, targets: Tensor, classifier_uniforms: Tensor, sampler_uniforms: Tensor) -> None:
        """Update both networks from uint8 clips (B, M, N, C, T, H, W), one-hot targets (B, J) and uniforms (B, M)."""
        self.seconds = {}
        self._began = time.process_time()
        self.classifier.train()
        self.observation.train()
        x = self.normalize(clips)
        videos, sections = torch.arange(len(x))[:, None], torch.arange(x.shape[1])

        with torch.no_grad():  # line 6
            policy = self.observation(x).softmax(-1)
        kept = x[videos, sections, draw(policy, classifier_uniforms)]  # (B, M, C, T, H, W)
        self._lap("policy")

        scores = self.classifier(kept.flatten(0, 1)).softmax(-1).unflatten(0, kept.shape[:2])  # line 7
        loss = -(targets * scores.mean(1).log()).sum(-1).mean()
        self.classifier_sgd.zero_grad()
        loss.backward()
        self.classifier_sgd.step()  # line 8
        self._lap("classifier")

        log_policy = self.observation(x).log_softmax(-1)  # line 11
        self._lap("policy")
        action = draw(log_policy.detach().exp(), sampler_uniforms)  # A, line 12
        greedy = log_policy.argmax(-1)  # B
        self.classifier.eval()
        labels = targets.argmax(-1)[:, None]
        reward, baseline = (self.reward(x[videos, sections, chosen], labels) for chosen in (action, greedy))  # line 13
        self._lap("rewards")

        loss = -((reward - baseline) * log_policy.gather(-1, action[..., None]).squeeze(-1)).mean()
        self.observation_sgd.zero_grad()
        loss.backward()  # line 14
        self.observation_sgd.step()
        self._lap("sampler")

    @torch.no_grad()
    def reward(self, kept: Tensor, labels: Tensor) -> Tensor:
        """Return R (B, M) of clips (B, M, C, T, H, W) whose videos have the class indices ``labels`` (B, 1) (Eq. 6)."""
        scores = self.classifier(kept.flatten(0, 1)).softmax(-1).unflatten(0, kept.shape[:2])  # (B, M, J)
        score, answer = scores.max(-1)
        return torch.where(answer == labels, score, -self.gamma)

    def _lap(self, part: str) -> None:
        now = time.process_time()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._began
        self._began = now


def draw(policy: Tensor, uniforms: Tensor) -> Tensor:
    """Return the clip that a number in [0, 1) draws in each section, (B, M), from probabilities (B, M, N).

    >>> draw(torch.tensor([[[0.2, 0.5, 0.3]]]), torch.tensor([[0.6]]))
    tensor([[1]])
    """
    edges = policy.double().cumsum(-1)
    return (uniforms[..., None] >= edges / edges[..., -1:]).sum(-1).clamp(max=policy.shape[-1] - 1)


def peaked_bias(num_clips: int, probability: float) -> float:
    """Return the logit that gives one of N clips this probability while those of the others are 0.

    >>> round(peaked_bias(3, 0.9), 3)
    2.89
    """
    return math.log(probability / (1 - probability) * (num_clips - 1))
