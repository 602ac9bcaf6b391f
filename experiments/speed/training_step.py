"""How long a training step takes: the package's, in Lightning, against the naive Algorithm 1 in plain PyTorch.

    python experiments/speed/training_step.py [--scheme 6:3] [--batch 1] [--rounds 5] [--tiny] [--output FILE]

Both train R3D-18 and ResNet2D-18 on clips of 8 frames of 112x112 pixels (--tiny: the tiny networks on 32x32 pixels),
from the same weights and random numbers, in turn: one step of each a round. Their gradients are compared in each round.
The policy is uniform at first, as in a training that begins, and then prefers one clip with 90%. Prints medians,
fastest and slowest steps, and the seconds of the parts. On a machine that others use, too, CPU seconds (of all threads)
say more than seconds.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from naive_step import NaiveStep, peaked_bias
from numpy.typing import NDArray
from timing import write_rows
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dsn_lightning.algorithms import DSN
from dsn_lightning.backbones import ResNet2D, ResNet3D
from dsn_lightning.observations import ConcatObservation
from dsn_lightning.rewards.correct_class import CorrectClass
from dsn_lightning.schedules import MultiStep
from dsn_lightning.stateless_random import CLASSIFIER_ACTION
from dsn_lightning.training.lightning_advice import hide_lightning_advice

CLASSES = 51
POLICIES = {"uniform": 0.0, "peaked": 0.9}  # probability of the preferred clip
TINY: dict[str, Any] = {"stem_width": 8, "widths": [8, 16, 32, 64], "blocks": [0, 1, 1, 1]}
GAMMA = 0.5
TINY_TRUNK: dict[str, Any] = {"stem_width": 8, "widths": [8, 16, 32], "blocks": [0, 1, 1]}


def make(num_clips: int, *, channels_last: bool, tiny: bool, **changes: Any) -> DSN:
    torch.manual_seed(0)
    classifier = ResNet3D(CLASSES, channels_last=channels_last, **(TINY if tiny else {}))
    trunk = ResNet2D(0, **(TINY_TRUNK if tiny else {}))
    return DSN(
        classifier,
        ConcatObservation(trunk, clips_per_section=num_clips),
        sampler_optimizer=sgd,
        classifier_optimizer=sgd,
        reward=CorrectClass(gamma=GAMMA),
        schedule=MultiStep(2, milestones=(1,)),
        mean=[0.43] * 3,
        std=[0.22] * 3,
        **changes,
    )


def sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=1e-6, momentum=0.9, weight_decay=5e-4)  # so slow that the policy stays as it is


class InTurn(pl.Callback):
    """Runs a naive step after each of the package's, from the weights before it, and compares the gradients."""

    def __init__(self, naive: NaiveStep) -> None:
        self.naive = naive
        self.seconds: dict[str, list[NDArray[np.float64]]] = {"ours": [], "naive": []}  # and CPU seconds, (2,)
        self.parts: dict[str, dict[str, list[float]]] = {"ours": {}, "naive": {}}
        self.worst = 0.0  # largest difference of gradients, as a share of the naive gradient's largest value
        self.gradients: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, model: Any) -> None:
        """Time the parts of the package's step."""
        time_parts(model, self.parts["ours"])

    def on_train_batch_start(self, trainer: pl.Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        """Give the naive step the weights from which this step starts."""
        for name in ("classifier", "observation"):
            getattr(self.naive, name).load_state_dict(getattr(model, name).state_dict())
        self.began = now()

    def on_before_optimizer_step(self, trainer: pl.Trainer, model: Any, optimizer: Any) -> None:
        """Keep the gradients."""
        for name, parameter in model.named_parameters():  # sums over the videos
            if parameter.grad is not None:
                self.gradients[name] = parameter.grad / model.num_videos

    def on_train_batch_end(self, trainer: pl.Trainer, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Make the naive step, and compare its gradients."""
        self.seconds["ours"].append(now() - self.began)
        num_sections = batch["clips"].shape[1]
        purposes = (CLASSIFIER_ACTION, "action/sampler")
        uniforms = [model.uniforms(batch["video_id"], num_sections, purpose) for purpose in purposes]
        began = now()
        self.naive(batch["clips"], batch["targets"], *uniforms)
        self.seconds["naive"].append(now() - began)
        for part, seconds in self.naive.seconds.items():
            self.parts["naive"].setdefault(part, []).append(seconds)
        for name in ("classifier", "observation"):
            for key, parameter in getattr(self.naive, name).named_parameters():
                difference = (parameter.grad - self.gradients[f"{name}.{key}"]).abs().max() / parameter.grad.abs().max()
                self.worst = max(self.worst, float(difference))


def time_parts(model: DSN, found: dict[str, list[float]]) -> None:
    """Let the methods of a step add their CPU seconds to ``found``."""

    def timed(name: str, part_of: Callable[..., str]) -> None:
        method = getattr(model, name)

        def call(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            answer = method(*arguments, **named)
            part = part_of(*arguments, **named)
            found.setdefault(part, []).append(time.process_time() - began)
            return answer

        setattr(model, name, call)

    timed("policy_logits", lambda *_: "policy")
    timed("classify_video", lambda *_: "classifier")
    timed("update", lambda *_, name: name)
    timed("clip_logits", lambda *_, **__: "rewards")


def batches(scheme: tuple[int, int], batch: int, count: int, *, tiny: bool) -> DataLoader[Any]:
    m, n = scheme
    size = 32 if tiny else 112
    generator = torch.Generator().manual_seed(0)
    items = [
        {
            "clips": torch.randint(256, (m, n, 3, 8, size, size), dtype=torch.uint8, generator=generator),
            "targets": nn.functional.one_hot(torch.tensor(i % CLASSES), CLASSES).float(),
            "video_id": f"video {i}",
        }
        for i in range(batch * count)
    ]
    return DataLoader(items, batch_size=batch)  # type: ignore[arg-type]


def compare(
    scheme: tuple[int, int], batch: int, rounds: int, *, policy: str, channels_last: bool, tiny: bool, **changes: Any
) -> dict[str, Any]:
    """Return the seconds of both steps, the CPU seconds of their parts, and how far their gradients differ."""
    ours, theirs = (make(scheme[1], channels_last=channels_last, tiny=tiny, **changes) for _ in range(2))
    if POLICIES[policy]:
        head = ours.observation.get_submodule(ours.observation.head)
        assert isinstance(head, nn.Linear)
        nn.init.constant_(head.bias[:1], peaked_bias(scheme[1], POLICIES[policy]))
    classifier_sgd, observation_sgd = sgd(theirs.classifier.parameters()), sgd(theirs.observation.parameters())
    naive = NaiveStep(theirs.classifier, theirs.observation, classifier_sgd, observation_sgd, theirs.normalize, GAMMA)
    in_turn = InTurn(naive)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[in_turn],
    )
    trainer.fit(ours, batches(scheme, batch, rounds + 1, tiny=tiny))
    times = {name: np.stack(values[1:]) for name, values in in_turn.seconds.items()}  # the first round warms up
    agreement = float(ours.monitor.compute()["agreement"])
    ratios = np.median(times["naive"] / times["ours"], axis=0).round(3).tolist()
    return {
        "seconds": {name: spread(values[:, 0].tolist()) for name, values in times.items()},
        "cpu_seconds": {name: spread(values[:, 1].tolist()) for name, values in times.items()},
        "times_as_fast": dict(zip(("seconds", "cpu_seconds"), ratios, strict=True)),
        "cpu_seconds_of_parts": {
            name: {part: round(sum(values) / (rounds + 1), 4) for part, values in parts.items()}
            for name, parts in in_turn.parts.items()
        },
        "sections_with_A_equal_to_B": round(agreement, 3),
        "largest_relative_difference_of_gradients": in_turn.worst,
    }


def now() -> NDArray[np.float64]:
    """Return the time and this process's CPU time, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the median, the fastest and the slowest.

    >>> spread([2.0, 1.0, 4.0])
    {'median': 2.0, 'min': 1.0, 'max': 4.0}
    """
    found = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
    return {name: round(value, 4) for name, value in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheme", default="6:3", help="M:N")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--layouts", default="contiguous,channels_last")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    m, n = map(int, arguments.scheme.split(":"))
    hide_lightning_advice()
    pl.seed_everything(0, verbose=False)
    rows = []
    for layout in arguments.layouts.split(","):
        for policy in arguments.policies.split(","):
            name = (
                f"{'tiny' if arguments.tiny else 'r3d_18'}, {m}:{n}, batch {arguments.batch}, {layout}, {policy} policy"
            )
            how = {"policy": policy, "channels_last": layout == "channels_last", "tiny": arguments.tiny}
            rows.append({"step": name, **compare((m, n), arguments.batch, arguments.rounds, **how)})
            print(json.dumps(rows[-1], indent=1), flush=True)
    write_rows(arguments.output, rows, rounds=arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
