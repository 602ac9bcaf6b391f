"""The commands as a user types them, in processes of their own."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from hydra.core.config_store import ConfigStore
from scipy.stats import binom

from conftest import NEEDLE
from dsn_lightning.config.arguments import continue_run
from dsn_lightning.config.trained import RECORD_KEY
from dsn_lightning.evaluation.results import FIELDS, measure
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.selections.random_clips import Random
from helpers.processes import call

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "schedule.max_epochs=2", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "trainer.accelerator=cpu", "test.random_draws=3", "test.figures=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four trainings that Table I needs, two epochs each."""
    root = tmp_path_factory.mktemp("runs")
    common = [f"dataset.root={needle_root}", *NEEDLE, *TINY]
    call("dsn-train", *common, "algorithm=baseline", "hydra.run.dir=baseline", cwd=root)
    base = "baseline/checkpoints/last.ckpt"
    call("dsn-train", *common, "algorithm.warmup_epochs=1", "hydra.run.dir=dsn", "test.enabled=false", cwd=root)
    call("dsn-train", *common, "algorithm=dsn_fixed", f"classifier.checkpoint={base}", "hydra.run.dir=dsn_fixed",
         "test.enabled=false", cwd=root)  # fmt: skip
    call("dsn-train", *common, "algorithm=baseline", "backbone=r2d_tiny", "hydra.run.dir=max_response",
         "test.enabled=false", cwd=root)  # fmt: skip
    return root


ROLES = {
    "checkpoint": "dsn",
    "baseline": "baseline",
    "dsn_fixed": "dsn_fixed",
    "max_response": "max_response",
}


@pytest.fixture(scope="module")
def evaluated(runs: Path) -> Path:
    keys = [f"{role}={name}/checkpoints/last.ckpt" for role, name in ROLES.items()]
    call("dsn-evaluate", *keys, "test.M=[1,2]", "test.random_draws=3", "hydra.run.dir=evaluated", cwd=runs)
    return runs / "evaluated"


def test_training_leaves_what_it_promises(runs):
    for name in ("baseline", "dsn", "dsn_fixed", "max_response"):
        for file in (
            "checkpoints/best.ckpt",
            "checkpoints/last.ckpt",
            "metrics.csv",
            "environment.json",
            ".hydra/config.yaml",
        ):
            assert (runs / name / file).is_file(), (name, file)
    rows = list(csv.DictReader((runs / "dsn" / "metrics.csv").read_text().splitlines()))
    assert any(row.get("train/policy_entropy") for row in rows)
    assert any(row.get("val/top1") for row in rows)
    found = json.loads((runs / "dsn" / "environment.json").read_text())
    assert found["effective_batch_size"] == 4
    assert found["videos"] == {"train": 12, "val": 6, "test": 6}


def test_last_checkpoint_is_the_last(runs):
    """Also where an earlier epoch was the best one: with a constant metric the first is."""
    for name in ("baseline", "dsn", "dsn_fixed", "max_response"):
        content = torch.load(runs / name / "checkpoints" / "last.ckpt", weights_only=True)
        assert content["epoch"] == 1, name


def test_checkpoints_hold_plain_data_only(runs):
    content = torch.load(runs / "dsn" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content[RECORD_KEY]["config"]["N"] == 2
    assert content[RECORD_KEY]["classes"][0] == "right"


def test_training_evaluates_itself(runs):
    rows = json.loads((runs / "baseline" / "results.json").read_text())
    assert {row["selection"] for row in rows} == {"random", "uniform", "dense", "oracle", "oracle_video"}


def test_table_one_has_its_rows(evaluated):
    rows = json.loads((evaluated / "results.json").read_text())
    assert all(tuple(row) == FIELDS for row in rows)
    expected = {
        ("random", "baseline"), ("uniform", "baseline"), ("uniform", "dsn"), ("max_response", "baseline"),
        ("dsn_fixed", "baseline"), ("dsn", "dsn"), ("dsn", "baseline"), ("dense", "baseline"), ("oracle", "baseline"),
        ("oracle", "dsn"), ("oracle_video", "baseline"),
    }  # fmt: skip
    for m in (1, 2):
        assert {(row["selection"], row["classifier"]) for row in rows if row["M"] == m} == expected
    for row in rows:
        assert 0 <= row["top1"] <= 1
        assert 0 <= row["hit_rate"] <= 1
        assert row["videos"] == 6
    table = list(csv.DictReader((evaluated / "results.csv").read_text().splitlines()))
    assert [float(line["top1"]) for line in table] == pytest.approx([row["top1"] for row in rows])


def test_statistics_stand_beside_the_results(evaluated):
    """Each figure is the results', and each difference that of two of them."""
    statistics = json.loads((evaluated / "statistics.json").read_text())
    key = itemgetter("selection", "classifier", "M", "N")
    rows = {key(row): row for row in json.loads((evaluated / "results.json").read_text())}
    found = {key(own): own for own in statistics["methods"]}
    assert set(found) == set(rows)
    figures = ("top1", "mean_class", "map", "hit_rate")
    for method, row in rows.items():
        for figure in figures:
            assert found[method][figure]["value"] == pytest.approx(row[figure], abs=1e-6)
    learned = ("dsn", "dsn_fixed", "max_response")
    held = {tuple(own[key][name] for key in ("method", "other") for name in ("selection", "classifier", "M")): own
            for own in statistics["differences"]}  # fmt: skip
    for selection in learned:
        for m in (1, 2):
            own = held[selection, "baseline", m, "uniform", "baseline", m]
            gain = rows[selection, "baseline", m, 2]["top1"] - rows["uniform", "baseline", m, 2]["top1"]
            assert own["top1"]["value"] == pytest.approx(gain)
    assert [own["M"] for own in statistics["headroom"]] == [1, 2]
    assert statistics["about"]["resamples"] == 2000


def test_predictions_of_each_video_stand_beside_the_results(evaluated, runs):
    for folder in (evaluated, runs / "baseline"):
        table = pd.read_csv(folder / "predictions.csv")
        found = table.groupby(["selection", "classifier", "M", "N"])
        rows = json.loads((folder / "results.json").read_text())
        assert len(found) == len(rows)
        for row in rows:
            lines = found.get_group((row["selection"], row["classifier"], row["M"], row["N"]))
            assert lines["correct"].mean() == pytest.approx(row["top1"])
            assert lines["video"].nunique() == row["videos"]
            assert {len(str(starts).split(";")) for starts in lines["starts_seconds"]} == {row["clips"]}


def test_costs_are_composed_of_clips(evaluated):
    rows = json.loads((evaluated / "results.json").read_text())
    by = {(r["selection"], r["classifier"], r["M"]): r for r in rows}
    clip = by["uniform", "baseline", 1]["gmacs"]
    assert by["uniform", "baseline", 2]["gmacs"] == pytest.approx(2 * clip)
    assert by["uniform", "dsn", 2]["gmacs_observation"] == 0
    assert by["dense", "baseline", 1]["gmacs"] == pytest.approx(20 * clip)
    dsn = by["dsn", "dsn", 2]
    assert dsn["gmacs_classifier"] == pytest.approx(2 * clip)
    assert dsn["gmacs"] == pytest.approx(dsn["gmacs_classifier"] + dsn["gmacs_observation"])
    assert dsn["gmacs_observation"] == pytest.approx(2 * by["dsn", "dsn", 1]["gmacs_observation"])
    assert by["oracle", "dsn", 2]["gmacs"] is None


def test_scores_are_stored_once_for_all_methods(evaluated):
    scores = ClipScores.load(evaluated / "clip_scores.npz")
    keys = list(zip(scores.clip_video, scores.clip_start, scores.clip_network, strict=True))
    assert len(set(keys)) == len(keys)
    assert set(scores.network_name) == {"baseline", "dsn", "max_response", "dsn sampler", "dsn_fixed sampler"}
    assert {len(h) for h in scores.network_hash} == {16}


def test_figures_are_pictures_and_left_out_where_nobody_wants_them(evaluated, runs):
    for name in ("accuracy_vs_gmacs.png", "clips_dsn.png", "classes.png"):
        assert (evaluated / "figures" / name).read_bytes()[:4] == b"\x89PNG"
    assert (runs / "baseline" / "statistics.json").is_file()
    assert not (runs / "baseline" / "figures").exists()


def test_fixed_classifier_equals_the_baselines(runs):
    base, fixed = (
        torch.load(runs / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("baseline", "dsn_fixed")
    )
    own = {k: v for k, v in base.items() if k.startswith("classifier.")}
    assert own
    assert all(torch.equal(value, fixed[name]) for name, value in own.items())


def test_rows_without_a_model_are_left_out_and_named(runs):
    done = call("dsn-evaluate", "baseline=baseline/checkpoints/last.ckpt", "test.bootstrap=100", "test.M=[1,2]",
                "hydra.run.dir=part", cwd=runs)  # fmt: skip
    assert "max_response: give max_response=CHECKPOINT for this row\n" in done.stdout
    assert "uniform with the dsn classifier, dsn with the dsn classifier, " in done.stdout
    assert "oracle with the dsn classifier: give checkpoint=CHECKPOINT for these rows\n" in done.stdout

    statistics = json.loads((runs / "part" / "statistics.json").read_text())
    assert [own["M"] for own in statistics["headroom"]] == [1, 2]
    (warning,) = statistics["warnings"]  # after two epochs it has learned nothing, so there is no headroom to speak of
    assert warning.startswith("baseline's classifier is at chance: ")
    assert f"warning: {warning}\n" in done.stdout
    assert "headroom: " not in done.stdout


def test_dsn_f_answers_for_the_baseline_whose_classifier_it_shares(runs):
    """Every row of that classifier names its network, also those whose clips another one has chosen."""
    call("dsn-evaluate", "dsn_fixed=dsn_fixed/checkpoints/last.ckpt", "max_response=max_response/checkpoints/last.ckpt",
         "test.bootstrap=100", "seed=1", "hydra.run.dir=shared", cwd=runs)  # fmt: skip
    rows = json.loads((runs / "shared" / "results.json").read_text())
    assert {"max_response", "dsn_fixed", "uniform", "random"} <= {row["selection"] for row in rows}
    assert {row["backbone"] for row in rows} == {"r3d_tiny"}

    scores = ClipScores.load(runs / "shared" / "clip_scores.npz")  # of the draws that seed=1 gives
    (given,) = [row for row in rows if row["selection"] == "random"]
    for seed in (0, 1):
        scheme = replace(scores.scheme(2, 2), seed=seed)
        drawn = [Random().candidates(own.video_id, own.num_frames, scheme) for own in scores.videos()]
        there = [
            {*map(int, own)} <= {*known.logits["baseline"]} for own, known in zip(drawn, scores.videos(), strict=True)
        ]
        assert all(there) == (seed == 1)
    again = measure(scores, Random(), scores.scheme(2, 2), "baseline", consensus="probabilities")
    assert again["top1"] == pytest.approx(given["top1"])


def test_what_a_held_folder_refuses_changes_nothing_in_it(runs, tmp_path):
    shutil.copytree(runs / "dsn", tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with FileLock(tmp_path / "run" / ".lock"):
        done = call("dsn-train", "M=1", "seed=7", f"dataset.root={tmp_path}", *NEEDLE, "hydra.run.dir=run",
                    cwd=tmp_path, expect=2)  # fmt: skip
        assert "another process is working in this folder" in done.stderr
        done = call("dsn-evaluate", f"baseline={runs}/baseline/checkpoints/last.ckpt", "hydra.run.dir=run",
                    cwd=tmp_path, expect=2)  # fmt: skip
        assert "another process is working in this folder" in done.stderr
    assert all(path.read_bytes() == content for path, content in before.items())

    _, name, *_ = continue_run([f"resume={tmp_path / 'run'}"])
    kept = ConfigStore.instance().load(f"{name}.yaml").node
    assert (kept.M, kept.seed, kept.resume) == (2, 0, True)
    assert kept.run_dir == str(tmp_path / "run")  # where it is now, whatever it says


def test_intervals_can_be_turned_off(runs):
    call("dsn-evaluate", "baseline=baseline/checkpoints/last.ckpt", "test.bootstrap=0", "hydra.run.dir=none", cwd=runs)
    assert (runs / "none" / "results.json").is_file()
    assert not (runs / "none" / "statistics.json").exists()


BAD_TRAIN = [
    (["dataset=folder", "dataset.root=/nowhere/at/all"], "dataset.root=/nowhere/at/all: no such folder"),
    (["dataset=folder"], "dataset.root is not set"),
    (["M=0"], "M=0: must be a whole number of at least 1"),
    (["N=-1"], "N=-1: must be"),
    (["gamma=-0.5"], "gamma=-0.5: is a penalty"),
    (["test.M=[1,0]"], "test.M=[1,0]: must be"),
    (["test.figures=1"], "test.figures=1: must be true or false"),
    (["test.bootstrap=20"], "test.bootstrap=20: must be 0 (no intervals) or a whole number of at least 100"),
    (["algorithm.warmup_epochs=99"], "algorithm.warmup_epochs=99"),
    (["schedule.max_epochs=8", "algorithm.warmup_epochs=8"], "or the sampler would never be trained"),
    (["+algorithm.train_sampler=false"], "algorithm.train_sampler=false: algorithm.warmup_epochs="),
    (["schedule.lr=-1"], "schedule.lr=-1: must be a number above 0"),
    (["schedule.sampler_lr=fast"], "schedule.sampler_lr=fast: must be a number above 0"),
    (["algorithm.exploration=-1"], "algorithm.exploration=-1: must be a number of at least 0"),
    (["num_workers=0.5"], "num_workers=0.5: must be a whole number of at least 0, or auto"),
    (["+trainer.gradient_clip_val=1"], "use schedule.gradient_clip"),
    (["+trainer.accumulate_grad_batches=2"], "use schedule.accumulate"),
    (["+trainer.max_steps=10"], "use schedule.max_epochs"),
    (["trainer.precision=16-mixed", "schedule.accumulate=2"], "trainer.precision=16-mixed"),
    (["+trainer.val_check_interval=0.5"], "trainer.val_check_interval=0.5"),
    (["algorithm=dsn_fixed"], "classifier.checkpoint"),
    (["classifier.checkpoint=nothing.ckpt"], "classifier.checkpoint=nothing.ckpt: no such checkpoint file"),
    (["test.baseline=nothing.ckpt"], "test.baseline=nothing.ckpt: no such checkpoint file"),
    (["test.N=3"], "algorithm=dsn: test.N=3: this observation network was made for N=4 clips per section"),
    (["dataset.reading.decoder.deadline=null"], "dataset.reading.decoder.deadline=None: must be seconds"),
    (["dataset.fps=0"], "dataset.fps=0: must be a number above 0"),
    (["backbone.frame_stride=-1"], "backbone.frame_stride=-1: must be a whole number of at least 1"),
]


def one_line(done: subprocess.CompletedProcess[str], command: str, message: str) -> None:
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert errors[0].startswith(f"{command}: error: ")
    assert message in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "message"), BAD_TRAIN, ids=[" ".join(a) for a, _ in BAD_TRAIN])
def test_bad_training_input_gets_one_line(arguments, message, needle_root, tmp_path):
    base = [f"dataset.root={needle_root}", *NEEDLE] if "dataset=folder" not in arguments else []
    one_line(call("dsn-train", *base, *arguments, cwd=tmp_path, expect=None), "dsn-train", message)
    assert not list(tmp_path.rglob("*.ckpt"))  # and before the training, not behind it


def test_bad_evaluation_input_gets_one_line(runs, needle_root, class_folders, tmp_path):
    (tmp_path / "junk.ckpt").write_bytes(b"junk")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    last = "dsn/checkpoints/last.ckpt"
    cases = [
        ([], "nothing to evaluate"),
        (["checkpoint=no.ckpt"], "checkpoint=no.ckpt: no such checkpoint file"),
        ([f"checkpoint={tmp_path}/junk.ckpt"], "junk.ckpt: cannot be read as weights"),
        ([f"checkpoint={tmp_path}/other.ckpt"], "not a checkpoint of dsn-train"),
        ([f"checkpoint={last}", "test.N=3"], "N=3: this observation network was made for N=2"),
        ([f"baseline={last}"], "expected a run of algorithm=baseline, got algorithm=dsn"),
        (
            ["checkpoint=baseline/checkpoints/last.ckpt", "baseline=baseline/checkpoints/last.ckpt"],
            "and baseline= is given as well",
        ),
        (
            [f"checkpoint={last}", "dataset=folder", f"dataset.root={class_folders}"],
            "was trained for 4 classes",
        ),
        (
            ["dsn_fixed=dsn_fixed/checkpoints/last.ckpt", "baseline=other/checkpoints/last.ckpt"],
            "its classifier is not that of baseline=other",
        ),
        (
            ["max_response=max_response/checkpoints/last.ckpt"],
            "no selection method can be evaluated with the given runs",
        ),
        (["baseline=baseline/checkpoints/last.ckpt", "selection=[dsn]"], "no selection method can be evaluated"),
    ]
    content = torch.load(runs / "baseline" / "checkpoints" / "last.ckpt", weights_only=True)
    content["state_dict"]["classifier.fc.bias"] += 1
    (runs / "other" / "checkpoints").mkdir(parents=True)
    torch.save(content, runs / "other" / "checkpoints" / "last.ckpt")
    for arguments, message in cases:
        one_line(call("dsn-evaluate", *arguments, cwd=runs, expect=None), "dsn-evaluate", message)
    own = [f"dataset.root={needle_root}", *NEEDLE, *TINY, "algorithm=dsn_fixed", f"hydra.run.dir={tmp_path / 'out'}",
           "classifier.checkpoint=baseline/checkpoints/last.ckpt"]  # fmt: skip
    for arguments, message in [  # likewise, and before the training
        ([f"test.baseline={last}"], "expected a run of algorithm=baseline, got algorithm=dsn"),
        (["test.baseline=other/checkpoints/last.ckpt"], "its classifier is not that of test.baseline=other"),
    ]:
        one_line(call("dsn-train", *own, *arguments, cwd=runs, expect=None), "dsn-train", message)
    assert not list(tmp_path.rglob("out/checkpoints/*"))


def test_foreign_code_in_a_checkpoint_is_refused(runs, tmp_path):
    content = torch.load(runs / "dsn" / "checkpoints" / "last.ckpt", weights_only=True)
    content[RECORD_KEY]["config"]["backbone"]["network"]["_target_"] = "os.system"
    torch.save(content, tmp_path / "evil.ckpt")
    done = call("dsn-evaluate", f"checkpoint={tmp_path}/evil.ckpt", cwd=tmp_path, expect=None)
    one_line(done, "dsn-evaluate", "would run os.system, which is not part of dsn_lightning")


def test_own_folder_trains_and_evaluates(class_folders, tmp_path):
    call("dsn-train", "dataset=folder", "recipe=none", f"dataset.root={class_folders}", "dataset.group=^[a-z]+", *TINY,
         "algorithm.warmup_epochs=1", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {row["selection"] for row in rows} == {"uniform", "dsn", "oracle"}
    assert all(row["hit_rate"] is None for row in rows)
    assert all(row["top5"] is None for row in rows)  # two classes


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel installs, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True,
        capture_output=True,
    )  # fmt: skip
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_an_installed_wheel_finds_its_configurations(unpacked_wheel, tmp_path):
    program = "import sys; from dsn_lightning.cli import train; print(train.__file__); "
    program += "sys.argv = ['dsn-train', '--cfg', 'job']; train.main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(unpacked_wheel)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(unpacked_wheel))
    assert "name: r3d_tiny" in done.stdout
    configurations = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    installed = unpacked_wheel / "dsn_lightning" / "conf"
    assert {p.relative_to(installed) for p in installed.rglob("*.yaml")} == configurations
    assert (unpacked_wheel / "dsn_lightning" / "paper" / "tables.csv").is_file()


def test_repeated_set_up_costs_nothing():
    if not (ROOT / ".venv" / ".ready").is_file():
        pytest.skip("this environment was not made by make setup")
    started = time.monotonic()
    subprocess.run(["make", "setup"], cwd=ROOT, check=True, capture_output=True)
    assert time.monotonic() - started < 1


def test_same_seed_gives_the_same_weights(needle_root, tmp_path):
    states = []
    for name in ("a", "b"):
        call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, "algorithm.warmup_epochs=1",
             "test.enabled=false", f"hydra.run.dir={name}", cwd=tmp_path)  # fmt: skip
        states.append(torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "said"), [("100", True), ("0.03", False)])
def test_a_classifier_that_has_not_learned_is_named(rate, said, needle_root, tmp_path):
    done = call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, "algorithm=baseline", f"schedule.lr={rate}",
                "schedule.max_epochs=8", "schedule.batch_size=4", "M=2", "N=2", "trainer.accelerator=cpu",
                "test.enabled=false", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    metrics = list(csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines()))
    assert (not float(metrics[-1]["train/classifier_loss"]) < math.log(4)) == said
    assert ("the classifier has not learned: its loss in epoch 8" in done.stderr) == said
    assert "the classifier has not learned: its loss in epoch 3" in done.stderr  # 1.39, the loss of guessing


@pytest.mark.slow
def test_shuffled_labels_give_chance(tmp_path):
    """With labels drawn at random, accuracy lies inside the 99% interval of guessing."""
    from dsn_lightning.datasets.needle import Needle

    source = Needle(str(tmp_path / "data"), num_train=60, num_val=0, num_test=120)
    source.prepare()
    manifest = source.root / "videos.json"
    rows = json.loads(manifest.read_text())
    labels = np.random.default_rng(0).permutation([row["label"] for row in rows])
    for row, label in zip(rows, labels, strict=True):
        row["label"] = int(label)
    manifest.write_text(json.dumps(rows))
    call("dsn-train", f"dataset.root={tmp_path / 'data'}", "dataset.num_train=60", "dataset.num_val=0",
         "dataset.num_test=120", *TINY, "schedule.max_epochs=6", "algorithm.warmup_epochs=2", "hydra.run.dir=run",
         cwd=tmp_path)  # fmt: skip
    found = {row["selection"]: row["top1"] for row in json.loads((tmp_path / "run" / "results.json").read_text())}
    low, high = binom.interval(0.99, 120, 1 / len(source.classes))
    assert low <= 120 * found["dsn"] <= high
    assert low <= 120 * found["uniform"] <= high


def test_a_value_that_needs_quotes_gets_them_shown(tmp_path):
    for command, key in (("dsn-train", "weights"), ("dsn-evaluate", "checkpoint"), ("dsn-prepare", "output")):
        given = f"{key}=runs/M=1 N=2/last.ckpt"
        done = call(command, given, cwd=tmp_path, expect=2)
        quoted = f"{key}='runs/M=1 N=2/last.ckpt'"
        assert done.stderr == (
            f'{command}: error: {given}: a value with such characters needs quotes; on a command line: "{quoted}"\n'
        )
        again = call(command, quoted, cwd=tmp_path, expect=None)
        assert "needs quotes" not in again.stderr


@pytest.mark.parametrize(
    "command", ["dsn-train", "dsn-evaluate", "dsn-prepare", "dsn-cost", "dsn-predict", "dsn-export"]
)
def test_help_names_the_command(command, tmp_path):
    assert call(command, "--help", cwd=tmp_path).stdout.startswith(f"{command}: ")


def test_no_run_leaves_an_empty_log(runs, evaluated):
    assert [path for path in [*runs.rglob("*.log")] if "wandb" not in path.parts] == []
