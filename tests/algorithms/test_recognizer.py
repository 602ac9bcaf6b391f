"""Steps in manual optimisation: accumulation, clipping, learning rates."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from dsn_lightning.schedules import MultiStep
from helpers.training import batches, fit, make_dsn, state


def test_accumulated_gradients_equal_one_large_batch():
    items = list(batches().dataset)
    # sgd without momentum on a classifier without batch statistics: one step of 8 = one step of 2 x 4
    results = []
    for size, accumulate in ((8, 1), (4, 2)):
        model = make_dsn(accumulate=accumulate, warmup_epochs=1)
        model.classifier.norm = nn.Identity()
        fit(model, epochs=1, loader=DataLoader(items, batch_size=size))
        results.append(state(model.classifier))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name])


def test_gradient_is_clipped():
    model = make_dsn(gradient_clip=1e-9, schedule=MultiStep(1, milestones=()))
    before = state(model.classifier.fc)
    fit(model, epochs=1)
    for name, value in model.classifier.fc.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-7, rtol=0)


def test_learning_rate_follows_the_epoch():
    seen = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            seen.append([o.param_groups[0]["lr"] for o in trainer.optimizers])

    fit(make_dsn(schedule=MultiStep(2, milestones=(1,))), epochs=2, callbacks=[Watch()])
    assert seen == [pytest.approx([lr, lr]) for lr in (0.1, 0.1, 0.01, 0.01)]
    seen.clear()
    sampler = MultiStep(2, milestones=(1,), decay=0.5)
    fit(make_dsn(schedule=MultiStep(2, milestones=()), sampler_schedule=sampler), epochs=2, callbacks=[Watch()])
    assert seen == [pytest.approx(rates) for rates in ([0.1, 0.1], [0.1, 0.1], [0.05, 0.1], [0.05, 0.1])]
