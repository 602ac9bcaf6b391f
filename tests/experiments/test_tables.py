"""The tables of the paper: their rows and configurations, and one of them run, killed, continued and used again."""

import csv
import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from conftest import NEEDLE
from dsn_lightning.commands import cli, shared
from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.identity import training_digest
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.jobs import Job, run_jobs
from dsn_lightning.paper import literature, paper_table
from helpers.table_process import load, start_table
from reproduce.commands import TRAIN, Command, is_done
from reproduce.estimates import Costs
from reproduce.planner import Planner

CONF = Path(__file__).resolve().parents[2] / "conf" / "experiment"
TABLES = [f"table{n}" for n in range(1, 8)]
ROWS = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))
TINY = [
    *NEEDLE, "backbone=r3d_tiny", "weights=null", "schedule.max_epochs=2", "schedule.batch_size=6", "M=2", "N=2",
    "trainer.accelerator=cpu", "test.random_draws=2", "test.figures=false",
]  # fmt: skip


def test_what_comes_after_a_training_that_stopped_on_time_waits_for_it(tmp_path, capsys):
    a = Command("a", TRAIN, (), tmp_path / "a", "0")
    assert a.job().is_whole is not None
    assert not a.job().is_whole()
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    (tmp_path / "a" / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "a" / "status.json").write_text('{"state": "finished"}')
    assert not a.job().is_whole()  # stopped in its first epoch
    (tmp_path / "a" / "progress.json").write_text('{"epoch": 2, "max_epochs": 2, "seconds_per_epoch": 1}')
    assert a.job().is_whole()
    (tmp_path / "a" / "progress.json").write_text('{"epoch": 1, "max_epochs": 2, "seconds_per_epoch": 1}')
    jobs = [
        Job("a", print, ("x",), tmp_path / "a", is_whole=a.job().is_whole),
        Job("b", print, ("y",), tmp_path / "b", after=("a",)),
        Job("c", print, ("z",), tmp_path / "c", is_whole=lambda: True),
    ]
    assert run_jobs(jobs, at_once=1, console=Console(width=120)) == jobs[:2]
    assert [job.state for job in jobs] == ["stopped", "skipped", "done"]
    assert "a: stopped on time" in capsys.readouterr().out
    assert not (tmp_path / "b").exists()


def main(name: str, *arguments: str, **more) -> int:
    return load("reproduce.tables").main(load(name).TABLE, list(arguments), **more)


def scheme_of(cfg: DictConfig) -> list:
    """M and N of the training, M and N of the test."""
    return [cfg.M, cfg.N, cfg.test.M, cfg.test.N]


# --- configurations


@pytest.mark.parametrize("row", ROWS)
def test_every_row_composes(row):
    cfg = compose_anew("train", f"experiment={row}", "run_dir=none")
    cli.check(cfg)
    if row.startswith(("table", "fig", "paper")):
        assert (cfg.weights, cfg.test.enabled) == ("kinetics400", False)
        assert cfg.backbone.name == ("r2plus1d_34" if "r2plus1d" in row else "r3d_18")
        assert cfg.schedule.max_epochs == {"r3d_18": 70, "r2plus1d_34": 120}[cfg.backbone.name] or "fixed" in row
        assert cfg.observation.name == "r2d_18"


def test_a_group_on_the_command_line_wins_over_the_rows():
    given = ["dataset=activitynet", "backbone=mobilenet_v2", "schedule.max_epochs=8"]
    for row in ("table1/dsn", "table3/r2plus1d_dsn", "table4/r3d_dsn_3"):
        cfg = compose_anew("train", f"experiment={row}", *given, "run_dir=none")
        assert (cfg.dataset.name, cfg.backbone.name, cfg.observation.name) == ("activitynet", *["mobilenet_v2"] * 2)
        assert (cfg.schedule.max_epochs, cfg.schedule.batch_size, cfg.algorithm.warmup_epochs) == (8, 8, 3)


@pytest.mark.parametrize(("dataset", "sections"), [("ucf101", 1), ("hmdb51", 1), ("thumos14", 6), ("activitynet", 6)])
def test_table_1_is_trained_1_to_3_or_6_to_3(dataset, sections):
    cfg = compose_anew("train", "experiment=table1/dsn", f"dataset={dataset}", "run_dir=none")
    assert scheme_of(cfg) == [sections, 3, sections, 3]


@pytest.mark.parametrize(
    ("row", "scheme"),
    [
        ("table2/dsn_1x6", (1, 6, 3, 6)), ("table3/r3d_dsn_1", (1, 3, 4, 3)), ("table3/r3d_dsn_3", (3, 3, 3, 3)),
        ("table4/r3d_dsn_3", (3, 3, 6, 3)), ("table5/r2plus1d_dsn", (1, 3, 6, 3)),
        ("table6/r3d_dsn_6", (6, 3, [6, 10], 3)), ("table7/r2plus1d_dsn", (1, 3, 4, 3)),
    ],
)  # fmt: skip
def test_schemes_are_those_of_each_table(row, scheme):
    cfg = compose_anew("train", f"experiment={row}", "run_dir=none")
    assert scheme_of(cfg) == [*scheme]


# --- definitions


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_the_papers(name):
    table = load(name).TABLE
    others = literature(table.number)
    own = [row.name for row in table.rows if row.evaluation and not row.extra]
    assert own == list(paper_table(table.number))
    assert [row.name for row in table.rows if not row.evaluation] == list(others)
    runs = {run for e in table.evaluations.values() for run in e.roles.values()} - {"max_response"}
    assert runs == {path.stem for path in (CONF / name).glob("*.yaml")}
    assert {row.evaluation for row in table.rows} - {None} | {
        stream for e in table.evaluations.values() for stream in e.fusion
    } == set(table.evaluations)
    metrics = {key for figures in paper_table(table.number).values() for key in figures} - {"clips", "gmacs"}
    wanted = {(d, m) for d, own in table.datasets.items() for m in own}
    several = len(table.datasets) > 1
    assert metrics == ({f"{d}/{m}" for d, m in wanted} if several else {m for _, m in wanted})


def test_counted_costs_are_those_of_dsn_cost():
    """Table III's 203.6, 104.6 and 78.5, within half a percent; those of R(2+1)D stand in test_cost.py."""
    table = load("table3").TABLE
    planner = Planner(table, [], output=Path("nowhere"))
    part, costs = planner.part(0, None), Costs(timed=False)
    for row in table.rows[:3]:
        cfg = part.configs[row.evaluation]
        cost = costs.video(cfg, row.selection, row.M)
        assert isinstance(cost, VideoCost)
        assert cost.total == pytest.approx(paper_table(3)[row.name]["gmacs"], rel=0.005)


def test_stored_activations_are_not_counted_as_work():
    """Of MobileNetV2's 19 blocks the last four are left, which pass 16 positions of 160 channels in each frame."""
    given = ["dataset=hmdb51", "backbone=mobilenet_v2", "M=1"]
    whole, rest = (
        Costs(timed=False).macs_here(compose_anew("train", "experiment=table1/dsn", *given, more, "run_dir=none"))
        for more in ("backbone.cache_activations=false", "backbone.cache_activations=true")
    )
    block, last = 2 * 160 * 960 + 9 * 960, (160 + 320) * 960 + 9 * 960
    of_frame = 16 * (2 * block + last + 320 * 1280)
    assert rest[0] == 4 * of_frame + 51 * 1280
    assert rest[1] == pytest.approx(2 * of_frame + 1280)
    assert whole[0] > 3 * rest[0]


def test_the_readme_is_what_the_tables_say():
    readme = load("readme_tables")
    text = (readme.HERE / "README.md").read_text()
    assert readme.with_section(text) == text, "run python experiments/readme_tables.py"
    for name in TABLES:
        assert all(f"| {row.name} |" in text for row in load(name).TABLE.rows)


# --- identity


@pytest.fixture(scope="module")
def dsn() -> DictConfig:
    return compose_anew(
        "train", "experiment=table1/dsn", "dataset.root=a", "observation.checkpoint=null", "run_dir=none"
    )


def digest(cfg: DictConfig, key: str, value: object) -> str:
    own = cfg.copy()
    OmegaConf.update(own, key, value, force_add=True)
    return training_digest(own)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_workers", 3), ("logger", {}), ("trainer.accelerator", "cpu"), ("test.M", 4), ("start_workers", "fork"),
        ("shared.folder", "x"), ("test.crops", 3), ("trainer.max_time", "00:01:00:00"), ("dataset.root", "./a"),
        ("run_dir", "elsewhere"), ("progress", True), ("dataset.reading.dense_clips", 5),
        ("backbone.flow_std", [0.1, 0.1]),
        ("test.subset", "val"),
    ],
)  # fmt: skip
def test_a_training_is_the_same_whatever_does_not_touch_its_weights(dsn, key, value):
    assert digest(dsn, key, value) == training_digest(dsn)


def test_a_training_is_another_with_other_weights(dsn):
    others = {
        "M": 4, "N": 4, "gamma": 1, "seed": 1, "schedule.lr": 0.1, "schedule.sampler_lr": 0.1, "dataset.root": "b",
        "dataset.split": 2, "estimator._target_": "another", "observation.network.trunk.num_frames": 1,
        "algorithm.exploration": 0.1, "weights": None, "observation.checkpoint": "x.ckpt",
        "classifier.checkpoint": "x.ckpt", "trainer.precision": "bf16-mixed",
    }  # fmt: skip
    found = {training_digest(dsn), *(digest(dsn, key, value) for key, value in others.items())}
    assert len(found) == len(others) + 1


def test_a_start_from_the_best_epoch_is_another_than_from_the_last(dsn, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    content = OmegaConf.to_container(dsn, resolve=True)
    (tmp_path / "run" / "config.json").write_text(json.dumps(content))
    starts = [str(tmp_path / "run" / "checkpoints" / name) for name in ("last.ckpt", "best.ckpt", "epoch_3.ckpt")]
    assert len({digest(dsn, "classifier.checkpoint", start) for start in starts}) == 3


def test_videos_that_are_folders_of_images_are_counted(tmp_path):
    for label in ("run", "walk"):
        for name in "abcd":
            folder = tmp_path / label / name
            folder.mkdir(parents=True)
            (folder / "img_00001.jpg").touch()
    cfg = compose_anew("train", "dataset=folder", f"dataset.root={tmp_path}", "dataset/reading/decoder=frames",
                       "run_dir=none")  # fmt: skip
    assert Costs(timed=False).videos(cfg) == (6, 2)


def test_a_training_on_flow_depends_on_the_normalisation_of_flow_alone(dsn):
    flow = dsn.copy()
    flow.dataset.modality = "flow"
    assert training_digest(flow) == digest(flow, "backbone.mean", [0.1, 0.1, 0.1])
    assert len({training_digest(dsn), training_digest(flow), digest(flow, "backbone.flow_std", [0.1, 0.1])}) == 3
    older = flow.copy()
    with open_dict(older):
        del older.backbone.flow_std
    assert training_digest(older) == training_digest(flow)


def test_a_sampler_that_is_never_trained_makes_no_other_training():
    rows = [
        compose_anew("train", "experiment=table1/control", "dataset=hmdb51", "dataset.root=a", "run_dir=none", *others)
        for others in ([], ["gamma=1", "observation=r2d_tiny_shared"], ["schedule.lr=0.1"])
    ]
    digests = [training_digest(row) for row in rows]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("role", ["baseline", "max_response"])
def test_what_auto_trains_depends_on_the_sections_and_not_on_gamma_or_candidates(role):
    folders = [
        shared.configuration(compose_anew("train", "dataset.root=a", "run_dir=none", *others), role).run_dir
        for others in (["M=2"], ["M=3"], ["M=2", "gamma=1", "N=2"])
    ]
    assert folders[0] == folders[2] != folders[1]


def test_the_tables_baseline_is_the_one_that_auto_would_train(tmp_path):
    planner = Planner(load("table1").TABLE, ["dataset=hmdb51", f"dataset.root={tmp_path}"], output=tmp_path)
    part = planner.part(0, None)
    auto = shared.configuration(part.configs["dsn"], "baseline")
    assert auto.run_dir == str(part.trainings["baseline"].folder)
    assert part.configs["dsn_fixed"].schedule.max_epochs == 70 - 23
    assert part.configs["control"].algorithm.warmup_epochs == 70


def test_a_key_of_one_algorithm_goes_to_the_rows_that_have_it(tmp_path):
    overrides = ["dataset=hmdb51", f"dataset.root={tmp_path}", "algorithm.exploration=0.1"]
    configs = Planner(load("table1").TABLE, overrides, output=tmp_path).part(0, None).configs
    assert {name: cfg.algorithm.get("exploration") for name, cfg in configs.items()} == {
        "baseline": None, "dsn": 0.1, "dsn_fixed": 0.1, "control": 0.1,
    }  # fmt: skip


@pytest.mark.slow
def test_the_stream_of_flow_may_have_values_of_its_own(tmp_path):
    overrides = ["dataset=hmdb51", f"dataset.root={tmp_path}", "schedule.lr=0.01", "algorithm.exploration=0.05",
                 "flow.schedule.lr=0.002", "flow.algorithm.exploration=0.1"]  # fmt: skip
    planner = Planner(load("table6").TABLE, overrides, output=tmp_path)
    for seed in (0, 1):
        part = planner.part(seed, None)
        assert {name: cfg.schedule.lr for name, cfg in part.configs.items()} == {
            name: 0.002 if "flow" in name else 0.01 for name in part.configs
        }
        explored = {name: cfg.algorithm.exploration for name, cfg in part.configs.items() if "dsn" in name}
        assert explored == {"r3d_dsn_6": 0.05, "r2plus1d_dsn": 0.05, "r2plus1d_dsn_flow": 0.1}
        own = part.trainings["r2plus1d_dsn_flow"].arguments
        assert "schedule.lr=0.002" in own
        assert not any(o.startswith("flow.") or o == "schedule.lr=0.01" for o in own)
    group = ["schedule.lr=0.05", "schedule.max_epochs=3", "flow.schedule=tiny", "flow.schedule.max_epochs=2"]
    configs = Planner(load("table6").TABLE, group, output=tmp_path).part(0, None).configs
    assert [(configs[n].schedule.lr, configs[n].schedule.max_epochs) for n in ("r2plus1d", "r2plus1d_flow")] == [
        (0.05, 3), (compose_anew("train", "schedule=tiny").schedule.lr, 2)
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"flow\.algorithm\.such=1: no training on flow of this table has such a key"):
        Planner(load("table6").TABLE, ["flow.algorithm.such=1"], output=tmp_path).part(0, None)


@pytest.mark.parametrize(
    ("row", "trained", "evaluated"),
    [
        ("Baseline (uniform)", ["baseline"], ["baseline"]),
        ("Max response", ["max response of dsn", "baseline"], ["baseline", "max response of dsn"]),
        ("DSN-f", ["max response of dsn", "baseline", "dsn_fixed"], ["baseline", "dsn_fixed"]),
        ("DSN", ["max response of dsn", "dsn"], ["dsn"]),
        ("Uniform, control's classifier", ["control"], ["control"]),
    ],
)
def test_only_what_a_wanted_row_needs_is_trained(row, trained, evaluated, tmp_path):
    table = load("table1").TABLE
    rows = [own for own in table.rows if own.name == row]
    planner = Planner(table, ["dataset=hmdb51", f"dataset.root={tmp_path}"], output=tmp_path, rows=rows)
    part = planner.part(0, None)
    assert [command.name for command in planner.trainings(part)] == [f"seed 0 {name}" for name in trained]
    evaluation = planner.evaluation(part, str(rows[0].evaluation), there=False)
    assert evaluation is not None
    assert [*evaluation.after] == [f"seed 0 {name}" for name in evaluated]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "r3d_18"])
def test_max_response_by_hand_is_the_network_that_auto_trains(backbone):
    common = ["dataset=hmdb51", "dataset.root=a", "weights=null", f"backbone={backbone}", "run_dir=none"]
    dsn = compose_anew("train", "algorithm=dsn", *common)
    hand = compose_anew("train", "algorithm=baseline", *common, f"backbone={dsn.observation.as_classifier}")
    own = [shared.what_matters(cfg) for cfg in (hand, shared.configuration(dsn, "max_response"))]
    assert own[0]["backbone"]["network"] == own[1]["backbone"]["network"]
    if backbone == "mobilenet_v2":  # r2d_18 brings other weights' addresses
        assert training_digest(hand) == training_digest(shared.configuration(dsn, "max_response"))


# --- a run


@pytest.fixture(scope="module")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "with space"


def started(folder: Path) -> dict[str, str]:
    return {file.parent.name: json.loads(file.read_text())["started"] for file in folder.glob("runs/*/status.json")}


def test_a_table_is_killed_continued_and_used_again(needle_root, tables_folder, capfd):
    """kill -9 in the second training; two calls at once then; then another table, which has all it needs."""
    arguments = ["dataset=needle", f"dataset.root={needle_root}", *TINY, f"output={tables_folder}"]
    first = start_table("table1", arguments, tables_folder.parent / "out")
    while first.is_alive() and len(list(tables_folder.glob("runs/*/progress.json"))) < 2:
        time.sleep(0.02)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    runs = tables_folder / "runs"
    done = {name: when for name, when in started(tables_folder).items() if is_done("dsn-train", runs / name)}
    assert len(done) < 5

    second = start_table("table1", arguments, tables_folder.parent / "out")  # would fail in a folder that is in use
    assert main("table1", *arguments, "jobs=2") == 0
    second.join()
    assert second.exitcode == 0, (tables_folder.parent / "out").read_text()
    now = started(tables_folder)
    assert len(now) == 5
    assert {name: now[name] for name in done} == done
    assert main("table1", *arguments) == 0
    assert started(tables_folder) == now

    records = json.loads((tables_folder / "table1" / "table.json").read_text())
    assert [r["row"] for r in records] == [row.name for row in load("table1").TABLE.rows]
    assert {r["status"] for r in records} == {"run"}
    assert all(0 <= r["ours_mean"] <= 1 and r["videos"] == 6 for r in records)
    with open(tables_folder / "table1" / "table.csv") as file:
        assert [line["row"] for line in csv.DictReader(file)] == [r["row"] for r in records]
    assert "| DSN-f | r3d_tiny + r2d_tiny | 2 | - |" in (tables_folder / "table1" / "table.md").read_text()

    kept = json.loads((tables_folder / "table1" / "differences" / "needle.json").read_text())
    assert kept["about"]["evaluations"] == records[0]["evaluations"]
    assert (tables_folder / kept["about"]["evaluations"][0] / "results.json").is_file()
    assert (
        "| dsn_fixed | baseline | uniform | 2:2 |"
        in (tables_folder / "table1" / "differences" / "needle.md").read_text()
    )

    capfd.readouterr()
    assert main("fig4", *arguments, "test.M=[1,2]", also=load("fig4").draw) == 0
    assert started(tables_folder) == now
    assert (tables_folder / "fig4" / "needle.png").stat().st_size > 5000
    rows = {r["row"]: r for r in json.loads((tables_folder / "fig4" / "table.json").read_text())}
    assert rows["DSN, 2 clips"]["ours_mean"] == records[4]["ours_mean"]  # what Table I has
    assert rows["DSN, 3 clips"]["status"] == "not run"

    for _ in range(2):  # what the first call wrote is no table of the second
        assert main("fig5", *arguments, also=partial(load("fig5").draw, videos=2, pick=0)) == 0
    assert started(tables_folder) == now
    clips = json.loads((tables_folder / "fig5" / "clips" / "needle.json").read_text())
    assert [clip["rank"] for clip in clips[:4]] == ["most probable", "second", "second least", "least probable"]
    assert len({clip["video"] for clip in clips}) == 2
    assert (tables_folder / "fig5" / "clips" / "needle.png").stat().st_size > 5000


def test_dry_run_lists_what_is_there_and_what_is_missing(needle_root, tables_folder, capfd):
    """After the run above, with a seed that was not run; nothing is trained."""
    before = started(tables_folder)
    arguments = ["dataset=needle", f"dataset.root={needle_root}", *TINY, f"output={tables_folder}", "seeds=0,1"]
    assert main("table1", *arguments, "--dry-run") == 0
    assert started(tables_folder) == before
    out = capfd.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith(("dsn-train ", "dsn-evaluate ", "# max response"))]
    assert len(lines) == 2 * 7
    assert sum("experiment=table1/dsn_fixed" in line and "schedule.max_epochs=1 " in line for line in lines) == 2
    states = [line.split("│")[2].strip() for line in out.splitlines() if "│ seed" in line]
    assert states == ["there"] * 7 + ["missing"] * 7
    cells = [line.split("│") for line in out.splitlines() if "seed 1 baseline" in line]
    macs = Costs(timed=False).macs(compose_anew("train", "experiment=table1/baseline", *arguments[:-2], "run_dir=none"))
    clips = 2 * 12 * 2  # epochs, videos, M
    assert int(cells[0][3]) == clips
    assert float(cells[0][4]) == pytest.approx(3 * clips * macs[0] / 1e9, abs=0.5)
    assert "a training step counts as three forward passes" in out


@pytest.mark.slow
def test_a_failed_run_is_named_and_other_rows_are_printed(needle_root, tables_folder, capfd):
    """One run's folder cannot be written: its row says why, and the same call mends it. Table I's baseline is used."""
    arguments = ["dataset=needle", f"dataset.root={needle_root}", *TINY, "gamma=0.25"]
    planner = Planner(load("table3").TABLE, arguments, output=tables_folder)
    dsn = planner.part(0, None).trainings["r3d_dsn_3"].folder
    dsn.mkdir(parents=True)
    (dsn / "checkpoints").write_text("in the way")
    arguments += [f"output={tables_folder}", "rows=R3D;R3D & DSN (M = 3)"]
    assert main("table3", *arguments) == 1
    rows = {r["row"]: r for r in json.loads((tables_folder / "table3" / "needle.json").read_text())}
    assert (rows["R3D"]["status"], rows["R3D & DSN (M = 3)"]["status"]) == ("run", "failed")
    assert "FileExistsError" in rows["R3D & DSN (M = 3)"]["reason"]
    assert (rows["R(2+1)D"]["status"], rows["R(2+1)D"]["reason"]) == ("not run", "not asked for")
    assert "FileExistsError" in capfd.readouterr().out
    (dsn / "checkpoints").unlink()
    assert main("table3", *arguments) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dataset.root=x"], "table1: error: give the data set: dataset=ucf101|hmdb51|thumos14|activitynet"),
        (["dataset=hmdb51"], "table1: error: dataset=hmdb51: give its folder, dataset.root=DIR"),
        (["dataset=hmdb51", "seed=1"], "seed=1: cannot be given to a table; use seeds=0,1,2"),
        (["dataset=hmdb51", "seeds=a"], "seeds, jobs: must be whole numbers"),
        (["dataset=hmdb51", "jobs=0"], "jobs=0: must be at least 1"),
        (["dataset=hmdb51", "rows=DSM"], "rows=DSM: no such row; there are Baseline (random); "),
        (["dataset=hmdb51", "no.such=1"], "no"),
        (["dataset=hmdb51", "algorithm.such=1"], "algorithm.such=1: no algorithm of this table has such a key"),
        (["dataset=hmdb51", "flow.schedule.lr=1"], "flow.schedule.lr=1: no training on flow of this table has"),
        (["dataset=hmdb51", "flow.seed=1"], "flow.seed=1: cannot be given to a table; use seeds=0,1,2"),
        (["dataset=hmdb51", "+flow.x=1"], "+flow.x=1: write flow. first, as in flow.+KEY=VALUE"),
        (["dataset=hmdb51", "flow.trust=[a]"], "flow.trust=[a]: is for all runs; give trust=[a]"),
        (["dataset=hmdb51", "--quick"], "--quick: must be KEY=VALUE, or --dry-run"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(arguments, said, tmp_path, capsys):
    assert main("table1", *arguments, f"output={tmp_path}") == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_two_streams(class_folders, tmp_path):
    """Table VI's rows of R(2+1)D on RGB, flow and both."""
    from helpers.processes import call

    call("dsn-prepare", "dataset=folder", f"dataset.root={class_folders}", "output=prepared",
         "steps=[check,flow]", cwd=tmp_path)  # fmt: skip
    tiny = ["backbone=r3d_tiny", "weights=null", "schedule.max_epochs=1", "schedule.batch_size=3",
            "trainer.accelerator=cpu", "dataset=folder", f"dataset.root={class_folders}", f"output={tmp_path / 'out'}",
            f"dataset.reading.prepared={tmp_path / 'prepared'}", "fusion_weights=[1,1.5]"]  # fmt: skip
    assert main("table6", *tiny, "rows=R(2+1)D-RGB;R(2+1)D-FLOW;R(2+1)D-RGB+FLOW") == 0
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
    from helpers.dataset_files import fill, write_hmdb51

    root = write_hmdb51(tmp_path / "videos")
    for split, codes in ((2, "1210"), (3, "2110")):
        for file in (root / "splits").glob(f"*_split{split}.txt"):
            clips = [line.rpartition(" ")[0].rpartition(" ")[0] for line in file.read_text().splitlines()]
            file.write_text("".join(f"{clip} {code} \n" for clip, code in zip(clips, codes, strict=True)))
    for split in (1, 2, 3):
        fill(
            compose_anew(
                "train", "dataset=hmdb51", f"dataset.root={root}", f"dataset.split={split}", "run_dir=x"
            ).dataset
        )
    for lost in [*root.glob("videos/c*/*_0.avi"), *root.glob("c*/*_0.avi")]:
        lost.unlink()  # split 3 tests brush_hair alone
    out = tmp_path / "out"
    tiny = ["backbone=r3d_tiny", "weights=null", "schedule.max_epochs=1", "schedule.batch_size=2",
            "trainer.accelerator=cpu", "dataset=hmdb51", f"dataset.root={root}", f"output={out}"]  # fmt: skip
    assert main("table7", *tiny, "rows=R3D-RGB", "seeds=0,1") == 0
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
