"""A prediction in several processes through Lightning's Trainer: answer in shares, merge the lines, draw in shares."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.sharedctypes import Synchronized

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from lightning_fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from dsn_lightning.cli.application import one_line_errors
from dsn_lightning.cli.evaluation_output import wide_console
from dsn_lightning.cli.predict_output import Drawings, draw_missing
from dsn_lightning.cli.predict_summary import finish, print_done, print_effort, progress_bar
from dsn_lightning.config.load_predictor import answers_made_with, file_predictor
from dsn_lightning.config.predict_settings import PredictSettings, PredictTrainerSettings
from dsn_lightning.config.process_counts import check_nodes, num_local_processes, num_processes
from dsn_lightning.errors import UsageError
from dsn_lightning.files import refuse_link
from dsn_lightning.launch.process_rank import process_rank, started_as_one_of_many
from dsn_lightning.launch.processes import PROCESS_VARIABLE, run_processes
from dsn_lightning.prediction.answer_parts import LineParts
from dsn_lightning.prediction.inputs import find_videos
from dsn_lightning.prediction.lightning_engine import VideoAnswers, VideoShares, prediction_trainer
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.video_files import FilePredictor
from dsn_lightning.runs.exit_codes import STOPPED_BY_CTRL_C
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.training.lightning_advice import hide_lightning_advice

COMMAND = "dsn-predict"


def predict_in_processes(settings: PredictSettings) -> int:
    """Answer and draw in the processes that ``trainer`` sets; return how many answers and drawings failed.

    Raises:
        SystemExit: with the exit code of the process that failed.
        KeyboardInterrupt: after Ctrl-C, when all processes have ended.
    """
    trainer = settings.trainer
    check_nodes(trainer)
    if num_processes(trainer) == 1 or started_as_one_of_many():
        return _predict_share(settings)
    find_videos(settings.videos)  # a mistake is reported before processes are started
    OutputFolder(settings.folder).create()
    count = num_local_processes(trainer)
    for rank in range(1, count):
        refuse_link(RunFolder(settings.folder).process_log(rank))
    failures = multiprocessing.get_context("fork").Value("q", 0)
    code = run_processes(
        _be_one_of_many,
        (settings, failures),
        count=count,
        folder=settings.folder,
        num_nodes=trainer.num_nodes,
    )
    if code == STOPPED_BY_CTRL_C:
        raise KeyboardInterrupt
    if code:
        sys.exit(code)
    return failures.value


def _be_one_of_many(settings: PredictSettings, failures: "Synchronized[int]") -> None:
    with one_line_errors(COMMAND):
        failed = _predict_share(settings)
        if process_rank() == 0:
            failures.value = failed


def _predict_share(settings: PredictSettings) -> int:
    """Be one of the processes, or the only one; only the first one prints, merges, and returns what failed."""
    hide_lightning_advice()
    paths = find_videos(settings.videos)
    answer = file_predictor(replace(settings, device="cpu"))  # Lightning moves it to the process's device
    output = OutputFolder(settings.folder)
    first = process_rank() == 0
    console = wide_console(quiet=not first)
    try:
        with output.hold() if first else nullcontext():
            if first:
                output.begin(answers_made_with(settings, answer), engine=settings.engine.name)
                print_effort(answer, console)
            trainer = _answer_share(settings, answer, paths, console)
            if first:
                output.merge(paths, LineParts(output.parts))
            trainer.strategy.barrier()
            problems = _draw_share(settings, answer, set(paths), trainer)
            return finish(output, set(paths), problems, console) if first else 0
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _answer_share(
    settings: PredictSettings, answer: FilePredictor, paths: Sequence[str], console: Console
) -> pl.Trainer:
    """Answer for the videos of this process, and wait for the others."""
    trainer = _trainer(settings.trainer)
    with progress_bar(shown=settings.progress and not console.quiet) as progress:
        task = progress.add_task(f"Answering (1 of {trainer.world_size} processes)", total=None)

        def announce(shares: VideoShares) -> None:
            print_done(len(paths) - len(shares.left), paths, console)
            progress.update(task, total=len(shares.share))

        shares = VideoShares(paths, OutputFolder(settings.folder), announce)
        answers = VideoAnswers(answer, shares.parts, lambda: progress.advance(task))
        try:
            trainer.predict(answers, datamodule=shares, return_predictions=False)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of Ctrl-C
                raise end.__context__ from None
            raise
    trainer.strategy.barrier()
    return trainer


def _trainer(keys: PredictTrainerSettings) -> pl.Trainer:
    try:
        return prediction_trainer(
            accelerator=keys.accelerator,
            devices=keys.devices,
            num_nodes=keys.num_nodes,
            processes=num_processes(keys),
            # in a SLURM job Lightning would take SLURM's, in which our own processes do not exist
            plugins=[LightningEnvironment()] if PROCESS_VARIABLE in os.environ else None,
        )
    except (MisconfigurationException, ValueError) as error:
        raise UsageError(f"trainer.accelerator={keys.accelerator} trainer.devices={keys.devices}: {error}") from error


def _draw_share(settings: PredictSettings, answer: FilePredictor, asked: set[str], trainer: pl.Trainer) -> list[str]:
    """Draw this process's share of what is missing, and return what failed in all processes."""
    output, rank, count = OutputFolder(settings.folder), trainer.global_rank, trainer.world_size
    drawings = Drawings(answer, output, pictures=settings.pictures, overlay=settings.overlay)
    places = [(number, start) for number, start in drawings.missing_places(asked) if number % count == rank]
    problems = draw_missing(drawings, places, progress=settings.progress and rank == 0)
    found: list[list[str]] = [[] for _ in range(count)]
    if count == 1:
        return problems
    torch.distributed.all_gather_object(found, problems)
    return [problem for of_process in found for problem in of_process]
