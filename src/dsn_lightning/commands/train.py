"""dsn-train: train one recogniser."""

import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from lightning_fabric.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.weights import WeightsError, load_exactly, read_weights, tensors_of
from dsn_lightning.commands import build, shared, trained_on
from dsn_lightning.commands.activations import use_activations
from dsn_lightning.commands.cli import one_line_errors
from dsn_lightning.commands.held_out import check_holds_out, evaluated
from dsn_lightning.commands.pretrained import start_from
from dsn_lightning.commands.source import build_source
from dsn_lightning.commands.tested_beside import tested_beside
from dsn_lightning.commands.tracked import tracked
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.datasets.records import SUBSETS
from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.launch.process_rank import process_rank, started_as_one_of_many
from dsn_lightning.launch.processes import PROCESS_VARIABLE, run_processes
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.status import correct_exit_code, recorded_status
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.training.announcements import (
    Step,
    missing_videos_messages,
    print_interruption,
    training_summary,
)
from dsn_lightning.training.bad_videos import BadVideos
from dsn_lightning.training.callbacks import EpochLog, MetricsFile, RunProgress, Throughput
from dsn_lightning.training.checkpoints import AtomicCheckpointIO, CheckpointRecord, LastCheckpoint, Stopped
from dsn_lightning.training.lightning_advice import hide_lightning_advice
from dsn_lightning.training.weight_average import AveragedWeights


def train(cfg: DictConfig) -> None:
    """Train what ``cfg`` describes, write its checkpoints and metrics to ``cfg.run_dir`` and evaluate it.

    One call is one training: here, or in as many processes as ``cfg.trainer`` asks for.

    Raises:
        SystemExit: with the exit code of the process that failed, or 143 after SIGTERM, 130 after one Ctrl-C.
    """
    hide_lightning_advice()
    composed = OmegaConf.to_yaml(cfg)
    began = datetime.now(UTC).replace(microsecond=0)
    run_dir = Path(cfg.run_dir)
    build.check_schedule(cfg.schedule)
    if cfg.trainer.get("sync_batchnorm") and not on_gpus(cfg.trainer):
        raise UsageError("trainer.sync_batchnorm=true: works on GPUs only; on the CPU each process has its own")
    here = local_processes(cfg.trainer)
    nodes = int(cfg.trainer.get("num_nodes", 1))
    if cfg.schedule.batch_size < here * nodes:
        raise UsageError(
            f"schedule.batch_size={cfg.schedule.batch_size}: is shared by all processes, and there are {here * nodes}; "
            "use a larger batch or fewer trainer.devices"
        )
    if nodes > 1 and not started_as_one_of_many():
        lacking = [name for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if lacking:
            raise UsageError(
                f"trainer.num_nodes={nodes}: {', '.join(lacking)} not set; start it with torchrun or srun, or once on "
                "each node with these set"
            )
    if evaluated(cfg) == "val":
        check_holds_out(build_source(cfg.dataset), cfg)
    if nodes == 1 and not started_as_one_of_many():
        shared.fill_in(cfg, train)
    elif wanted := [key for key in shared.AUTO if OmegaConf.select(cfg, key) == "auto"]:
        raise UsageError(
            f"{wanted[0]}=auto: on several nodes, or started by another program, a run cannot train what is missing; "
            "give the PATH"
        )
    if here * nodes > 1 and not started_as_one_of_many():
        run_dir.mkdir(parents=True, exist_ok=True)
        resolved = OmegaConf.create(plain(cfg))
        code = run_processes(_be_one_of_many, (resolved, composed), count=here, folder=run_dir, num_nodes=nodes)
        if code:
            correct_exit_code(RunFolder(run_dir), code, since=began)
            sys.exit(code)
        return
    _train_as_one(cfg, composed)


def on_gpus(trainer: DictConfig) -> bool:
    """Whether a training with these flags runs on GPUs."""
    return trainer.get("accelerator") != "cpu" and torch.cuda.device_count() > 0


def local_processes(trainer: DictConfig) -> int:
    """Return how many processes ``trainer.devices`` asks for on this machine.

    Raises:
        UsageError: more GPUs are asked for than there are, or the value means nothing.
    """
    devices, accelerator = trainer.get("devices", "auto"), trainer.get("accelerator", "auto")
    gpus = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 0
    if devices in ("auto", -1, "-1"):
        return max(1, gpus)
    if OmegaConf.is_list(devices) or (isinstance(devices, str) and "," in devices):
        return len([d for d in (devices.split(",") if isinstance(devices, str) else devices) if str(d).strip()])
    if not re.fullmatch(r"[1-9][0-9]*", str(devices)):
        raise UsageError(f"trainer.devices={devices}: must be a number of at least 1, a list of GPUs, or auto")
    if gpus and int(devices) > gpus:
        raise UsageError(f"trainer.devices={devices}: this machine has {gpus} GPUs")
    return int(devices)


def _be_one_of_many(cfg: DictConfig, composed: str) -> None:
    with one_line_errors("dsn-train"):
        _train_as_one(cfg, composed)


def _train_as_one(cfg: DictConfig, composed: str) -> None:
    """Be one of the processes of a training, or the only one. The first one holds the run's folder.

    It keeps the configuration there as it was ``composed``, which ``resume=`` goes on with: Hydra's own copy in
    ``.hydra`` is written before the folder is held, by a call that is then refused as well.
    """
    hide_lightning_advice()
    run_dir = Path(cfg.run_dir)
    try:
        if process_rank():
            with tracked(cfg, run_dir, job_type="train") as tracker:
                _train(cfg, run_dir, tracker)
            return
        run_dir.mkdir(parents=True, exist_ok=True)
        run = RunFolder(run_dir)
        with run.hold(), recorded_status(run), tracked(cfg, run_dir, job_type="train") as tracker:
            if not cfg.resume:
                write_atomically(run.config_yaml, composed)
            write_json(run.config_json, plain(cfg))
            _train(cfg, run_dir, tracker)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _train(cfg: DictConfig, run_dir: Path, tracker: Tracker) -> None:
    first = process_rank() == 0
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build.build_datamodule(cfg)
    data.prepare_data()
    data.setup()
    recognizer = build.build_recognizer(cfg, len(data.classes))
    build.check_clips(recognizer, cfg)
    run = RunFolder(run_dir)
    last = run.last_checkpoint
    if cfg.resume and last.is_file():
        try:
            content = read_weights(last)
            load_exactly(recognizer, tensors_of({"state_dict": content.get("state_dict")}))
            began = content.get(build.RECORD_KEY, {}).get(trained_on.KEY)
        except WeightsError as error:
            raise UsageError(f"resume={run_dir}: {last}: {error}") from error
    else:
        began = start_from(recognizer, cfg, classes=list(data.classes))
    num_train, has_val = len(data.section_clips("train")), len(data.section_clips("val")) > 0
    if num_train == 0:
        raise UsageError(f"dataset={cfg.dataset.name}: has no training videos")
    videos = {subset: [video.record.video_id for video in data.videos(subset)] for subset in SUBSETS}
    seen = trained_on.joined([began, trained_on.hashes_of(videos["train"])])
    if evaluated(cfg) == "val":
        trained_on.check_held_out(seen, videos["val"], where="what this training starts from, or its own videos")
    others = tested_beside(recognizer, cfg, data) if cfg.test.enabled else {}
    # behind the others, whose state it holds
    limit = seconds_of(cfg.trainer.get("max_time"))
    saving = LastCheckpoint(last, every_n_batches=cfg.checkpoint.every_n_batches, max_time=limit)
    callbacks = [*_callbacks(cfg, run_dir, data, has_val=has_val, seen=seen), saving]
    trainer = _trainer(cfg, run_dir, recognizer, callbacks, tracker)
    if cfg.backbone.get("cache_activations"):
        needed = SUBSETS if cfg.test.enabled and evaluated(cfg) == "test" else ("train", "val")
        use_activations(cfg, data, [recognizer], device=trainer.strategy.root_device, subsets=needed)
    if first:
        write_json(run.environment_json, environment(
            effective_batch_size=cfg.schedule.batch_size * cfg.schedule.accumulate,
            processes=trainer.world_size,
            fps=cfg.dataset.fps or "native",
            frame_stride=cfg.backbone.frame_stride,
            copies=data.copies_made_with,
            videos={subset: len(ids) for subset, ids in videos.items()},
        ))  # fmt: skip
        write_json(run.videos_json, data.inventory())
        if cfg.progress:
            print(training_summary(_step(cfg, trainer), num_videos=num_train))
            for line in missing_videos_messages(data):
                print(line)
    stopped = False
    try:
        trainer.fit(recognizer, datamodule=data, ckpt_path=last if cfg.resume and last.is_file() else None)
    except RuntimeError as error:
        if "DataLoader timed out" not in str(error):
            raise
        raise UsageError(
            f"a loader process has brought nothing for a long time ({error}); dataset.reading.decoder.deadline and "
            "num_workers say how long is waited"
        ) from error
    except Stopped:
        stopped = True
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of Ctrl-C
            raise end.__context__ from None
        raise
    finally:
        saving.restore_ctrl_c()
    for average in callbacks:
        if isinstance(average, AveragedWeights):
            average.copy_to(recognizer)  # however the training ended
    if first and (stopped or saving.exit_code):
        epochs = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        print_interruption(epochs=epochs, max_epochs=cfg.schedule.max_epochs, run_dir=run_dir)
    if saving.exit_code:
        sys.exit(saving.exit_code)
    if cfg.test.enabled:
        from dsn_lightning.commands.evaluating import evaluate_trained  # evaluation is not needed to train

        trained = build.Trained(recognizer.eval(), cfg, list(data.classes), last, seen)
        given = {cfg.algorithm.name: trained, **others}
        device = trainer.strategy.root_device
        evaluate_trained(given, cfg, data, run_dir, device=device, announce=False, tracker=tracker)


def _step(cfg: DictConfig, trainer: pl.Trainer) -> Step:
    schedule = cfg.schedule
    has_sampler = cfg.algorithm.name != "baseline"
    return Step(
        batch_size=schedule.batch_size,
        accumulate=schedule.accumulate,
        processes=trainer.world_size,
        lr=schedule.lr,
        head_lr=schedule.get("head_lr"),
        sampler_lr=schedule.sampler_lr if has_sampler else None,
        sampler_head_lr=schedule.get("sampler_head_lr") if has_sampler else None,
    )


def _trainer(
    cfg: DictConfig, run_dir: Path, recognizer: Recognizer, callbacks: list[Callback], tracker: Tracker
) -> pl.Trainer:
    several = local_processes(cfg.trainer) * int(cfg.trainer.get("num_nodes", 1)) > 1
    own = {key: value for key, value in cfg.trainer.items() if key != "max_time"}
    if own.get("strategy", "auto") in ("auto", "ddp"):
        # with two optimisers a backward pass reaches only one network's parameters
        unused = len(recognizer.optimizer_names) > 1
        ddp = DDPStrategy(find_unused_parameters=unused)
        own["strategy"] = ddp if several else "auto"
    # in a SLURM job Lightning would take SLURM's, in which our own processes do not exist
    environment_of_ours = [LightningEnvironment()] if PROCESS_VARIABLE in os.environ else []
    target = own.pop("_target_")
    trainer = instantiate(
        {"_target_": target},
        **{key: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for key, v in own.items()},
        max_epochs=cfg.schedule.max_epochs,
        default_root_dir=str(run_dir),
        logger=tracker.loggers,
        plugins=[AtomicCheckpointIO(), *environment_of_ours],
        callbacks=callbacks,
        use_distributed_sampler=False,  # the data module shares the batches out
        enable_progress_bar=False,
        log_every_n_steps=1,
    )
    assert isinstance(trainer, pl.Trainer)
    return trainer


def _callbacks(
    cfg: DictConfig, run_dir: Path, data: SectionClipDataModule, *, has_val: bool, seen: Tensor | None
) -> list[Callback]:
    run = RunFolder(run_dir)
    record: dict[str, Any] = {"config": plain(cfg), "classes": list(data.classes), trained_on.KEY: seen}
    callbacks: list[Callback] = [
        CheckpointRecord(build.RECORD_KEY, record),
        EpochLog(),
        Throughput(),
        MetricsFile(run.metrics_csv),
        BadVideos(
            limit=data.bad_video_policy.max_bad, known=len(data.bad["train"]), num_videos=len(data.videos("train"))
        ),
        RunProgress(bar=cfg.progress and process_rank() == 0, file=run.progress_json),
    ]
    if cfg.schedule.get("ema") is not None:
        callbacks.append(AveragedWeights(decay=cfg.schedule.ema))
    if has_val:
        # its save_last=True writes only when the best one improves; hence LastCheckpoint
        best = ModelCheckpoint(run.checkpoints, filename=run.best_checkpoint.stem, monitor="val/top1", mode="max",
                               enable_version_counter=False)  # fmt: skip
        callbacks.append(best)
    return callbacks


def seconds_of(duration: Any) -> float | None:
    """Return ``trainer.max_time`` in seconds: "DD:HH:MM:SS" or a mapping like {hours: 2}, as Lightning has it.

    Raises:
        UsageError: it is neither.

    >>> seconds_of("00:01:30:00")
    5400.0
    """
    if duration is None:
        return None
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d):(\d\d)", str(duration)):
        days, hours, minutes, seconds = map(int, match.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    try:
        return timedelta(**{str(key): float(value) for key, value in dict(duration).items()}).total_seconds()
    except (TypeError, ValueError):
        raise UsageError(
            f"trainer.max_time={duration}: must be DD:HH:MM:SS, such as 00:11:30:00, or {{hours: 11, minutes: 30}}"
        ) from None


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain dicts and lists, all references resolved."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
