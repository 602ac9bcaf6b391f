"""Where the time of a training step goes: the ten operators that take most of it, by PyTorch's profiler.

    python experiments/speed/step_profile.py [--scheme 6:3] [--batch 1] [--rounds 2] [--tiny] [--output FILE]

Profiles the package's step and the naive one of training_step.py in turn, from the same weights, on a GPU if there is
one (--precision bf16-mixed, as for `dsn-train`). Times are those of the operators themselves, without the operators
that they call: on the CPU thread that calls them (other threads work meanwhile), or on the GPU. For each operator, the
least of its times over the rounds is used, because other work on the machine only adds to them.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from naive_step import NaiveStep, peaked_bias
from timing import print_rows, write_rows
from torch import nn
from torch.profiler import ProfilerActivity, profile
from training_step import GAMMA, POLICIES, batches, make, sgd

from dsn_lightning.stateless_random import CLASSIFIER_ACTION
from dsn_lightning.training.lightning_advice import hide_lightning_advice

SHOWN = 10


class ProfiledSteps(pl.Callback):
    """Profiles each step of the package but the first, and a naive step after it.

    Attributes:
        milliseconds: of each operator in its fastest step, by ``naive`` and ``package``.
        calls: of each operator in the last step, likewise.
    """

    def __init__(self, naive: NaiveStep) -> None:
        self.naive = naive
        self.milliseconds: dict[str, dict[str, float]] = {"naive": {}, "package": {}}
        self.calls: dict[str, dict[str, int]] = {"naive": {}, "package": {}}

    def on_train_batch_start(self, trainer: pl.Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        """Give the naive step the weights from which this step starts, and begin to profile."""
        for name in ("classifier", "observation"):
            network = getattr(self.naive, name).to(model.device)
            network.load_state_dict(getattr(model, name).state_dict())
        self.profiler = start_profiler()

    def on_train_batch_end(self, trainer: pl.Trainer, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Profile the naive step; the first of both only warms up."""
        package = stop_profiler(self.profiler)
        purposes = (CLASSIFIER_ACTION, "action/sampler")
        uniforms = [model.uniforms(batch["video_id"], batch["clips"].shape[1], purpose) for purpose in purposes]
        profiler = start_profiler()
        with trainer.precision_plugin.forward_context():
            self.naive(batch["clips"], batch["targets"], *uniforms)
        naive = stop_profiler(profiler)
        for name, found in (("package", package), ("naive", naive)) if batch_idx else ():
            for event in found:
                least = self.milliseconds[name].get(event.key, float("inf"))
                self.milliseconds[name][event.key] = min(least, own_milliseconds(event))
                self.calls[name][event.key] = event.count


def start_profiler() -> profile:
    """Return a profiler that is running, of the CPU and of the GPU if there is one."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    profiler = profile(activities=activities, acc_events=True)
    profiler.start()
    return profiler


def stop_profiler(profiler: profile) -> list[Any]:
    """Return the operators that have run, once what they have queued on the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    profiler.stop()
    return [e for e in profiler.key_averages() if e.device_type.name == "CPU" and not e.is_user_annotation]


def own_milliseconds(event: Any) -> float:
    """Return the time of an operator without those that it calls: of the GPU if there is one."""
    return (event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total) / 1000


def measure(
    scheme: tuple[int, int], batch: int, rounds: int, *, policy: str, channels_last: bool, tiny: bool, precision: str
) -> dict[str, Any]:
    """Return the milliseconds of all operators of either step, and the operators that take most of the package's."""
    ours, theirs = (make(scheme[1], channels_last=channels_last, tiny=tiny) for _ in range(2))
    if POLICIES[policy]:
        head = ours.observation.get_submodule(ours.observation.head)
        assert isinstance(head, nn.Linear)
        nn.init.constant_(head.bias[:1], peaked_bias(scheme[1], POLICIES[policy]))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    theirs.to(device)
    classifier_sgd, observation_sgd = sgd(theirs.classifier.parameters()), sgd(theirs.observation.parameters())
    steps = ProfiledSteps(
        NaiveStep(theirs.classifier, theirs.observation, classifier_sgd, observation_sgd, theirs.normalize, GAMMA)
    )
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="auto",
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[steps],
    )
    trainer.fit(ours, batches(scheme, batch, rounds + 1, tiny=tiny))
    totals = {name: sum(found.values()) for name, found in steps.milliseconds.items()}
    slowest = sorted(steps.milliseconds["package"], key=steps.milliseconds["package"].__getitem__, reverse=True)
    operators = [
        {
            "operator": key.removeprefix("aten::"),
            **{f"{name}_ms": round(found.get(key, 0.0), 3) for name, found in steps.milliseconds.items()},
            **{f"{name}_calls": found.get(key, 0) for name, found in steps.calls.items()},
            "package_share": round(steps.milliseconds["package"][key] / totals["package"], 4),
        }
        for key in slowest[:SHOWN]
    ]
    return {"ms": {name: round(total, 1) for name, total in totals.items()}, "operators": operators}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheme", default="6:3", help="M:N")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--policy", default="uniform", choices=list(POLICIES))
    parser.add_argument("--layouts", default="contiguous,channels_last")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    m, n = map(int, arguments.scheme.split(":"))
    hide_lightning_advice()
    torch.set_float32_matmul_precision("high")  # as trainer.tf32=true; without effect on the CPU
    rows = []
    for layout in arguments.layouts.split(","):
        how = {"policy": arguments.policy, "tiny": arguments.tiny, "precision": arguments.precision}
        found = measure((m, n), arguments.batch, arguments.rounds, channels_last=layout == "channels_last", **how)
        networks = "tiny" if arguments.tiny else "r3d_18"
        name = f"{networks}, {m}:{n}, batch {arguments.batch}, {layout}, {arguments.policy} policy"
        rows.append({"step": name, "precision": arguments.precision, **found})
        print(f"{name}: {found['ms']}")
        print_rows(found["operators"])
        print(flush=True)
    write_rows(arguments.output, rows, rounds=arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
