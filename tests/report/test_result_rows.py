"""Rows of results: which rows are one result, and what tells others apart."""

import json

import pytest

from helpers.report_files import groups_of, reference_row, row_of, write_basis, write_rows, write_run


def test_copies_count_once_and_settings_separate_trainings(tmp_path, command):
    top = tmp_path / "runs"
    for gamma, top1 in ((0.5, 0.4), (1.0, 0.6)):
        for seed in (0, 1):
            folder = write_run(top / f"{gamma}_{seed}", seed=seed, gamma=gamma, schedule={"lr": 0.01 * gamma})
            write_rows(
                folder,
                row_of(seed=seed, gamma=gamma, top1=top1 + 0.1 * seed),
                row_of(selection="uniform", seed=seed, gamma=None, top1=top1 - 0.1 * seed),
                reference_row(seed=seed, gamma=None, top1=0.3),
            )
    together = [row for folder in sorted(top.iterdir()) for row in json.loads((folder / "results.json").read_text())]
    write_rows(top, *(row | {"seconds_per_video": 1.0} for row in together))  # as experiments/demo.py writes them
    _, page = command(top)
    found = sorted((row["selection"][0], row["top-1"][0], row["seeds"][0]) for row in page.rows("results-table"))
    assert found == [
        ("dense", "30.0 ± 0.0", "0, 1"),
        ("dsn", "45.0 ± 7.1", "0, 1"),
        ("dsn", "65.0 ± 7.1", "0, 1"),
        ("uniform (dsn's classifier)", "35.0 ± 7.1", "0, 1"),
        ("uniform (dsn's classifier)", "55.0 ± 7.1", "0, 1"),
    ]
    settings = {row["setting"][0] for row in page.rows("results-table") if row["selection"][0].startswith("uniform")}
    assert settings == {"schedule.lr=0.005, gamma=0.5", "schedule.lr=0.01, gamma=1.0"}


@pytest.mark.parametrize(("modality", "seeds"), [("rgb", ["0, 1"]), ("flow", ["0", "1"])])
def test_a_key_for_flow_does_not_separate_rgb_runs(tmp_path, command, modality, seeds):
    for seed, backbone in ((0, {}), (1, {"flow_std": [0.1, 0.1]})):
        folder = write_run(tmp_path / f"out/{seed}", seed=seed, backbone=backbone, dataset={"modality": modality})
        write_rows(folder, row_of(seed=seed, modality=modality))
    _, page = command("out")
    assert sorted(row["seeds"][0] for row in page.rows("results-table")) == seeds


def test_a_seed_with_two_results_is_two_rows(tmp_path, command):
    for name, top1 in (("random_clips", 0.4), ("plain", 0.6)):
        for seed in (0, 1):
            write_rows(tmp_path / f"out/{name}/seed{seed}/evaluate", row_of(seed=seed, top1=top1))
    _, page = command("out")
    found = {(row["setting"][0], row["top-1"][0], row["seeds"][0]) for row in page.rows("results-table")}
    assert found == {
        ("random_clips/seed*/evaluate", "40.0 ± 0.0", "0, 1"),
        ("plain/seed*/evaluate", "60.0 ± 0.0", "0, 1"),
    }


def test_folder_names_separate_evaluations_despite_digests(tmp_path, command):
    for name, top1 in (("control", 0.4), ("methods", 0.6)):
        for seed, digest in ((0, "6a566f70ae"), (1, "01d00982cd")):
            write_rows(tmp_path / f"out/table1_{name}_seed{seed}_{digest}", row_of(seed=seed, top1=top1))
    _, page = command("out")
    found = {(row["setting"][0], row["top-1"][0], row["seeds"][0]) for row in page.rows("results-table")}
    assert found == {("table1_control_seed*", "40.0 ± 0.0", "0, 1"), ("table1_methods_seed*", "60.0 ± 0.0", "0, 1")}


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_evaluations_that_share_a_row_both_keep_it(tmp_path, command, dense, together):
    """Table I and Fig. 4 of the same trainings: equal for seed 1, different by a video for seed 0."""
    everything = []
    for seed, other in ((0, 0.41), (1, 0.5)):
        fig4 = [row_of(seed=seed, top1=0.4 + 0.1 * seed), row_of(seed=seed, M=4, clips=4, top1=0.7)]
        table1 = [row_of(seed=seed, top1=other)]
        table1 += [row_of(seed=seed, selection="dense", clips=10, top1=0.8)] if dense else []
        for name, rows in (("fig4_methods", fig4), ("table1_methods", table1)):
            folder = tmp_path / f"out/{name}_seed{seed}_6a566f70ae"
            write_rows(folder, *rows)
            (folder / "clip_scores.npz").write_bytes(b"")  # only its presence counts here
            everything += rows
    if together:  # a file with the rows of all of them, and one more
        write_rows(tmp_path / "out/all", *everything, row_of(seed=2, top1=0.9))
    names = [[path.name.removesuffix("_6a566f70ae") for path in group] for group in groups_of(tmp_path / "out")]
    assert names == [["fig4_methods_seed0", "fig4_methods_seed1"], ["table1_methods_seed0", "table1_methods_seed1"]]
    _, page = command("out")
    columns = ("setting", "selection", "M:N", "top-1", "seeds")
    found = {tuple(row[name][0] for name in columns) for row in page.rows("results-table")}
    assert found == {
        ("fig4_methods_seed*", "dsn", "1:3", "45.0 ± 7.1", "0, 1"),
        ("table1_methods_seed*", "dsn", "1:3", "45.5 ± 6.4", "0, 1"),
        ("-", "dsn", "4:3", "70.0 ± 0.0", "0, 1"),
        *([("-", "dense (dsn's classifier)", "1:3", "80.0 ± 0.0", "0, 1")] if dense else []),
        *([("all", "dsn", "1:3", "90.0", "2")] if together else []),
    }


def test_rows_with_other_costs_are_not_averaged(tmp_path, command):
    write_rows(tmp_path / "a", row_of(seed=0, gmacs=25.0))
    write_rows(tmp_path / "b", row_of(seed=1, gmacs=30.0))
    _, page = command("a", "b")
    assert [row["seeds"][0] for row in page.rows("results-table")] == ["0", "1"]


def test_methods_keep_the_order_of_the_evaluations(tmp_path, command):
    """The longest evaluation leads; the others' methods come after their predecessor."""
    orders = {"a": ["zoom", "mine"], "b": ["plain", "zoom", "every", "best"]}
    for name, selections in orders.items():
        write_rows(tmp_path / f"out/{name}", *(reference_row(selection, top1=0.5) for selection in selections))
    _, page = command("out")
    assert [row["selection"][0] for row in page.rows("results-table")] == ["plain", "zoom", "mine", "every", "best"]


def test_paths_of_networks_do_not_separate_seeds(tmp_path, command):
    for seed in (0, 1):
        networks = {"networks": {"any": f"runs/{seed}"}, "baseline": f"runs/b{seed}", "checkpoint": f"runs/{seed}"}
        folder = write_run(tmp_path / f"out/{seed}", seed=seed, **networks)
        write_rows(folder, row_of(seed=seed))
    _, page = command("out")
    assert [row["seeds"][0] for row in page.rows("results-table")] == ["0, 1"]


def test_the_classifier_is_named_where_it_is_not_the_methods(tmp_path, command):
    write_rows(
        tmp_path / "out",
        reference_row("plain"),
        reference_row("plain", classifier="mine"),
        row_of(selection="mine", classifier="baseline"),
        row_of(selection="mine", classifier="mine"),
    )
    _, page = command("out")
    names = [row["selection"][0] for row in page.rows("results-table")]
    assert names == ["plain", "plain (mine's classifier)", "mine", "mine (baseline's classifier)"]


def test_settings_are_the_overrides_that_were_typed(tmp_path, command):
    """A group that was chosen is one word, not each of its keys."""
    for name, blocks in (("r3d_18", [2, 2, 2, 2]), ("r2plus1d_34", [3, 4, 6, 3])):
        network = {"blocks": blocks, "conv": name[:3]}
        folder = write_run(tmp_path / f"out/{name}", backbone={"name": name, "network": network}, schedule={"lr": 0.1})
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "overrides.yaml").write_text(f"- backbone={name}\n- M=1\n")
        (folder / ".hydra" / "config.yaml").write_text("{}\n")
        write_rows(folder, row_of(backbone=name))
    _, page = command("out")
    assert {row["setting"][0] for row in page.rows("results-table")} == {"backbone=r3d_18", "backbone=r2plus1d_34"}


def test_own_data_sets_are_named_by_their_folder(tmp_path, command):
    for name, top1 in (("birds", 0.4), ("cars", 0.6)):
        folder = write_run(tmp_path / f"out/{name}", dataset={"name": "mine"})
        write_rows(folder, row_of(dataset="mine", split=None, top1=top1))
        write_basis(folder, classes=12, own_folder=name)
    _, page = command("out")
    found = {row["data set"][0]: row["top-1"][0] for row in page.rows("results-table")}
    assert found == {"mine (birds)": "40.0", "mine (cars)": "60.0"}
    assert {row["data set"][0] for row in page.rows("runs-table")} == {*found}
