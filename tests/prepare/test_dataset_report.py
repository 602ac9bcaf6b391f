"""The report on a data set: missing and bad videos, groups and contents in several subsets."""

from dataclasses import replace
from pathlib import Path

from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.prepare.dataset_report import dataset_report
from dsn_lightning.video.video_info import VideoError, VideoInfo


def report_of_parts(tmp_path: Path, parts: dict[str, list[tuple[str, tuple[float, float] | None]]]) -> dict:
    """A report of parts of files of 20 s: ``a``, a copy of it, and another one."""
    info = VideoInfo(500, 25.0, 64, 48, digest="1")
    found = {tmp_path / "a": info, tmp_path / "copy": info, tmp_path / "b": replace(info, digest="2")}
    records = {
        subset: [
            VideoRecord(
                name if segment is None else "{}#{:g}-{:g}".format(name, *segment),
                tmp_path / name,
                (0,),
                segment=segment,
            )
            for name, segment in parts.get(subset, [])
        ]
        for subset in ("train", "val", "test")
    }
    return dataset_report("parts", ["x"], records, found)


def test_missing_videos_and_shared_groups_are_counted(tmp_path):
    def record(name: str, label: int, group: str) -> VideoRecord:
        return VideoRecord(name, tmp_path / name, (label,), group=group)

    info = VideoInfo(20, 25.0, 64, 48, header_frames=23, codec="h264", digest="1")
    other = VideoInfo(30, 25.0, 64, 48, digest="2", damage=("h264: error while decoding MB",))
    records = {
        "train": [record("a", 0, "film 1"), record("b", 1, "film 2"), record("gone", 1, "film 3")],
        "val": [],
        "test": [record("c", 1, "film 2"), record("also gone", 0, "film 1")],
    }
    found = {tmp_path / "a": info, tmp_path / "b": other, tmp_path / "c": VideoError(tmp_path / "c", "is truncated")}
    report = dataset_report("some", ["x", "y"], records, found)
    assert report["missing"] == {"train": ["gone"], "test": ["also gone"]}
    assert report["subsets"]["test"]["classes"]["x"] == {
        "listed": 1,
        "present": 0,
        "missing": 1,
        "bad": 0,
        "flagged": 0,
    }
    assert report["leakage"] == {"groups": [{"group": "film 2", "train": ["b"], "test": ["c"]}], "identical": []}
    assert report["header_mismatches"] == [{"video": "a", "header": 23, "decoded": 20}]
    assert report["flagged"] == [{"video": "b", "subsets": ["train"], "damage": ["h264: error while decoding MB"]}]
    assert report["bad"] == [{"video": "c", "subsets": ["test"], "reason": "is truncated"}]
    assert "val" not in report["subsets"]


def test_parts_that_share_frames_are_the_same_content(tmp_path):
    report = report_of_parts(
        tmp_path,
        {
            "train": [("a", (0, 10)), ("a", (15, 16)), ("b", (0, 5)), ("b", (4, 8))],
            "test": [("copy", (5, 15)), ("a", (16, 18)), ("b", (8, 20))],
        },
    )
    assert report["leakage"]["identical"] == [{"train": ["a#0-10"], "test": ["copy#5-15"]}]
    assert report["repeated"] == []
    report = report_of_parts(
        tmp_path,
        {"train": [("a", (0, 2)), ("a", (3, 4)), ("b", (0, 2))], "val": [("b", (1, 2))], "test": [("copy", None)]},
    )
    assert report["leakage"]["identical"] == [
        {"train": ["a#0-2", "a#3-4"], "test": ["copy"]},
        {"train": ["b#0-2"], "val": ["b#1-2"]},
    ]
    assert report_of_parts(tmp_path, {"train": [("a", (0, 30)), ("copy", None)]})["repeated"] == [["a#0-30", "copy"]]


def test_parts_after_the_end_of_their_file_are_bad(tmp_path):
    report = report_of_parts(tmp_path, {"train": [("a", (0, 10)), ("a", (30, 40))], "test": [("copy", (30, 50))]})
    assert report["totals"] == {"listed": 3, "present": 3, "missing": 0, "bad": 2, "flagged": 0}
    assert report["subsets"]["test"]["classes"]["x"]["bad"] == 1
    assert report["bad"] == [
        {"video": "a#30-40", "subsets": ["train"], "reason": "no frames in its segment, 30 to 40 s"},
        {"video": "copy#30-50", "subsets": ["test"], "reason": "no frames in its segment, 30 to 50 s"},
    ]
    assert list(report["videos"]) == ["a#0-10"]
    assert report["leakage"]["identical"] == []
