"""What trainings and evaluations are estimated to cost."""

import itertools
from pathlib import Path

import pytest

from dsn_lightning.config.compose import settings_of
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.paper import paper_table
from helpers.table_process import definition
from reproduce.estimates import Costs
from reproduce.planner import Planner


def test_costs_are_those_of_the_papers_table_3():
    """Table III's 203.6, 104.6 and 78.5, within half a percent; test_cost.py has those of R(2+1)D."""
    table = definition("table3")
    planner = Planner(table, [], output=Path("nowhere"))
    part, costs = planner.part(0, None), Costs(timed=False)
    for row in table.rows[:3]:
        cost = costs.video(part.settings[row.evaluation], row.selection, row.M)
        assert isinstance(cost, VideoCost)
        assert cost.total == pytest.approx(paper_table(3)[row.name]["gmacs"], rel=0.005)


def test_stored_activations_are_not_counted():
    """The last four of MobileNetV2's 19 blocks remain; they see 16 positions of 160 channels in each frame."""
    given = ["dataset=hmdb51", "backbone=mobilenet_v2", "M=1"]
    whole, rest = (
        Costs(timed=False).macs_here(settings_of("experiment=table1/dsn", *given, more, "run_dir=none"))
        for more in ("backbone.cache_activations=false", "backbone.cache_activations=true")
    )
    block, last = 2 * 160 * 960 + 9 * 960, (160 + 320) * 960 + 9 * 960
    of_frame = 16 * (2 * block + last + 320 * 1280)
    assert rest[0] == 4 * of_frame + 51 * 1280
    assert rest[1] == pytest.approx(2 * of_frame + 1280)
    assert whole[0] > 3 * rest[0]


def test_a_sampler_that_runs_twice_costs_a_forward_pass_more(tmp_path):
    """Of 4 videos, 3 epochs with 1 of warm-up, M:N = 2:3; the sampler's cost in multiply-adds, by hand."""
    for label, name in itertools.product(("run", "walk"), "abc"):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{name}.mp4").touch()
    given = ["dataset=folder", f"dataset.root={tmp_path}", "M=2", "N=3", "run_dir=none"]
    given += ["schedule.max_epochs=3", "algorithm.warmup_epochs=1"]
    costs = Costs(timed=False)
    twice, once = (settings_of(*given, f"algorithm.recompute={flag}") for flag in ("true", "false"))
    assert costs.videos(once) == (4, 2)
    observation = costs.macs_here(once)[1]
    difference = costs.training(twice).gmacs - costs.training(once).gmacs
    assert difference == pytest.approx(4 * 2 * (2 * 3) * observation / 1e9)  # videos, epochs, clips


def test_folders_of_images_are_counted_as_videos(tmp_path):
    for label in ("run", "walk"):
        for name in "abcd":
            folder = tmp_path / label / name
            folder.mkdir(parents=True)
            (folder / "img_00001.jpg").touch()
    settings = settings_of(
        "dataset=folder", f"dataset.root={tmp_path}", "dataset/reading/decoder=frames", "run_dir=none"
    )
    assert Costs(timed=False).videos(settings) == (6, 2)
