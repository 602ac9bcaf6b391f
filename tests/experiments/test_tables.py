"""The tables' command line: a table is run, killed, continued, and shown beside the paper's."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import fig4
import fig5
from dsn_lightning.errors import UsageError
from helpers.dataset_files import fill, write_hmdb51
from helpers.processes import call
from helpers.table_process import TINY, definition, run_table, start_table
from reproduce.commands import is_finished
from reproduce.configurations import settings_of
from reproduce.estimates import Costs
from reproduce.planner import Planner


@pytest.fixture(scope="module")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "with space"


def started(folder: Path) -> dict[str, str]:
    return {file.parent.name: json.loads(file.read_text())["started"] for file in folder.glob("runs/*/status.json")}


def test_a_killed_table_continues_and_its_runs_are_shared(needle_root, tables_folder, capfd):
    """Killed in the second training, then two calls at once, then two figures whose trainings are all finished."""
    arguments = ["dataset=needle", f"dataset.root={needle_root}", *TINY, f"output={tables_folder}"]
    first = start_table("table1", arguments, tables_folder.parent / "out")
    while first.is_alive() and len(list(tables_folder.glob("runs/*/progress.json"))) < 2:
        time.sleep(0.02)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    runs = tables_folder / "runs"
    done = {name: when for name, when in started(tables_folder).items() if is_finished("dsn-train", runs / name)}
    assert len(done) < 5

    second = start_table(
        "table1", arguments, tables_folder.parent / "out"
    )  # fails if it enters a folder that is in use
    assert run_table("table1", *arguments, "jobs=2") == 0
    second.join()
    assert second.exitcode == 0, (tables_folder.parent / "out").read_text()
    now = started(tables_folder)
    assert len(now) == 5
    assert {name: now[name] for name in done} == done
    assert run_table("table1", *arguments) == 0
    assert started(tables_folder) == now

    records = json.loads((tables_folder / "table1" / "table.json").read_text())
    assert [r["row"] for r in records] == [row.name for row in definition("table1").rows]
    assert {r["status"] for r in records} == {"run"}
    assert all(0 <= r["ours_mean"] <= 1 and r["videos"] == 6 for r in records)
    assert all(
        re.match(r"trained on (\d+) of \1 videos, (\d+) of \2 classes; tested on 6 of 6", r["basis"]) for r in records
    )
    assert "started from random weights" in (tables_folder / "table1" / "table.md").read_text()
    with open(tables_folder / "table1" / "table.csv") as file:
        assert [line["row"] for line in csv.DictReader(file)] == [r["row"] for r in records]
    assert "| DSN-f | r3d_tiny + r2d_tiny | 2 | - |" in (tables_folder / "table1" / "table.md").read_text()

    kept = json.loads((tables_folder / "table1" / "differences" / "needle.json").read_text())
    assert kept["about"]["evaluations"] == records[0]["evaluations"]
    assert (tables_folder / kept["about"]["evaluations"][0] / "results.json").is_file()
    written = (tables_folder / "table1" / "differences" / "needle.md").read_text()
    guesses = "baseline" in kept["at_chance"]  # after one epoch
    assert ("| dsn_fixed | baseline | uniform | 2:2 |" in written) != guesses
    assert ("- warning: baseline's classifier is at chance: " in written) == guesses

    capfd.readouterr()
    assert run_table("fig4", *arguments, "test.M=[1,2]", draw=fig4.draw) == 0
    assert started(tables_folder) == now
    assert (tables_folder / "fig4" / "needle.png").stat().st_size > 5000
    rows = {r["row"]: r for r in json.loads((tables_folder / "fig4" / "table.json").read_text())}
    assert rows["DSN, 2 clips"]["ours_mean"] == records[4]["ours_mean"]  # what Table I has
    assert rows["DSN, 3 clips"]["status"] == "not run"

    for _ in range(2):  # the second call does not read what the first wrote as a table
        assert run_table("fig5", *arguments, draw=partial(fig5.draw, num_videos=2, pick=0)) == 0
    assert started(tables_folder) == now
    clips = json.loads((tables_folder / "fig5" / "clips" / "needle.json").read_text())
    assert [clip["rank"] for clip in clips[:4]] == ["most probable", "second", "second least", "least probable"]
    assert len({clip["video"] for clip in clips}) == 2
    written = (tables_folder / "fig5" / "clips" / "needle.md").read_text()
    assert all(f"| {clip['rank']} | {100 * clip['probability']:.1f}% |" in written for clip in clips)
    assert (tables_folder / "fig5" / "clips" / "needle.png").stat().st_size > 5000


def test_a_dry_run_prints_all_commands_before_it_times_networks(needle_root, tmp_path, capfd, monkeypatch):
    before: list[str] = []

    def timed(*_: object, **__: object) -> dict:
        before.append(capfd.readouterr().out)
        raise UsageError("timed here")

    monkeypatch.setattr("reproduce.estimates.time_networks", timed)
    arguments = ["dataset=needle", f"dataset.root={needle_root}", *TINY, f"output={tmp_path}", "seeds=0,1"]
    assert run_table("table1", *arguments, "--dry-run") == 0
    commands = [
        line for line in before[0].splitlines() if line.startswith(("dsn-train ", "dsn-evaluate ", "# max-resp"))
    ]
    assert len(commands) == 2 * 7
    assert "unknown: timed here" in capfd.readouterr().out


def test_dry_run_lists_finished_and_missing_commands(needle_root, tables_folder, capfd):
    """After the run above, with one more seed; nothing is trained."""
    before = started(tables_folder)
    arguments = ["dataset=needle", f"dataset.root={needle_root}", *TINY, f"output={tables_folder}", "seeds=0,1"]
    assert run_table("table1", *arguments, "--dry-run") == 0
    assert started(tables_folder) == before
    out = capfd.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith(("dsn-train ", "dsn-evaluate ", "# max-response"))]
    assert len(lines) == 2 * 7
    assert sum("experiment=table1/dsn_fixed" in line and "schedule.max_epochs=1 " in line for line in lines) == 2
    states = [line.split("│")[2].strip() for line in out.splitlines() if "│ seed" in line]
    assert states == ["finished"] * 7 + ["missing"] * 7
    cells = [line.split("│") for line in out.splitlines() if "seed 1 baseline" in line]
    macs = Costs(timed=False).macs(settings_of("experiment=table1/baseline", *arguments[:-2], "run_dir=none"))
    clips = 2 * 12 * 2  # epochs, videos, M
    assert int(cells[0][3]) == clips
    assert float(cells[0][4]) == pytest.approx(3 * clips * macs[0] / 1e9, abs=0.5)
    assert "A training step counts as three forward passes" in out


@pytest.mark.slow
def test_a_failed_run_is_named_and_other_rows_are_shown(needle_root, tables_folder, capfd):
    """One run's folder cannot be written: its row says why; without the obstacle the same call completes the table."""
    arguments = ["dataset=needle", f"dataset.root={needle_root}", *TINY, "gamma=0.25"]
    planner = Planner(definition("table3"), arguments, output=tables_folder)
    dsn = planner.part(0, None).trainings["r3d_dsn_3"].folder
    dsn.mkdir(parents=True)
    (dsn / "checkpoints").write_text("in the way")
    arguments += [f"output={tables_folder}", "rows=R3D;R3D & DSN (M = 3)"]
    assert run_table("table3", *arguments) == 1
    rows = {r["row"]: r for r in json.loads((tables_folder / "table3" / "needle.json").read_text())}
    assert (rows["R3D"]["status"], rows["R3D & DSN (M = 3)"]["status"]) == ("run", "failed")
    assert "FileExistsError" in rows["R3D & DSN (M = 3)"]["reason"]
    assert (rows["R(2+1)D"]["status"], rows["R(2+1)D"]["reason"]) == ("not run", "not requested")
    assert "FileExistsError" in capfd.readouterr().out
    (dsn / "checkpoints").unlink()
    assert run_table("table3", *arguments) == 0
    statistics = json.loads((tables_folder / "table3" / "differences" / "needle.json").read_text())
    pairs = {(d["method"]["classifier"], d["other"]["classifier"]): d["top1"] for d in statistics["differences"]}
    gain = pairs["dsn", "r3d:baseline"]  # R3D & DSN (M = 3) less R3D
    assert gain["low"] <= gain["value"] <= gain["high"]
    rows = {r["row"]: r for r in json.loads((tables_folder / "table3" / "needle.json").read_text())}
    ours = [rows[name]["ours_mean"] for name in ("R3D & DSN (M = 3)", "R3D")]
    assert gain["value"] == pytest.approx(ours[0] - ours[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dataset.root=x"], "table1: error: set the data set: dataset=ucf101|hmdb51|thumos14|activitynet"),
        (["dataset=hmdb51"], "table1: error: dataset=hmdb51: set its folder with dataset.root=DIR"),
        (["dataset=hmdb51", "seed=1"], "seed=1: a table does not take this key; use seeds=0,1,2"),
        (["dataset=hmdb51", "seeds=a"], "seeds, jobs: expected whole numbers"),
        (["dataset=hmdb51", "jobs=0"], "jobs=0: must be at least 1"),
        (["dataset=hmdb51", "rows=DSM"], "rows=DSM: unknown; the table's rows are Baseline (random); "),
        (["dataset=hmdb51", "no.such=1"], "'no.such'"),
        (["dataset=hmdb51", "algorithm.such=1"], "algorithm.such=1: no algorithm of this table has this key"),
        (["dataset=hmdb51", "flow.schedule.lr=1"], "flow.schedule.lr=1: no flow training of this table has"),
        (["dataset=hmdb51", "flow.seed=1"], "flow.seed=1: a table does not take this key; use seeds=0,1,2"),
        (["dataset=hmdb51", "+flow.x=1"], "+flow.x=1: put flow. first, as in flow.+KEY=VALUE"),
        (["dataset=hmdb51", "flow.trust=[a]"], "flow.trust=[a]: applies to all runs; use trust=[a]"),
        (["dataset=hmdb51", "--quick"], "--quick: expected KEY=VALUE or --dry-run"),
    ],
)
def test_a_wrong_argument_gives_one_line(arguments, message, tmp_path, capsys):
    assert run_table("table1", *arguments, f"output={tmp_path}") == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_script_runs_from_any_folder(tmp_path):
    script, environment = Path(fig5.__file__), dict(os.environ)
    environment.pop("PYTHONSAFEPATH", None)  # which commands that other tests ran here have set
    help_of = [sys.executable, script, "--help"]
    done = subprocess.run(help_of, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "python experiments/table1.py" in done.stdout


@pytest.mark.slow
def test_two_streams_are_fused_and_compared(class_folders, tmp_path):
    """Table VI's rows of R(2+1)D on RGB, flow and both."""
    call(
        "dsn-prepare",
        "dataset=folder",
        f"dataset.root={class_folders}",
        "output=prepared",
        "steps=[check,flow]",
        cwd=tmp_path,
    )
    tiny = [
        "backbone=r3d_tiny",
        "weights=null",
        "schedule.max_epochs=1",
        "schedule.batch_size=3",
        "trainer.accelerator=cpu",
        "dataset=folder",
        f"dataset.root={class_folders}",
        f"output={tmp_path / 'out'}",
        f"dataset.reading.prepared={tmp_path / 'prepared'}",
        "fusion_weights=[1,1.5]",
    ]
    assert run_table("table6", *tiny, "rows=R(2+1)D-RGB;R(2+1)D-FLOW;R(2+1)D-RGB+FLOW") == 0
    rows = {r["row"]: r for r in json.loads((tmp_path / "out" / "table6" / "table.json").read_text())}
    both = [rows[f"R(2+1)D-{stream}"]["gmacs"] for stream in ("RGB", "FLOW", "RGB+FLOW")]
    assert both[2] == pytest.approx(both[0] + both[1])
    assert rows["R(2+1)D-RGB+FLOW"]["status"] == "run"
    assert rows["MARL [64], ResNet-152, Kinetics"]["status"] == "literature"
    settings = json.loads(
        (tmp_path / "out" / rows["R(2+1)D-RGB+FLOW"]["evaluations"][0] / "environment.json").read_text()
    )
    assert settings["fusion_weights"] == [1, 1.5]
    statistics = json.loads((tmp_path / "out" / "table6" / "differences" / "folder.json").read_text())
    both, flow = (rows[f"R(2+1)D-{stream}"]["ours"][0] for stream in ("RGB+FLOW", "FLOW"))
    pair = next(d for d in statistics["differences"] if d["other"]["classifier"] == "r2plus1d_flow:baseline")
    assert pair["method"]["classifier"] == "baseline"
    assert pair["top1"]["value"] == pytest.approx(both - flow)


@pytest.mark.slow
def test_three_splits_are_averaged(tmp_path):
    """Table VII's R3D on a few videos in HMDB51's layout, whose splits test other videos."""
    root = write_hmdb51(tmp_path / "videos")
    for split, codes in ((2, "1210"), (3, "2110")):
        for file in (root / "splits").glob(f"*_split{split}.txt"):
            clips = [line.rpartition(" ")[0].rpartition(" ")[0] for line in file.read_text().splitlines()]
            file.write_text("".join(f"{clip} {code} \n" for clip, code in zip(clips, codes, strict=True)))
    for split in (1, 2, 3):
        fill(settings_of("dataset=hmdb51", f"dataset.root={root}", f"dataset.split={split}", "run_dir=x").dataset)
    for lost in [*root.glob("videos/c*/*_0.avi"), *root.glob("c*/*_0.avi")]:
        lost.unlink()  # split 3 tests brush_hair alone
    out = tmp_path / "out"
    tiny = [
        "backbone=r3d_tiny",
        "weights=null",
        "schedule.max_epochs=1",
        "schedule.batch_size=2",
        "trainer.accelerator=cpu",
        "dataset=hmdb51",
        f"dataset.root={root}",
        f"output={out}",
    ]
    assert run_table("table7", *tiny, "rows=R3D-RGB", "seeds=0,1") == 0
    row = next(r for r in json.loads((out / "table7" / "hmdb51.json").read_text()) if r["row"] == "R3D-RGB")
    found: dict[tuple[int, int], float] = {}
    for folder in row["evaluations"]:
        for line in json.loads((out / folder / "results.json").read_text()):
            if line["selection"] == "dense":
                found[line["seed"], line["split"]] = line["top1"]
    assert sorted(found) == [(seed, split) for seed in (0, 1) for split in (1, 2, 3)]
    assert row["ours"] == pytest.approx([sum(found[seed, split] for split in (1, 2, 3)) / 3 for seed in (0, 1)])
    assert len(set(found.values())) > 1
    assert row["paper"] == 0.588
    assert not (out / "table7" / "differences").exists()  # R3D alone has nothing to be compared with

    assert run_table("table7", *tiny, "rows=R3D-RGB;R3D-RGB & DSN (M = 1)") == 0
    for split in (1, 2, 3):
        statistics = json.loads((out / "table7" / "differences" / f"hmdb51_split{split}.json").read_text())
        pairs = {(d["method"]["classifier"], d["other"]["classifier"]) for d in statistics["differences"]}
        assert statistics["about"]["split"] == split
        assert ("dsn", "r3d:baseline") in pairs
