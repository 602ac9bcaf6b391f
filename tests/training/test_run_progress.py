"""The lines that a training prints."""

import pytorch_lightning as pl

from dsn_lightning.training.callbacks import EpochLog, RunProgress
from helpers.training import fit, make_dsn


class Validated(pl.Callback):
    """Logs a top-1 as a validation does."""

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("val/top1", 0.312, logger=False)


def test_rates_are_printed_in_percent(capsys):
    fit(make_dsn(), epochs=1, callbacks=[EpochLog(), Validated(), RunProgress(bar=True)])
    assert "val/top1 31.2%  " in capsys.readouterr().err
