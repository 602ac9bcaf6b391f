"""Time lines: bars equal the stored policies."""

import re
from pathlib import Path

import numpy as np


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
