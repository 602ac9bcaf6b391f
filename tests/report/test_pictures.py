"""Contact sheets in the page."""

import re

import numpy as np
from PIL import Image

from dsn_lightning.report import page as page_module


def test_pictures_are_scaled_to_fit(runs, command, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (400, 1500, 3)).astype(np.uint8)
    for seed in (0, 1):
        Image.fromarray(noise).save(runs / f"seed{seed}/evaluate/figures/clips_dsn.png")
    monkeypatch.setattr(page_module, "LIMIT", 600_000)  # 20 MB of noise would take long
    out, page = command(runs, "statistics=0")
    assert re.search(r"note: pictures of \d MB were scaled down to a width of \d+ pixels", out)
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert [uri[:23] for uri in pictures] == ["data:image/jpeg;base64,"] * 2
    assert sum(map(len, pictures)) < 610_000
