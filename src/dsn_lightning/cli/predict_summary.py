"""What a prediction prints: its effort, its progress, a table of its answers, and what went wrong."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dsn_lightning.errors import printable
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.video_files import FilePredictor
from dsn_lightning.report.answers_page import write_answers_page
from dsn_lightning.text_tables import PrintableConsole, TextTable

_SHOWN = 20


def print_effort(answer: FilePredictor, console: Console) -> None:
    """Print how many clips of a video are classified, and what that costs."""
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


def print_done(count: int, videos: Sequence[str], console: Console) -> None:
    """Print how many of the videos have an answer already, if any."""
    if count:
        console.print(f"{count} of {len(videos)} videos have an answer already")


def progress_bar(*, shown: bool) -> Progress:
    """Return a progress bar on the standard error output."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=PrintableConsole(stderr=True), disable=not shown)


def finish(output: OutputFolder, asked: set[str], problems: Sequence[str], console: Console) -> int:
    """Write the page, print the answers and what could not be drawn; return how many of both failed."""
    failed = _show(output, asked, console)
    write_answers_page(output)
    for problem in problems:
        console.print(problem, soft_wrap=True, markup=False, highlight=False)
    console.print(f"written: {output.lines}", soft_wrap=True)
    console.print(f"to look at: {output.page}", soft_wrap=True)
    return failed + len(problems)


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
