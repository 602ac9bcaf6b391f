"""Parsers of predictions, stored arrays and videos, for the fuzz tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from conftest import grey_ramp, write_video
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.prediction import Prediction
from dsn_lightning.prediction.answer import Clip, WindowAnswer
from dsn_lightning.prediction.answer_parts import AnswerParts, LineParts
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.parquet_shards import ParquetShards
from dsn_lightning.prepare.copies import copy_info, make_copies, write_copy
from dsn_lightning.prepare.copy_kinds import FrameCopy
from dsn_lightning.prepare.copy_shards import CopyShards
from dsn_lightning.prepare.frozen_features import Activations, frames_on_time_line
from dsn_lightning.prepare.stored_scores import StoredScores
from dsn_lightning.video.motion_jpeg import MotionJpeg
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.time_line import Video, place_on_time_line
from dsn_lightning.video.video_info import VideoError, VideoInfo
from helpers.fuzzed_parser import Parser
from reproduce.stored_clips import StoredClips

CLIP = Clip(0, 1, 8, 0.5, 0.75, True, "walk", 0.5)
ANSWERS = [
    Prediction("a.mp4", "walk", 0.75, (("walk", 0.75), ("run", 0.25)), 2.0, (CLIP,), 1.5, 0.1, 0.05),
    Prediction("b.mp4", error="no frames"),
    Prediction("c.mp4", "run", 0.5, (("run", 0.5),), 9.0, windows=(WindowAnswer(0.0, 4.5, "run", 0.5),)),
]
SETTINGS = {"checkpoint": "run", "M": 3, "window": None}


def write_answers(root: Path) -> None:
    """The folder of a prediction with answers in each form."""
    output = OutputFolder(root / "answers")
    with output.hold():
        output.begin(SETTINGS, engine="local")
        for answer in ANSWERS:
            output.add(answer)
    parts = LineParts(output.parts)
    parts.begin(0)
    for answer in ANSWERS:
        parts.add(0, answer)
    shards = ParquetShards(output.shards)
    shards.write(ANSWERS)
    (root / "shard").write_bytes(shards.files()[0].read_bytes())
    shards._log(VIDEOS).write_text("begun 0\nended 0\nbegun 1\nbegun 1\n")
    (root / "log").write_bytes(shards._log(VIDEOS).read_bytes())


VIDEOS = ["d.mp4", "e.mp4"]


def is_share(value: float | None) -> bool:
    return value is None or 0 <= value <= 1 + 1e-6


def check(answer: Prediction) -> None:
    """Check what a page of answers relies on."""
    assert Prediction.from_json(answer.to_json()).video == answer.video
    assert is_share(answer.score)
    assert all(is_share(score) for _, score in answer.top5)
    assert all(is_share(clip.probability) and is_share(clip.score) for clip in answer.clips)
    assert all(is_share(window.score) for window in answer.windows)


def read_lines(root: Path) -> None:
    output = OutputFolder(root / "answers")
    output.begin(SETTINGS, engine="local")
    assert output.done() == {answer.video for answer in output.answers()}
    for start, answer in output.places():
        assert output.answer_at(start) == answer
        check(answer)


def read_parts(root: Path) -> None:
    merge(root, LineParts(root / "answers" / "parts"))


def merge(root: Path, parts: AnswerParts) -> None:
    output = OutputFolder(root / "answers")
    output.lines.unlink()
    output.merge(["b.mp4", "z.mp4"], parts)
    for answer in output.answers():
        check(answer)


def read_shards(root: Path) -> None:
    shards = ParquetShards(root / "answers" / "shards")
    for file in shards.files():
        file.write_bytes((root / "shard").read_bytes())
    merge(root, shards)


def read_log(root: Path) -> None:
    shards = ParquetShards(root / "answers" / "shards")
    shards.clear()  # a block that has a shard is done
    shards._log(VIDEOS).write_bytes((root / "log").read_bytes())
    shards.answer(VIDEOS, lambda video: Prediction(video, error="none"))
    assert set(VIDEOS) <= set(shards.index())


STARTS = np.array([0, 4, 8])
SCORES = np.arange(6, dtype=np.float32).reshape(3, 2)
SHAPE = (2, 3, 3)


def stored_video() -> Video:
    return place_on_time_line(VideoRecord("v", Path("v.mp4"), (0,)), VideoInfo(12, 25.0, 8, 8, digest="d"), None)


def write_arrays(root: Path) -> None:
    root.mkdir(exist_ok=True)
    video = stored_video()
    StoredScores(root, 2).write(video, STARTS, SCORES)
    StoredScores(root, 2).file(video, STARTS).rename(root / "scores.npy")
    np.save(root / "activations.npy", np.ones((len(frames_on_time_line(video)), 2, *SHAPE), np.float16))


def read_class_scores(root: Path) -> None:
    store, video = StoredScores(root, 2), stored_video()
    store.file(video, STARTS).write_bytes((root / "scores.npy").read_bytes())
    found = store.read(video, STARTS[::-1])
    assert (found.shape, found.dtype) == ((3, 2), np.float32)


def read_activations(root: Path) -> None:
    store, video = Activations(root, SHAPE), stored_video()
    store.file(video).write_bytes((root / "activations.npy").read_bytes())
    found = store(video, np.array([1, 3]), (8, 8))
    assert (found.shape, found.dtype) == ((2, 2, *SHAPE), np.float16)


def write_videos(root: Path) -> None:
    root.mkdir(exist_ok=True)
    write_video(root / "a.mp4", grey_ramp(6))
    info = PyAV().probe(root / "a.mp4")
    write_copy(root / "a.mp4", root / "a.mov", info, decoder=PyAV(), kind=FrameCopy((34, 34)))


def read_video(root: Path) -> None:
    path = root / "a.mp4"
    info = PyAV().probe(path)
    frames = PyAV().read(path, [0, info.num_frames - 1], (34, 34), info)
    assert (frames.shape, frames.dtype) == ((2, 34, 34, 3), np.uint8)


def read_frame_copy(root: Path) -> None:
    copy = root / "a.mov"
    info = copy_info(copy, PyAV().probe(root / "a.mp4"))
    frames = MotionJpeg().read(copy, [0, 5], (34, 34), info)
    assert (info.num_frames, frames.shape, frames.dtype) == (6, (2, 34, 34, 3), np.uint8)


def write_shards(root: Path) -> None:
    """Copies of two videos with different frames, in one shard."""
    root.mkdir(exist_ok=True)
    for name, first in (("a", 0), ("b", 40)):
        write_video(root / f"{name}.mp4", grey_ramp(46)[first : first + 6])
    make_copies(probed(root), root, root, decoder=PyAV(), kind=FrameCopy((34, 34)), jobs=1, shard_size=10**6)


def probed(root: Path) -> list[tuple[Path, VideoInfo]]:
    return [(path, PyAV().probe(path)) for path in (root / "a.mp4", root / "b.mp4")]


def read_shard_index(root: Path) -> None:
    """An entry leads to a copy of its own video, or it is refused."""
    for number, shown in found_in_shards(root):
        assert abs(shown - (20 + 80 * number)) < 3


def read_shard(root: Path) -> None:
    """Pixels have no sums, as in single files; everything else is refused or right."""
    assert all(0 <= shown <= 255 for _, shown in found_in_shards(root))


def found_in_shards(root: Path) -> Iterator[tuple[int, float]]:
    """Yield the number of each video whose copy is neither missing nor refused, and its sixth frame's brightness."""
    kind = FrameCopy((34, 34))
    for read in (CopyShards.read, CopyShards.recover):
        shards = read(root / kind.folder)
        for number, (path, info) in enumerate(probed(root)):
            copy = kind.target(root, root, path)
            part = shards.find(copy)
            if part is None:
                continue
            try:
                found = copy_info(shards.path(copy), info, part)
                yield number, float(MotionJpeg().read(copy, [5], (34, 34), found).mean())
            except VideoError:
                continue


CLIPS = {
    name: np.full(shape, 0.5, np.float32)
    for name, shape in {"targets": (2, 3), "uniform": (2, 1, 3), "dense": (2, 4, 3), "responses": (2, 1, 2, 3)}.items()
} | {"logits": np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3), "features": np.ones((2, 1, 2, 5), np.float32)}


def write_clips(root: Path) -> None:
    shows = np.zeros((2, 1, 2), bool)
    StoredClips(video_id=np.array(["a", "b"]), shows=shows, **CLIPS).save(root / "clips.npz")


def read_clips(root: Path) -> None:
    """The archive has sums: a changed value is never read."""
    found = StoredClips.load(root / "clips.npz")
    assert all(np.array_equal(getattr(found, name), values) for name, values in CLIPS.items())


PARSERS = {
    "stored clips": Parser("clips.npz", write_clips, read_clips, 1),
    "answers": Parser("answers/predictions.jsonl", write_answers, read_lines),
    "settings of answers": Parser("answers/predict.json", write_answers, read_lines, 2),
    "parts of answers": Parser("answers/parts/00000.jsonl", write_answers, read_parts, 2),
    "shard of answers": Parser("shard", write_answers, read_shards),
    "log of an actor": Parser("log", write_answers, read_log, 1),
    "class scores": Parser("scores.npy", write_arrays, read_class_scores, 2),
    "activations": Parser("activations.npy", write_arrays, read_activations, 2),
    "video": Parser("a.mp4", write_videos, read_video, 2),
    "frames": Parser("a.mov", write_videos, read_frame_copy, 2),
    "index of a shard": Parser("jpeg/shard-000000.json", write_shards, read_shard_index, 2),
    "shard of frames": Parser("jpeg/shard-000000.tar", write_shards, read_shard, 1),
}
