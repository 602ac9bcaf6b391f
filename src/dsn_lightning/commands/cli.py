"""The entry points: checks that cost nothing come before the imports that take seconds; errors are one line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from dsn_lightning.commands import resolvers
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.process_rank import process_rank, without_run_folder
from dsn_lightning.runs import RunFolder, SweepFolder

# what may change when a run is resumed
_FREE_IN_RESUME = ("progress=", "num_workers=", "test.", "checkpoint.every_n_batches=", "trainer.max_time=", "logger.")
_REFUSED_FLAGS = {
    "gradient_clip_val": "use schedule.gradient_clip, which clips each optimiser by itself",
    "gradient_clip_algorithm": "use schedule.gradient_clip, the 2-norm of each optimiser's gradient",
    "accumulate_grad_batches": "use schedule.accumulate",
    "max_epochs": "use schedule.max_epochs, which the learning rates follow",
    "max_steps": "it would count both optimisers' steps; use schedule.max_epochs",
    "min_steps": "it would count both optimisers' steps; use schedule.max_epochs",
    "min_epochs": "use schedule.max_epochs",
    "val_check_interval": "use trainer.check_val_every_n_epoch",
}


resolvers.register()


def config_folder() -> str:
    """Return the folder of configurations: the checkout's ``conf/``, or the copy in the installed package."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "conf"
    return str(folder if folder.is_dir() else package.parents[1] / "conf")


def run(work: Callable[[DictConfig], None], cfg: DictConfig, *, command: str) -> None:
    """Run ``work(cfg)`` in `one_line_errors`."""
    with one_line_errors(command):
        check(cfg)
        work(cfg)


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Print what the user got wrong as one line, and exit with code 2."""
    try:
        yield
    except UsageError as error:
        stop(command, str(error))
    except (InstantiationException, InterpolationResolutionError) as error:  # around what a constructor, ${...} raise
        usage = _usage_error_behind(error)
        if usage is None:
            raise
        stop(command, str(usage))


def _usage_error_behind(error: BaseException) -> UsageError | None:
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, UsageError):
        behind = behind.__cause__ or behind.__context__
    return behind


def quote_pattern(arguments: list[str]) -> list[str]:
    """Put quotes around a regular expression, which Hydra's grammar would otherwise try to read.

    >>> quote_pattern(["dataset.group=^[a-z]+", "M=3"])
    ["dataset.group='^[a-z]+'", 'M=3']
    """
    key = "dataset.group="
    return [
        f"{key}'{value}'" if a.startswith(key) and (value := a.removeprefix(key))[:1] not in ("", "'", '"') else a
        for a in arguments
    ]


def stop(command: str, message: str) -> NoReturn:
    """Print one line and exit with code 2."""
    print(f"{command}: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def check(cfg: DictConfig) -> None:
    """Refuse settings that make no sense, before anything costly starts.

    Raises:
        UsageError: names the key, its value and the remedy.
    """
    for key in ("M", "N", "test.M", "test.N", "test.random_draws", "schedule.max_epochs", "schedule.batch_size",
                "schedule.accumulate", "checkpoint.every_n_batches", "devices", "backbone.frames_per_clip",
                "backbone.frame_stride"):  # fmt: skip
        value = OmegaConf.select(cfg, key)
        for number in value if OmegaConf.is_list(value) else [value]:
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise UsageError(f"{key}={number}: must be a whole number of at least 1")
    gamma = cfg.get("gamma", 0)
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not gamma >= 0:
        raise UsageError(f"gamma={gamma}: is a penalty and must be a number of at least 0")
    if isinstance(cfg.seed, bool) or not isinstance(cfg.seed, int) or cfg.seed < 0:
        raise UsageError(f"seed={cfg.seed}: must be a whole number of at least 0")
    if isinstance(cfg.num_workers, bool) or not isinstance(cfg.num_workers, int) or cfg.num_workers < 0:
        raise UsageError(f"num_workers={cfg.num_workers}: must be a whole number of at least 0")
    number = OmegaConf.select(cfg, "test.bootstrap")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or 0 != number < 100):
        raise UsageError(f"test.bootstrap={number}: must be 0 (no intervals) or a whole number of at least 100")
    figures = OmegaConf.select(cfg, "test.figures")
    if figures is not None and not isinstance(figures, bool):
        raise UsageError(f"test.figures={figures}: must be true or false")
    subset = OmegaConf.select(cfg, "test.subset")
    if subset not in (None, "test", "val"):  # configurations of earlier versions have none
        raise UsageError(f"test.subset={subset}: must be test or val (the videos held out of training)")
    crops = OmegaConf.select(cfg, "test.crops")
    if isinstance(crops, bool) or crops not in (1, 3):
        raise UsageError(f"test.crops={crops}: must be 1 (the centre) or 3 (both ends of the longer side as well)")
    modality = cfg.dataset.get("modality", "rgb")  # dsn-evaluate takes it from the checkpoint
    if modality not in ("rgb", "flow"):
        raise UsageError(f"dataset.modality={modality}: must be rgb or flow")
    positive = ("schedule.lr", "schedule.sampler_lr", "schedule.head_lr", "schedule.sampler_head_lr",
                "schedule.gradient_clip", "dataset.fps")  # fmt: skip
    for key in (*positive, "schedule.momentum", "schedule.weight_decay", "algorithm.exploration"):
        value = OmegaConf.select(cfg, key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and (value > 0 if key in positive else value >= 0)):
            raise UsageError(f"{key}={value}: must be a number {'above' if key in positive else 'of at least'} 0")
    ema = OmegaConf.select(cfg, "schedule.ema")
    if ema is not None and (not isinstance(ema, float) or not 0 < ema < 1):
        raise UsageError(f"schedule.ema={ema}: is a decay between 0 and 1, such as 0.99; null: no average")
    if "trainer" in cfg:
        _check_trainer(cfg)


def _check_trainer(cfg: DictConfig) -> None:
    for flag, remedy in _REFUSED_FLAGS.items():
        if cfg.trainer.get(flag) is not None:
            raise UsageError(f"trainer.{flag}={cfg.trainer[flag]}: does not work in manual optimisation; {remedy}")
    if str(cfg.trainer.get("precision")) in ("16", "16-mixed") and cfg.schedule.accumulate > 1:
        raise UsageError(
            f"trainer.precision={cfg.trainer.precision}: its loss scale may change between accumulated batches; use "
            "bf16-mixed, or schedule.accumulate=1"
        )
    nodes = cfg.trainer.get("num_nodes", 1)
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        raise UsageError(f"trainer.num_nodes={nodes}: must be a whole number of at least 1")
    warmup = cfg.algorithm.get("warmup_epochs", 0)
    if cfg.algorithm.get("train_sampler", True):  # false in Table I's control alone
        if not isinstance(warmup, int) or warmup < 0 or (warmup and warmup >= cfg.schedule.max_epochs):
            raise UsageError(
                f"algorithm.warmup_epochs={warmup}: must be at least 0 and less than schedule.max_epochs="
                f"{cfg.schedule.max_epochs}, or the sampler would never be trained"
            )
    elif warmup != cfg.schedule.max_epochs:
        raise UsageError(
            f"algorithm.train_sampler=false: algorithm.warmup_epochs={warmup} must then be schedule.max_epochs="
            f"{cfg.schedule.max_epochs}"
        )


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="train")
def _train(cfg: DictConfig) -> None:
    """The work of dsn-train."""

    def work(cfg: DictConfig) -> None:
        from dsn_lightning.commands.train import train

        train(cfg)

    run(work, cfg, command="dsn-train")


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="evaluate")
def _evaluate(cfg: DictConfig) -> None:
    """The work of dsn-evaluate."""

    def work(cfg: DictConfig) -> None:
        from dsn_lightning.commands.evaluate import evaluate

        evaluate(cfg)

    run(work, cfg, command="dsn-evaluate")


def train() -> None:
    """dsn-train."""
    try:
        sys.argv[1:] = continue_sweep(continue_run(quote_pattern(sys.argv[1:])))
    except UsageError as error:
        stop("dsn-train", str(error))
    if process_rank():
        sys.argv[1:] = without_run_folder(sys.argv[1:])
    try:
        _train()
    except KeyboardInterrupt:
        print("dsn-train: stopped; resume=RUN_DIR goes on from its last checkpoint", file=sys.stderr)
        sys.exit(130)


def continue_run(arguments: list[str]) -> list[str]:
    """Turn ``resume=RUN_DIR`` into the arguments that give that run's own configuration.

    Raises:
        UsageError: there is no run, or other keys than those that leave its result alone are given.
    """
    given = [a for a in arguments if a.startswith("resume=") and a not in ("resume=", "resume=null")]
    if not given:
        return arguments
    folder = Path(given[-1].removeprefix("resume=")).expanduser().absolute()
    others = [a for a in arguments if a not in given and not a.lstrip("+").startswith(_FREE_IN_RESUME)]
    if others:
        raise UsageError(f"{' '.join(others)}: a run is resumed with its own configuration; give resume=RUN_DIR alone")
    run = RunFolder(folder)
    if not run.config_yaml.is_file():
        raise UsageError(f"resume={folder}: there is no run in this folder (no {run.config_yaml.name})")
    run.status()  # refuses another format
    free = [a for a in arguments if a not in given]
    return ["--config-path", str(folder), "--config-name", run.config_yaml.stem, "hydra.output_subdir=null",
            f"hydra.run.dir='{folder}'", f"run_dir='{folder}'", "resume=true", *free]  # fmt: skip


def continue_sweep(arguments: list[str]) -> list[str]:
    """Complete ``sweep.resume=DIR`` to the arguments of a sweep in that folder."""
    given = [a for a in arguments if a.startswith("sweep.resume=") and a != "sweep.resume=null"]
    if not given:
        for argument in arguments:
            if argument.startswith("hydra.sweep.dir="):
                # before Hydra writes into it
                SweepFolder(Path(argument.partition("=")[2].strip("'\""))).refuse_existing()
        return arguments
    folder = Path(given[-1].removeprefix("sweep.resume=")).expanduser().absolute()
    sweep = SweepFolder(folder)
    if not sweep.exists():
        raise UsageError(f"sweep.resume={folder}: there is no sweep in this folder (no {sweep.sweep_json.name})")
    sweep.read()  # refuses another format
    others = [a for a in arguments if a not in given and not a.startswith(("sweep.jobs=", "-m", "--multirun"))]
    if others:
        raise UsageError(f"{' '.join(others)}: a sweep is resumed as it was; give sweep.resume=DIR alone")
    free = [a for a in arguments if a.startswith("sweep.jobs=")]
    return ["-m", f"hydra.sweep.dir='{folder}'", f"sweep.resume='{folder}'", *free]


def evaluate() -> None:
    """dsn-evaluate."""
    sys.argv[1:] = quote_pattern(sys.argv[1:])
    if process_rank():
        sys.argv[1:] = without_run_folder(sys.argv[1:])
    _evaluate()


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="prepare")
def _prepare(cfg: DictConfig) -> None:
    """The work of dsn-prepare."""
    with one_line_errors("dsn-prepare"):
        from dsn_lightning.commands.prepare import prepare

        prepare(cfg)


def prepare() -> None:
    """dsn-prepare."""
    sys.argv[1:] = quote_pattern(sys.argv[1:])
    try:
        _prepare()
    except KeyboardInterrupt:
        print("dsn-prepare: stopped; what is finished stays, and the same call goes on from there", file=sys.stderr)
        sys.exit(130)


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="cost")
def _cost(cfg: DictConfig) -> None:
    """The work of dsn-cost."""
    with one_line_errors("dsn-cost"):
        from dsn_lightning.commands.cost import cost

        cost(cfg)


def cost() -> None:
    """dsn-cost."""
    nothing = ("observation=null", "observation=none")  # of a group that has a default Hydra takes only ~observation
    sys.argv[1:] = ["~observation" if a in nothing else a for a in sys.argv[1:]]
    _cost()


def report() -> None:
    """dsn-report, which is no Hydra application: its arguments are folders."""
    with one_line_errors("dsn-report"):
        from dsn_lightning.commands.report import report as make

        make(sys.argv[1:])
