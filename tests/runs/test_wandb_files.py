"""Files of W&B that are damaged, unfinished or made by anybody."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from dsn_lightning.errors import UsageError
from dsn_lightning.runs import find_runs, read_configs, read_histories, read_results
from dsn_lightning.runs.tolerant_files import noted_problems

_BLOCK = 32768


def written(records: list[Record]) -> bytes:
    """The records as W&B writes them: in parts of blocks of 32 KiB, each with its checksum."""
    content = bytearray(b":W&B" + bytes(3))
    for record in records:
        rest, is_first = record.SerializeToString(), True
        while rest or is_first:
            left = _BLOCK - len(content) % _BLOCK
            if left < 7:
                content += bytes(left)
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[is_first, not rest]
            checksum = zlib.crc32(bytes([kind]) + part)
            content += struct.pack("<IHB", checksum, len(part), kind) + part
            is_first = False
    return bytes(content)


def set_items(items: Any, values: dict[str, Any], *, nested: bool = False) -> None:
    for name, value in values.items():
        item = items.add()
        if nested:
            item.nested_key.extend(name.split("."))
        else:
            item.key = name
        item.value_json = json.dumps(value)


def run_record(config: dict[str, Any]) -> Record:
    record = Record()
    record.run.run_id = "abc"
    record.run.start_time.seconds = 1_700_000_000
    set_items(record.run.config.update, config)
    return record


def history(row: dict[str, Any], *, nested: bool = True) -> Record:
    record = Record()
    set_items(record.history.item, row, nested=nested)
    return record


def end(exit_code: int, seconds: int = 5) -> Record:
    record = Record()
    record.exit.exit_code, record.exit.runtime = exit_code, seconds
    return record


def write(top: Path, records: list[Record], *, second: int = 0) -> Path:
    folder = top / f"offline-run-20260131_1200{second:02d}-abc"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run-abc.wandb").write_bytes(written(records))
    return folder


CONFIG = {"M": 3, "N": 4, "gamma": 0.5, "seed": 1, "schedule": {"max_epochs": 2}, "_wandb": {"t": 1}}
ROWS = [{"epoch": 0, "val/top1": 0.25, "_step": 1}, {"epoch": 1, "val/top1": 0.5, "test/top1": 0.75, "_step": 2}]


def test_a_record_may_span_blocks(tmp_path):
    write(tmp_path, [run_record(CONFIG | {"note": "x" * 100_000}), *map(history, ROWS), end(0)])
    (config,) = read_configs(tmp_path).to_dict("records")
    assert (config["state"], config["seconds"], config["started"]) == ("finished", 5, "2023-11-14T22:13:20+00:00")
    assert (config["M"], config["schedule.max_epochs"], len(config["note"])) == (3, 2, 100_000)
    assert "_wandb.t" not in config
    table = read_histories(tmp_path)
    assert table.columns.tolist() == ["run", "state", "M", "N", "gamma", "seed", "epoch", "val/top1"]
    assert table["val/top1"].tolist() == [0.25, 0.5]


def test_the_parts_of_a_resumed_run_are_one_run_and_a_repeated_epoch_counts_once(tmp_path):
    write(tmp_path, [run_record(CONFIG), *map(history, ROWS), end(143)])
    last = write(tmp_path, [run_record(CONFIG), history({"epoch": 1, "val/top1": 0.75}), end(1, 7)], second=1)
    assert find_runs(tmp_path) == [last]
    (config,) = read_configs(tmp_path).to_dict("records")
    assert (config["state"], config["exit_code"], config["seconds"]) == ("failed", 1, 12)
    assert read_histories(tmp_path)["val/top1"].tolist() == [0.25, 0.75]


def test_a_run_that_was_killed_has_what_it_had_logged(tmp_path):
    folder = write(tmp_path, [run_record(CONFIG), *map(history, ROWS), end(0)])
    file = folder / "run-abc.wandb"
    content = file.read_bytes()
    seen = set()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with noted_problems() as problems:
            seen.add((read_configs(tmp_path)["state"].item(), tuple(read_histories(tmp_path).get("val/top1", ()))))
        assert problems == {}
    assert seen == {("unknown", ()), ("unknown", (0.25,)), ("unknown", (0.25, 0.5))}


@pytest.mark.parametrize(
    "content",
    [
        b"no file of W&B at all",
        b":W&B" + bytes(60),
        b":W&B" + bytes(3) + struct.pack("<IHB", zlib.crc32(b"\1\xff\xff\xff"), 3, 1) + b"\xff\xff\xff",
    ],
)
def test_any_other_content_is_named(content, tmp_path):
    folder = write(tmp_path, [])
    (folder / "run-abc.wandb").write_bytes(content)
    with noted_problems() as problems:
        assert read_configs(tmp_path)["state"].tolist() == ["unknown"]
        assert len(read_results(tmp_path)) == 0
    assert [file.name for file in problems] == ["run-abc.wandb"]


def test_no_changed_byte_is_read_as_a_value(tmp_path):
    folder = write(tmp_path, [run_record(CONFIG), *map(history, ROWS), end(0)])
    file = folder / "run-abc.wandb"
    content, magic = file.read_bytes(), 4
    for position in range(magic, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        with noted_problems():
            config = read_configs(tmp_path)
            assert config["state"].item() == ("finished" if position < 7 else "unknown")
            assert tuple(read_histories(tmp_path).get("val/top1", ())) in {(), (0.25,), (0.25, 0.5)}
            assert config["gamma"].isna().all() or config["gamma"].item() == 0.5


def test_only_finite_numbers_of_whole_epochs_are_read(tmp_path):
    rows = [{"epoch": 0.5, "a": 1}, {"epoch": "0", "a": 1}, {"a": 1}, {"epoch": -1, "a": 1}, {"epoch": 10**400, "a": 1}]
    rows.append({"epoch": 0, "a": True, "b": {"_type": "histogram"}, "c": "NaN", "d": 2, "e": float("inf")})
    write(tmp_path, [run_record({}), *(history(row, nested=False) for row in rows)])
    with noted_problems():
        (row,) = read_histories(tmp_path).dropna(axis=1).drop(columns=["run", "state"]).to_dict("records")
    assert row == {"epoch": 0, "d": 2}


def table_record(path: str) -> Record:
    record = Record()
    set_items(record.summary.update, {"test/rows": {"_type": "table-file", "path": path}})
    return record


def test_the_table_of_results_is_read_from_the_run_alone(tmp_path):
    content = json.dumps(
        {"columns": ["selection", "M", "top1"], "data": [["uniform", 3, 0.5], ["short"], ["dsn", 3, None]]}
    )
    top = tmp_path / "wandb"
    folder = write(top, [run_record(CONFIG), table_record("media/table/rows.json")])
    (folder / "files" / "media" / "table").mkdir(parents=True)
    (folder / "files" / "media" / "table" / "rows.json").write_text(content)
    results = read_results(top)
    assert results["selection"].tolist() == ["uniform", "dsn"]
    assert results["run.M"].tolist() == [3, 3]

    (tmp_path / "rows.json").write_text(content)
    for path in ("../../../rows.json", str(tmp_path / "rows.json")):
        write(top, [run_record(CONFIG), table_record(path)])
        assert len(read_results(top)) == 0


def test_a_folder_without_any_run_is_still_refused(tmp_path):
    (tmp_path / "offline-run-20260131_120000-abc").mkdir()
    with pytest.raises(UsageError, match=r"nor an offline run of W&B \(offline-run-\*\)"):
        read_configs(tmp_path)
