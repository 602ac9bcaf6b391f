"""Folders of runs and sweeps as tables, whatever state they are in."""

import csv
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from omegaconf import OmegaConf

from dsn_lightning.errors import UsageError
from dsn_lightning.runs import SweepFolder
from dsn_lightning.runs.reading import find_runs, read_configs, read_histories, read_results
from dsn_lightning.runs.run_folder import RUN_FORMAT
from dsn_lightning.runs.tolerant_files import noted_problems


@pytest.fixture
def sweep(small_sweep: Path, tmp_path: Path) -> Path:
    """A copy of the real sweep to damage; jobs 0 and 1 finished, 2 and 3 failed."""
    ignored = shutil.ignore_patterns("checkpoints", "figures", "*.npz", "status.json", "config.json")
    return Path(shutil.copytree(small_sweep, tmp_path / "sweep", ignore=ignored))


def write_status(run: Path, state: str, **more: object) -> None:
    empty = {"exit_code": None, "error": None, "started": "2026-01-31T12:00:00", "ended": None, "seconds": None}
    (run / "status.json").write_text(json.dumps({"format": RUN_FORMAT, "state": state, **empty, **more}))


def cut(path: Path, *, keep: float) -> None:
    """Leave only the beginning of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def states(*folders: Path) -> list[str]:
    return read_configs(*folders)["state"].tolist()


def test_a_real_sweep_is_one_row_a_job(small_sweep):
    configs = read_configs(small_sweep)
    assert configs["run"].tolist() == ["0", "1", "2", "3"]
    assert configs["state"].tolist() == ["finished", "finished", "failed", "failed"]
    assert configs["gamma"].tolist() == [0.5, 0.5, -1, -1]
    assert configs["seed"].tolist() == [0, 1, 0, 1]
    assert configs["exit_code"].tolist()[2:] == [2, 2]
    assert all("gamma=-1: is a penalty" in error for error in configs["error"][2:])
    assert configs["error"][:2].isna().all()
    assert configs["overrides"][3][-2:] == ("gamma=-1", "seed=1")


def test_numbers_come_back_as_numbers(small_sweep):
    configs, histories, results = (read(small_sweep) for read in (read_configs, read_histories, read_results))
    for key in ("M", "N", "seed", "schedule.max_epochs", "algorithm.warmup_epochs", "test.M", "algorithm.train_N"):
        assert configs[key].dtype.kind == "i", key
    assert {configs[key].dtype.kind for key in ("gamma", "schedule.lr", "dataset.fps")} == {"f"}
    assert configs["backbone.frame_size"][0] == (34, 34)
    assert histories["epoch"].dtype.kind == "i"
    assert (
        histories.drop(columns=["run", "state", "epoch", "M", "N", "seed"]).dtypes.map(lambda d: d.kind).eq("f").all()
    )
    assert {results[key].dtype.kind for key in ("top1", "gmacs", "gamma", "train_N", "top5")} == {"f"}


def test_histories_hold_what_the_files_hold(small_sweep):
    histories = read_histories(small_sweep)
    assert histories[["run", "epoch"]].to_numpy().tolist() == [["0", 0], ["0", 1], ["1", 0], ["1", 1]]
    assert histories["gamma"].eq(0.5).all()
    for run in "01":
        for row in csv.DictReader((small_sweep / run / "metrics.csv").read_text().splitlines()):
            found = histories[(histories["run"] == run) & (histories["epoch"] == int(row["epoch"]))].iloc[0]
            assert found["val/top1"] == float(row["val/top1"])
            assert found["train/policy_entropy"] == float(row["train/policy_entropy"])


def test_results_have_the_settings_of_the_run_and_of_the_test(small_sweep):
    results = read_results(small_sweep)
    uniform = results[results["selection"] == "uniform"]
    assert uniform["gamma"].isna().all()  # uniform selection does not depend on gamma
    assert uniform["run.gamma"].tolist() == [0.5, 0.5]
    for run in "01":
        rows = json.loads((small_sweep / run / "results.json").read_text())
        assert results.loc[results["run"] == run, "top1"].tolist() == [row["top1"] for row in rows]


def test_hydras_configuration_resolves_to_that_of_config_json(sweep):
    fallback = read_configs(sweep / "0").iloc[0]
    cfg = OmegaConf.load(sweep / "0" / ".hydra" / "config.yaml")
    cfg.run_dir = "elsewhere"
    (sweep / "0" / "config.json").write_text(json.dumps(OmegaConf.to_container(cfg, resolve=True)))
    resolved = read_configs(sweep / "0").iloc[0]
    assert resolved["run_dir"] == "elsewhere"
    pd.testing.assert_series_equal(fallback.drop("run_dir"), resolved.drop("run_dir"))
    assert resolved["reward.gamma"] == 0.5
    assert resolved["algorithm.module.sampler_schedule.max_epochs"] == 2


def test_a_reference_to_itself_ends(sweep):
    (sweep / "0" / ".hydra" / "config.yaml").write_text("M: ${N}\n'N': ${M}\nseed: 7\na:\n  b: ${a}\n  c: ${a}\n")
    row = read_configs(sweep / "0").iloc[0]
    assert row["M"] in ("${N}", "${M}")
    assert row["seed"] == 7


def test_a_key_of_the_configuration_hides_no_column(sweep):
    (sweep / "0" / "config.json").write_text(json.dumps({"M": 2, "state": "odd", "run": 5}))
    row = read_configs(sweep / "0").iloc[0]
    assert (row["run"], row["state"], row["M"]) == ("0", "finished", 2)


def test_the_record_of_a_run_comes_before_that_of_its_sweep(sweep):
    write_status(sweep / "0", "failed", exit_code=1, error="RuntimeError: no memory", seconds=1.5)
    write_status(sweep / "1", "stopped", exit_code=130)
    configs = read_configs(sweep)
    assert configs["state"].tolist() == ["failed", "stopped", "failed", "failed"]
    assert configs["exit_code"].tolist()[:2] == [1, 130]
    assert configs["error"][0] == "RuntimeError: no memory"
    assert configs["seconds"][0] == 1.5
    assert configs["started"][0] == "2026-01-31T12:00:00"
    assert read_results(sweep)["state"].tolist()[0] == "failed"


def test_a_running_run_that_no_process_holds_was_killed(sweep):
    write_status(sweep / "0", "running")
    assert (sweep / "0" / ".lock").is_file()
    with FileLock(sweep / "0" / ".lock"):
        assert states(sweep / "0") == ["running"]
    assert states(sweep / "0") == ["killed"]
    (sweep / "0" / ".lock").unlink()
    assert states(sweep / "0") == ["killed"]
    assert not (sweep / "0" / ".lock").exists()  # reading makes no files


def test_an_evaluation_is_finished_once_it_has_results(tmp_path):
    """Even if its lock cannot be opened, as that of another user."""
    (tmp_path / "evaluation" / ".hydra").mkdir(parents=True)
    (tmp_path / "evaluation" / ".hydra" / "config.yaml").write_text("test: {}\n")
    (tmp_path / "evaluation" / "results.json").write_text("[]")
    with FileLock(tmp_path / "evaluation" / ".lock"):
        assert states(tmp_path / "evaluation") == ["finished"]


def test_a_killed_sweep(sweep):
    record = SweepFolder(sweep).read()
    states_now = ("done", "running", "running", "waiting")
    jobs = [replace(job, state=state, exit_code=None) for job, state in zip(record.jobs, states_now, strict=True)]
    SweepFolder(sweep).write(replace(record, jobs=jobs))
    write_status(sweep / "1", "finished", exit_code=0)  # ended before its sweep could note it
    shutil.rmtree(sweep / "2")
    shutil.rmtree(sweep / "3")
    assert states(sweep) == ["finished", "finished", "killed", "waiting"]
    with FileLock(sweep / ".lock"):
        assert states(sweep) == ["finished", "finished", "running", "waiting"]


def test_a_job_without_a_folder_has_its_sweeps_configuration(sweep):
    shutil.rmtree(sweep / "3")
    job = read_configs(sweep).iloc[3]
    assert (job["run"], job["state"], job["M"], job["N"], job["gamma"], job["seed"]) == ("3", "failed", 2, 2, -1, 1)
    assert job["algorithm.name"] == "dsn"
    assert find_runs(sweep) == [sweep / name for name in "012"]
    (sweep / "multirun.yaml").unlink()
    job = read_configs(sweep).iloc[3]
    assert (job["M"], job["gamma"], job["seed"]) == (2, -1, 1)


def test_half_written_files_give_no_wrong_numbers(sweep):
    metrics = sweep / "0" / "metrics.csv"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:2]) + lines[2][:-4])  # the last number is incomplete
    assert read_histories(sweep / "0")["epoch"].tolist() == [0]
    config = sweep / "0" / ".hydra" / "config.yaml"
    config.write_text(config.read_text().partition("\nseed:")[0][:-1])  # gamma: 0.5 would read 0.
    assert read_configs(sweep)["gamma"][0] == 0.5  # from the overrides
    alone = shutil.copytree(sweep / "0", sweep.parent / "alone")
    (alone / ".hydra" / "overrides.yaml").unlink()
    assert math.isnan(read_configs(alone)["gamma"][0])


@pytest.mark.parametrize("keep", [0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["metrics.csv", "results.json", ".hydra/config.yaml", ".hydra/overrides.yaml",
                                  "status.json", "config.json", "log.txt", "../sweep.json",
                                  "../multirun.yaml"])  # fmt: skip
def test_any_file_may_be_truncated(name, keep, sweep):
    write_status(sweep / "0", "finished", exit_code=0)
    (sweep / "0" / "config.json").write_text(json.dumps({"M": 2, "N": 2, "gamma": 0.5, "seed": 0}))
    cut(sweep / "0" / name, keep=keep)
    configs, histories, results = (read(sweep) for read in (read_configs, read_histories, read_results))
    assert configs["run"].tolist() == ["0", "1", "2", "3"]
    if name != "../sweep.json":
        assert configs["state"].tolist() == ["finished", "finished", "failed", "failed"]
    assert configs[["M", "N", "gamma", "seed"]].to_numpy().tolist()[:2] == [[2, 2, 0.5, 0], [2, 2, 0.5, 1]]
    assert len(histories) == (4 if name != "metrics.csv" else {0: 2, 0.1: 2, 0.5: 2, 0.99: 3}[keep])
    assert set(results["run"]) == ({"1"} if name == "results.json" else {"0", "1"})


@pytest.mark.parametrize(
    "content", [b"\xff\x00\xfe\n\x00", b"[1, 2]\n", b'{"format": 1, "state": "odd"}\n', b'"x"\n', b"a: [\n"]
)
def test_any_file_may_be_something_else(content, sweep):
    for name in ("metrics.csv", "results.json", ".hydra/config.yaml", "status.json", "config.json", "log.txt"):
        (sweep / "0" / name).write_bytes(content)
    assert states(sweep) == ["finished", "finished", "failed", "failed"]
    assert len(read_histories(sweep)) == 2
    assert set(read_results(sweep)["run"]) == {"1"}


def test_a_table_of_more_cells_than_its_file_has_bytes_is_not_made(sweep):
    """Names that each line adds, and short lines below a long header: the whole table would not fit in memory."""
    run = sweep / "0"
    columns = ",".join(f"c{number}" for number in range(200_000))
    (run / "metrics.csv").write_text(f"epoch,{columns}\n" + "".join(f"{epoch}\n" for epoch in range(50_000)))
    row = json.loads((run / "results.json").read_text())[0]
    rows = [row | {f"own{number}_{i}": 0 for i in range(50)} for number in range(1000)]
    (run / "results.json").write_text(json.dumps(rows))
    with noted_problems() as problems:
        assert len(read_results(run)) == 0
        assert read_histories(run)["epoch"].tolist() == list(range(50_000))
        (run / "metrics.csv").write_text(f"epoch,{columns[:60_000]}\n0{',1' * 6000}\n" + "0\n" * 50_000)
        assert len(read_histories(run)) == 0
    assert set(problems) == {run / "results.json", run / "metrics.csv"}
    assert set(problems.values()) == {"a table of it would have more than 10,000,000 cells"}


def test_missing_files_leave_the_state(sweep):
    for name in ("metrics.csv", "results.json"):
        (sweep / "0" / name).unlink()
        (sweep / "1" / name).unlink()
    assert states(sweep) == ["finished", "finished", "failed", "failed"]
    histories, results = read_histories(sweep), read_results(sweep)
    assert histories.empty
    assert results.empty
    assert {"run", "state", "M", "gamma", "epoch"} <= set(histories)
    assert {"run", "state", "run.M", "selection", "top1"} <= set(results)


def test_a_run_by_itself(sweep):
    run = Path(shutil.copytree(sweep / "0", sweep.parent / "alone"))
    assert find_runs(run) == [run]
    row = read_configs(run).iloc[0]
    assert (row["run"], row["state"], row["M"]) == ("alone", "finished", 2)  # it has its results
    (run / "results.json").unlink()
    assert states(run) == ["unknown"]
    write_status(run, "finished", exit_code=0)
    assert states(run) == ["finished"]
    assert states(sweep / "2") == ["failed"]  # known from the sweep's record above it


def test_folders_may_be_nested_and_named_twice(sweep):
    shutil.copytree(sweep, sweep.parent / "more" / "second")
    shutil.copytree(sweep / "0", sweep.parent / "more" / "10")
    shutil.copytree(sweep / "0", sweep.parent / "more" / "9")
    top = sweep.parent
    found = [str(run.relative_to(top)) for run in find_runs(top)]
    assert found == ["more/9", "more/10", *(f"more/second/{i}" for i in range(4)), *(f"sweep/{i}" for i in range(4))]
    assert read_configs(top)["run"].tolist() == found
    twice = read_configs(sweep, top / "more" / "second", sweep / "1")
    assert twice["run"].tolist() == [f"{top}/{name}/{i}" for name in ("sweep", "more/second") for i in range(4)]


def test_folders_without_a_run_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        find_runs(tmp_path / "nowhere")
    for read in (find_runs, read_configs, read_histories, read_results):
        with pytest.raises(UsageError, match="empty: holds neither a run"):
            read(tmp_path / "empty")
    with pytest.raises(UsageError, match="name at least one folder"):
        read_configs()


def test_importing_the_readers_is_cheap():
    program = "import sys, dsn_lightning.runs.reading; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    expensive = {"torch", "pytorch_lightning", "hydra", "omegaconf", "pandas", "matplotlib", "av"}
    assert set(done.stdout.split()) & expensive == set()
