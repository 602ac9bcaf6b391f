"""Two machines, each a network namespace of this one with an address of its own, train as two processes of one do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from conftest import NEEDLE
from helpers.processes import call

pytestmark = pytest.mark.faults

SMALL = ["schedule.batch_size=6", "M=2", "N=2", "algorithm.warmup_epochs=0", "trainer.accelerator=cpu",
         "test.enabled=false", *NEEDLE]  # fmt: skip
PROGRAM = "import torch; torch.set_num_threads(1); from dsn_lightning.cli.train import main; main()"
DEVICE = "cable"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Two namespaces, joined by a cable: 10.77.0.1 and 10.77.0.2."""
    names = [f"dsn{os.getpid()}n{node}" for node in (0, 1)]
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces need root and the command ip")
    try:
        ip("-n", names[0], "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", names[1])
        for node, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.77.0.{node + 1}/24", "dev", DEVICE)
            for device in ("lo", DEVICE):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def sent_bytes(name: str) -> int:
    """Bytes that a machine has sent over its cable."""
    file = f"/sys/class/net/{DEVICE}/statistics/tx_bytes"
    return int(subprocess.run(["ip", "netns", "exec", name, "cat", file], check=True, capture_output=True).stdout)


def train(machines: list[str], folder: Path, *arguments: str) -> Path:
    """Run the same training on both machines, in a folder that they share, and return the run's folder."""
    started = []
    for node, name in enumerate(machines):
        environment = os.environ | {
            "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29511", "NODE_RANK": str(node), "GLOO_SOCKET_IFNAME": DEVICE,
        }  # fmt: skip
        command = ["ip", "netns", "exec", name, sys.executable, "-c", PROGRAM, "trainer.num_nodes=2", *arguments]
        with open(folder / f"machine_{node}.txt", "w") as log:
            started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
    for node, process in enumerate(started):
        assert process.wait(300) == 0, (folder / f"machine_{node}.txt").read_text()
    return folder / "run"


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def test_two_machines_train_as_two_processes_of_one(machines, needle_root, tmp_path):
    arguments = [f"dataset.root={needle_root}", *SMALL, "schedule.max_epochs=2", "hydra.run.dir=run"]
    (tmp_path / "apart").mkdir()
    (tmp_path / "together").mkdir()
    apart = weights(train(machines, tmp_path / "apart", *arguments))
    call("dsn-train", "trainer.devices=2", *arguments, cwd=tmp_path / "together")
    together = weights(tmp_path / "together" / "run")
    assert apart.keys() == together.keys()
    for name, value in together.items():
        assert torch.equal(apart[name], value), name


def test_a_step_sends_the_gradient_of_each_network_once(machines, needle_root, tmp_path):
    """What docs/scaling.md counts. Of two processes each sends a sum's every number once, in 4 bytes."""
    sent = []
    for epochs in (1, 5):
        folder = tmp_path / str(epochs)
        folder.mkdir()
        before = sent_bytes(machines[0])
        arguments = [f"dataset.root={needle_root}", *SMALL, f"schedule.max_epochs={epochs}", "hydra.run.dir=run"]
        run = train(machines, folder, *arguments)
        sent.append(sent_bytes(machines[0]) - before)
    learned = [value for name, value in weights(run).items() if value.is_floating_point() and "running" not in name]
    gradients = sum(value.numel() * 4 for value in learned)
    steps = (5 - 1) * 2  # two batches of six videos an epoch
    a_step = (sent[1] - sent[0]) / steps
    assert gradients <= a_step < 1.1 * gradients
