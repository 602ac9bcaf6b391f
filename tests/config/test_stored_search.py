"""A stored search goes on with the command that began it, of which a foreign file gives values only."""

import json
import shutil

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from dsn_lightning.config.arguments import sweep_to_resume
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.stored_search import check_of_stored, checked, search_to_resume
from dsn_lightning.errors import UsageError
from dsn_lightning.runs.search_plan import SearchPlan
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob, SweepRecord

PLAN = SearchPlan(["M=1,3", "test.M='${M}'"], "train", {"M": "{}"}, ["best"], "tpe", "none", 0, 10)


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = SweepFolder(tmp_path / "sweep")
    folder.path.mkdir()
    folder.write(SweepRecord([SweepJob(["M=1"], "0")]))
    return folder


def resumed(*arguments: str) -> list[str] | None:
    stored = sweep_to_resume(arguments)
    assert stored is not None
    return search_to_resume(stored)


def test_the_command_line_goes_on(sweep):
    PLAN.write(sweep.search_json)
    given = resumed("sweep.resume=sweep", "sweep.trials=20", "sweep.jobs=2", "trust=[mine]", "--config-dir=conf")
    assert given == [
        *("M=1,3", "test.M='${M}'", "sweep.sampler=tpe", "sweep.trials=10", "sweep.trials=20", "sweep.jobs=2"),
        *(f"sweep.resume='{sweep.path}'", f"hydra.sweep.dir='{sweep.path}'", "--config-dir=conf", "trust=[mine]"),
        *("--multirun", "--config-name", "train"),
    ]
    with pytest.raises(UsageError, match=r"^M=9: a sweep keeps its configuration"):
        resumed("sweep.resume=sweep", "M=9")


def test_a_grid_has_no_trials(sweep):
    assert resumed("sweep.resume=sweep") is None
    with pytest.raises(UsageError, match=r"^sweep.trials=20: a sweep keeps its configuration"):
        resumed("sweep.resume=sweep", "sweep.trials=20")


@pytest.mark.parametrize(
    "argument",
    [
        "hydra.callbacks.x._target_=os.system",
        "+hydra.job.env_set.A=1",
        "hydra/launcher=mine",
        "hydra.searchpath=[file:///tmp]",
        "trust=[os]",
        "+trust=[os]",
        "overwrite=true",
        "++trust.a=os",
        "++overwrite.x=1",
        "sweep.resume=elsewhere",
        "--config-dir=/tmp",
        "-cd=/tmp",
        "note=${oc.env:SECRET}",
        "note=${M}${oc.env:SECRET}",
        "note=${${M}}",
        "schedule=../../elsewhere",
        "schedule=tiny,../../elsewhere",
        "schedule=/elsewhere",
        "+schedule@x=tiny,/elsewhere",
        "dataset/reading=../x",
        "+schedule/rule@hydra.callbacks.x=cosine",
        "++schedule.max_epochs={_target_:pandas.read_pickle,filepath_or_buffer:x}",
        "++callbacks.x._target_=os.system",
        "callbacks.x=[{_target_:os.system}]",
        "~resume",
        "+callbacks@resume=none",
        "note=$\\{oc.env:SECRET}",
        "note=${hydra.runtime.cwd}",
        "schedule=choice(tiny,elsewhere)",
        "schedule=[tiny,/elsewhere]",
        "nothing/here=tiny",
    ],
)
def test_a_stored_override_gives_values_only(argument, sweep):
    SearchPlan(**vars(PLAN) | {"arguments": ["M=1,3", argument]}).write(sweep.search_json)
    with pytest.raises(UsageError, match=r"search\.json: arguments: .* is not accepted from a file"):
        resumed("sweep.resume=sweep")


@pytest.mark.parametrize(
    "values",
    [
        "shuffle(range(0,100000000))",
        "range(10000000000)",
        "range(0,1,1e-9)",
        "range(a)",
        "range(step=1e-6,start=0,stop=1)",
        "range(int(0),int(100000))",
    ],
)
def test_a_stored_range_is_short(values, sweep):
    """It is written out, which would take memory."""
    SearchPlan(**vars(PLAN) | {"arguments": [f"seed={values}"]}).write(sweep.search_json)
    with pytest.raises(UsageError, match=r"search\.json: arguments: seed=.*: expected a range of at most 10000 values"):
        resumed("sweep.resume=sweep")


@pytest.mark.parametrize(
    "argument",
    [
        "seed=range(0,3)",
        "note='my range(x)'",
        "schedule=tiny,finetune",
        "schedule=choice(tiny, finetune)",
        "logger=[wandb,tensorboard]",
        "+experiment=demo/dsn",
        "dataset/reading/decoder=pyav",
        "gamma=interval(0,1)",
        "schedule.lr=tag(log,interval(1e-4,1e-1))",
        "test.M='${M}'",
        "+trainer.limit_train_batches=2",
        "dataset.root='/data/my videos'",
    ],
)
def test_values_and_choices_are_accepted(argument):
    assert checked([argument], where="search.json") == [argument]


def test_a_stored_search_is_no_grid(sweep):
    SearchPlan(**vars(PLAN) | {"sampler": "grid"}).write(sweep.search_json)
    with pytest.raises(UsageError, match=r"search\.json: sampler: expected random or tpe, got 'grid'"):
        resumed("sweep.resume=sweep")


@pytest.mark.parametrize("name", ["a\\", "a\\\\", "it's", "a\\'b"])
def test_hydra_is_given_the_folder_that_was_checked(name, sweep, tmp_path):
    PLAN.write(sweep.search_json)
    shutil.copytree(sweep.path, tmp_path / name)
    given = resumed(f"sweep.resume={name}")
    read = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(given[:-3])}
    assert read["sweep.resume"] == read["hydra.sweep.dir"] == str(tmp_path / name)


@pytest.mark.parametrize("name", ["evaluate", "cost", "../elsewhere"])
def test_a_search_trains(name, sweep):
    SearchPlan(**vars(PLAN) | {"config_name": name}).write(sweep.search_json)
    with pytest.raises(UsageError, match=rf"search\.json: config_name: expected train, got '{name}'"):
        resumed("sweep.resume=sweep")


def test_what_a_new_trial_would_build_is_checked_before(sweep):
    check_of_stored(sweep, settings_of("run_dir=run", "dataset.root=data"), trusted=[])
    foreign = settings_of("run_dir=run", "dataset._target_=os.system")
    with pytest.raises(UsageError, match=r"^sweep\.resume=.*os\.system"):
        check_of_stored(sweep, foreign, trusted=[])
    elsewhere = settings_of("run_dir=run", "dataset.root=/elsewhere/data")
    with pytest.raises(UsageError, match=r"^sweep\.resume=.*dataset\.root=/elsewhere/data"):
        check_of_stored(sweep, elsewhere, trusted=[])


def test_a_damaged_plan_is_named(sweep):
    sweep.search_json.write_text(json.dumps({"format": 1}))
    with pytest.raises(UsageError, match=r"search\.json: is damaged"):
        resumed("sweep.resume=sweep")
