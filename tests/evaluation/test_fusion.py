"""Two-stream fusion: against a computation by hand, and what it refuses."""

import hashlib
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from dsn_lightning.cli.application import one_line_errors
from dsn_lightning.cli.evaluate_recipe import evaluate_trained
from dsn_lightning.cli.fusion_recipe import fuse_stored
from dsn_lightning.config.comparisons import compare_folders
from dsn_lightning.config.compose import plain
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.video_counts import fused_basis
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.fusion import fuse
from dsn_lightning.evaluation.outcomes import StoredEvaluation, evaluation_of
from dsn_lightning.evaluation.results import FIELDS
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.report.collect import collect
from dsn_lightning.report.differences import evaluations_of
from dsn_lightning.report.result_rows import results_of
from dsn_lightning.selections import Policy
from dsn_lightning.video.sections import section_clip_starts
from helpers.synthetic import SyntheticData, composed, composed_config, fresh

POLICY = [Policy("dsn", ("dsn",))]
RATES = ("top1", "top5", "mean_class", "map")


@pytest.fixture(scope="module")
def streams(tmp_path_factory) -> Path:
    """Folders ``rgb`` and ``flow``: a DSN and a baseline of each, tested on 10 videos with M = 1 and 2."""
    root = tmp_path_factory.mktemp("streams")
    for seed, modality in enumerate(("rgb", "flow")):
        overrides = [f"dataset.modality={modality}", "dataset.name=synthetic", "dataset.reading.dense_clips=3"]
        overrides += ["M=2", "N=2", "test.random_draws=3", f"run_dir={root}/{modality}"]
        settings = composed(*overrides, "test.M=[1,2]", f"seed={seed}")
        given = {
            "dsn": fresh(settings, root / f"{modality}.ckpt", seed=seed),
            "baseline": fresh(composed(*overrides, "algorithm=baseline"), root / f"{modality}_b.ckpt", seed=2 + seed),
        }
        data = SyntheticData(modality, settings, num_videos=10)
        evaluate_trained(given, settings, data, device=torch.device("cpu"))
    return root


def fuse_folders(*overrides: str) -> None:
    fuse_stored(EvaluationSettings.of(plain(composed_config(*overrides, name="evaluate"))))


def fused(streams: Path, output: Path, *overrides: str) -> dict[tuple, dict]:
    fuse_folders(f"fusion=[{streams}/rgb,{streams}/flow]", f"run_dir={output}", *overrides)
    return by_key(output)


def by_key(folder: Path) -> dict[tuple, dict]:
    rows = json.loads((folder / "results.json").read_text())
    return {(row["selection"], row["classifier"], row["M"]): row for row in rows}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(-1, keepdims=True)


def dsn_by_hand(folder: Path, num_sections: int) -> np.ndarray:
    """Class probabilities (V, J) of the clips that DSN's sampler keeps, from the file's columns."""
    file = np.load(folder / "clip_scores.npz")
    answers = []
    for v, num_frames in enumerate(file["num_frames"]):
        scheme = {"num_sections": num_sections, "clips_per_section": 2, "clip_span": 8, "placement": "starts"}
        grid = section_clip_starts(int(num_frames), **scheme)
        kept = []
        for section in range(num_sections):
            rows = (file["section_video"] == v) & (file["section_scheme"] == [num_sections, 2, section]).all(1)
            start = grid[section, file["section_logits"][rows & (file["section_network"] == "dsn")][0].argmax()]
            clip = (file["clip_video"] == v) & (file["clip_start"] == start) & (file["clip_network"] == "dsn")
            kept.append(softmax(file["clip_logits"][clip][0]))
        answers.append(np.mean(kept, 0))
    return np.array(answers)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 1.5), (0.3, 2.0)])
def test_fused_figures_equal_those_by_hand(streams, tmp_path, weights):
    rows = fused(streams, tmp_path, f"fusion_weights={list(weights)}")
    labels = np.arange(10) % 2
    for num_sections in (1, 2):
        parts = [dsn_by_hand(streams / modality, num_sections) for modality in ("rgb", "flow")]
        expected = (weights[0] * parts[0] + weights[1] * parts[1]) / sum(weights)
        row = rows["dsn", "dsn", num_sections]
        assert row["top1"] == pytest.approx(np.mean(expected.argmax(1) == labels))
        theirs = np.mean([average_precision_score(labels == j, expected[:, j]) for j in (0, 1)])
        assert row["map"] == pytest.approx(theirs, abs=1e-5)


def test_the_streams_differ_and_fusion_differs_from_both(streams, tmp_path):
    """Or the tests around this one would show nothing."""
    rgb, flow, both = by_key(streams / "rgb"), by_key(streams / "flow"), fused(streams, tmp_path)
    assert len({tuple(rows[key]["map"] for key in sorted(rows)) for rows in (rgb, flow, both)}) == 3


@pytest.mark.parametrize(("weights", "only"), [("[1,0]", "rgb"), ("[0,3]", "flow")])
def test_a_stream_alone_keeps_its_figures_exactly(streams, tmp_path, weights, only):
    rows, stream_rows = fused(streams, tmp_path, f"fusion_weights={weights}"), by_key(streams / only)
    assert rows.keys() == stream_rows.keys()
    for key, row in rows.items():
        assert [row[name] for name in RATES] == [stream_rows[key][name] for name in RATES], key


def test_rows_say_what_was_fused(streams, tmp_path):
    rows, rgb, flow = fused(streams, tmp_path), by_key(streams / "rgb"), by_key(streams / "flow")
    assert {len(rows), len(rgb), len(flow)} == {2 * 9}
    for key, row in rows.items():
        assert tuple(row) == FIELDS
        assert row["modality"] == "rgb+flow"
        assert (row["videos"], row["videos_missing"], row["hit_rate"]) == (10, 0, None)
        assert (row["dataset"], row["backbone"]) == ("synthetic", "r3d_tiny")
        assert row["seed"] == (None if row["algorithm"] == "dsn" else 0)  # the DSNs' seeds differ
        for cost in ("gmacs_classifier", "gmacs_observation", "gmacs", "seconds_per_video"):
            if rgb[key][cost] is None:
                assert row[cost] is None
            else:
                assert row[cost] == pytest.approx(rgb[key][cost] + flow[key][cost])
    assert rows["dsn", "dsn", 2]["gmacs"] < 2 * rgb["dsn", "dsn", 2]["gmacs"]  # a stem of two channels is lighter
    assert (tmp_path / "results.csv").read_text().startswith("dataset,")
    assert (tmp_path / "figures" / "accuracy_vs_gmacs.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "environment.json").read_text())["fusion_weights"] == [1.0, 1.0]


def test_only_requested_selections_are_fused(streams, tmp_path, capsys):
    rows = fused(streams, tmp_path, "selection=[dsn,uniform]")
    assert {selection for selection, *_ in rows} == {"dsn", "uniform"}
    reason = "oracle (dsn's classifier), 2:2: its selection method was not requested or is unknown"
    assert reason in capsys.readouterr().out


def stream(folder: Path, *, change_rows=None, scores: ClipScores | None = None, **changes) -> StoredEvaluation:
    """The evaluation of a folder, with other columns of its scores or other fields of its rows."""
    rows = [row | (change_rows or {}) for row in json.loads((folder / "results.json").read_text())]
    scores = replace(scores or ClipScores.load(folder / "clip_scores.npz"), **changes)
    return evaluation_of(folder.name, rows, scores, POLICY)


def without(scores: ClipScores, video: int) -> ClipScores:
    """The scores with one video taken out, and the others in reverse order."""
    order = [v for v in reversed(range(len(scores.video_id))) if v != video]
    place = np.full(len(scores.video_id), -1)
    place[order] = np.arange(len(order))
    columns = {f.name: getattr(scores, f.name) for f in fields(scores)}
    for name in ("video_id", "num_frames", "fps", "targets"):
        columns[name] = columns[name][order]
    for kind in ("clip", "section"):
        kept = columns[f"{kind}_video"] != video
        for name in [n for n in columns if n.startswith(f"{kind}_")]:
            columns[name] = columns[name][kept]
        columns[f"{kind}_video"] = place[columns[f"{kind}_video"]]
    return ClipScores(**columns)


def test_videos_are_matched_by_id_and_others_counted_as_missing(streams):
    rgb = stream(streams / "rgb")
    fewer = without(ClipScores.load(streams / "flow" / "clip_scores.npz"), 5)
    shorter = stream(streams / "flow", scores=fewer, change_rows={"videos": 9})
    fusion = fuse([rgb, shorter], [1.0, 1.0])
    assert fusion.left_out == ["test_5"]
    assert len(fusion.evaluation.video_id) == 9
    assert [(row["videos"], row["videos_missing"]) for row in fusion.rows] == [(9, 1)] * 4
    failed = stream(streams / "flow", scores=fewer, change_rows={"videos": 9, "videos_failed": 1})
    counts = [(r["videos"], r["videos_missing"], r["videos_failed"]) for r in fuse([rgb, failed], [1, 1]).rows]
    assert counts == [(9, 0, 1)] * 4
    parts = [np.delete(dsn_by_hand(streams / modality, 2), 5, 0) for modality in ("rgb", "flow")]
    row = next(row for row in fusion.rows if (row["classifier"], row["M"]) == ("dsn", 2))
    right = np.mean(np.mean(parts, 0).argmax(1) == np.delete(np.arange(10) % 2, 5))
    assert row["top1"] == pytest.approx(right)


def test_crops_and_clips_must_be_equal(streams):
    other = stream(streams / "flow", change_rows={"crops": 3})
    with pytest.raises(ValueError, match=r"have no row in common.*2: different numbers of clips or crops"):
        fuse([stream(streams / "rgb"), other], [1.0, 1.0])


def test_streams_of_different_data_are_refused(streams):
    rgb, flow = streams / "rgb", streams / "flow"
    targets = ClipScores.load(flow / "clip_scores.npz").targets
    wrong = {
        "different classes": stream(flow, classes=np.array(["left", "right"])),
        "no video in common": stream(flow, video_id=np.array([f"x{i}" for i in range(10)])),
        "different labels for video test_0": stream(flow, targets=targets[:, ::-1]),
        "differ in dataset: synthetic and hmdb51": stream(flow, change_rows={"dataset": "hmdb51"}),
        "differ in split: None and 2": stream(flow, change_rows={"split": 2}),
        "were its settings different": stream(flow, frames_per_clip=9),
    }
    for message, other in wrong.items():
        with pytest.raises(ValueError, match=message):
            fuse([stream(rgb), other], [1.0, 1.0])


def test_what_was_fused_is_compared_with_its_streams(streams, tmp_path):
    """Differences are those of the rows, with intervals; from the files alone."""
    rows, rgb = fused(streams, tmp_path / "both"), by_key(streams / "rgb")
    statistics = compare_folders([tmp_path / "both"], number=300, others={"rgb": [streams / "rgb"]})
    assert statistics["about"]["left_out"] == []
    both = {(m["selection"], m["classifier"], m["M"]): m for m in statistics["methods"]}
    for key, row in rows.items():
        assert both[key]["map"]["value"] == pytest.approx(row["map"], abs=1e-6)
    classifiers = ("dsn", "rgb:dsn")
    pairs = [
        difference
        for difference in statistics["differences"]
        if difference["method"]["selection"] == difference["other"]["selection"] == "dsn"
        and (difference["method"]["classifier"], difference["other"]["classifier"]) == classifiers
    ]
    assert [pair["method"]["M"] for pair in pairs] == [1, 2]
    for pair in pairs:
        key = "dsn", "dsn", pair["method"]["M"]
        assert pair["top1"]["value"] == pytest.approx(rows[key]["top1"] - rgb[key]["top1"])
        assert pair["map"]["value"] == pytest.approx(rows[key]["map"] - rgb[key]["map"], abs=1e-6)
        assert pair["map"]["low"] < pair["map"]["high"]
    assert len(comparison_table.main_differences(statistics)) > len(pairs)


def test_a_stream_alone_differs_from_itself_by_zero(streams, tmp_path):
    fused(streams, tmp_path / "rgb_alone", "fusion_weights=[1,0]")
    statistics = compare_folders([tmp_path / "rgb_alone"], number=300, others={"rgb": [streams / "rgb"]})
    same = [
        difference
        for difference in statistics["differences"]
        if difference["other"]["classifier"] == f"rgb:{difference['method']['classifier']}"
        and difference["method"]["selection"] == difference["other"]["selection"]
    ]
    assert len(same) >= 10
    for pair in same:
        assert (pair["map"]["low"], pair["map"]["value"], pair["map"]["high"]) == pytest.approx((0, 0, 0), abs=1e-9)


def test_a_fusion_may_be_fused_again(streams, tmp_path):
    """Both streams' mean with one of them is a quarter of the other and three of this."""
    fused(streams, tmp_path / "both")
    fuse_folders(f"fusion=[{tmp_path}/both,{streams}/rgb]", f"run_dir={tmp_path}/twice")
    twice, at_once = by_key(tmp_path / "twice"), fused(streams, tmp_path / "once", "fusion_weights=[3,1]")
    assert twice.keys() == at_once.keys()
    for key, row in twice.items():
        assert [row[name] for name in RATES] == pytest.approx([at_once[key][name] for name in RATES]), key
        assert row["modality"] == "rgb+flow+rgb"


def test_a_fusion_with_fewer_videos_is_compared_on_those(streams, tmp_path):
    shutil.copytree(streams / "flow", tmp_path / "fewer")
    without(ClipScores.load(streams / "flow" / "clip_scores.npz"), 5).save(tmp_path / "fewer" / "clip_scores.npz")
    (tmp_path / "fewer" / "environment.json").unlink()  # with the digest of the other scores
    both = tmp_path / "both"
    fuse_folders(f"fusion=[{streams}/rgb,{tmp_path}/fewer]", f"run_dir={both}")
    statistics = compare_folders([both], number=200, others={"rgb": [streams / "rgb"]})
    assert statistics["about"]["videos"] == 9
    assert statistics["about"]["left_out"] == [f"rgb: 1 videos that {both} was not tested on"]
    rgb = next(m for m in statistics["methods"] if (m["selection"], m["classifier"], m["M"]) == ("dsn", "rgb:dsn", 2))
    right = np.delete(dsn_by_hand(streams / "rgb", 2), 5, 0).argmax(1) == np.delete(np.arange(10) % 2, 5)
    assert rgb["top1"]["value"] == pytest.approx(right.mean())
    with pytest.raises(UsageError, match="test_5 is missing"):
        compare_folders([streams / "rgb"], number=200, others={"both": [both]})


def test_fusions_with_different_weights_are_not_two_seeds(streams, tmp_path):
    fused(streams, tmp_path / "level")
    fused(streams, tmp_path / "weighed", "fusion_weights=[1,3]")
    with pytest.raises(UsageError, match=r"with fusion_weights=0.25\+0.75, .*level with fusion_weights=0.5\+0.5"):
        compare_folders([tmp_path / "level", tmp_path / "weighed"], number=200)


def spoil(file: Path) -> None:
    """Make the first probability of the stored outcomes NaN."""
    with np.load(file) as stored:
        columns = dict(stored)
    columns["probabilities_0"][0, 0, 0] = np.nan
    np.savez_compressed(file, **columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda both: (both / "video_scores.npz").unlink(), "both: no video_scores.npz; fuse its streams again"),
        (lambda both: shutil.copy(both.parent / "other" / "video_scores.npz", both), "are of different fusions"),
        (lambda both: spoil(both / "video_scores.npz"), r"the probabilities of .* are not finite"),
    ],
)
def test_scores_of_another_fusion_are_refused(streams, tmp_path, change, message):
    both = tmp_path / "both"
    fused(streams, both)
    fused(streams, tmp_path / "other", "fusion_weights=[1,3]")
    shutil.copy(streams / "rgb" / "clip_scores.npz", both)  # which results.json is not of
    compare_folders([both], number=200)
    change(both)
    with pytest.raises(UsageError, match=message):
        compare_folders([both], number=200)


def test_what_only_one_stream_has_is_named(streams):
    rgb, flow = stream(streams / "rgb"), stream(streams / "flow")
    less = replace(rgb, outcomes={m: o for m, o in rgb.outcomes.items() if m.M == 2})
    for order in ([less, flow], [flow, less]):
        fusion = fuse(order, [1.0, 1.0])
        assert "dsn (dsn's classifier), 1:2: not in rgb" in fusion.unmatched
        assert set(fusion.evaluation.left_out) == {*fusion.unmatched}
        assert {row["M"] for row in fusion.rows} == {2}


def test_a_report_compares_a_fusion_whose_rows_were_copied(streams, tmp_path):
    fused(streams, tmp_path / "both")
    (tmp_path / "a_table").mkdir()
    shutil.copy(tmp_path / "both" / "results.json", tmp_path / "a_table")
    found = collect([str(tmp_path)])
    assert [[own.folder.name for own in group] for group in evaluations_of(results_of(found), found.sources)] == [
        ["both"]
    ]


def test_statistics_are_written_unless_turned_off(streams, tmp_path, capsys):
    fused(streams, tmp_path / "both", "test.bootstrap=200")
    statistics = json.loads((tmp_path / "both" / "statistics.json").read_text())
    assert statistics["about"]["modality"] == "rgb+flow"
    printed = capsys.readouterr().out
    assert all(f"warning: {warning}\n" in printed for warning in statistics["warnings"])
    has_findings = set(statistics["at_chance"]) != {"baseline", "dsn"}  # of networks that have not been trained
    assert ("what choosing clips gains over uniform and dense ones" in printed) == has_findings
    assert statistics["headroom"] == statistics["gap_share"] == []  # each stream's best clips are not the best of both
    alone = [method for method in statistics["methods"] if method["sampler"]]
    assert {method["selection"] for method in alone} == {"dsn"}
    fused(streams, tmp_path / "none", "test.bootstrap=0")
    assert not (tmp_path / "none" / "statistics.json").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fusion=[rgb]"], "needs at least two evaluations, got 1"),
        (["fusion=rgb"], "must be a list of folders"),
        (["fusion=[rgb,nowhere]"], "fusion=nowhere: no results.json"),
        (["fusion=[rgb,damaged]"], "fusion=damaged: cannot be read as an evaluation"),
        (["fusion=[rgb,cut]"], "fusion=cut: cannot be read as an evaluation"),
        (["fusion=[rgb,empty]"], "fusion=empty: cannot be read as an evaluation"),
        (["fusion=[rgb,truncated]"], "fusion=truncated: cannot be read as an evaluation"),
        (["fusion=[rgb,spoilt]"], "fusion=spoilt: cannot be read as an evaluation"),
        (["fusion=[rgb,partial]"], "its results have no split; evaluate it again"),
        (["fusion=[rgb,flow]", "fusion_weights=[1]"], "expected 2 weights, one per evaluation"),
        (["fusion=[rgb,flow]", "fusion_weights=[1,-1]"], "expected numbers of at least 0"),
        (["fusion=[rgb,flow]", "fusion_weights=[0,0]"], "and one above 0"),
        (["fusion=[rgb,flow]", "fusion_weights=[1,a]"], "must be numbers"),
        (["fusion=[rgb,flow]", "checkpoint=x.ckpt"], "checkpoint=x.ckpt: does not apply to fusion="),
        (["fusion=[rgb,flow]", "test.M=[1]"], "test.M=[1]: does not apply to fusion="),
    ],
)
def test_wrong_input_gets_one_line(streams, overrides, message, monkeypatch, capsys, tmp_path):
    for name in ("damaged", "empty", "truncated", "spoilt", "partial"):
        shutil.copytree(streams / "flow", streams / name, dirs_exist_ok=True)
    fused(streams, streams / "cut", "test.bootstrap=0")
    written = (streams / "cut" / "video_scores.npz").read_bytes()
    (streams / "cut" / "video_scores.npz").write_bytes(written[: len(written) // 2])
    (streams / "damaged" / "clip_scores.npz").write_bytes(b"not an archive")
    scores = (streams / "flow" / "clip_scores.npz").read_bytes()
    (streams / "truncated" / "clip_scores.npz").write_bytes(scores[: len(scores) // 2])
    (streams / "spoilt" / "clip_scores.npz").write_bytes(scores[:100] + bytes([255] * 20) + scores[120:])
    np.savez(streams / "empty" / "clip_scores.npz", classes=np.array(["a"]))
    rows = json.loads((streams / "flow" / "results.json").read_text())
    left = [{name: value for name, value in row.items() if name != "split"} for row in rows]
    (streams / "partial" / "results.json").write_text(json.dumps(left))
    monkeypatch.chdir(streams)
    with pytest.raises(SystemExit) as end, one_line_errors("dsn-evaluate"):
        fuse_folders(*overrides, f"run_dir={tmp_path}/out")
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("dsn-evaluate: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_fusion_stands_on_the_smaller_counts_and_both_starts():
    def stream(videos: int, start: str) -> dict:
        facts = {"videos": videos, "videos_of": 9, "classes": videos // 2, "classes_of": 4}
        return {
            "tested_on": facts,
            "networks": {"dsn": {**facts, "classifier_from": start, "observation_from": None}, start: facts},
        }

    basis = fused_basis([stream(8, "kinetics400"), stream(6, "imagenet")])
    counts = {"videos": 6, "videos_of": 9, "classes": 3, "classes_of": 4}
    network = {**counts, "classifier_from": "kinetics400 + imagenet", "observation_from": None}
    assert basis == {"tested_on": counts, "networks": {"dsn": network}}
    assert fused_basis([stream(8, "kinetics400"), {}]) == {}


def test_results_of_other_scores_are_refused(streams, tmp_path):
    """As when the disk fills between the two files, or somebody exchanges one."""
    mixed = tmp_path / "rgb"
    shutil.copytree(streams / "rgb", mixed)
    digest = hashlib.sha256((mixed / "clip_scores.npz").read_bytes()).hexdigest()
    assert json.loads((mixed / "environment.json").read_text())["scores_sha256"] == digest
    assert collect([str(mixed)]).notes == collect([str(streams / "rgb")]).notes
    shutil.copy(streams / "flow" / "clip_scores.npz", mixed)
    with pytest.raises(UsageError, match=r"clip_scores\.npz: is not the file that results\.json was computed from"):
        fuse_folders(f"fusion=[{mixed},{streams}/flow]", f"run_dir={tmp_path}/fused")
    assert any("damaged or of another evaluation" in note for note in collect([str(mixed)]).notes)


def test_a_stopped_evaluation_leaves_no_old_results(streams, tmp_path, monkeypatch):
    run = tmp_path / "again"
    shutil.copytree(streams / "rgb", run)
    monkeypatch.setattr("dsn_lightning.cli.evaluate_recipe.digest_of_scores", lambda file: 1 / 0)
    settings = composed("dataset.modality=rgb", "dataset.name=synthetic", "M=2", "N=2", f"run_dir={run}", "seed=0")
    given = {"dsn": fresh(settings, tmp_path / "x.ckpt", seed=9)}
    with pytest.raises(ZeroDivisionError):
        evaluate_trained(given, settings, SyntheticData("rgb", settings, num_videos=3), device=torch.device("cpu"))
    assert not any((run / name).exists() for name in ("results.json", "results.csv", "predictions.csv"))
