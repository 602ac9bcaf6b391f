"""One pass of the networks over the test videos, up to the statistics of a selection method that is defined here."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.clip_loading import Loading
from dsn_lightning.evaluation.outcomes import evaluation_of
from dsn_lightning.evaluation.results import FIELDS, evaluate_rows, results_table
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.scoring import Networks, ScoringPlan, score_videos
from dsn_lightning.evaluation.statistics_file import summary
from dsn_lightning.evaluation.study import Study
from dsn_lightning.selections import Oracle, Random, Scheme, Uniform, check_selection
from dsn_lightning.video.video_info import VideoError
from helpers.synthetic import SyntheticData, composed
from helpers.training import make_dsn

SCHEME = Scheme(2, 4, clip_span=8, dense_clips=3, random_draws=3)


class LeastProbable:
    """In each section the clip that its sampler, ``critic``, ranks last."""

    name = "least_probable"
    kind = "learned"
    sampler = "critic"
    classifiers = ("mine", "baseline")

    def candidates(self, video_id, num_frames, scheme):
        return scheme.grid(num_frames).ravel()

    def select(self, scores, scheme, classifier):
        logits = scores.policies[self.sampler][scheme.num_sections, scheme.clips_per_section]
        return scheme.grid(scores.num_frames)[np.arange(len(logits)), logits.argmin(-1)][None]


@pytest.fixture(scope="module")
def plan():
    selections = [Random(), Uniform(), check_selection(LeastProbable()), Oracle()]
    videos = SyntheticData("rgb", composed(), num_videos=6).videos("test")
    return ScoringPlan(videos, selections, [SCHEME], ["right", "left", "up"], "probabilities")


@pytest.fixture(scope="module")
def reader():
    return SyntheticData("rgb", composed("N=4")).reader


@pytest.fixture(scope="module")
def networks():
    baseline, mine = make_dsn(), make_dsn()
    for recognizer, seed in ((baseline, 1), (mine, 2)):
        torch.manual_seed(seed)
        for parameter in recognizer.parameters():
            torch.nn.init.normal_(parameter)
    return Networks({"baseline": baseline, "mine": mine}, {"critic": mine})


def test_each_network_scores_the_clips_that_it_is_needed_for(plan, reader, networks):
    scores, watch, failed = score_videos(plan, reader, networks, device=torch.device("cpu"))
    assert failed == {}
    for v, video in enumerate(scores.videos()):
        grid = set(SCHEME.grid(video.num_frames).ravel().tolist())
        others = {int(s) for method in plan.selections[:2] for s in method.candidates(video.video_id, 40 + v, SCHEME)}
        assert {name: set(rows) for name, rows in video.logits.items()} == {"baseline": grid | others, "mine": grid}
        starts = np.array(sorted(grid))
        clips = reader(plan.videos[v], starts)
        with torch.no_grad():
            expected = networks.classifiers["mine"].classify(clips).numpy()
        assert video.logits_at("mine", starts) == pytest.approx(expected, abs=1e-5)
    assert watch.clips == {
        "baseline": (scores.clip_network == "baseline").sum(),
        "mine": 6 * len(grid),
        "critic sampler": 6 * 8,
    }
    assert [*scores.network_name] == ["baseline", "mine", "critic sampler"]


@pytest.mark.parametrize("together", [2, 30, 1000])
@pytest.mark.parametrize("crops", [1, 3])
def test_videos_that_are_scored_together_get_the_same_scores_in_the_same_order(together, crops, plan, reader, networks):
    device, plan = torch.device("cpu"), replace(plan, crops=crops)
    alone, _, _ = score_videos(plan, reader, networks, device=device)
    calls: list[int] = []
    handle = networks.classifiers["baseline"].classifier.register_forward_pre_hook(
        lambda _, inputs: calls.append(len(inputs[0]))
    )
    scores, watch, _ = score_videos(plan, reader, networks, device=device, together=together)
    handle.remove()
    clips_of_a_video = {len(set(alone.clip_start[alone.clip_video == v])) for v in range(6)}
    assert max(calls) > max(clips_of_a_video) or together == 2
    assert watch.clips == {name: (scores.clip_network == name).sum() for name in ("baseline", "mine")} | {
        "critic sampler": 6 * 8
    }
    for column in ("clip_video", "clip_start", "clip_network", "section_video", "section_scheme", "section_network"):
        np.testing.assert_array_equal(getattr(scores, column), getattr(alone, column))
    np.testing.assert_allclose(scores.clip_logits, alone.clip_logits, atol=1e-5)
    np.testing.assert_allclose(scores.section_logits, alone.section_logits, atol=1e-5)


def test_an_unreadable_video_leaves_those_beside_it_as_they_are(plan, reader, networks):
    def read(video, indices, size):
        if video.record.video_id == plan.videos[2].record.video_id:
            raise VideoError(video.record.path, "is damaged")
        return reader.read(video, indices, size)

    damaged = replace(reader, read=read)
    loading = Loading(skip_bad=True)
    scores, _, failed = score_videos(
        plan, damaged, networks, device=torch.device("cpu"), loading=loading, together=1000
    )
    assert list(failed) == [plan.videos[2].record.video_id]
    assert len(scores.video_id) == 5


def test_the_file_of_a_time_line_with_whole_frames_per_second_is_read_again(plan, reader, networks, tmp_path):
    """``dataset.fps=10`` of the own-videos recipe is an integer."""
    videos = [replace(video, fps=10) for video in plan.videos]
    scores, _, _ = score_videos(replace(plan, videos=videos), reader, networks, device=torch.device("cpu"))
    scores.save(tmp_path / "clip_scores.npz")
    assert ClipScores.load(tmp_path / "clip_scores.npz").fps.tolist() == [10.0] * len(videos)


@pytest.mark.parametrize(("part", "named"), [("classifier", "mine"), ("observation", "critic sampler")])
def test_scores_that_are_not_finite_end_the_pass(part, named, plan, reader, networks):
    broken = copy.deepcopy(networks)
    next(getattr(broken.samplers["critic"], part).parameters()).data[0] = torch.nan
    with pytest.raises(UsageError, match=rf"^the scores of the network {named} for video \S+ are not finite"):
        score_videos(plan, reader, broken, device=torch.device("cpu"))


def test_a_selection_method_from_outside_goes_through_the_evaluation(plan, reader, networks):
    scores, _, _ = score_videos(plan, reader, networks, device=torch.device("cpu"))

    def describe(selection, scheme, classifier, num_clips):
        described = {"selection": selection.name, "classifier": classifier, "M": 2, "N": 4, "dataset": "synthetic"}
        return dict.fromkeys(set(FIELDS) - {"clips", "top1", "top5", "mean_class", "map", "hit_rate"}) | described

    rows = evaluate_rows(
        scores, plan.selections, plan.schemes, can=networks.can, describe=describe, consensus=plan.consensus
    )
    names = [(row["selection"], row["classifier"]) for row in rows]
    assert names[2:4] == [("least_probable", "mine"), ("least_probable", "baseline")]
    assert "| least_probable | mine | 2:4 | 2 |" in results_table(rows).markdown()

    statistics = summary(Study([evaluation_of("run", rows, scores, plan.selections)], number=100))
    methods = {(m["selection"], m["classifier"]): m for m in statistics["methods"]}
    assert {key: method["kind"] for key, method in methods.items()} == {
        ("random", "baseline"): "reference",
        ("uniform", "baseline"): "reference",
        ("least_probable", "mine"): "learned",
        ("least_probable", "baseline"): "learned",
        ("oracle", "baseline"): "upper_bound",
    }
    assert methods["least_probable", "mine"]["sampler"] == "critic"
    compared = [(d["method"]["selection"], d["other"]["selection"]) for d in statistics["differences"]]
    assert compared[:3] == [("least_probable",) * 2, ("least_probable", "uniform"), ("least_probable", "random")]
    assert {other for pair in compared for other in pair} == {"least_probable", "uniform", "random"}
    main = comparison_table.main_differences(statistics)
    assert [(d["method"]["classifier"], d["other"]["selection"], d["other"]["classifier"]) for d in main] == [
        ("mine", "uniform", "baseline"),
        ("baseline", "uniform", "baseline"),
    ]
    assert {share["selection"] for share in statistics["gap_share"]} == {"least_probable"}
    assert statistics["confusion"]["method"] == {"selection": "least_probable", "classifier": "mine", "M": 2, "N": 4}
    assert [entry["method"]["classifier"] for entry in statistics["classes"]] == ["baseline"]
