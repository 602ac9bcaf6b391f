"""Plug-ins from outside the checkout: a Python file and a YAML each, found through ``--config-dir`` alone."""

import json
import os
import shutil
from pathlib import Path

import pytest

from dsn_lightning.config import compose
from helpers.processes import call
from helpers.table_process import run_table

FILES = Path(__file__).resolve().parent / "plug_ins"
TINY = (
    *("dataset=mine", "backbone=mine", "observation=mine", "estimator=mine", "selection=[uniform,mine,dsn]"),
    *("schedule.max_epochs=2", "schedule.batch_size=4", "algorithm.warmup_epochs=0", "M=2", "N=2", "progress=false"),
    *("trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu", "test.bootstrap=100", "test.figures=false"),
)


@pytest.fixture(scope="module")
def outside(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package ``my_plug_ins``, its configurations in ``conf``, and a run and a sweep."""
    root = tmp_path_factory.mktemp("outside")
    shutil.copytree(FILES, root / "package")
    run(root, "dsn-train", *TINY, f"dataset.root={class_folders}", "hydra.run.dir=alone")
    run(root, "dsn-train", "-m", *TINY, f"dataset.root={class_folders}", "gamma=0,1", "hydra.sweep.dir=sweep")
    return root


def run(root: Path, command: str, *arguments: str, expect: int = 0):
    package = root / "package"
    env = {"PYTHONPATH": os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))}
    return call(command, "--config-dir", str(package / "conf"), *arguments, cwd=root, env=env, expect=expect)


def methods(folder: Path) -> set[str]:
    return {row["selection"] for row in json.loads((folder / "results.json").read_text())}


def test_a_training_uses_all_five_plug_ins(outside):
    config = json.loads((outside / "alone" / "config.json").read_text())
    assert config["dataset"]["_target_"] == "my_plug_ins.my_dataset.SortedFolder"
    row = json.loads((outside / "alone" / "results.json").read_text())[-1]
    assert (row["dataset"], row["backbone"], row["observation"]) == ("mine", "mine", "mine")
    assert row["estimator"] == "leave_one_out"
    assert methods(outside / "alone") == {"uniform", "first_clip", "dsn"}


def test_every_job_of_a_sweep_uses_them(outside):
    jobs = json.loads((outside / "sweep" / "sweep.json").read_text())["jobs"]
    assert [job["state"] for job in jobs] == ["done", "done"]
    assert methods(outside / "sweep" / "0") == {"uniform", "first_clip", "dsn"}


def test_a_resumed_run_and_a_resumed_sweep_use_them(outside):
    run(outside, "dsn-train", "resume=alone", "trust=[my_plug_ins]")
    (outside / "sweep" / "1" / "checkpoints" / "last.ckpt").unlink()
    record = json.loads((outside / "sweep" / "sweep.json").read_text())
    for job in record["jobs"]:
        job["state"] = "waiting"
    (outside / "sweep" / "sweep.json").write_text(json.dumps(record))
    run(outside, "dsn-train", "sweep.resume=sweep", "trust=[my_plug_ins]")
    states = [job["state"] for job in json.loads((outside / "sweep" / "sweep.json").read_text())["jobs"]]
    assert states == ["done", "done"]


def test_a_resumed_run_needs_trust_on_the_command_line(outside):
    done = run(outside, "dsn-train", "resume=alone", expect=2)
    assert done.stderr.count("\n") == 1
    assert "would run my_plug_ins." in done.stderr
    assert "allow it with trust=[my_plug_ins]" in done.stderr


def test_an_evaluation_knows_a_network_by_any_name(outside):
    checkpoint = "alone/checkpoints/last.ckpt"
    run(
        outside,
        "dsn-evaluate",
        f"networks.my_sampler={checkpoint}",
        f"checkpoint={checkpoint}",
        "selection=[uniform,mine,my_policy]",
        "trust=[my_plug_ins]",
        "test.bootstrap=100",
        "test.figures=false",
        "hydra.run.dir=evaluated",
    )
    assert methods(outside / "evaluated") == {"uniform", "first_clip", "my_sampler"}


def test_a_report_shows_their_results(outside):
    run(outside, "dsn-report", "alone", "sweep", "output=report")
    text = (outside / "report" / "report.md").read_text()
    assert "first_clip" in text
    assert (outside / "report" / "report.html").is_file()


def test_a_table_trains_and_evaluates_with_them(outside, class_folders, monkeypatch):
    package = outside / "package"
    monkeypatch.syspath_prepend(package)
    monkeypatch.chdir(outside)
    monkeypatch.setattr(compose, "_plug_in_folders", ())  # as it was, afterwards
    overrides = [o for o in TINY if not o.startswith(("selection=", "test.bootstrap=", "algorithm."))]
    overrides += [f"dataset.root={class_folders}", "weights=null", "trust=[my_plug_ins]"]
    arguments = ["--config-dir", str(package / "conf"), "rows=Baseline (uniform)", "output=tables"]
    assert run_table("table1", *arguments, *overrides) == 0
    records = json.loads((outside / "tables" / "table1" / "mine.json").read_text())
    networks = {record["row"]: record["network"] for record in records if record["status"] == "run"}
    assert networks["Baseline (uniform)"] == "mine"
    assert networks["Max response"] == "mine + mine"
