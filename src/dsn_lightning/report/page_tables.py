"""The tables of a report as cells: what HTML, Markdown and CSV print alike."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dsn_lightning.evaluation.splits import FIGURES
from dsn_lightning.report.collect import Run
from dsn_lightning.report.paper_rows import NUMERALS, PaperFigure, paper_figures
from dsn_lightning.report.plots import method
from dsn_lightning.report.result_rows import RATES, Result

NAMES = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class", "map": "mAP", "hit_rate": "hit rate"}


@dataclass(frozen=True)
class Cell:
    """What a cell says, and what it is sorted by: a number as text, a text, or "" where nothing is known."""

    text: str
    value: str


@dataclass(frozen=True)
class Table:
    """Cells, row by row, the first of a row being its name.

    Attributes:
        heads: titles of the columns.
        numbers: whether a column is of numbers.
        rows: as many cells as there are heads.
        alike: column -> text of what is the same in all rows and has no column therefore.
    """

    heads: Sequence[str]
    numbers: Sequence[bool]
    rows: Sequence[Sequence[Cell]]
    alike: Mapping[str, str]


NOTHING = Cell("-", "")
_OF_PAPER = ("paper", "ours - paper", "paper's row", "paper's GMACs")
_T = TypeVar("_T", Run, Result)


def results_table(results: Sequence[Result]) -> Table:
    """Return all results: mean ± standard deviation over seeds in %, and the paper's figure where there is one."""
    columns: dict[str, tuple[bool, Callable[[Result], Cell]]] = {
        "selection": (False, lambda own: _text(method(own))),
        "data set": (False, lambda own: _text(own.described["dataset"])),
        "split": (True, lambda own: _number(own.described.get("split"))),
        "modality": (False, lambda own: _text(own.described.get("modality"))),
        "M:N": (False, lambda own: _scheme(own, "M", "N")),
        "trained M:N": (False, lambda own: _scheme(own, "train_M", "train_N")),
        "gamma": (True, lambda own: _number(own.described.get("gamma"))),
        "backbone": (False, lambda own: _text(own.described.get("backbone"))),
        "observation": (False, lambda own: _text(own.described.get("observation"))),
        "estimator": (False, lambda own: _text(own.described.get("estimator"))),
        "setting": (False, lambda own: _text(own.setting)),
        "clips": (True, lambda own: _number(own.described.get("clips"))),
        **{NAMES[name]: (True, _rate(name)) for name in RATES},
        "GMACs": (True, lambda own: _number(own.mean("gmacs"))),
        "paper": (True, _paper),
        "ours - paper": (True, _difference),
        "paper's row": (False, lambda own: _text(_places(own))),
        "paper's GMACs": (True, _paper_gmacs),
        "seeds": (False, lambda own: _text(", ".join(str(seed) for seed in own.seeds))),
        "crops": (True, lambda own: _number(own.described.get("crops"))),
        "videos": (True, lambda own: _number(own.described.get("videos"))),
        "missing": (True, lambda own: _number(own.described.get("videos_missing"))),
        "failed": (True, lambda own: _number(own.described.get("videos_failed"))),
        "s/video": (True, lambda own: _number(own.mean("seconds_per_video"))),
    }
    return _table(columns, results, always=("selection", "M:N", "clips", *NAMES.values(), "GMACs", *_OF_PAPER, "seeds"))


def runs_table(runs: Sequence[Run]) -> Table:
    """Return all runs with their states."""
    columns: dict[str, tuple[bool, Callable[[Run], Cell]]] = {
        "run": (False, lambda own: _text(own.name)),
        "state": (False, lambda own: _text(own.state)),
        "algorithm": (False, lambda own: _text(own.config.get("algorithm.name"))),
        "data set": (False, lambda own: _text(own.config.get("dataset.name"))),
        "backbone": (False, lambda own: _text(own.config.get("backbone.name"))),
        **{key: (True, _of_config(key)) for key in ("M", "N", "gamma")},
        "seed": (True, lambda own: _of_config("seed")(own) if _is_training(own) else NOTHING),  # else of its draws
        "epochs": (True, lambda own: _number(len(own.history) or None)),
        "minutes": (True, lambda own: _number(None if own.seconds is None else round(own.seconds / 60, 1))),
    }
    return _table(columns, runs, always=("run", "state"))


def _is_training(run: Run) -> bool:
    return any(key.partition(".")[0] == "algorithm" for key in run.config)


def _of_config(key: str) -> Callable[[Run], Cell]:
    return lambda own: _number(own.config.get(key))


def _table(
    columns: Mapping[str, tuple[bool, Callable[[_T], Cell]]], of: Sequence[_T], *, always: Sequence[str]
) -> Table:
    """Return a cell a row and column; columns that say nothing, or one and the same wherever they say something, are
    taken out, the second kind unless they are named in ``always``.
    """
    cells = {name: [cell(one) for one in of] for name, (_, cell) in columns.items()}
    shown, alike = [], {}
    for name, column in cells.items():
        texts = {cell.text for cell in column} - {NOTHING.text}
        if len(texts) > 1 or (texts and (name in always or len(of) == 1)):
            shown.append(name)
        elif texts:
            alike[name] = texts.pop() + (" (where it applies)" if NOTHING in column else "")
    rows = [[cells[name][i] for name in shown] for i in range(len(of))]
    return Table(shown, [columns[name][0] for name in shown], rows, alike)


def _text(value: object) -> Cell:
    return NOTHING if value in (None, "") else Cell(str(value), str(value))


def _number(value: object) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(value)
    return Cell(f"{value:.4g}" if isinstance(value, float) else str(value), repr(value))


def _scheme(result: Result, m: str, n: str) -> Cell:
    first, second = result.described.get(m), result.described.get(n)
    return NOTHING if first is None else _text(f"{first}:{second}" if second is not None else f"{first}")


def _rate(name: str) -> Callable[[Result], Cell]:
    def cell(result: Result) -> Cell:
        mean, spread = result.mean(name), result.spread(name)
        if mean is None:
            return NOTHING
        return Cell(f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}"), repr(mean))

    return cell


def _paper(result: Result) -> Cell:
    given = paper_figures(result)
    if not given:
        return NOTHING
    texts = [NAMES[one.figure] + " " if one.figure != result.main_figure else "" for one in given]
    values = [f"{text}{100 * one.value:.1f}" for text, one in zip(texts, given, strict=True)]
    return Cell("; ".join(dict.fromkeys(values)), repr(given[0].value))


def _difference(result: Result) -> Cell:
    given = paper_figures(result)
    if not given:
        return NOTHING
    ours = result.mean(given[0].figure)
    assert ours is not None
    differences = [ours - value for value in _of_one_figure(given)]
    return Cell("; ".join(f"{100 * own:+.1f}" for own in differences), repr(differences[0]))


def _of_one_figure(given: Sequence[PaperFigure]) -> list[float]:
    """Return the values of the first one's figure, each once: several where a result may belong to several rows."""
    return list(dict.fromkeys(one.value for one in given if one.figure == given[0].figure))


def _places(result: Result) -> str:
    return "; ".join(dict.fromkeys(one.place for one in paper_figures(result)))


def _paper_gmacs(result: Result) -> Cell:
    return _number(next((one.gmacs for one in paper_figures(result) if one.gmacs is not None), None))


def paper_note(results: Sequence[Result]) -> str:
    """Return what is to be said of the paper's figures beside ours; empty where there are none."""
    given = [one for own in results for one in paper_figures(own)]
    if not given:
        return ""
    note = "The paper's figures are of whole data sets and networks pre-trained on Kinetics"
    other = sorted({one.networks for one in given} - {""})
    tables = sorted({one.table for one in given if one.networks})
    if other:
        named = " and ".join(NUMERALS[table] for table in tables)
        note += f"; those of Table {named} are of {other[0]}, which some of these rows are not"
    return note + ". How many of a data set's test videos a row was tested on stands in its last columns."


def to_markdown(table: Table) -> str:
    """Return the table as Markdown; what it holds is text and nothing else."""
    rule = ["---:" if is_number else "---" for is_number in table.numbers]
    lines = [[escape_markdown(head) for head in table.heads], rule]
    lines += [[escape_markdown(cell.text) for cell in row] for row in table.rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    if table.alike:
        text += f"\nThe same in all rows: {', '.join(f'{k} {escape_markdown(v)}' for k, v in table.alike.items())}.\n"
    return text


def escape_markdown(text: str) -> str:
    r"""Return the text such that Markdown shows it as it is.

    >>> print(escape_markdown("<b>a|b</b>"))
    &lt;b&gt;a\|b&lt;/b&gt;
    """
    for character, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "\\\\"), ("|", "\\|")):
        text = text.replace(character, shown)
    for character in "*`[]":  # an underscore inside of a word means nothing
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def to_csv(results: Sequence[Result]) -> str:
    """Return the results with all digits, rates as fractions: ``<figure>``, ``<figure>_std``, and the paper's."""
    described = list(dict.fromkeys(name for own in results for name in own.described))
    figures = [name for figure in FIGURES for name in (figure, f"{figure}_std")]
    paper = ["paper_row", "paper_figure", "paper", "paper_gmacs", "ours_minus_paper"]
    out = io.StringIO()
    writer = csv.DictWriter(
        out, [*described, "setting", "seeds", "num_seeds", *figures, *paper, "folders"], lineterminator="\n"
    )
    writer.writeheader()
    for own in results:
        line = {**own.described, "setting": own.setting, "seeds": " ".join(map(str, own.seeds)),
                "num_seeds": len(own.seeds), "folders": "; ".join(own.sources)}  # fmt: skip
        for figure in FIGURES:
            line |= {figure: own.mean(figure), f"{figure}_std": own.spread(figure)}
        if given := paper_figures(own):
            mean = own.mean(given[0].figure)
            assert mean is not None
            line |= {"paper_row": _places(own), "paper_figure": given[0].figure}
            if len(values := _of_one_figure(given)) == 1:  # otherwise it may be either
                costs = [one.gmacs for one in given if one.gmacs is not None]
                line |= {"paper": values[0], "paper_gmacs": next(iter(costs), None),
                         "ours_minus_paper": mean - values[0]}  # fmt: skip
        writer.writerow(line)
    return out.getvalue()
