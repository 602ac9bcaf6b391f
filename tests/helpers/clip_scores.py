"""Clip scores made by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dsn_lightning.evaluation.results import Row, measure
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.selections import Dense, Oracle, Policy, Random, Scheme, Selection, Uniform, VideoScores

SCHEME = Scheme(2, 2, clip_span=10, dense_clips=4, random_draws=10, placement="frames")
GRID = [8, 33, 58, 83]  # of 100 frames


def log(*probabilities: float) -> np.ndarray:
    return np.log(np.array(probabilities, np.float32))


RESPONSES = {8: log(0.5, 0.5), 33: log(0.4, 0.6), 58: log(0.95, 0.05), 83: log(0.2, 0.8)}


def video(**changes) -> VideoScores:
    """True class 0. The clip at 33 is correct; in the second section none is, and 83 is the less wrong one."""
    rows = {8: log(0.2, 0.8), 33: log(0.6, 0.4), 58: log(0.1, 0.9), 83: log(0.45, 0.55)}
    arguments = {
        "logits": {"baseline": rows, "max_response": RESPONSES},
        "policies": {"dsn": {(2, 2): np.array([[0.0, 1.0], [2.0, 1.0]], np.float32)}},
    }
    return VideoScores("v", 100, np.array([1.0, 0.0], np.float32), **{**arguments, **changes})


def columns(videos: list[VideoScores], spans=(), fps: float = 25.0, classes: Sequence[str] = ("a", "b")) -> ClipScores:
    clips = [(v, s, n, row) for v, x in enumerate(videos) for n, rows in x.logits.items() for s, row in rows.items()]
    sections = [
        (v, (m, n, section), name, row, x.nothing.get(name, {}).get((m, n), np.full(m, np.nan))[section])
        for v, x in enumerate(videos)
        for name, grids in x.policies.items()
        for (m, n), grid in grids.items()
        for section, row in enumerate(grid)
    ]
    return ClipScores(
        classes=np.array(classes),
        frames_per_clip=10,
        frame_stride=1,
        video_id=np.array([x.video_id for x in videos]),
        num_frames=np.array([x.num_frames for x in videos]),
        fps=np.full(len(videos), fps),
        targets=np.stack([x.targets for x in videos]),
        span_video=np.array([v for v, _ in spans], np.int64),
        span_seconds=np.array([s for _, s in spans], np.float64).reshape(-1, 2),
        network_name=np.array(["baseline"]),
        network_hash=np.array(["0"]),
        clip_video=np.array([c[0] for c in clips]),
        clip_start=np.array([c[1] for c in clips]),
        clip_network=np.array([c[2] for c in clips]),
        clip_logits=np.stack([c[3] for c in clips]),
        section_video=np.array([s[0] for s in sections]),
        section_scheme=np.array([s[1] for s in sections]).reshape(-1, 3),
        section_network=np.array([s[2] for s in sections]),
        section_logits=np.stack([s[3] for s in sections]),
        section_nothing=np.array([s[4] for s in sections], np.float32),
        placement=SCHEME.placement,
    )


def scored(seed: int, num_videos: int = 24) -> tuple[ClipScores, list[Row], list[Selection]]:
    """Clip scores of two classes with spans and a policy, and their rows and methods."""
    rng = np.random.default_rng(seed)
    selections: list[Selection] = [Random(), Uniform(), Policy("dsn", ("baseline",)), Dense(), Oracle()]
    videos, spans = [], []
    for v in range(num_videos):
        target = np.eye(2, dtype=np.float32)[v % 2]
        starts = {int(start) for method in selections[:2] for start in method.candidates(f"v{v}", 100, SCHEME)}
        starts |= {int(start) for method in selections[2:] for start in method.candidates(f"v{v}", 100, SCHEME)}
        logits = {start: (rng.normal(size=2) + 0.4 * target).astype(np.float32) for start in starts}
        policy = rng.normal(size=(2, 2)).astype(np.float32)
        videos.append(VideoScores(f"v{v}", 100, target, {"baseline": logits}, {"dsn": {(2, 2): policy}}))
        spans.append((v, (0.2, 1.6)))
    scores = replace(columns(videos, spans), dense_clips=SCHEME.dense_clips, network_hash=np.array([str(seed)]))
    rows = []
    for selection in selections:
        row = measure(scores, selection, SCHEME, "baseline", consensus="probabilities")
        described = {"dataset": "d", "selection": selection.name, "classifier": "baseline", "M": 2, "N": 2}
        rows.append({**described, "seed": seed, **row})
    return scores, rows, selections
