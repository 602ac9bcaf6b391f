"""Small copies of public data sets in their layouts, and data sets of list files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from conftest import grey_ramp, write_video
from dsn_lightning.config.build_part import build_source
from dsn_lightning.datasets import Folder, Subset, VideoRecord, VideoSource


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def ids(videos: list[VideoRecord]) -> set[str]:
    return {video.video_id for video in videos}


def by_id(source: VideoSource, subset: Subset) -> dict[str, VideoRecord]:
    return {video.video_id: video for video in source.records(subset)}


def touch_videos(root: Path) -> Path:
    """Three empty video files, for list files to name."""
    for name in ("a.mp4", "more/b c.mp4", "d.avi"):
        touch(root / name)
    return root


def folder_of_lists(root: Path, train: str, test: str, *, extension: str = "txt", **more: Any) -> Folder:
    """Write the two lists beside ``root`` and read them."""
    files = {f"{subset}_list": root.parent / f"{subset}.{extension}" for subset in ("train", "test")}
    files["train_list"].write_text(train)
    files["test_list"].write_text(test)
    return Folder(str(root), **{key: str(file) for key, file in files.items()}, **more)


def write_ucf101(root: Path, *, folder: str = "UCF-101") -> Path:
    """101 classes with two groups each; the files of the first class exist."""
    names = ["HandstandPushups", "Archery", *(f"Class{i:03}" for i in range(99))]
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{i} {name}\r\n" for i, name in enumerate(names, 1)))
    for split, (train, test) in {1: ("08", "01"), 2: ("01", "08"), 3: ("08", "01")}.items():
        videos = {
            side: [f"{n}/v_{n.replace('stand', 'Stand')}_g{g}_c01.avi" for n in names]
            for side, g in (("train", train), ("test", test))
        }
        (lists / f"trainlist0{split}.txt").write_text("".join(f"{v} {i}\r\n" for i, v in enumerate(videos["train"], 1)))
        (lists / f"testlist0{split}.txt").write_text("".join(f"{v}\r\n" for v in videos["test"]))
    for group in ("01", "08"):
        touch(root / folder / "HandstandPushups" / f"v_HandStandPushups_g{group}_c01.avi")
    return root


def write_hmdb51(root: Path) -> Path:
    """51 classes of four clips: two trained on, one tested on, one unused."""
    names = ["brush_hair", "catch", *(f"class_{i}" for i in range(49))]
    (root / "splits").mkdir(parents=True)
    for name in names:
        clips = [f"Dr._No!_#{i} (part; {i})_{name}_f_cm_np10_le_bad_{i}.avi" for i in range(4)]
        for split in (1, 2, 3):
            lines = [f"{clip} {code} \n" for clip, code in zip(clips, (1, 1, 2, 0), strict=True)]
            (root / "splits" / f"{name}_test_split{split}.txt").write_text("".join(lines))
    return root


def write_kinetics(root: Path, *, rows: dict[str, list[str]] | None = None, columns: str = "split") -> Path:
    """The official lists: three classes, four training and two validation clips; one video gives two clips."""
    rows = rows or {
        "train": [
            "abseiling,-3B32lodo,59,69",
            "riding a bike,b_c,0,10",
            "abseiling,-3B32lodo,70,80",
            "zumba,d,1,11",
        ],
        "validate": ["riding a bike,e,999,1009", "abseiling,f,2,12"],
    }
    root.mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        text = "".join(f"{line},{name}\n" for line in lines)
        (root / f"{name}.csv").write_text(f"label,youtube_id,time_start,time_end,{columns}\n{text}")
    return root


def write_activitynet(root: Path) -> Path:
    taxonomy = [("Root", 0, None), ("Sports", 7, 0), ("Zumba", 3, 7), ("Archery", 9, 7), ("Ironing", 2, 0)]
    database = {
        "-a_1": {"subset": "training", "annotations": [{"label": "Zumba", "segment": [1.5, 4.0]}]},
        "b.2": {
            "subset": "validation",
            "annotations": [
                {"label": "Ironing", "segment": [3.0, 8.0]},
                {"label": "Archery", "segment": [1.0, 4.0]},
                {"label": "Ironing", "segment": [9, 10]},
            ],
        },
        "none": {"subset": "validation", "annotations": []},
        "hidden": {"subset": "testing", "annotations": []},
    }
    nodes = [{"nodeName": name, "nodeId": node, "parentId": parent} for name, node, parent in taxonomy]
    root.mkdir(parents=True, exist_ok=True)
    file = root / "activity_net.v1-3.min.json"
    file.write_text(json.dumps({"version": "VERSION 1.3", "taxonomy": nodes, "database": database}))
    return root


def write_thumos14(root: Path, test_file: str = "test_set_meta/test_set_meta.mat") -> Path:
    none = np.zeros((0, 0))
    cells = np.array(["Basketball", "HighJump"], dtype=object)
    write_mat(
        root / "validation_set_meta" / "validation_set.mat",
        "validation_videos",
        [
            ("video_validation_0000001", "Archery", 1, "", none, "NO"),
            ("video_validation_0000002", "Basketball", 2, "HighJump", 3, "NO"),
            ("video_validation_0000003", "HighJump", 3, "", none, "NO"),
        ],
    )
    write_mat(
        root / test_file,
        "test_videos",
        [
            ("video_test_0000001.mp4", "Archery", 1, cells, np.array([[2], [3]]), "NO"),
            ("video_test_0000002.mp4", "Archery", 1, "", none, "YES"),
        ],
    )
    return root


def fill(dataset) -> None:
    """Write up to three videos of each subset where they are missing."""
    source = build_source(dataset)
    for subset in ("train", "test"):
        for i, record in enumerate(source.records(subset)[:3]):
            record.path.parent.mkdir(parents=True, exist_ok=True)
            if not record.path.is_file() or not record.path.stat().st_size:
                write_video(record.path, grey_ramp(24 + i))


def write_mat(file: Path, variable: str, videos: list[tuple]) -> None:
    """A MATLAB array of structures with the fields of the challenge's files."""
    fields = (
        "video_name",
        "primary_action",
        "primary_action_index",
        "secondary_actions",
        "secondary_actions_indices",
        "background_video",
    )
    table = np.zeros(len(videos), dtype=[(name, object) for name in fields])
    for row, video in enumerate(videos):
        table[row] = video
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {variable: table})
