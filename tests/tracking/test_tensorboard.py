"""TensorBoard's HParams tab, read with TensorBoard's own backend."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.get_experiment import Handler as GetExperiment
from tensorboard.plugins.hparams.list_session_groups import Handler as ListSessionGroups

from conftest import NEEDLE
from dsn_lightning.config.build_loggers import judged_by
from dsn_lightning.config.compose import settings_of
from dsn_lightning.datasets.needle import Needle
from helpers.processes import call

TINY = [
    "schedule.max_epochs=2", "schedule.batch_size=4", "M=1", "N=2", "gamma=0.25", "seed=3", "test.random_draws=3",
    "trainer.check_val_every_n_epoch=1", "algorithm.warmup_epochs=0", "trainer.accelerator=cpu", "test.figures=false",
    "logger=tensorboard",
]  # fmt: skip


def hparams_tab(folder: Path) -> tuple[api_pb2.Experiment, list[api_pb2.SessionGroup]]:
    """Return what `tensorboard --logdir FOLDER` shows there: the columns, and the rows."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = Context(TBContext(data_provider=provider, logdir=str(folder), multiplexer=multiplexer))
    experiment = GetExperiment(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    statuses = api_pb2.Status.values()
    request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100, allowed_statuses=statuses)
    return experiment, list(ListSessionGroups(RequestContext(), context, "", request).run().session_groups)


def metrics_of(group: api_pb2.SessionGroup) -> dict[str, float]:
    return {value.name.tag: value.value for value in group.metric_values}


def hparams_of(group: api_pb2.SessionGroup) -> dict[str, float]:
    return {name: value.number_value for name, value in group.hparams.items()}


def test_a_resumed_run_is_one_session_with_its_settings_and_results(needle_root, tmp_path):
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, "trainer.max_time=00:00:00:00",
         "test.enabled=false", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    ((_, (stopped,)), run) = hparams_tab(tmp_path / "run"), tmp_path / "run"
    assert hparams_of(stopped) == {"M": 1, "N": 2, "gamma": 0.25, "seed": 3}
    assert metrics_of(stopped) == {}  # it stopped in its first epoch
    call("dsn-train", "resume=run", "trainer.max_time=null", "test.enabled=true", cwd=tmp_path)
    call("dsn-evaluate", "checkpoint=run/checkpoints/last.ckpt", "test.subset=val", "logger=tensorboard",
         "test.figures=false", "hydra.run.dir=held_out", cwd=tmp_path)  # fmt: skip

    experiment, (session,) = hparams_tab(run)
    assert [info.name for info in experiment.hparam_infos] == ["M", "N", "gamma", "seed"]
    assert hparams_of(session) == {"M": 1, "N": 2, "gamma": 0.25, "seed": 3}
    (own,) = [r for r in json.loads((run / "results.json").read_text()) if r["selection"] == r["algorithm"]]
    best = json.loads((run / "progress.json").read_text())["best_value"]
    assert metrics_of(session) == pytest.approx({"test/top1": own["top1"], "val/top1_best": best})

    _, (evaluated,) = hparams_tab(tmp_path / "held_out")
    rows = json.loads((tmp_path / "held_out" / "results.json").read_text())
    (own,) = [row for row in rows if row["selection"] == row["algorithm"]]
    assert metrics_of(evaluated) == pytest.approx({"held_out/top1": own["top1"]})
    assert hparams_of(evaluated)["gamma"] == 0.25


@pytest.mark.parametrize(("metric", "job_type", "subset", "figures"), [
    ("top1", "train", "test", ["test/top1", "val/top1_best"]), ("map", "train", "test", ["test/map", "val/map_best"]),
    ("map", "train", "val", ["held_out/map", "val/map_best"]), ("map", "evaluate", "test", ["test/map"]),
])  # fmt: skip
def test_the_figure_is_that_of_the_data_set(metric, job_type, subset, figures, monkeypatch):
    monkeypatch.setattr(Needle, "metric", metric)
    settings = settings_of("run_dir=none", f"test.subset={subset}")
    assert judged_by(settings, job_type) == figures


def test_a_data_set_that_cannot_be_built_has_none():
    settings = settings_of("run_dir=none", "dataset=folder", "dataset.root=/nowhere/at/all")
    assert judged_by(settings, "train") == []
