"""dsn-train: train one recogniser."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from dsn_lightning.callbacks import AtomicCheckpointIO, CheckpointRecord, MetricsFile, PolicyLog, RunProgress
from dsn_lightning.commands import build
from dsn_lightning.commands.run import environment, keep_lightning_quiet, only_run_in, write_json
from dsn_lightning.commands.tracked import tracked
from dsn_lightning.errors import UsageError
from dsn_lightning.tracking import Tracker


def train(cfg: DictConfig) -> None:
    """Train what ``cfg`` describes, write its checkpoints and metrics to ``cfg.run_dir`` and evaluate it.

    One call is one training; a sweep makes it once in each of its processes.
    """
    keep_lightning_quiet()
    run_dir = Path(cfg.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_run_in(run_dir), tracked(cfg, run_dir, job_type="train") as tracker:
        _train(cfg, run_dir, tracker)


def _train(cfg: DictConfig, run_dir: Path, tracker: Tracker) -> None:
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build.build_datamodule(cfg)
    data.prepare_data()
    data.setup()
    recognizer = build.build_recognizer(cfg, len(data.classes))
    if cfg.classifier.checkpoint is not None:
        source = build.load_trained(cfg.classifier.checkpoint, role="classifier.checkpoint")
        build.check_fits(source, classes=list(data.classes), cfg=cfg, role="classifier.checkpoint")
        build.take_classifier(recognizer.classifier, source, cfg=cfg)
    elif cfg.algorithm.name == "dsn_fixed":
        raise UsageError("algorithm=dsn_fixed keeps a trained classifier: give it with classifier.checkpoint=PATH")
    if cfg.algorithm.name != "baseline" and cfg.observation.checkpoint is not None:
        source = build.load_trained(cfg.observation.checkpoint, role="observation.checkpoint")
        build.take_trunk(recognizer.observation.trunk, source)  # type: ignore[union-attr,arg-type]
    num_train, has_val = len(data.section_clips("train")), len(data.section_clips("val")) > 0
    if num_train == 0:
        raise UsageError(f"dataset={cfg.dataset.name}: has no training videos")
    write_json(run_dir / "environment.json", environment(
        effective_batch_size=cfg.schedule.batch_size * cfg.schedule.accumulate,
        fps=cfg.dataset.fps or "native",
        frame_stride=cfg.backbone.frame_stride,
        videos={subset: len(data.videos(subset)) for subset in ("train", "val", "test")},
    ))  # fmt: skip
    trainer = instantiate(
        cfg.trainer,
        max_epochs=cfg.schedule.max_epochs,
        default_root_dir=str(run_dir),
        logger=tracker.loggers,
        plugins=[AtomicCheckpointIO()],
        callbacks=_callbacks(cfg, run_dir, list(data.classes), has_val=has_val),
        enable_progress_bar=False,
        log_every_n_steps=1,
        _convert_="all",
    )
    last = run_dir / "checkpoints" / "last.ckpt"
    try:
        trainer.fit(recognizer, datamodule=data, ckpt_path=last if cfg.resume and last.is_file() else None)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of Ctrl-C
            raise end.__context__ from None
        raise
    if cfg.test.enabled:
        from dsn_lightning.commands.evaluate import evaluate_trained  # evaluation is not needed to train

        trained = build.Trained(recognizer.eval(), cfg, list(data.classes), run_dir / "checkpoints" / "last.ckpt")
        role = "baseline" if cfg.algorithm.name == "baseline" else cfg.algorithm.name
        evaluate_trained({role: trained}, cfg, data, run_dir, announce=False, tracker=tracker)


def _callbacks(cfg: DictConfig, run_dir: Path, classes: list[str], *, has_val: bool) -> list[Callback]:
    folder = run_dir / "checkpoints"
    record: dict[str, Any] = {"config": plain(cfg), "classes": classes}
    saved: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False}
    callbacks: list[Callback] = [
        CheckpointRecord(build.RECORD_KEY, record),
        PolicyLog(),
        MetricsFile(run_dir / "metrics.csv"),
        # one of its own: ModelCheckpoint(save_last=True) writes last.ckpt only when the best one improves
        ModelCheckpoint(filename="last", monitor=None, save_on_train_epoch_end=True, **saved),
        RunProgress(bar=cfg.progress, file=run_dir / "progress.json"),
    ]
    if has_val:
        callbacks.append(ModelCheckpoint(filename="best", monitor="val/top1", mode="max", **saved))
    return callbacks


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain dicts and lists, all references resolved."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
