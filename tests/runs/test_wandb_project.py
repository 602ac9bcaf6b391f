"""Runs on W&B's server, read from a stand-in for it that has what real runs have sent."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import wandb

from dsn_lightning.errors import UsageError
from dsn_lightning.runs import find_runs, read_configs, read_histories, read_results, wandb_project
from dsn_lightning.runs.tolerant_files import noted_problems
from helpers.wandb_server import StandInServer, StoredRun, stand_in_server

PROJECT = "wandb:me/dsn_lightning"
SWEEP = f"{PROJECT}/M=2"  # the group of `logged_sweep`


@pytest.fixture(scope="module")
def server(logged_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInServer]:
    """It has the two jobs of a sweep, and the sweep's own run."""
    copy = tmp_path_factory.mktemp("uploaded") / "sweep"  # W&B marks what it has uploaded
    shutil.copytree(logged_sweep, copy)
    with stand_in_server() as running, pytest.MonkeyPatch.context() as patch:
        running.upload(sorted(copy.glob("**/offline-run-*")))
        for name, value in running.environment.items():
            patch.delenv(name, raising=False)
            if value is not None:
                patch.setenv(name, value)
        for name in ("WANDB_MODE", "WANDB_ENTITY", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        wandb.teardown()  # it has the environment of the tests before
        yield running
        wandb.teardown()


@pytest.fixture
def stored(server: StandInServer) -> StoredRun:
    """The job of seed 0."""
    return server.runs[id_of(0)]


def id_of(seed: int) -> str:
    configs = read_configs(SWEEP)
    return configs[configs.seed == seed].run.item()


def by_seed(table: pd.DataFrame, seed: str = "seed") -> pd.DataFrame:
    return table.sort_values(seed, kind="stable").reset_index(drop=True)


def test_tables_are_those_of_the_folders(server, logged_sweep):
    results, online = by_seed(read_results(logged_sweep), "run.seed"), by_seed(read_results(PROJECT), "run.seed")
    assert list(online.columns) == list(results.columns)
    pd.testing.assert_frame_equal(online.drop(columns="run"), results.drop(columns="run"))

    histories, online = by_seed(read_histories(logged_sweep)), by_seed(read_histories(PROJECT))
    shared = [name for name in histories if name in online and name != "run"]
    assert {"epoch", "val/top1", "train/classifier_loss"} <= set(shared)
    pd.testing.assert_frame_equal(online[shared], histories[shared], check_dtype=False)
    left_out = set(histories) - set(online)
    assert histories[list(left_out)].isna().all(axis=None)

    configs, online = by_seed(read_configs(logged_sweep)), by_seed(read_configs(PROJECT))
    assert set(configs) <= set(online)
    own = ["run", "folder", "started", "seconds", "overrides"]
    same = configs.drop(columns=own)
    pd.testing.assert_frame_equal(online[list(same)], same, check_dtype=False)
    assert online.folder.tolist() == [f"{PROJECT}/{name}" for name in online.run]
    assert set(online.overrides) == {()}
    assert online.started.tolist() == [server.runs[name].created.replace("Z", "+00:00") for name in online.run]
    assert online.seconds.gt(0).all()


def test_a_sweep_is_chosen_by_its_group_and_a_run_by_its_address(server):
    configs = read_configs(SWEEP)
    assert len(server.runs) == 3  # with the end of the sweep
    assert sorted(configs.run) == sorted(name for name, run in server.runs.items() if run.job_type == "train")
    one = configs.folder[1]
    assert read_results(one).run.unique().tolist() == [configs.run[1]]
    both = read_configs(*configs.folder)
    assert both.run.tolist() == both.folder.tolist() == configs.folder.tolist()


def test_a_run_in_a_folder_is_not_read_from_the_server(server, logged_sweep, tmp_path):
    (tmp_path / "copied").mkdir()
    shutil.copytree(logged_sweep / "0", tmp_path / "copied" / "0")
    mixed = read_configs(PROJECT, tmp_path / "copied")
    other = mixed[mixed.seed == 1]
    assert other.folder.item() == f"{PROJECT}/{other.run.item().split('/')[-1]}"
    assert mixed[mixed.seed == 0].folder.item() == str(tmp_path / "copied" / "0")
    assert len(read_results(tmp_path / "copied", PROJECT)) == len(read_results(PROJECT))

    (offline,) = (logged_sweep / "1").glob("wandb/offline-run-*")
    shutil.copytree(offline, tmp_path / "alone" / offline.name)
    assert read_configs(tmp_path / "alone", PROJECT).set_index("seed").folder[1].startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("on_server", "state", "exit_code"),
    [
        ("running", "running", None),
        ("failed", "failed", None),
        ("crashed", "killed", None),
        ("killed", "stopped", None),
        ("pending", "waiting", None),
        ("invented", "unknown", None),
    ],
)
def test_states_have_the_names_of_folders(on_server, state, exit_code, server, monkeypatch):
    monkeypatch.setattr(StoredRun, "state", on_server)
    configs = read_configs(SWEEP)
    assert (set(configs.state), configs.exit_code.isna().all()) == ({state}, exit_code is None)


def test_more_rows_than_a_page_are_read_and_the_last_of_an_epoch_counts(stored, monkeypatch):
    (row,) = stored.history
    rows = [row | {"_step": 400 * i, "epoch": i // 2, "val/top1": i / 8} for i in range(8)]
    monkeypatch.setitem(stored.files, "wandb-history.jsonl", [json.dumps(one) for one in rows])
    history = read_histories(f"{PROJECT}/{id_of(0)}")
    assert history.epoch.tolist() == [0, 1, 2, 3]
    assert history["val/top1"].tolist() == [1 / 8, 3 / 8, 5 / 8, 7 / 8]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("wandb:me", "expected wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/NAME (a group or an id)"),
        ("wandb:me/nowhere", "W&B: Could not find project nowhere"),
        ("wandb:me/dsn_lightning/nothing", "W&B has no such runs"),
    ],
)
def test_an_address_of_nothing_is_one_line(address, reason, server):
    for read in (read_configs, read_histories, read_results):
        with pytest.raises(UsageError) as caught:
            read(address)
        assert str(caught.value) == f"{address}: {reason}"


def test_runs_on_the_server_have_no_folders(server):
    with pytest.raises(UsageError, match=r"^wandb:me/x: expected a folder; read_configs, "):
        find_runs("wandb:me/x")


def test_without_an_account_the_remedy_is_named(server, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    with pytest.raises(UsageError, match=f"^{PROJECT}: no W&B account is set up; run `wandb login`$"):
        read_configs(PROJECT)


def test_a_server_that_cannot_be_reached_is_one_line(server, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_project, "_RETRIES", 1)
    with pytest.raises(UsageError, match=f"^{PROJECT}: W&B: .*connection refused") as caught:
        read_configs(PROJECT)
    assert "\n" not in str(caught.value)


def test_a_server_that_stops_answering_ends_in_one_line(server, monkeypatch):
    monkeypatch.setattr(wandb_project, "_RETRIES", 1)
    monkeypatch.setattr(wandb_project, "_SECONDS", 3)
    answer, released = server.answer, threading.Event()

    def hang(asked: str, variables: dict) -> dict:
        if asked == "HistoryPage":  # for which W&B itself sets no limit of time
            released.wait(120)
        return answer(asked, variables)

    monkeypatch.setattr(server, "answer", hang)
    before, start = wandb.setup().settings.x_graphql_timeout_seconds, time.monotonic()
    try:
        with pytest.raises(UsageError, match=f"^{PROJECT}.*: W&B: .*(Timeout|timed out|canceled|deadline exceeded)"):
            read_histories(PROJECT)
    finally:
        released.set()
    assert time.monotonic() - start < 90
    assert wandb.setup().settings.x_graphql_timeout_seconds == before  # those of the user's own runs


def test_a_table_that_is_missing_or_large_gives_no_rows_and_a_note(stored, monkeypatch):
    (path,) = (name for name in stored.uploads if name.startswith("media/table/test/rows"))
    address = f"{PROJECT}/{id_of(0)}"
    with monkeypatch.context() as patch, noted_problems() as problems:
        patch.setattr(wandb_project, "MAX_BYTES", 2**18)
        patch.setitem(stored.uploads, path, stored.uploads[path] + b" " * 2**18)
        assert read_results(address).empty
    assert {str(file): why for file, why in problems.items()} == {f"{address}/{path}": "larger than 0.25 MiB"}
    assert len(read_results(address)) == 3
    monkeypatch.delitem(stored.uploads, path)
    with noted_problems() as problems:
        assert read_results(address).empty
    assert {str(file): why for file, why in problems.items()} == {f"{address}/{path}": "missing"}


@pytest.mark.parametrize("outside", ["../../rows.json", "/etc/hostname", 7])
def test_a_table_outside_of_the_run_is_not_asked_for(outside, stored, monkeypatch):
    summary = stored.summary
    monkeypatch.setitem(stored.uploads, outside, stored.uploads[summary["test/rows"]["path"]])
    summary["test/rows"]["path"] = outside
    monkeypatch.setitem(stored.files, "wandb-summary.json", [json.dumps(summary)])
    with noted_problems() as problems:
        assert read_results(f"{PROJECT}/{id_of(0)}").empty
    assert problems == {}


def test_a_configuration_beyond_the_limits_of_files_is_left_out_with_a_note(stored, monkeypatch):
    address, whole = f"{PROJECT}/{id_of(0)}", json.loads(stored.config)
    deep: object = 0
    for _ in range(100):
        deep = [deep]
    for value, reason in ((deep, "nested deeper than 64"), (2**64, "an integer beyond 64 bits")):
        monkeypatch.setattr(stored, "config", json.dumps(whole | {"note": {"value": value}}))
        with noted_problems() as problems:
            (config,) = read_configs(address).to_dict("records")
        assert (config["state"], pd.isna(config["M"])) == ("finished", True)
        assert {str(file): why for file, why in problems.items()} == {f"{address}/config": reason}
    monkeypatch.setattr(stored, "config", json.dumps(whole))
    monkeypatch.setattr(wandb_project, "MAX_BYTES", 100)
    with noted_problems() as problems:
        read_configs(address)
    assert any(why.startswith("larger than") for why in problems.values())


def test_texts_of_the_server_are_shown_as_texts(server, monkeypatch):
    def refuse(*_: object) -> dict:
        raise PermissionError("no\x1b[2J\n" + "x" * 10_000)

    monkeypatch.setattr(server, "answer", refuse)
    with pytest.raises(UsageError) as caught:
        read_configs(PROJECT)
    text = str(caught.value)
    assert (len(text) < 500, text.isprintable()) == (True, True)


def test_nothing_is_written_where_the_program_runs(server, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    read_results(PROJECT)
    assert os.listdir(tmp_path) == []
