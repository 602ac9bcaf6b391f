"""dsn-report: figures equal those of the runs, nothing is loaded from elsewhere, what users named is text."""

import base64
import csv
import hashlib
import json
import re
import shutil
import statistics
import sys
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from py_mini_racer import MiniRacer

from dsn_lightning.commands import cli
from dsn_lightning.commands.comparing import compare_folders
from dsn_lightning.commands.evaluating import evaluate_trained
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.report.collect import collect
from dsn_lightning.report.comparisons import evaluations_of
from dsn_lightning.report.result_rows import results_of
from helpers.report_files import Page, row_of, write_rows, write_run
from helpers.synthetic import SyntheticData, composed, fresh

NASTY = ["<script>alert(1)</script>", "\"quoted\" & 'so' | <b>"]


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory) -> Path:
    """Two seeds of a DSN and a baseline, each evaluated on 8 videos at 2:2."""
    root = tmp_path_factory.mktemp("evaluations")
    for seed in (0, 1):
        settings = ["M=2", "N=2", "test.random_draws=2", "dataset.name=synthetic", "dataset.reading.dense_clips=3",
                    f"seed={seed}"]  # fmt: skip
        cfg = composed(*settings)
        given = {
            "dsn": fresh(cfg, root / f"{seed}.ckpt", seed=seed),
            "baseline": fresh(composed(*settings, "algorithm=baseline"), root / f"{seed}_b.ckpt", seed=2 + seed),
        }
        folder = root / "runs" / f"seed{seed}" / "evaluate"
        evaluate_trained(given, cfg, SyntheticData("rgb", cfg), folder, device=torch.device("cpu"), announce=False)
    return root / "runs"


@pytest.fixture
def runs(evaluations: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evaluations, tmp_path / "runs"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """dsn-report in this process: (what it printed, its page)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, expect: int = 0) -> tuple[str, Page | None]:
        monkeypatch.setattr(sys, "argv", ["dsn-report", *map(str, arguments)])
        code = 0
        try:
            cli.report()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert code == expect, out + err
        return (err, None) if code else (out, Page(Path("report/report.html").read_text()))

    return call


def test_all_figures_are_those_of_the_results(runs, command):
    _, page = command(runs)
    stored = [json.loads((runs / f"seed{seed}/evaluate/results.json").read_text()) for seed in (0, 1)]
    assert len(stored[0]) == len(stored[1]) > 8
    expected = Counter()
    for first, second in zip(*stored, strict=True):
        pair = [first["top1"], second["top1"]]
        expected[f"{100 * statistics.mean(pair):.1f} ± {100 * statistics.stdev(pair):.1f}"] += 1
    assert Counter(row["top-1"][0] for row in page.rows("results-table")) == expected
    assert {row["seeds"][0] for row in page.rows("results-table")} == {"0, 1"}
    markdown = Path("report/report.md").read_text()
    assert all(markdown.count(text) >= number for text, number in expected.items())
    with Path("report/report.csv").open() as file:
        lines = list(csv.DictReader(file))
    for line, first, second in zip(sorted(lines, key=_key), *(sorted(s, key=_key) for s in stored), strict=True):
        assert float(line["top1"]) == statistics.mean([first["top1"], second["top1"]])
        assert float(line["map_std"]) == pytest.approx(statistics.stdev([first["map"], second["map"]]), abs=1e-15)
        assert line["gmacs"] == ("" if first["gmacs"] is None else str(first["gmacs"]))


def _key(row: dict) -> tuple:
    return row["selection"], row["classifier"], int(row["M"]), int(row["clips"])


def test_page_is_whole_and_loads_nothing(runs, command):
    write_run(runs / "dsn")
    _, page = command(runs)
    assert page.open == []
    html = Path("report/report.html").read_text()
    assert not re.search(r"https?://|url\(|@import|\bsrcset=", html)
    for tag, own in page.tags:
        for key in ("src", "href", "data", "action"):
            assert key not in own or own[key].startswith(("data:", "#")), (tag, own)
        assert not any(name.startswith("on") for name in own), (tag, own)
    targets = {own["id"] for _, own in page.tags if own.get("id")}
    assert {own["href"][1:] for tag, own in page.tags if tag == "a"} <= targets
    assert sum(tag == "svg" for tag, _ in page.tags) > 15  # frontier, curves, twelve time lines, legends
    for tag, own in page.tags:
        assert tag != "svg" or own.get("aria-label") or own.get("aria-hidden") == "true"
        assert tag != "img" or own["alt"]


def test_only_the_pages_own_script_runs(runs, command):
    _, page = command(runs)
    policy = next(own["content"] for tag, own in page.tags if own.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_what_users_named_is_text(runs, command):
    folder = runs / "<img src=x onerror=alert(1)>&amp;"
    (runs / "seed0").rename(folder)
    shutil.rmtree(runs / "seed1")
    scores = ClipScores.load(folder / "evaluate/clip_scores.npz")
    names = np.array([f"{name}_<i>" for name in scores.video_id])
    replace(scores, classes=np.array(NASTY), video_id=names).save(folder / "evaluate/clip_scores.npz")
    (folder / "evaluate/statistics.json").unlink(missing_ok=True)
    write_run(runs / "'\"><script>x", state="failed", error="</script><script>alert(2)</script>")
    _, page = command(runs)
    for text in (*NASTY, f"{folder.name}/evaluate", "'\"><script>x", "</script><script>alert(2)</script>", names[0]):
        assert text in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    assert "<script" not in Path("report/report.md").read_text()


def test_time_lines_show_the_policy(runs, command):
    _, page = command(runs / "seed0", "statistics=0")
    file = np.load(runs / "seed0/evaluate/clip_scores.npz")
    own = file["section_network"] == "dsn"
    expected = []
    for v in np.sort(np.random.default_rng(0).permutation(8)[:6]):
        for section in range(2):
            row = own & (file["section_video"] == v) & (file["section_scheme"] == [2, 2, section]).all(1)
            powers = np.exp(file["section_logits"][row][0].astype(float))
            expected += [f"p = {p:.3f}" for p in powers / powers.sum()]
    drawn = re.findall(r"<title>clip at [\d.]+ s, (p = [\d.]+)</title>", Path("report/report.html").read_text())
    assert drawn == expected
    assert sum(own.get("class") == "kept" for _, own in page.tags) == 12
    pictures = [own for tag, own in page.tags if tag == "img"]
    assert ["two least probable clips" in own["alt"] for own in pictures] == [True]


def test_differences_that_a_table_has_worked_out_are_shown(runs, command):
    own = compare_folders([runs / "seed0/evaluate"], number=200, others={"second": [runs / "seed1/evaluate"]})
    folder = runs / "table1/differences"
    folder.mkdir(parents=True)
    (folder / "synthetic.json").write_text(json.dumps(own))
    (folder / "older.json").write_text(json.dumps({"about": {}, "differences": []}))
    out, page = command(runs, "statistics=0")
    assert "note: table1/differences/older.json: statistics of another version (KeyError: 'evaluations')" in out
    title = "synthetic, rgb, seed 0 (table1/differences/synthetic.json)"
    assert f"Differences: {title}" in Path("report/report.md").read_text().replace("\\", "")
    assert title in page.text
    assert f"methods without the name of a training are of {runs}/seed0/evaluate and its other seeds" in page.text
    rows = {(row["method"][0], row["minus"][0]): row for row in page.rows("differences-1")}
    entry = next(d for d in own["differences"] if d["method"]["selection"] == d["other"]["selection"] == "dsn"
                 and (d["method"]["classifier"], d["other"]["classifier"]) == ("dsn", "second:dsn"))  # fmt: skip
    cell = rows["dsn", "dsn of second"]["top-1"]
    assert cell == (comparison_table.points(entry["top1"]), repr(entry["top1"]["value"]))


def test_differences_of_a_table_are_shown_once(runs, command):
    folders = [runs / "seed0/evaluate", runs / "seed1/evaluate"]
    own = compare_folders(folders, number=200)
    folder = runs / "table1/differences"
    folder.mkdir(parents=True)
    (folder / "synthetic.json").write_text(json.dumps(own))
    out, page = command(runs)
    assert "statistics of" not in out
    text = Path("report/report.md").read_text()
    assert text.count("## Differences: ") == 1
    assert "200 resamples of the 8 test videos" in page.text

    (folder / "synthetic.json").write_text(json.dumps({"about": {"evaluations": 3}, "differences": []}))
    command(runs)
    text = Path("report/report.md").read_text().replace("\\", "")
    assert "## Differences: synthetic, rgb, seeds 0, 1 (seed0/evaluate and its other seeds)" in text


def test_what_is_lacking_is_said(runs, command):
    shutil.rmtree(runs / "seed0/evaluate/figures")
    (runs / "seed1/evaluate/clip_scores.npz").write_bytes(b"PK\x03\x04 cut off")
    write_rows(runs / "damaged", {"dataset": "x"})
    (runs / "half").mkdir()
    (runs / "half/results.json").write_text('[{"dataset": "nee')
    out, page = command(runs)
    assert "no contact sheet of this sampler; dsn-evaluate draws one" in page.text
    assert "clip_scores.npz cannot be read" in page.text
    assert "half/results.json: not read" in page.text
    assert "damaged/results.json" in out
    assert len(page.rows("results-table")) > 8


def test_runs_in_every_state_are_listed(tmp_path, command):
    top = tmp_path / "runs"
    for state in ("finished", "failed", "stopped"):
        write_run(top / state, state=state, error="gamma=-1: is a penalty" if state == "failed" else None)
    write_run(top / "killed", state="running")
    write_run(top / "at work", state="running")
    (top / "stopped/metrics.csv").write_text("epoch,train/classifier_loss\n0,inf\n1,1.5\n2,nan\n3,1.2\n")
    (top / "at work/metrics.csv").write_text("epoch,train/classifier_loss\n0,1.5\n1,0.")  # in the middle of a line
    with FileLock(top / "at work/.lock"):
        _, page = command(top)
    states = {row["run"][0]: row["state"][0] for row in page.rows("runs-table")}
    assert states == {"at work": "running", "failed": "failed", "finished": "finished", "killed": "killed",
                      "stopped": "stopped"}  # fmt: skip
    assert "No results yet" in page.text
    assert "gamma=-1: is a penalty" in page.text
    lines = [own for tag, own in page.tags if own.get("data-run") == "at work"]
    assert len(lines) == 1  # the loss of one whole epoch
    assert "dsn, killed" in page.text


def test_nothing_to_report_is_one_line(tmp_path, command):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["empty"], "empty: no run, sweep or results.json in there or below"),
        (["nowhere"], "nowhere: no such folder"),
        ([], "no folder given"),
        (["empty", "sheets=many"], "sheets=many: must be a whole number"),
        (["empty", "colour=red"], "colour: no such key"),
        (["empty", "--colour"], "--colour: no such option"),
    ):
        err, _ = command(*arguments, expect=2)
        assert err.startswith(f"dsn-report: error: {message}")
        assert err.count("\n") == 1
    write_rows(tmp_path / "some", row_of())
    (tmp_path / "taken").write_text("")
    err, _ = command("some", "output=taken", expect=2)
    assert "output=taken: cannot be written to" in err
    out, page = command("some", "empty")
    assert "empty: holds neither a run nor results" in out
    assert len(page.rows("results-table")) == 1


def test_paper_stands_beside_ours(tmp_path, command):
    small = {"backbone": "mobilenet_v2", "observation": "mobilenet_v2"}
    write_rows(
        tmp_path / "own",
        row_of(top1=0.6),
        row_of(M=4, clips=4, top1=0.61, gmacs=104.0),
        row_of(selection="dense", classifier="baseline", algorithm="baseline", train_N=None, observation=None, clips=10,
               backbone="mobilenet_v2"),
        row_of(selection="uniform"),  # DSN's classifier: in no table
        row_of(dataset="activitynet", split=None, M=6, train_M=6, top1=0.7, **small),
        row_of(selection="dense", classifier="baseline", algorithm="baseline", train_N=None, observation=None, clips=10,
               M=2, backbone="r2plus1d_34", top1=0.755),
        row_of(selection="dense", classifier="baseline", algorithm="baseline", train_N=None, observation=None, clips=5,
               M=5),
        row_of(dataset="thumos14", split=None, M=6, train_M=6, clips=6, map=0.74),  # of Table I's training set or V's
        row_of(dataset="thumos14", split=None, selection="dense", classifier="baseline", algorithm="baseline",
               train_N=None, observation=None, clips=20, M=6, train_M=1, map=0.65),
    )  # fmt: skip
    _, page = command("own")
    found = {(row["data set"][0], row["selection"][0], row["M:N"][0]):
             tuple(row[name][0] for name in ("paper", "ours - paper", "paper's row", "paper's GMACs"))
             for row in page.rows("results-table")}  # fmt: skip
    assert found == {
        ("hmdb51", "dsn", "1:3"): ("59.5", "+0.5", "Table I, DSN", "-"),
        ("hmdb51", "dsn", "4:3"): ("60.9", "+0.1", "Table III, R3D & DSN (M = 1)", "104.6"),
        ("hmdb51", "dense", "1:3"): ("59.5", "-9.5", "Table I, Dense sampling", "-"),
        ("hmdb51", "dense", "2:3"): ("75.5", "+0.0", "Table III, R(2+1)D", "1529"),
        ("hmdb51", "dense", "5:3"): ("-", "-", "-", "-"),
        ("thumos14", "dsn", "6:3"): ("72.6; 75.2", "+1.4; -1.2", "Table I, DSN; Table V, R3D-RGB & DSN (M = 6)", "-"),
        ("thumos14", "dense", "6:3"): ("65.6", "-0.6", "Table I, Dense sampling", "-"),
        ("hmdb51", "uniform (dsn's classifier)", "1:3"): ("-", "-", "-", "-"),
        ("activitynet", "dsn", "6:3"): ("66.7", "+3.3", "Table I, DSN", "-"),
    }
    assert "those of Table I are of R3D-18, ResNet2D-18" in page.text
    lines = list(csv.DictReader(Path("report/report.csv").read_text().splitlines()))
    (either,) = [line for line in lines if (line["dataset"], line["selection"]) == ("thumos14", "dsn")]
    assert (either["paper"], either["ours_minus_paper"]) == ("", "")


def test_copies_count_once_and_other_trainings_are_told_apart(tmp_path, command):
    top = tmp_path / "runs"
    for gamma, top1 in ((0.5, 0.4), (1.0, 0.6)):
        for seed in (0, 1):
            own = write_run(top / f"{gamma}_{seed}", seed=seed, gamma=gamma, schedule={"lr": 0.01 * gamma})
            write_rows(own, row_of(seed=seed, gamma=gamma, top1=top1 + 0.1 * seed),
                       row_of(selection="uniform", seed=seed, gamma=None, top1=top1 - 0.1 * seed),
                       row_of(selection="dense", classifier="baseline", algorithm="baseline", seed=seed,
                              gamma=None, top1=0.3))  # fmt: skip
    together = [row for folder in sorted(top.iterdir()) for row in json.loads((folder / "results.json").read_text())]
    write_rows(top, *(row | {"seconds_per_video": 1.0} for row in together))  # as experiments/demo.py leaves them
    _, page = command(top)
    found = sorted((row["selection"][0], row["top-1"][0], row["seeds"][0]) for row in page.rows("results-table"))
    assert found == [
        ("dense", "30.0 ± 0.0", "0, 1"),
        ("dsn", "45.0 ± 7.1", "0, 1"),
        ("dsn", "65.0 ± 7.1", "0, 1"),
        ("uniform (dsn's classifier)", "35.0 ± 7.1", "0, 1"),
        ("uniform (dsn's classifier)", "55.0 ± 7.1", "0, 1"),
    ]
    settings = {row["setting"][0] for row in page.rows("results-table") if row["selection"][0].startswith("uniform")}
    assert settings == {"schedule.lr=0.005, gamma=0.5", "schedule.lr=0.01, gamma=1.0"}


@pytest.mark.parametrize(("modality", "seeds"), [("rgb", ["0, 1"]), ("flow", ["0", "1"])])
def test_a_key_of_flow_sets_no_rgb_runs_apart(tmp_path, command, modality, seeds):
    for seed, backbone in ((0, {}), (1, {"flow_std": [0.1, 0.1]})):
        own = write_run(tmp_path / f"out/{seed}", seed=seed, backbone=backbone, dataset={"modality": modality})
        write_rows(own, row_of(seed=seed, modality=modality))
    _, page = command("out")
    assert sorted(row["seeds"][0] for row in page.rows("results-table")) == seeds


def test_a_seed_with_two_results_is_two_rows(tmp_path, command):
    for name, top1 in (("random_clips", 0.4), ("plain", 0.6)):
        for seed in (0, 1):
            write_rows(tmp_path / f"out/{name}/seed{seed}/evaluate", row_of(seed=seed, top1=top1))
    _, page = command("out")
    found = {(row["setting"][0], row["top-1"][0], row["seeds"][0]) for row in page.rows("results-table")}
    assert found == {("random_clips/seed*/evaluate", "40.0 ± 0.0", "0, 1"),
                     ("plain/seed*/evaluate", "60.0 ± 0.0", "0, 1")}  # fmt: skip


def test_a_tables_evaluations_are_told_apart_by_name_whatever_their_digests(tmp_path, command):
    for name, top1 in (("control", 0.4), ("methods", 0.6)):
        for seed, digest in ((0, "6a566f70ae"), (1, "01d00982cd")):
            write_rows(tmp_path / f"out/table1_{name}_seed{seed}_{digest}", row_of(seed=seed, top1=top1))
    _, page = command("out")
    found = {(row["setting"][0], row["top-1"][0], row["seeds"][0]) for row in page.rows("results-table")}
    assert found == {("table1_control_seed*", "40.0 ± 0.0", "0, 1"), ("table1_methods_seed*", "60.0 ± 0.0", "0, 1")}


def groups_of(folder: Path) -> list[list[str]]:
    """Names of the evaluations that are compared together, the digest left out."""
    collected = collect([str(folder)])
    groups = evaluations_of(results_of(collected), collected.sources)
    return [[re.sub("_[0-9a-f]{10}$", "", own.folder.name) for own in group] for group in groups]


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_an_evaluation_that_shares_rows_with_another_keeps_them(tmp_path, command, dense, together):
    """Table I and Fig. 4 of the same trainings: seed 1 came out the same in both, seed 0 by a video otherwise."""
    everything = []
    for seed, other in ((0, 0.41), (1, 0.5)):
        fig4 = [row_of(seed=seed, top1=0.4 + 0.1 * seed), row_of(seed=seed, M=4, clips=4, top1=0.7)]
        table1 = [row_of(seed=seed, top1=other)]
        table1 += [row_of(seed=seed, selection="dense", clips=10, top1=0.8)] if dense else []
        for name, rows in (("fig4_methods", fig4), ("table1_methods", table1)):
            folder = tmp_path / f"out/{name}_seed{seed}_6a566f70ae"
            write_rows(folder, *rows)
            (folder / "clip_scores.npz").write_bytes(b"")  # that there are scores is all that counts here
            everything += rows
    if together:  # a file with the rows of all of them, and one that is nowhere else
        write_rows(tmp_path / "out/all", *everything, row_of(seed=2, top1=0.9))
    assert groups_of(tmp_path / "out") == [
        ["fig4_methods_seed0", "fig4_methods_seed1"],
        ["table1_methods_seed0", "table1_methods_seed1"],
    ]
    _, page = command("out")
    found = {(row["setting"][0], row["selection"][0], row["M:N"][0], row["top-1"][0], row["seeds"][0])
             for row in page.rows("results-table")}  # fmt: skip
    assert found == {
        ("fig4_methods_seed*", "dsn", "1:3", "45.0 ± 7.1", "0, 1"),
        ("table1_methods_seed*", "dsn", "1:3", "45.5 ± 6.4", "0, 1"),
        ("-", "dsn", "4:3", "70.0 ± 0.0", "0, 1"),
        *([("-", "dense (dsn's classifier)", "1:3", "80.0 ± 0.0", "0, 1")] if dense else []),
        *([("all", "dsn", "1:3", "90.0", "2")] if together else []),
    }


def test_samplers_of_several_seeds_with_one_baseline_are_compared_together(tmp_path):
    for seed in (0, 1, 2):
        folder = tmp_path / f"methods_seed{seed}"
        write_rows(folder, row_of(selection="uniform", classifier="baseline", seed=0, top1=0.5),
                   row_of(seed=seed, top1=0.6 + 0.1 * seed))  # fmt: skip
        (folder / "clip_scores.npz").write_bytes(b"")
    assert groups_of(tmp_path) == [["methods_seed0", "methods_seed1", "methods_seed2"]]


def test_evaluations_from_one_place_twice_are_two_groups(tmp_path):
    """Two sets of trainings that nothing but the folder tells apart."""
    for name in ("earlier", "later"):
        for seed in (0, 1):
            folder = tmp_path / f"{name}/methods_seed{seed}"
            write_rows(folder, row_of(seed=seed, top1=0.4 if name == "later" else 0.5 + 0.1 * seed))
            (folder / "clip_scores.npz").write_bytes(b"")
    collected = collect([str(tmp_path)])
    groups = evaluations_of(results_of(collected), collected.sources)
    assert [[own.folder.parent.name for own in group] for group in groups] == [["earlier"] * 2, ["later"] * 2]


def test_other_networks_are_no_other_seed(tmp_path, command):
    write_rows(tmp_path / "a", row_of(seed=0, gmacs=25.0))
    write_rows(tmp_path / "b", row_of(seed=1, gmacs=30.0))
    _, page = command("a", "b")
    assert [row["seeds"][0] for row in page.rows("results-table")] == ["0", "1"]


def test_seeds_are_compared_together(runs, command):
    out, page = command(runs)
    assert "statistics of seed0/evaluate, seed1/evaluate" in out
    rows = page.rows("differences-1")
    stored = [json.loads((runs / f"seed{seed}/evaluate/results.json").read_text()) for seed in (0, 1)]
    by = [{(row["selection"], row["classifier"]): row["top1"] for row in rows} for rows in stored]
    gain = statistics.mean(own["dsn", "baseline"] - own["uniform", "baseline"] for own in by)
    text, value = next(
        row["top-1"]
        for row in rows
        if (row["method"][0], row["minus"][0]) == ("dsn (baseline's classifier)", "uniform")
    )
    assert text.startswith(f"{100 * gain:+.1f} ± ")
    assert float(value) == pytest.approx(gain)
    assert "2000 resamples of the 8 test videos" in page.text


def test_front_is_what_nothing_beats_at_its_cost(tmp_path, command):
    points = [(10, 0.5), (20, 0.45), (20, 0.6), (30, 0.6), (40, 0.7)]
    write_rows(tmp_path / "own", *(row_of(selection=f"s{i}", classifier="baseline", gmacs=float(cost), top1=top1)
                                   for i, (cost, top1) in enumerate(points)))  # fmt: skip
    command("own")
    markdown = Path("report/report.md").read_text()
    assert re.findall(r"- (s\d): .* \(on the front\)", markdown) == ["s0", "s2", "s4"]


def test_pictures_are_scaled_to_fit(runs, command, monkeypatch):
    from dsn_lightning.report import page as module

    noise = np.random.default_rng(0).integers(0, 255, (400, 1500, 3)).astype(np.uint8)
    for seed in (0, 1):
        Image.fromarray(noise).save(runs / f"seed{seed}/evaluate/figures/clips_dsn.png")
    monkeypatch.setattr(module, "LIMIT", 600_000)  # 20 MB of noise would take long
    out, page = command(runs, "statistics=0")
    assert re.search(r"note: Pictures of \d MB were scaled down to \d+ pixels' width", out)
    pictures = [own["src"] for tag, own in page.tags if tag == "img"]
    assert [own[:23] for own in pictures] == ["data:image/jpeg;base64,"] * 2
    assert sum(map(len, pictures)) < 610_000


def test_many_runs(tmp_path, command):
    for i in range(300):
        own = write_run(tmp_path / f"sweep/{i}", seed=i % 3, gamma=i // 3)
        write_rows(own, row_of(seed=i % 3, gamma=i // 3, top1=i / 300))
    _, page = command("sweep")
    assert len(page.rows("runs-table")) == 300
    assert [row["run"][0] for row in page.rows("runs-table")][:3] == ["0", "1", "2"]
    assert len(page.rows("results-table")) == 100
    assert "dsn (300 runs)" in page.text


def test_columns_sort_as_a_reader_expects():
    engine = MiniRacer()
    engine.eval((files("dsn_lightning.report") / "page_files/page.js").read_text())

    def order(values: list[str], direction: int) -> list[str]:
        return [values[i] for i in engine.call("orderOf", values, direction)]

    assert order(["10", "2", "", "-1.5", "1e-3"], 1) == ["-1.5", "1e-3", "2", "10", ""]
    assert order(["10", "2", "", "-1.5"], -1) == ["10", "2", "-1.5", ""]  # what is missing stays last
    assert order(["run 10", "run 2", "a"], 1) == ["a", "run 2", "run 10"]
    assert list(engine.call("orderOf", ["1", "2", "1", "2"], -1)) == [1, 3, 0, 2]  # equals keep their order
