"""dsn-evaluate: all selection methods and all M asked for, in one pass over the test videos, or those held out."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from dsn_lightning.commands import build
from dsn_lightning.commands.cli import one_line_errors
from dsn_lightning.commands.evaluating import evaluate_trained
from dsn_lightning.commands.fuse import fuse_stored
from dsn_lightning.commands.held_out import check_holds_out, evaluated
from dsn_lightning.commands.tracked import tracked
from dsn_lightning.commands.trust import refuse_foreign_code
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.process_rank import process_rank, started_as_one_of_many
from dsn_lightning.launch.processes import run_processes
from dsn_lightning.runs import RunFolder
from dsn_lightning.training.lightning_advice import hide_lightning_advice

ROLES = ("checkpoint", "baseline", "dsn_fixed", "max_response")
"""Keys that name checkpoints: of a DSN run, a baseline, a DSN-f run, and a baseline of the observation trunk."""


def evaluate(cfg: DictConfig) -> None:
    """Load what the keys of `ROLES` name, compare all selection methods and write results to ``cfg.run_dir``.

    With ``cfg.devices`` > 1 the videos are shared by so many processes. With ``cfg.fusion`` no video is read and no
    network runs; see `fuse_stored`.

    Raises:
        SystemExit: with the exit code of the process that failed.
    """
    if cfg.fusion is not None:
        fuse_stored(cfg)
        return
    run_dir = Path(cfg.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if 0 < torch.cuda.device_count() < cfg.devices:
        raise UsageError(f"devices={cfg.devices}: this machine has {torch.cuda.device_count()} GPUs")
    if cfg.devices > 1 and not started_as_one_of_many():
        content = OmegaConf.to_container(cfg, resolve=True)
        code = run_processes(_be_one_of_many, (content,), count=cfg.devices, folder=run_dir)
        if code:
            sys.exit(code)
        return
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1 and started_as_one_of_many()
    if several:
        torch.distributed.init_process_group("nccl" if torch.cuda.device_count() else "gloo")
    try:
        with nullcontext() if process_rank() else RunFolder(run_dir).hold():
            _evaluate(cfg)
    finally:
        if several:
            torch.distributed.destroy_process_group()


def _be_one_of_many(content: dict[str, Any]) -> None:
    with one_line_errors("dsn-evaluate"):
        cfg = OmegaConf.create(content)
        assert isinstance(cfg, DictConfig)
        evaluate(cfg)


def _evaluate(cfg: DictConfig) -> None:
    hide_lightning_advice()
    given = {
        role: build.load_trained(cfg[role], role=role, trusted=cfg.trust) for role in ROLES if cfg[role] is not None
    }
    if not given:
        raise UsageError(f"nothing to evaluate: give at least one of {', '.join(f'{role}=PATH' for role in ROLES)}")
    for role, trained in given.items():
        algorithm = {"max_response": "baseline", "checkpoint": trained.cfg.algorithm.name}.get(role, role)
        build.check_role(trained, algorithm, key=role)
    if "checkpoint" in given:  # known by what it is: any run may be given as checkpoint=
        trained = given.pop("checkpoint")
        role = str(trained.cfg.algorithm.name)
        if role in given:
            raise UsageError(f"checkpoint={trained.path}: is a run of algorithm={role}, and {role}= is given as well")
        given = {role: trained, **given}
    leader = next(iter(given.values()))
    if "_target_" not in cfg.dataset:
        refuse_foreign_code([leader.cfg.dataset], f"{leader.path}: its data set", trusted=cfg.trust)
    cfg = _complete(cfg, leader.cfg)
    run_dir = Path(cfg.run_dir)
    device = torch.device("cpu")
    if torch.cuda.device_count():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    with tracked(cfg, run_dir, job_type="evaluate") as tracker:
        data = build.build_datamodule(cfg)
        data.prepare_data()
        check_holds_out(data.source, cfg)
        data.setup("validate" if evaluated(cfg) == "val" else "test")
        data.check_processes_agree()
        evaluate_trained(given, cfg, data, run_dir, device=device, seed=cfg.seed, tracker=tracker)


def _complete(cfg: DictConfig, trained: DictConfig) -> DictConfig:
    """Fill what `dsn-evaluate` was not told from the configuration that the first checkpoint was trained with."""
    keys = ["selection", "seed", "num_workers", "run_dir", *(["start_workers"] if cfg.start_workers else [])]
    full = OmegaConf.merge(trained, OmegaConf.masked_copy(cfg, keys))
    assert isinstance(full, DictConfig)
    full.selection = cfg.selection
    full.logger = cfg.logger
    full.test = {key: trained[key] if value is None else value for key, value in cfg.test.items()}
    asked = {key: value for key, value in cfg.dataset.items() if value is not None and key != "reading"}
    reading = {key: value for key, value in cfg.dataset.reading.items() if value is not None}
    if "_target_" in cfg.dataset:
        own = {key: value for key, value in cfg.dataset.items() if value is not None or key not in ("split", "fps")}
        full.dataset = {"fps": trained.dataset.fps, **own}
        return full
    if foreign := [key for key in asked if key not in trained.dataset]:
        raise UsageError(f"dataset.{foreign[0]}: dataset={trained.dataset.name} has no such key")
    full.dataset.update(asked)
    full.dataset.reading.update(reading)
    return full
