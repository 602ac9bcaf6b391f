"""A sweeper that decides by the values of jobs: Hydra's interface, in a plug-in outside the checkout."""

import json
import os

import pytest

from conftest import NEEDLE
from helpers.processes import call
from helpers.trained_runs import metrics_of, states

SWEEPER = '''
import json
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class HalvingSweeper(Sweeper):
    """Tries gammas in two batches of two; the second is around the best of the first, as a study would."""

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.folder = Path(config.hydra.sweep.dir)

    def sweep(self, arguments):
        found = []
        for batch in range(2):
            best = max((f for f in found if f["value"] is not None), key=lambda f: f["value"], default={"gamma": 0.5})
            gammas = [best["gamma"], -1.0] if batch == 0 else [best["gamma"] / 2, best["gamma"] * 2]
            jobs = self.launcher.launch([[*arguments, f"gamma={g}"] for g in gammas], initial_job_idx=2 * batch)
            for gamma, job in zip(gammas, jobs, strict=True):
                try:
                    value, error = float(job.return_value), None
                except Exception as failure:
                    value, error = None, str(failure)
                state, names = job.status.name, [job.cfg.gamma, job.overrides[-1], job.hydra_cfg.hydra.job.num]
                found.append({"gamma": gamma, "value": value, "error": error, "state": state, "names": names})
        self.folder.joinpath("found.json").write_text(json.dumps(found))
'''
SMALL = [
    "schedule.max_epochs=2", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=1", "test.enabled=false", "trainer.accelerator=cpu", "hydra/sweeper=halving",
]  # fmt: skip


@pytest.fixture
def arguments(needle_root, tmp_path, monkeypatch):
    (tmp_path / "hydra_plugins").mkdir()  # a namespace package, as Hydra finds all plug-ins
    (tmp_path / "hydra_plugins" / "halving.py").write_text(SWEEPER)
    (tmp_path / "conf" / "hydra" / "sweeper").mkdir(parents=True)
    target = "_target_: hydra_plugins.halving.HalvingSweeper\n"
    (tmp_path / "conf" / "hydra" / "sweeper" / "halving.yaml").write_text(target)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    sources = ["--config-dir=conf", "-m", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "hydra.sweep.dir=sweep"]
    return lambda *more, expect=0: call(
        "dsn-train", *sources, *more, cwd=tmp_path, expect=expect, env={"PYTHONPATH": path}
    )


def test_a_sweeper_gets_the_value_of_each_job_and_goes_on_after_a_failure(arguments, tmp_path):
    arguments()
    sweep = tmp_path / "sweep"
    assert states(sweep) == ["done", "failed", "done", "done"]
    found = json.loads((sweep / "found.json").read_text())
    assert [job["gamma"] for job in found] == [0.5, -1.0, 0.25, 1.0]
    assert [job["state"] for job in found] == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]
    assert [job["names"] for job in found] == [[g, f"gamma={g}", n] for n, g in enumerate([0.5, -1.0, 0.25, 1.0])]
    for number in (0, 2, 3):
        values = [float(row["val/top1"]) for row in metrics_of(sweep / str(number)) if row["val/top1"]]
        assert found[number]["value"] == pytest.approx(max(values))
    assert found[1]["value"] is None
    assert f"see {sweep / '1' / 'log.txt'}" in found[1]["error"]


def test_a_job_without_held_out_videos_has_no_value_and_says_why(arguments, tmp_path):
    done = arguments("dataset.num_val=0")
    found = json.loads((tmp_path / "sweep" / "found.json").read_text())
    assert [job["state"] for job in found] == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]
    assert "NoneType" in found[0]["error"]
    line = f"{tmp_path / 'sweep' / '0'}: no value of sweep.metric=best: its data set has no held-out videos"
    assert line in done.stderr
