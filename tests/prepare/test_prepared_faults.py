"""Files that are easily read wrong, through dsn-prepare, the small copies and the clips of a training."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsn_lightning.config.build import build_datamodule
from dsn_lightning.data.batches import Draw
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.prepare.copies import copy_info
from dsn_lightning.prepare.copy_kinds import SmallCopy
from dsn_lightning.prepare.preparation import prepare_dataset
from dsn_lightning.video.pyav_decoder import PyAV
from helpers.encoded_videos import everything
from helpers.synthetic import composed

FLAGGED = {"chapters_lost.mp4", "fiel_unknown.mov", "audio_tail_cut.mp4"}
SIZE = (48, 64)  # (height, width), the aspect ratio of all of them


@pytest.fixture
def videos(real_data: Path, tmp_path: Path) -> Path:
    """Two classes with the files in turn, and the copy of one under a name that is not UTF-8."""
    files = [f for f in sorted((real_data / "reading_faults").iterdir()) if f.is_file() and f.suffix != ".md"]
    files = [f for f in files if not f.name.startswith("o_")]  # PyAV's own rotation is wrong for these
    for number, file in enumerate(files):
        folder = tmp_path / "videos" / ("run", "walk")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file.name)
    shutil.copy(files[0], tmp_path / "videos" / "run" / "caf\udce9.mp4")
    return tmp_path / "videos"


def shrunk(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in frames]).astype(int)


@pytest.mark.parametrize("refuse_damage", [False, True])
def test_each_small_copy_has_the_frames_of_the_whole(refuse_damage, videos, tmp_path):
    source = Folder(str(videos))
    options = {"decoder": PyAV(), "copy_decoder": PyAV(), "output": tmp_path / "out", "refuse_damage": refuse_damage}
    _, report = prepare_dataset(source, [SmallCopy(short_side=48)], **options)
    flagged, bad = ({entry["video"] for entry in report[kind]} for kind in ("flagged", "bad"))
    assert {Path(video).name for video in (bad if refuse_damage else flagged)} >= FLAGGED
    assert not (flagged if refuse_damage else bad)
    for record in (r for subset in ("train", "test") for r in source.records(subset) if r.video_id not in bad):
        info = PyAV().probe(record.path)
        copy = SmallCopy.target(tmp_path / "out", source.root, record.path)
        expected = shrunk(everything(record.path))
        found = PyAV().read(copy, range(info.num_frames), SIZE, copy_info(copy, info)).astype(int)
        assert len(found) == len(expected)
        for index in range(0, len(found), 13):
            distances = np.abs(expected - found[index]).mean((1, 2, 3))
            assert distances[index] == distances.min(), (record.video_id, index)


def test_each_file_gives_the_clips_of_a_training(videos, tmp_path):
    where = ["dataset=folder", f"dataset.root={videos}", f"dataset.reading.prepared={tmp_path / 'out'}"]
    data = build_datamodule(composed(*where, "M=3", "N=2"))
    data.prepare_data()
    data.setup()
    assert not any(data.bad.values())
    for subset in ("train", "test"):
        clips = data.section_clips(subset)
        for number in range(len(clips)):
            assert clips[Draw(0, number)]["clips"].float().std() > 1, clips.videos[number].record.video_id
