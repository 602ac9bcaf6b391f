"""Time lines: bars equal the stored policies."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from dsn_lightning.report.timeline import timelines_of
from dsn_lightning.selections import VideoScores
from helpers.clip_scores import SCHEME, columns


def test_bars_show_the_policy(runs, command):
    _, page = command(runs / "seed0", "statistics=0")
    file = np.load(runs / "seed0/evaluate/clip_scores.npz")
    of_sampler = file["section_network"] == "dsn"
    expected = []
    for v in np.sort(np.random.default_rng(0).permutation(8)[:6]):
        for section in range(2):
            row = of_sampler & (file["section_video"] == v) & (file["section_scheme"] == [2, 2, section]).all(1)
            powers = np.exp(file["section_logits"][row][0].astype(float))
            expected += [f"probability {100 * p:.1f}%" for p in powers / powers.sum()]
    drawn = re.findall(
        r"<title>clip at [\d.]+ s, (probability [\d.]+%)</title>", Path("report/report.html").read_text()
    )
    assert drawn == expected
    assert sum(attributes.get("class") == "kept" for _, attributes in page.tags) == 12
    (picture,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert "two least probable clips" in picture["alt"]


def test_sections_that_keep_nothing_have_no_kept_clip():
    grid = SCHEME.grid(100)
    scores = {"baseline": {int(start): np.zeros(2, np.float32) for start in grid.ravel()}}
    policy = {"dsn": {(2, 2): np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)}}
    video = VideoScores("v", 100, np.eye(2, dtype=np.float32)[0], scores, policy)
    nothing = {"dsn": {(2, 2): np.array([-1.0, 3.0], np.float32)}}
    (whole,), (partly,) = (timelines_of(columns([v]), 2, 2)["dsn"] for v in (video, replace(video, nothing=nothing)))
    assert whole.svg.count('class="kept"') == 2
    assert partly.svg.count('class="kept"') == 1
    share = np.exp(1) / (1 + np.exp(1) + np.exp(-1))  # of three arms
    assert partly.text == f"kept: {grid[0, 1] / 25:.1f} s ({share:.1%})"
