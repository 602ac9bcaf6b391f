"""W&B's own options reach it: checkpoints, code, gradients, groups of sweeps, ids of agents."""

import csv
from pathlib import Path

import pytest
import torch

import dsn_lightning
from conftest import NEEDLE
from dsn_lightning.errors import UsageError
from dsn_lightning.tracking.loggers import RunInfo, WandbRun
from helpers.processes import call
from helpers.wandb_files import WandbFile, read_all

TINY = [
    "schedule.max_epochs=2", "schedule.batch_size=4", "M=1", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=1", "trainer.accelerator=cpu", "test.enabled=false", "logger=wandb",
    "logger.wandb.mode=offline",
]  # fmt: skip
ALL = ["logger.wandb.log_model=true", "logger.wandb.save_code=true", "logger.wandb.watch=all"]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """W&B's variables, which a run sets in its process, are restored."""
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def root(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training with all options, ``run``."""
    folder = tmp_path_factory.mktemp("options")
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, *ALL, "hydra.run.dir=run", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def trained(root: Path) -> WandbFile:
    (found,) = read_all(root / "run")
    return found


def test_the_last_and_the_best_checkpoint_are_uploaded(trained, root):
    models = [artifact for artifact in trained.artifacts if artifact.type == "model"]
    run_id = (root / "run" / "wandb_id.txt").read_text().strip()
    assert {artifact.name for artifact in models} == {f"model-{run_id}"}
    logged = {}
    for artifact in models:  # a later version takes an alias from an earlier one
        (entry,) = artifact.manifest.contents
        assert entry.path == "model.ckpt"
        logged |= dict.fromkeys(artifact.aliases, Path(entry.local_path).read_bytes())
    checkpoints = root / "run" / "checkpoints"
    assert logged["latest"] == (checkpoints / "last.ckpt").read_bytes()
    assert logged["best"] == (checkpoints / "best.ckpt").read_bytes()


def test_the_code_is_uploaded(trained):
    (code,) = [artifact for artifact in trained.artifacts if artifact.type == "code"]
    package = Path(dsn_lightning.__file__).parent
    assert {e.path for e in code.manifest.contents} == {str(p.relative_to(package)) for p in package.rglob("*.py")}


def test_each_epochs_row_has_histograms_of_its_gradients_and_parameters(trained, root):
    content = torch.load(root / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    warmup, last = [row for row in trained.history if "train/classifier_loss" in row]
    weights = {name.removeprefix("parameters/") for name in last if name.startswith("parameters/")}
    assert weights
    assert weights <= set(content)
    assert {f"gradients/{name}" for name in weights} == {name for name in last if name.startswith("gradients/")}
    for name in weights:
        values, histogram = content[name].float(), last[f"parameters/{name}"]
        assert sum(histogram["values"]) == values.numel()
        if values.min() < values.max():
            assert histogram["bins"][0] == pytest.approx(values.min().item(), rel=1e-4, abs=1e-6)
            assert histogram["bins"][-1] == pytest.approx(values.max().item(), rel=1e-4, abs=1e-6)
        assert sum(last[f"gradients/{name}"]["values"]) == values.numel()
    parts = {name.split(".")[0] for name in warmup if name.startswith("gradients/")}
    assert parts == {"gradients/classifier"}  # the sampler has no gradient in the warm-up


def test_all_uploads_each_best_checkpoint_of_a_run_that_ends_well(needle_root, tmp_path):
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, "logger.wandb.log_model=all",
         "schedule.max_epochs=4", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    values = [
        float(line["val/top1"]) for line in csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines())
    ]
    improved = sum(value > max([-1.0, *values[:epoch]]) for epoch, value in enumerate(values))
    (found,) = read_all(tmp_path / "run")
    aliases = [set(artifact.aliases) for artifact in found.artifacts if artifact.type == "model"]
    assert aliases == [{"latest", "best"}] * improved + [{"latest"}]


def test_wandbs_variables_may_ask_for_code_and_add_a_folder(monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "network.py").touch()
    monkeypatch.setenv("WANDB_SAVE_CODE", "true")
    monkeypatch.setenv("WANDB_CODE_DIR", str(tmp_path / "mine"))
    WandbRun(RunInfo(tmp_path, {}, "train", "name", [], None), mode="offline").finish(0)
    (found,) = read_all(tmp_path)
    paths = [{entry.path for entry in artifact.manifest.contents} for artifact in found.artifacts]
    assert {"network.py"} in paths
    assert any("tracking/loggers.py" in uploaded for uploaded in paths)


@pytest.mark.parametrize("diff", ["--- a/x\n+++ b/x\n", "", None])
def test_the_difference_from_the_commit_is_a_file_of_the_run(diff, tmp_path):
    WandbRun(RunInfo(tmp_path, {}, "train", "name", [], "abc-dirty", diff), mode="offline").finish(0)
    (found,) = read_all(tmp_path)
    assert found.saved.get("diff.patch") == (diff or None)


@pytest.mark.parametrize(
    ("exit_code", "uploaded"), [(0, [({"best", "latest"}, b"of an"), ({"latest"}, b"weigh")]), (143, [])]
)
def test_a_run_that_ends_well_uploads_its_checkpoints_also_the_best_one_of_an_earlier_part(
    exit_code, uploaded, tmp_path
):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"of an epoch before the run was resumed")
    run = WandbRun(RunInfo(tmp_path, {}, "train", "name", [], None), mode="offline", log_model=True)
    run.finish(exit_code)
    (found,) = read_all(tmp_path)
    contents = [Path(artifact.manifest.contents[0].local_path).read_bytes()[:5] for artifact in found.artifacts]
    aliases = [{*artifact.aliases} for artifact in found.artifacts]  # the last one takes "latest" from the first
    assert list(zip(aliases, contents, strict=True)) == uploaded


def test_an_agents_id_is_that_of_its_run_alone_and_is_kept_on_resume(monkeypatch, tmp_path):
    """wandb's agent sets both variables, and wandb.init() ignores the id that it is given where there is the first."""

    def run(folder: str, *, one_of_many: bool = False, given: str | None = None) -> tuple[str, str]:
        info = RunInfo(tmp_path / folder, {}, "train", "name", [], None, one_of_many=one_of_many)
        WandbRun(info, mode="offline", id=given).finish(0)
        last = read_all(tmp_path / folder)[-1].run
        return last.run_id, last.sweep_id

    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep3")
    monkeypatch.setenv("WANDB_RUN_ID", "agent7")
    shared = run("shared", one_of_many=True)
    assert shared == ((tmp_path / "shared" / "wandb_id.txt").read_text().strip(), "")
    assert shared[0] != "agent7"
    assert run("own", given="mine") == ("agent7", "sweep3")  # the agent waits for this id
    assert (tmp_path / "own" / "wandb_id.txt").read_text().strip() == "agent7"
    monkeypatch.setenv("WANDB_RUN_ID", "agent8")
    assert run("own") == ("agent7", "")
    assert run("another") == ("agent8", "sweep3")


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("log_model", "best", "false, true, all"),
        ("save_code", "src", "null, false, true"),
        ("watch", True, "null, gradients, parameters, all"),
    ],
)
def test_other_values_are_refused(option, value, allowed, tmp_path):
    with pytest.raises(UsageError, match=f"^logger.wandb.{option}={value}: must be {allowed}$"):
        WandbRun(RunInfo(tmp_path, {}, "train", "name", [], None), **{option: value})


def test_evaluations_of_a_sweep_share_a_group_and_name_their_checkpoints(root):
    copy = root / "copies" / "a.ckpt"  # in no run's folder
    copy.parent.mkdir()
    copy.write_bytes((root / "run" / "checkpoints" / "best.ckpt").read_bytes())
    call("dsn-evaluate", "-m", "checkpoint=run/checkpoints/last.ckpt", "networks.mine=copies/a.ckpt", "test.M=1,2",
         "logger=wandb", "logger.wandb.mode=offline", "test.figures=false", "hydra.sweep.dir=my_tests", cwd=root,
         env={"WANDB_RUN_ID": "cannot-be-that-of-both"})  # fmt: skip
    first, second = (read_all(root / "my_tests" / job)[0] for job in "01")
    assert (first.run.run_group, second.run.run_group) == ("my_tests", "my_tests")
    assert len({first.run.run_id, second.run.run_id, "cannot-be-that-of-both"}) == 3
    run_id = (root / "run" / "wandb_id.txt").read_text().strip()
    assert first.config["checkpoints"] == {
        "dsn": {"path": "run/checkpoints/last.ckpt", "wandb_id": run_id},
        "mine": {"path": "copies/a.ckpt", "wandb_id": None},
    }


@pytest.mark.parametrize("launcher", [pytest.param("processes", marks=pytest.mark.slow), "basic"])
def test_the_jobs_of_a_sweep_share_a_group_whatever_launches_them(launcher, needle_root, tmp_path):
    """Hydra's own launcher runs the jobs as those of its plug-ins for joblib and submitit do."""
    env = {"WANDB_RUN_ID": "cannot-be-that-of-both"}
    call("dsn-train", "-m", f"hydra/launcher={launcher}", f"dataset.root={needle_root}", *NEEDLE, *TINY,
         "trainer.max_time=00:00:00:00", "gamma=0,1", "hydra.sweep.dir=outputs/my_sweep", cwd=tmp_path,
         env=env)  # fmt: skip
    first, second = (read_all(tmp_path / "outputs" / "my_sweep" / job)[0].run for job in "01")
    assert (first.run_group, second.run_group) == ("my_sweep", "my_sweep")
    assert len({first.run_id, second.run_id, *env.values()}) == 3
