"""TF32 is chosen for a GPU during the training; the flags exist without one."""

import pytest
import torch

from dsn_lightning.config.compose import settings_of
from dsn_lightning.training.tensor_cores import using_tf32


def flags() -> list[bool]:
    return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]


@pytest.mark.parametrize("enabled", [True, False])
def test_tf32_holds_for_both_kinds_of_products_on_a_gpu_and_ends_with_the_training(enabled):
    before = flags()
    with using_tf32(enabled, device=torch.device("cuda", 0)):
        assert flags() == [enabled] * 2
    assert flags() == before
    with using_tf32(enabled, device=torch.device("cpu")):
        assert flags() == before


def test_tf32_is_the_default_and_no_flag_of_lightnings_trainer():
    assert settings_of("run_dir=x").trainer.tf32
    trainer = settings_of("run_dir=x", "trainer.tf32=false").trainer
    assert not trainer.tf32
    assert "tf32" not in trainer.flags
