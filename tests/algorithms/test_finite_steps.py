"""A loss, gradient or score that is not finite ends the training, or its step is left out."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dsn_lightning.errors import UsageError
from helpers.training import batch_norms, batches, fit, make_dsn, state


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is multiplied."""

    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


class Fault(nn.Module):
    """Behind ``layer``, calls ``spoil`` on the outputs of some training passes, counted from 0."""

    def __init__(self, layer: nn.Module, calls: set[int], spoil) -> None:
        super().__init__()
        self.layer, self.calls, self.spoil, self.count = layer, calls, spoil, 0

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        if self.training and torch.is_grad_enabled():
            self.count += 1
            if self.count - 1 in self.calls:
                return self.spoil(out)
        return out


def nan_loss(out: Tensor) -> Tensor:
    return out * torch.nan


def infinite_gradient(out: Tensor) -> Tensor:
    return Scaled.apply(out, torch.inf)


def nan_at_a_place(out: Tensor) -> Tensor:
    return out + torch.nan * nn.functional.one_hot(torch.tensor(1), out.shape[-1])


@pytest.mark.parametrize(
    ("spoil", "value"), [(nan_loss, "loss"), (nan_at_a_place, "loss"), (infinite_gradient, "gradient")]
)
def test_the_first_value_that_is_not_finite_ends_the_training(spoil, value):
    model = make_dsn()
    model.classifier.fc = Fault(model.classifier.fc, {3}, spoil)
    with pytest.raises(UsageError) as error:
        fit(model, epochs=3)
    assert str(error.value) == (
        f"epoch 1, batch 1: the classifier's {value} is not finite (videos: video 4, video 5, video 6, video 7); lower "
        "schedule.lr or schedule.gradient_clip, or leave out such steps with schedule.on_nonfinite=skip"
    )


def test_the_sampler_is_watched_too_and_all_batches_of_a_step_are_named():
    model = make_dsn(accumulate=2, recompute=False)
    model.observation.fc = Fault(model.observation.fc, {0}, nan_loss)
    with pytest.raises(
        UsageError, match=r"epoch 0, batches 0 to 1: the sampler's loss .*video 0,.*video 7\); lower sch"
    ):
        fit(model, epochs=1)


@pytest.mark.parametrize("saves_at", ["batch", "epoch"])
def test_nothing_is_saved_or_validated_after_such_a_value(saves_at, tmp_path):
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if saves_at == "batch":
                trainer.save_checkpoint(tmp_path / "last.ckpt")

        def on_train_epoch_end(self, trainer, _):
            trainer.save_checkpoint(tmp_path / "last.ckpt")

        def on_validation_start(self, *_):
            (tmp_path / "validated").touch()

    model = make_dsn()
    model.classifier.fc = Fault(model.classifier.fc, {0 if saves_at == "batch" else 1}, nan_loss)
    with pytest.raises(UsageError, match="is not finite"):
        fit(model, epochs=1, loader=Both(), num_sanity_val_steps=0, callbacks=[Save()])
    assert not list(tmp_path.iterdir())


class Both(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return batches()

    def val_dataloader(self) -> DataLoader:
        return batches()


@pytest.mark.parametrize("spoil", [nan_loss, infinite_gradient])
def test_a_step_that_is_left_out_changes_nothing_and_is_counted(spoil):
    model = make_dsn(on_nonfinite="skip", warmup_epochs=1)
    model.classifier.fc = Fault(model.classifier.fc, {0, 1}, spoil)
    before = state(model)
    fit(model, epochs=1)
    assert model.steps.skipped == {"classifier": 2, "sampler": 0}
    for name, value in model.state_dict().items():
        if not name.startswith(("means.", "monitor.")):
            assert torch.equal(value, before[name]), name


def test_training_goes_on_after_a_step_that_is_left_out():
    model = make_dsn(on_nonfinite="skip")
    norm = batch_norms(model.classifier)[0]
    model.classifier.norm = Fault(norm, {1}, nan_loss)
    before = state(model.classifier)
    fit(model, epochs=2)
    assert model.steps.skipped["classifier"] == 1
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert not torch.equal(model.classifier.fc.weight, before["fc.weight"])
    assert int(norm.num_batches_tracked) == 3
    assert all(value.isfinite() for value in model.means.compute().values())


def test_an_overflow_of_fp16_is_left_to_the_loss_scaler():
    def plugins() -> list[MixedPrecision]:
        return [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))]

    model = make_dsn(warmup_epochs=1)
    model.classifier.fc = Fault(model.classifier.fc, {0}, infinite_gradient)
    before = model.classifier.fc.layer.weight.clone()
    fit(model, epochs=1, plugins=plugins())
    assert not torch.equal(model.classifier.fc.layer.weight, before)
    model.classifier.fc = Fault(model.classifier.fc.layer, set(range(100)), infinite_gradient)
    with pytest.raises(UsageError, match="epoch 16, batch 0: the classifier's gradient is not finite"):
        fit(model, epochs=40, plugins=plugins())


@pytest.mark.parametrize("part", ["classifier", "observation"])
def test_scores_of_the_validation_are_checked_before_its_metrics(part):
    class Spoiled(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network, self.in_channels, self.trunk = network, 3, getattr(network, "trunk", None)

        def forward(self, clips: Tensor) -> Tensor:
            return self.network(clips) * (1 if self.training else torch.nan)

    model = make_dsn()
    setattr(model, part, Spoiled(getattr(model, part)))
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", limit_val_batches=1)
    with pytest.raises(UsageError, match=r"epoch 0, validation: the scores of 4 videos are not finite \(video 0, "):
        trainer.validate(model, batches(), verbose=False)
