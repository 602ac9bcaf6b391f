"""DDP with a wrapper for each network; tests/launch/test_processes.py trains with several processes."""

import pytest
import torch
from torch import nn

from dsn_lightning.errors import UsageError
from dsn_lightning.training.network_gradients import NetworkDDPStrategy
from helpers.training import fit, make_dsn, state


@pytest.fixture
def strategy(monkeypatch):
    """The strategy, for a group of one process: this one."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):  # Lightning sets them
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)
    yield NetworkDDPStrategy()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "changes", [{}, {"classifier_optimizer": None}, {"recompute": True, "accumulate": 2}, {"on_nonfinite": "skip"}]
)
def test_one_process_trains_as_without_wrappers(changes, strategy):
    models = [make_dsn(**changes) for _ in range(2)]
    fit(models[0], strategy=strategy, devices=1, use_distributed_sampler=False)
    fit(models[1], devices=1)
    assert strategy.wrappers == {}
    trained, alone = map(state, models)
    assert trained.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.equal(trained[name], value), name


def test_a_parameter_that_the_loss_does_not_use_is_named(strategy):
    model = make_dsn()
    model.observation.spare = nn.Linear(2, 2)
    with pytest.raises(UsageError, match=r"the sampler does not use the parameters spare.weight, spare.bias; "):
        fit(model, strategy=strategy, devices=1)
    model.observation.spare.requires_grad_(False)
    fit(model, strategy=NetworkDDPStrategy(), devices=1)
