"""A prediction, from a checkpoint and paths to lines: find, load, answer, write."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dsn_lightning.cli.evaluation_output import wide_console
from dsn_lightning.config.load_predictor import file_predictor
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.errors import printable
from dsn_lightning.evaluation.scores import weights_hash
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.inputs import find_videos
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.video_files import FilePredictor
from dsn_lightning.prediction.windows import time_line, time_line_csv, webvtt
from dsn_lightning.text_tables import TextTable


def predict(settings: PredictSettings) -> int:
    """Answer for all videos that have no answer yet; return how many could not be read."""
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
        with _progress(settings, len(left)) as progress:
            for number, path in enumerate(progress.track(left, description="Answering"), start=len(done) + 1):
                found = answer(path)
                output.add(found)
                write_time_line(found, output, number=number)
        failed = _show(output, set(paths), console)
    console.print(f"written: {output.lines}", soft_wrap=True)
    return failed


def write_time_line(answer: Prediction, output: OutputFolder, *, number: int) -> None:
    """Write the time line of a recording that was asked about in windows, as JSON, CSV and WebVTT."""
    if not answer.windows:
        return
    parts = time_line(answer.windows)
    base = output.time_line(number, answer.video)
    content = [
        {"start_seconds": p.start_seconds, "end_seconds": p.end_seconds, "label": p.label, "score": p.score}
        for p in parts
    ]
    write_json(base.with_name(base.name + ".json"), {"video": answer.video, "time_line": content})
    write_atomically(base.with_name(base.name + ".csv"), time_line_csv(parts))
    write_atomically(base.with_name(base.name + ".vtt"), webvtt(parts))


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
    return Progress(*columns, console=Console(stderr=True), disable=not settings.progress or not count)


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
