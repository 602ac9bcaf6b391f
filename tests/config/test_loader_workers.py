"""num_workers=auto: which trainings have loader processes or a thread, and how many fit."""

import pytest

from dsn_lightning.config import loader_workers as module
from dsn_lightning.config.build import build_datamodule
from dsn_lightning.config.loader_workers import loader_workers
from helpers.synthetic import composed


@pytest.fixture
def machine(monkeypatch):
    """Sets the cores, the GPUs, the free shared memory, and whether this is one of several processes."""

    def set_machine(cores, *, gpus=0, shared_memory=2**40, one_of_many=False):
        monkeypatch.setattr(module, "available_threads", lambda: cores)
        monkeypatch.setattr(module, "started_as_one_of_many", lambda: one_of_many)
        monkeypatch.setattr(module, "_free_shared_memory", lambda: shared_memory)
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)

    return set_machine


READS = ["dataset.reading.cache_frames=false"]


@pytest.mark.parametrize(
    ("overrides", "computer", "expected"),
    [
        ([], {"cores": 2}, 1),
        ([], {"cores": 1}, 0),
        ([], {"cores": 64}, 1),
        ([], {"cores": 16, "gpus": 1}, 15),
        ([], {"cores": 64, "gpus": 1}, 16),
        (["trainer.accelerator=cpu"], {"cores": 16, "gpus": 1}, 1),
        (["trainer.devices=2"], {"cores": 16, "gpus": 2}, 7),
        (["trainer.devices=2"], {"cores": 8, "gpus": 2, "one_of_many": True}, 7),
        (["num_workers=3"], {"cores": 1}, 3),
        (["num_workers=0"], {"cores": 16, "gpus": 1}, 0),
    ],
)
def test_the_cores_decide(overrides, computer, expected, machine):
    machine(**computer)
    assert loader_workers(composed(*READS, *overrides)) == (expected, None)


@pytest.mark.parametrize(
    ("overrides", "computer", "expected"),
    [
        (["dataset.reading.cache_frames=true"], {"cores": 16, "gpus": 1}, (1, "thread")),
        (["dataset.reading.cache_frames=true"], {"cores": 2}, (1, "thread")),
        (["dataset.reading.cache_frames=true", "start_workers=thread"], {"cores": 2}, (1, "thread")),
        (["backbone=mobilenet_v2"], {"cores": 2}, (1, "thread")),
        (["dataset.reading.cache_frames=true"], {"cores": 1}, (0, "thread")),
        (["dataset.reading.cache_frames=true", "trainer.devices=2"], {"cores": 2}, (0, "thread")),
        (["dataset.reading.cache_frames=true", "start_workers=fork"], {"cores": 16}, (0, "fork")),
        (["dataset.reading.cache_frames=true", "num_workers=2"], {"cores": 16}, (2, None)),
    ],
)
def test_what_is_kept_in_memory_is_read_by_a_thread(overrides, computer, expected, machine):
    machine(**computer)
    assert loader_workers(composed(*READS, *overrides)) == expected


def test_batches_have_to_fit_into_the_shared_memory(machine):
    settings = composed(*READS, "schedule.batch_size=10", "M=3", "N=4")
    batch = 10 * 3 * 4 * 3 * 8 * 32 * 32
    machine(16, gpus=1, shared_memory=12 * batch)  # half of it, two batches of each worker
    assert loader_workers(settings).number == 3
    whole = composed(*READS, "schedule.batch_size=10", "M=3", "N=4", "dataset.reading.crop_on_device=true")
    assert loader_workers(whole).number == 12 * 32 * 32 // (4 * 34 * 34)  # frames of 34x34 in place of clips
    machine(16, gpus=1, shared_memory=2**20)
    assert loader_workers(settings).number == 0


def test_the_data_module_gets_the_number(machine):
    machine(16, gpus=1)
    loading = build_datamodule(composed(*READS)).loading
    assert (loading.num_workers, loading.pin_memory) == (15, True)
    machine(16)
    loading = build_datamodule(composed(*READS)).loading
    assert (loading.num_workers, loading.pin_memory) == (1, False)
