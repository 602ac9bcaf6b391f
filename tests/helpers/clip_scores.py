"""Clip scores made by hand."""

import numpy as np

from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.selections.scheme import Scheme, VideoScores

SCHEME = Scheme(2, 2, clip_span=10, dense_clips=4, random_draws=10)


def columns(videos: list[VideoScores], spans=(), fps: float = 25.0) -> ClipScores:
    clips = [(v, s, n, row) for v, x in enumerate(videos) for n, rows in x.logits.items() for s, row in rows.items()]
    sections = [
        (v, (m, n, section), name, row)
        for v, x in enumerate(videos) for name, grids in x.policies.items()
        for (m, n), grid in grids.items() for section, row in enumerate(grid)
    ]  # fmt: skip
    return ClipScores(
        classes=np.array(["a", "b"]), frames_per_clip=10, frame_stride=1,
        video_id=np.array([x.video_id for x in videos]), num_frames=np.array([x.num_frames for x in videos]),
        fps=np.full(len(videos), fps), targets=np.stack([x.targets for x in videos]),
        span_video=np.array([v for v, _ in spans], np.int64),
        span_seconds=np.array([s for _, s in spans], np.float64).reshape(-1, 2),
        network_name=np.array(["baseline"]), network_hash=np.array(["0"]),
        clip_video=np.array([c[0] for c in clips]), clip_start=np.array([c[1] for c in clips]),
        clip_network=np.array([c[2] for c in clips]), clip_logits=np.stack([c[3] for c in clips]),
        section_video=np.array([s[0] for s in sections]),
        section_scheme=np.array([s[1] for s in sections]).reshape(-1, 3),
        section_network=np.array([s[2] for s in sections]), section_logits=np.stack([s[3] for s in sections]),
    )  # fmt: skip
