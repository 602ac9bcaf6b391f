"""Several processes train as one would: gradients, parameters, metrics and clip scores; failures end all of them."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from conftest import NEEDLE, MeanClassifier
from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.cli import PRELOAD
from dsn_lightning.data.batches import BatchShares, EpochOrder
from dsn_lightning.data.datamodule import BatchLoading, ClipScheme, SectionClipDataModule
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.launch.processes import _cause, _first_error, run_processes
from dsn_lightning.observations.concat import ConcatObservation
from dsn_lightning.rewards.correct_class import CorrectClass
from dsn_lightning.schedules import MultiStep
from dsn_lightning.training.callbacks import EpochLog
from dsn_lightning.training.network_gradients import NetworkDDPStrategy
from dsn_lightning.video.crops import Crop
from helpers.processes import call, start
from helpers.wandb_files import read_all

SMALL = [
    "schedule.max_epochs=2", "schedule.batch_size=5", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=1", "trainer.accelerator=cpu", "test.figures=false",
]  # fmt: skip


class FrozenNormDSN(DSN):
    """Batch statistics depend on how a batch is split; with frozen ones nothing does."""

    def train(self, mode: bool = True) -> "FrozenNormDSN":
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        return self


class Gradients(pl.Callback):
    """Keeps what both optimisers are about to step along, how many numbers DDP sums for it, and figures of epochs."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []
        self.epochs: list[dict[str, float]] = []
        self.summed: list[int] = []  # numbers, by step
        self.sum = 0  # since the last step

    def on_train_start(self, trainer, pl_module):
        def counted(_, bucket):
            self.sum += bucket.buffer().numel()
            return allreduce_hook(None, bucket)

        for wrapper in getattr(trainer.strategy, "wrappers", {}).values():
            wrapper.register_comm_hook(None, counted)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        for optimizer, name in zip(pl_module.optimizer_list(), pl_module.optimizer_names, strict=True):
            original = optimizer.optimizer.step
            if getattr(optimizer.optimizer, "watched", False):
                continue

            def step(closure=None, original=original, optimizer=optimizer, name=name):
                closure()  # the gradient is whole when it returns
                module = getattr(pl_module, {"sampler": "observation"}.get(name, name))
                self.steps.append({f"{name}/{k}": p.grad.clone() for k, p in module.named_parameters()})
                self.summed.append(self.sum)
                self.sum = 0
                return original()

            optimizer.optimizer.step = step
            optimizer.optimizer.watched = True

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs.append({k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith("time/")})


def record_gradients(root: str, index: str, world: int, accumulate: int, out: str) -> None:
    torch.manual_seed(0)
    source = Needle(root, num_train=12, num_val=6, num_test=6)
    data = SectionClipDataModule(
        source,
        crop=Crop((34, 34), 32, (1.0,), 0.0),
        scheme=ClipScheme(2, 2, 2, 2, frames_per_clip=8),
        loading=BatchLoading(batch_size=5),
        prepared=index,
    )
    data.setup()
    classifier = ResNet3D(num_classes=len(source.classes), stem_width=8, widths=[8, 8], blocks=[0, 1])
    trunk = ResNet2D(num_classes=0, num_frames=8, stem_width=8, widths=[8, 8], blocks=[0, 1])
    model = FrozenNormDSN(
        classifier, ConcatObservation(trunk, clips_per_section=2),
        classifier_optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        sampler_optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        reward=CorrectClass(gamma=0.5), exploration=0.1, warmup_epochs=1, schedule=MultiStep(3, milestones=(2,)),
        mean=[0.5] * 3, std=[0.25] * 3, accumulate=accumulate, gradient_clip=1.0,
    )  # fmt: skip
    nn.init.normal_(model.observation.fc.weight, std=0.3)
    nn.init.normal_(classifier.fc.weight)  # clips' rewards differ
    watch = Gradients()
    strategy = NetworkDDPStrategy() if world > 1 else "auto"
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", devices=world, strategy=strategy, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
        callbacks=[EpochLog(), watch],
    )  # fmt: skip
    model.train()
    trainer.fit(model, datamodule=data)
    rank = int(os.environ.get("RANK", 0))
    found = {"steps": watch.steps, "summed": watch.summed, "epochs": watch.epochs, "weights": model.state_dict()}
    torch.save(found, f"{out}.{rank}")


def in_processes(world: int, arguments: tuple[Any, ...], folder: str) -> None:
    torch.set_num_threads(1)
    if world == 1:
        record_gradients(*arguments)
    else:
        sys.exit(run_processes(record_gradients, arguments, count=world, folder=Path(folder)))


def trained(root: Path, folder: Path, world: int, accumulate: int) -> list[dict[str, Any]]:
    """Return what each process recorded."""
    out = folder / f"out-{world}-{accumulate}"
    arguments = (str(root), str(folder / "index"), world, accumulate, str(out))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD])
    process = context.Process(target=in_processes, args=(world, arguments, str(folder)))
    process.start()
    process.join()
    logs = [log.read_text() for log in folder.glob("process_*.txt")]
    assert process.exitcode == 0, logs
    return [torch.load(f"{out}.{rank}", weights_only=True) for rank in range(world)]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_are_those_of_one_process(accumulate, needle_root, tmp_path):
    """12 videos in batches of 5: the last has 2, so of three processes one has no video in it.

    Each step sums the gradient of its network, once.
    """
    (alone,) = trained(needle_root, tmp_path, 1, accumulate)
    steps = {1: 3, 2: 2}[accumulate]
    assert len(alone["steps"]) == steps + 2 * 2 * steps  # the classifier's in the warm-up, then both
    for world in (2, 3):
        ranks = trained(needle_root, tmp_path, world, accumulate)
        for there in ranks:
            assert len(there["steps"]) == len(alone["steps"])
            assert there["summed"] == [sum(g.numel() for g in step.values()) for step in alone["steps"]]
            for ours, theirs in zip(there["steps"], alone["steps"], strict=True):
                assert ours.keys() == theirs.keys()
                for name, gradient in theirs.items():
                    torch.testing.assert_close(
                        ours[name], gradient, rtol=2e-3, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}"
                    )
            for ours, theirs in zip(there["epochs"], alone["epochs"], strict=True):
                assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
            for name, value in ranks[0]["weights"].items():
                assert torch.equal(there["weights"][name], value), name
    assert alone["epochs"][1]["train/policy_advantage_std"] > 0.05


def test_shares_cover_every_batch_once():
    for videos, size, world in ((7, 3, 2), (7, 3, 3), (1, 4, 4), (12, 5, 3), (8, 8, 1)):
        shares = [
            list(BatchShares(EpochOrder(videos, seed=1), size, rank=r, num_processes=world)) for r in range(world)
        ]
        assert len({len(share) for share in shares}) == 1
        counted = [draw.video for share in shares for batch in share for draw in batch if draw.counted]
        assert sorted(counted) == list(range(videos))
        alone = list(BatchShares(EpochOrder(videos, seed=1), size))
        for i, batch in enumerate(alone):
            together = [draw for share in shares for draw in share[i] if draw.counted]
            assert {d.video for d in together} == {d.video for d in batch}


def test_skipped_batches_are_left_out_of_one_epoch_only():
    order = EpochOrder(7, seed=1, epoch=2)
    shares = BatchShares(order, 3, skip=2)
    whole = list(BatchShares(EpochOrder(7, seed=1, epoch=2), 3))
    assert list(shares) == whole[2:]
    assert len(shares) == 3
    order.set_epoch(3)
    assert len(list(shares)) == 3


@pytest.fixture(scope="module")
def two_processes(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    done = call("dsn-train", "trainer=ddp", "trainer.devices=2", f"dataset.root={needle_root}", *NEEDLE, *SMALL,
                "hydra.run.dir=run", "logger=wandb", "logger.wandb.mode=offline", cwd=root)  # fmt: skip
    assert "5 videos per step over 2 processes" in done.stdout
    return root / "run"


def test_a_run_of_two_processes_leaves_one_folder(two_processes):
    assert sorted(p.name for p in two_processes.parent.iterdir() if p.name != "data") == ["run"]
    rows = json.loads((two_processes / "results.json").read_text())
    assert {row["selection"] for row in rows} == {"uniform", "dsn", "oracle"}
    assert json.loads((two_processes / "environment.json").read_text())["processes"] == 2
    assert json.loads((two_processes / "status.json").read_text())["state"] == "finished"
    (tracked,) = read_all(two_processes)
    assert tracked.exit_code == 0
    assert len(tracked.history) >= 2
    assert "test/dsn/M2/top1" in tracked.summary


def test_each_test_video_counts_once_with_any_number_of_processes(two_processes, needle_root, tmp_path):
    """Seven test videos on one, three and four processes: the same clip scores, to the last bit, and the same rows."""
    checkpoint = two_processes / "checkpoints" / "last.ckpt"
    found = {}
    for world in (1, 3, 4):
        call("dsn-evaluate", f"checkpoint={checkpoint}", "dataset=needle", "dataset.num_train=12", "dataset.num_val=6",
             "dataset.num_test=7", f"dataset.root={tmp_path / 'needle'}", f"devices={world}",
             f"hydra.run.dir={world}", cwd=tmp_path)  # fmt: skip
        rows = json.loads((tmp_path / str(world) / "results.json").read_text())
        found[world] = (
            ClipScores.load(tmp_path / str(world) / "clip_scores.npz"),
            [{k: v for k, v in row.items() if k != "seconds_per_video"} for row in rows],
        )
    scores, rows = found[1]
    assert len(scores.video_id) == 7
    assert all(row["videos"] == 7 for row in rows)
    for world in (3, 4):
        assert found[world][1] == rows
        for name in ("clip_video", "clip_start", "clip_network", "clip_logits", "section_scheme", "section_logits"):
            assert np.array_equal(getattr(found[world][0], name), getattr(scores, name)), name


class Failing(MeanClassifier):
    """Breaks in one process and writes when it did."""

    def __init__(self, num_classes: int, rank: int, file: str) -> None:
        super().__init__(num_classes)
        self.rank = rank
        self.file = Path(file)
        self.calls = 0

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 3 and int(os.environ["RANK"]) == self.rank:
            self.file.write_text(str(time.monotonic()))
            raise RuntimeError("this process has broken")
        return super().forward(clips)


def test_the_cause_is_not_the_process_that_lost_its_connection():
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    errors.put((1, "RuntimeError: [gloo/tcp/pair.cc] Connection closed by peer [127.0.0.1]:4"))
    errors.put((0, "RuntimeError: this process has broken"))
    assert _first_error(errors) == (0, "RuntimeError: this process has broken")
    errors.put((1, "RuntimeError: Connection reset by peer"))
    assert _first_error(errors)[0] == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_failing_process_ends_the_others_with_its_cause(rank, needle_root, tmp_path):
    broken = tmp_path / "broken"
    done = call("dsn-train", "trainer.devices=2", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "hydra.run.dir=run",
                "logger=wandb", "logger.wandb.mode=offline", "~backbone.network",
                f"+backbone.network={{_target_: test_processes.Failing, rank: {rank}, file: {broken}}}",
                cwd=tmp_path, expect=1)  # fmt: skip
    assert time.monotonic() - float(broken.read_text()) < 30
    assert f"process {rank} of 2 failed" in done.stderr
    assert "RuntimeError: this process has broken" in done.stderr
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    (tracked,) = read_all(tmp_path / "run")
    assert tracked.exit_code == 1


def test_a_killed_process_ends_the_others(needle_root, tmp_path):
    process = start("dsn-train", "trainer.devices=2", f"dataset.root={needle_root}", *NEEDLE, *SMALL,
                    "schedule.max_epochs=500", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    wait_for(tmp_path / "run" / "progress.json", process)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) == 2
    began = time.monotonic()
    os.kill(children[1], signal.SIGKILL)
    process.join(30)
    assert process.exitcode == 137
    assert time.monotonic() - began < 30
    assert "process 1 of 2 ended with exit code -9" in (tmp_path / "err").read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def wait_for(file: Path, process: Any) -> None:
    while process.is_alive() and not file.is_file():
        time.sleep(0.02)
    assert file.is_file()


def test_ctrl_c_ends_all_processes(needle_root, tmp_path):
    process = start("dsn-train", "trainer.devices=2", f"dataset.root={needle_root}", *NEEDLE, *SMALL,
                    "schedule.max_epochs=500", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    wait_for(tmp_path / "run" / "progress.json", process)
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer.sync_batchnorm=true"], "trainer.sync_batchnorm=true: works on GPUs only"),
        (["trainer.devices=6"], "schedule.batch_size=5: is shared by all processes, and there are 6"),
        (["trainer.devices=none"], "trainer.devices=none: must be a number"),
        (["trainer.num_nodes=2"], "trainer.num_nodes=2: NODE_RANK, MASTER_ADDR, MASTER_PORT not set"),
        (["trainer.num_nodes=0"], "trainer.num_nodes=0: must be a whole number"),
        (["trainer.max_time=soon"], "trainer.max_time=soon: must be DD:HH:MM:SS"),
        (["trainer.devices=2", "algorithm=dsn_fixed"], "algorithm=dsn_fixed keeps a trained classifier"),
    ],
)
def test_bad_settings_get_one_line(arguments, message, needle_root, tmp_path):
    done = call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "algorithm.warmup_epochs=0", *arguments,
                "hydra.run.dir=run", cwd=tmp_path, expect=2)  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert message in lines[0]


def refuse_in(first: int, folder: str) -> None:
    """Refuse a setting in process ``first``; the other is still busy with work that may fail."""
    if int(os.environ["RANK"]) != first:
        try:
            time.sleep(20)
        except Exception as error:
            print(f"dsn-train: error: does not take such clips ({error})", file=sys.stderr)
            sys.exit(2)
    print("dsn-train: error: no", file=sys.stderr)
    sys.exit(2)


def two_of(first: int, folder: str) -> None:
    with open(Path(folder, "err"), "w") as log:
        os.dup2(log.fileno(), 2)
    sys.exit(run_processes(refuse_in, (first, folder), count=2, folder=Path(folder)))


@pytest.mark.parametrize("first", [0, 1])
def test_a_usage_error_of_one_process_is_printed_once(first, tmp_path):
    process = multiprocessing.get_context("forkserver").Process(target=two_of, args=(first, str(tmp_path)))
    process.start()
    process.join()
    assert process.exitcode == 2
    assert (tmp_path / "err").read_text().splitlines() == ["dsn-train: error: no"]


@pytest.mark.parametrize(
    ("codes", "stopped", "cause"),
    [((1, -9), False, 1), ((1, 2), False, 1), ((2, -9), False, 1), ((1, 1), False, 0), ((143, -15), True, 0)],
)
def test_exit_codes_tell_which_process_made_the_others_fail(codes, stopped, cause):
    forked = multiprocessing.get_context("fork")
    processes = [forked.Process(target=end_with, args=(code,)) for code in codes]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert _cause(processes, stopped=stopped) is processes[cause]


def end_with(code: int) -> None:
    if code < 0:
        os.kill(os.getpid(), -code)
        time.sleep(10)
    os._exit(code)


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def in_environments(environments: list[dict[str, str]], *arguments: str, cwd: Path) -> None:
    """Run the command once in each environment, at the same time."""
    for i in range(len(environments)):
        (cwd / str(i)).mkdir()
    started = [
        start("dsn-train", *arguments, cwd=cwd, env=env, output=cwd / str(i)) for i, env in enumerate(environments)
    ]
    for i, process in enumerate(started):
        process.join()
        assert process.exitcode == 0, (cwd / str(i) / "err").read_text()


def assert_as(run: Path, other: Path) -> None:
    """The same training, to the last bit."""
    ours, theirs = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for r in (run, other))
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def test_two_nodes_on_loopback_train_as_one_of_two_processes(two_processes, needle_root, tmp_path):
    port = str(free_port())
    nodes = [{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": str(node)} for node in (0, 1)]
    in_environments(nodes, "trainer.num_nodes=2", f"dataset.root={needle_root}", *NEEDLE, *SMALL, cwd=tmp_path)
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    assert_as(run, two_processes)


def test_slurms_environment(two_processes, needle_root, tmp_path):
    common = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
              "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "127.0.0.1", "SLURM_NODEID": "0",
              "SLURM_NODELIST": "127.0.0.1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}  # fmt: skip
    tasks = [common | {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)} for task in (0, 1)]
    in_environments(tasks, "trainer.devices=2", f"dataset.root={needle_root}", *NEEDLE, *SMALL, cwd=tmp_path)
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    assert_as(run, two_processes)


@pytest.mark.slow
def test_under_torchrun(two_processes, needle_root, tmp_path):
    """The launcher that ships with torch, in a separate process."""
    program = "import torch; torch.set_num_threads(1); from dsn_lightning.cli.train import main; main()"
    (tmp_path / "go.py").write_text(program)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "go.py",
               "trainer.devices=2", f"dataset.root={needle_root}", *NEEDLE, *SMALL]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    assert_as(run, two_processes)


def test_ddp_without_gpus_is_one_process(needle_root, tmp_path):
    call("dsn-train", "trainer=ddp", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "hydra.run.dir=run", cwd=tmp_path)
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 1


def test_a_loader_in_another_process_changes_nothing(two_processes, needle_root, tmp_path):
    call("dsn-train", "trainer.devices=2", "num_workers=1", f"dataset.root={needle_root}", *NEEDLE, *SMALL,
         "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    assert_as(tmp_path / "run", two_processes)
