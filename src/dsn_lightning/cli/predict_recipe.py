"""A prediction, from a checkpoint and paths to lines: find, load, answer, write, draw."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dsn_lightning.cli.evaluation_output import wide_console
from dsn_lightning.cli.predict_output import Drawings
from dsn_lightning.config.load_predictor import file_predictor
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.errors import printable
from dsn_lightning.evaluation.scores import weights_hash
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.inputs import find_videos
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.video_files import FilePredictor
from dsn_lightning.report.answers_page import write_answers_page
from dsn_lightning.text_tables import PrintableConsole, TextTable


def predict(settings: PredictSettings) -> int:
    """Answer for all videos that have no answer yet, and draw what is missing; return how many of both failed."""
    paths = find_videos(settings.videos)
    answer = file_predictor(settings)
    output = OutputFolder(settings.folder)
    console = wide_console()
    with output.hold():
        output.begin({**settings.answers_depend_on, "networks": weights_hash(answer.predictor.model)})
        done = output.done()
        left = [path for path in paths if path not in done]
        if len(left) < len(paths):
            console.print(f"{len(paths) - len(left)} of {len(paths)} videos have an answer already")
        _say_effort(answer, console)
        drawings = Drawings(answer, output, pictures=settings.pictures, overlay=settings.overlay)
        problems = _draw_missing(drawings, set(paths), settings)
        with _progress(settings, len(left)) as progress:
            for number, path in enumerate(progress.track(left, description="Answering"), start=len(done) + 1):
                found = answer(path)
                output.add(found)
                problems += drawings.draw(number, found)
        failed = _show(output, set(paths), console)
        write_answers_page(output)
    for problem in problems:
        console.print(problem, soft_wrap=True, markup=False, highlight=False)
    console.print(f"written: {output.lines}", soft_wrap=True)
    console.print(f"to look at: {output.page}", soft_wrap=True)
    return failed + len(problems)


def _draw_missing(drawings: Drawings, asked: set[str], settings: PredictSettings) -> list[str]:
    """Draw what an earlier call has not drawn of its answers; return a line for each thing that fails."""
    answers = enumerate(drawings.output.answers(), start=1)
    numbers = [number for number, one in answers if one.video in asked and drawings.missing(number, one)]
    wanted = set(numbers)
    problems: list[str] = []
    if wanted:
        with _progress(settings, len(wanted)) as progress:
            task = progress.add_task("Drawing", total=len(wanted))
            for number, one in enumerate(drawings.output.answers(), start=1):
                if number in wanted:
                    problems += drawings.draw(number, one)
                    progress.advance(task)
    return problems


def _say_effort(answer: FilePredictor, console: Console) -> None:
    effort, costs = answer.effort, answer.predictor.costs
    candidates = effort.num_sections * effort.clips_per_section
    most = costs.gmacs(classified=effort.num_sections, candidates=candidates)
    of_what = "window" if answer.windows else "video"
    at_most = "at most " if effort.may_stop_early else ""
    console.print(
        f"{at_most}{effort.num_sections} of {candidates} clips are classified in each {of_what}: "
        f"{at_most}{most:.4g} GMACs",
        soft_wrap=True,
    )


def _progress(settings: PredictSettings, count: int) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=PrintableConsole(stderr=True), disable=not settings.progress or not count)


_SHOWN = 20


def _show(output: OutputFolder, asked: set[str], console: Console) -> int:
    """Print the first answers as a table, what all took together, and the first errors; return how many errors."""
    rows, errors = [], []
    good = failed = 0
    seconds = decoding = gmacs = 0.0
    for one in output.answers():
        if one.video not in asked:
            continue
        if one.error is not None:
            failed += 1
            errors += [f"{printable(one.video)}: {one.error}"] if failed <= _SHOWN else []
            continue
        good += 1
        seconds, decoding, gmacs = seconds + one.seconds, decoding + one.decoding_seconds, gmacs + one.gmacs
        rows += [_cells(one)] if good <= _SHOWN else []
    if rows:
        header = ("video", "label", "score", "clips at (s)", "GMACs", "seconds")
        TextTable(header, rows, num_names=2, title="answers", fold=True).print(console)
    if good > _SHOWN:
        console.print(f"and {good - _SHOWN} more")
    if good:
        share = decoding / max(seconds, 1e-9)
        text = f"{good} videos in {seconds:.1f} s, {share:.0%} of it decoding; {gmacs:.4g} GMACs"
        console.print(text, soft_wrap=True)
    for error in errors:
        console.print(error, soft_wrap=True, markup=False, highlight=False)
    if failed > _SHOWN:
        console.print(f"and {failed - _SHOWN} more that cannot be read")
    return failed


def _cells(answer: Prediction) -> list[str]:
    starts = ", ".join(f"{clip.start_seconds:.1f}" for clip in answer.clips if clip.selected)
    return [
        printable(Path(answer.video).name),
        str(answer.label),
        f"{answer.score:.1%}",
        starts or f"{len(answer.windows)} windows",
        f"{answer.gmacs:.4g}",
        f"{answer.seconds:.2f}",
    ]
