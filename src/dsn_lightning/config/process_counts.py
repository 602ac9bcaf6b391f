"""How many processes a training has, and whether its settings and this machine allow that."""

import os
import re
from typing import Any, Protocol

import torch

from dsn_lightning.config.settings import Settings
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.process_rank import started_as_one_of_many


class ProcessKeys(Protocol):
    """Keys of ``trainer`` that say how many processes there are."""

    @property
    def accelerator(self) -> str:
        """What each process computes on."""

    @property
    def devices(self) -> Any:
        """Processes on each machine."""

    @property
    def num_nodes(self) -> int:
        """Machines."""


def num_local_processes(trainer: ProcessKeys) -> int:
    """Return the number of processes on this machine, which ``trainer.devices`` sets; an invalid value is refused."""
    devices = trainer.devices
    gpus = torch.cuda.device_count() if trainer.accelerator in ("auto", "gpu", "cuda") else 0
    if devices in ("auto", -1, "-1"):
        return max(1, gpus)
    if isinstance(devices, list | tuple) or (isinstance(devices, str) and "," in devices):
        listed = devices.split(",") if isinstance(devices, str) else devices
        return len([device for device in listed if str(device).strip()])
    if not re.fullmatch(r"[1-9][0-9]*", str(devices)):
        raise UsageError(f"trainer.devices={devices}: must be a number of at least 1, a list of GPUs, or auto")
    if gpus and int(devices) > gpus:
        raise UsageError(f"trainer.devices={devices}: this machine has {gpus} GPUs")
    return int(devices)


def num_processes(trainer: ProcessKeys) -> int:
    """Return the number of processes on all nodes together."""
    return num_local_processes(trainer) * trainer.num_nodes


def check_processes(settings: Settings) -> None:
    """Refuse settings that do not suit the number of processes."""
    trainer, batch, total = settings.trainer, settings.schedule.batch_size, num_processes(settings.trainer)
    if trainer.sync_batchnorm and (trainer.accelerator == "cpu" or torch.cuda.device_count() == 0):
        raise UsageError(
            "trainer.sync_batchnorm=true: works on GPUs only; on the CPU each process has statistics of its own"
        )
    if batch < total:
        raise UsageError(
            f"schedule.batch_size={batch}: is shared by all processes, and there are {total}; use a larger batch or "
            "fewer trainer.devices"
        )
    check_nodes(trainer)


def check_nodes(trainer: ProcessKeys) -> None:
    """Refuse several nodes if nothing says which of them this is."""
    if trainer.num_nodes > 1 and not started_as_one_of_many():
        unset = [name for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if unset:
            raise UsageError(
                f"trainer.num_nodes={trainer.num_nodes}: {', '.join(unset)} not set; start it with torchrun or srun, "
                "or once on each node with these set"
            )
