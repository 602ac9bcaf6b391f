"""A prediction through Ray Data: actors answer for blocks of videos, the lines are merged, and actors draw."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from rich.console import Console

from dsn_lightning.cli.evaluation_output import wide_console
from dsn_lightning.cli.predict_output import Drawings, Place
from dsn_lightning.cli.predict_summary import finish, print_done, print_effort, progress_bar
from dsn_lightning.config.load_predictor import answers_made_with, file_predictor
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.prediction.inputs import find_videos
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.parquet_shards import MOST_ROWS, ParquetShards
from dsn_lightning.prediction.ray_actors import RayCluster, Work, require_ray
from dsn_lightning.prediction.video_files import FilePredictor
from dsn_lightning.runs.machine_faults import fault_of

T = TypeVar("T")


def predict_with_ray(settings: PredictSettings) -> int:
    """Answer and draw in the actors that ``engine`` sets; return how many answers and drawings failed."""
    require_ray()
    paths = find_videos(settings.videos)
    answer = file_predictor(replace(settings, device="cpu"))  # here only to know the networks
    output, engine = OutputFolder(settings.folder), settings.engine
    console = wide_console()
    with output.hold(), RayCluster(engine.address, engine.actors, engine.cpus, engine.gpus) as cluster:
        output.begin(answers_made_with(settings, answer), engine=engine.name)
        print_effort(answer, console)
        _answer(settings, paths, cluster, console)
        problems = _draw(settings, answer, set(paths), cluster)
        return finish(output, set(paths), problems, console)


def in_blocks(items: Sequence[T], actors: int, most: int = MOST_ROWS) -> list[Sequence[T]]:
    """Return the items in blocks of equal size, in their order: eight for each actor, or more of at most ``most``.

    >>> in_blocks("abcde", actors=1, most=2), in_blocks("abcdefghij", actors=1)
    (['a', 'b', 'c', 'd', 'e'], ['ab', 'cd', 'ef', 'gh', 'ij'])
    """
    size = min(most, math.ceil(len(items) / (8 * actors))) or 1
    return [items[start : start + size] for start in range(0, len(items), size)]


def _answer(settings: PredictSettings, paths: Sequence[str], cluster: RayCluster, console: Console) -> None:
    """Answer for the videos without an answer, and merge the lines."""
    output, engine = OutputFolder(settings.folder), settings.engine
    shards = ParquetShards(output.shards)
    done = output.done()
    if output.unfinished_engine() is not None:
        done |= shards.index().keys()
    elif not done:
        shards.clear()  # of lines that somebody has removed
    left = [path for path in paths if path not in done]
    print_done(len(paths) - len(left), paths, console)
    if left:
        most = MOST_ROWS if settings.window.seconds is None else 1  # a recording may take hours
        blocks = in_blocks(left, engine.actors, most)
        cluster.connect()
        output.mark_unfinished(engine.name)
        shards.begin()
        with progress_bar(shown=settings.progress) as progress:
            task = progress.add_task("Answering", total=len(left))
            for count in cluster.results(partial(block_answering, settings), blocks):
                progress.advance(task, count)
    if output.unfinished_engine() is not None:
        output.merge(paths, shards)


def block_answering(settings: PredictSettings) -> Work:
    """Return what answers for a block of videos and writes its shard; its result is their number."""
    answer, shards = file_predictor(settings), ParquetShards(OutputFolder(settings.folder).shards)

    def work(videos: list[str]) -> int:
        try:
            shards.answer(videos, answer)
        except OSError as error:
            raise fault_of(error) or error from error
        return len(videos)

    return work


def _draw(settings: PredictSettings, answer: FilePredictor, asked: set[str], cluster: RayCluster) -> list[str]:
    """Draw what is missing, and return a line for each thing that fails."""
    drawings = Drawings(answer, OutputFolder(settings.folder), pictures=settings.pictures, overlay=settings.overlay)
    places = drawings.missing_places(asked)
    problems: list[str] = []
    if places:
        with progress_bar(shown=settings.progress) as progress:
            task = progress.add_task("Drawing", total=len(places))
            for count, failed in cluster.results(partial(drawing, settings), in_blocks(places, settings.engine.actors)):
                problems += failed
                progress.advance(task, count)
    return problems


def drawing(settings: PredictSettings) -> Work:
    """Return what draws the answers at the places of a block; its result is their number, and what failed."""
    answer, output = file_predictor(settings), OutputFolder(settings.folder)
    drawings = Drawings(answer, output, pictures=settings.pictures, overlay=settings.overlay)

    def work(places: list[Place]) -> tuple[int, list[str]]:
        return len(places), [problem for number, start in places for problem in drawings.draw_at((number, start))]

    return work
