"""Keys that nothing reads and misspelt names are refused with what is meant; those with ``+`` work."""

import re

import pytest

from conftest import NEEDLE
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.cost_settings import CostSettings
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.prepare_settings import PreparationSettings
from dsn_lightning.config.recipes import choose_recipe
from dsn_lightning.config.settings import Settings
from dsn_lightning.errors import UsageError
from helpers.processes import call
from helpers.trained_runs import metrics_of, state_of

SMALL = [*NEEDLE, "schedule.batch_size=4", "M=2", "N=2", "trainer.accelerator=cpu", "test.enabled=false"]


@pytest.mark.parametrize(
    ("settings", "name", "key", "meant"),
    [
        (Settings, "train", "gama", "gamma"),
        (Settings, "train", "sweep.job", "sweep.jobs"),
        (Settings, "train", "schedule.max_epoch", "schedule.max_epochs"),
        (Settings, "train", "dataset.reading.max_bads", "dataset.reading.max_bad"),
        (Settings, "train", "backbone.frame_strid", "backbone.frame_stride"),
        (Settings, "train", "test.random_draw", "test.random_draws"),
        (EvaluationSettings, "evaluate", "test.random_draw", "test.random_draws"),
        (PreparationSettings, "prepare", "flow.bounds", "flow.bound"),
        (CostSettings, "cost", "num_class", "num_classes"),
    ],
)
def test_unknown_keys_are_refused_with_the_closest_key(settings, name, key, meant):
    with pytest.raises(UsageError, match=rf"\+{key}: there is no such key; did you mean {meant}\?"):
        refuse_unknown_keys(settings, name)([f"+{key}=1"])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("gama=1", "gama: there is no such key; did you mean gamma?"),
        ("schedule.lrr=1", "schedule.lrr: there is no such key; did you mean schedule.lr?"),
        ("dataset.num_trai=3", "dataset.num_trai: there is no such key; did you mean dataset.num_train?"),
        ("dataset.reading.decoder.deadlin=3", "did you mean dataset.reading.decoder.deadline?"),
        ("logger.wandb.mod=offline", "logger.wandb.mod: there is no such key; did you mean logger.wandb.mode?"),
        ("dataset=needel", "dataset=needel: there is no such configuration; did you mean needle?"),
        ("backbone=r3d_18,r3d18", "backbone=r3d18: there is no such configuration; did you mean r3d_18?"),
        ("selection=[dsn,unifrom]", "selection=unifrom: there is no such configuration; did you mean uniform?"),
        ("experiment=demo/dns", "experiment=demo/dns: there is no such configuration; did you mean demo/dsn?"),
        ("nothing=1", "nothing: there is no such key"),
    ],
)
def test_what_is_misspelt_is_refused_with_what_is_meant(given, meant):
    with pytest.raises(UsageError, match=re.escape(meant)):
        refuse_unknown_keys(Settings, "train")(["-m", "M=1,3", given])


def test_a_name_of_a_plug_in_is_known(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "needles.yaml").write_text("name: needles\nnum_trains: 3\n")
    given = ["--config-dir", str(tmp_path), "dataset=needles", "dataset.num_trains=5"]
    assert refuse_unknown_keys(Settings, "train")(given) == given


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1\nb: }", "is not valid YAML \\(while parsing a flow sequence in line 1, column 4"),
        (b"a: \xff", "is not valid YAML \\('utf-8' codec can't decode byte 0xff"),
        (b"a: !!int x", "is not valid YAML \\(invalid literal for int"),
        (b"a: &b {c: *b}", "is not valid YAML \\(nested deeper than 64"),
        (b"[" * 900, "is nested too deeply"),
    ],
)
@pytest.mark.parametrize("given", ["dataset=mine", "schedule=mine", "schedule=tiny,mine"])
def test_a_plug_in_that_is_no_yaml_is_named(content, reason, given, tmp_path):
    for group in ("dataset", "schedule"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=rf"/{given.partition('=')[0]}/mine\.yaml: {reason}") as caught:
        refuse_unknown_keys(Settings, "train")(choose_recipe([f"--config-dir={tmp_path}", given]))
    assert "\n" not in str(caught.value)


def test_keys_that_something_reads_are_accepted():
    given = ["+trainer.limit_train_batches=2", "++schedule.lr=0.1", "+experiment=demo/dsn", "+dataset.split=2",
             "trainer.devices=2", "~observation", "experiment=other/own", "dataset.reading.decoder.deadline=3",
             "backbone.model=resnet18",
             "schedule.rule.warmup_epochs=2", "backbone.network.widths=[1]", "hydra.run.dir=x",
             "hydra.sweep.dir=x", "backbone=choice(r3d_18,r2d_18)", "hydra/sweeper=basic",
             "+selection.mine._target_=a.B", "+hydra.verbose=true", "+backbone@network=r3d_18"]  # fmt: skip
    assert refuse_unknown_keys(Settings, "train")(given) == given


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+trainer.callbacks=[]", r"trainer.callbacks=\[\]: is set by the run; use callbacks=early_stopping"),
        ("+trainer.logger=true", "trainer.logger=true: is set by the run; use logger=wandb"),
        (
            "+trainer.log_every_n_steps=5",
            "trainer.log_every_n_steps=5: is set by the run; loggers get one row",
        ),
        (
            "+trainer.enable_progress_bar=false",
            "trainer.enable_progress_bar=false: is set by the run; use progress=",
        ),
        ("+trainer.fast_dev_run=true", "use debug=fdr"),
        ("+trainer.overfit_batches=0.5", "trainer.overfit_batches=0.5: must be a whole number of at least 0"),
    ],
)
def test_flags_that_the_run_sets_are_refused_with_the_remedy(override, message):
    with pytest.raises(UsageError, match=message):
        settings_of(override, "run_dir=x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+trainer.limit_train_batch=1"], "Trainer has no such flag; did you mean limit_train_batches?"),
        (["+dataset.colour=1"], "dataset.colour: NeedleSpec has no such argument"),
        (["logger=wandb", "+logger.wandb.grup=x"], "logger.wandb.grup: WandbRun has no such argument"),
        (
            ["+callbacks.mine._target_=builtins.dict"],
            "callbacks.mine: expected a Callback of PyTorch",
        ),
        (["callbacks=learning_rate_monitor"], "needs a logger: logger=wandb or logger=tensorboard"),
    ],
)
def test_unknown_arguments_are_refused_in_one_line(arguments, message, needle_root, tmp_path):
    done = call("dsn-train", f"dataset.root={needle_root}", *SMALL, *arguments, "hydra.run.dir=run", cwd=tmp_path,
                expect=2)  # fmt: skip
    assert message in done.stderr


def test_early_stopping_ends_a_training_and_the_learning_rate_is_logged(needle_root, tmp_path):
    call("dsn-train", f"dataset.root={needle_root}", *SMALL, "callbacks=[early_stopping,learning_rate_monitor]",
         "callbacks.early_stopping.min_delta=1.0", "callbacks.early_stopping.patience=2", "schedule.max_epochs=9",
         "algorithm.warmup_epochs=0", "trainer.check_val_every_n_epoch=1", "logger=tensorboard", "hydra.run.dir=run",
         cwd=tmp_path)  # fmt: skip
    assert len(metrics_of(tmp_path / "run")) == 3  # the first, and two without an improvement by 100 points
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert any(name.startswith("lr-SGD") for name in events.Tags()["scalars"])


@pytest.mark.parametrize("debug", ["default", "fdr", "profiler"])
def test_debug_runs_are_one_epoch(debug, needle_root, tmp_path):
    call("dsn-train", f"dataset.root={needle_root}", *SMALL, f"debug={debug}", "hydra.run.dir=run", cwd=tmp_path)
    assert len(metrics_of(tmp_path / "run")) == 1
    profile = tmp_path / "run" / "fit-profile.txt"
    assert profile.is_file() == (debug == "profiler")
    assert debug != "profiler" or "run_training_epoch" in profile.read_text()


def test_debug_overfit_trains_the_same_videos_until_the_loss_falls(needle_root, tmp_path):
    call("dsn-train", f"dataset.root={needle_root}", *SMALL, "debug=overfit", "trainer.overfit_batches=1",
         "schedule.max_epochs=40", "trainer.check_val_every_n_epoch=40", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    losses = [float(row["train/classifier_loss"]) for row in metrics_of(tmp_path / "run")]
    assert len(losses) == 40
    assert max(losses[-3:]) < losses[0] / 4
    assert state_of(tmp_path / "run")["global_step"] == 2 * 40  # both optimisers, one batch of three an epoch
