"""The tables of a report: cells that the page, Markdown and CSV have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dsn_lightning.evaluation.splits import FIGURES, HEADINGS
from dsn_lightning.paper.matching import NUMERALS, PaperFigure, paper_figures
from dsn_lightning.report.collect import Run
from dsn_lightning.report.result_rows import Result
from dsn_lightning.text_tables import TextTable, csv_text, escape_cell, escape_markdown, percent


@dataclass(frozen=True)
class Cell:
    """A cell's text and the value that the page sorts it by: a number as text, a text, or "" where it is unknown."""

    text: str
    value: str


@dataclass(frozen=True)
class PageTable:
    """Cells, row by row; the first cell of a row is its name."""

    heads: Sequence[str]  #: titles of the columns
    numbers: Sequence[bool]  #: whether each column holds numbers
    rows: Sequence[Sequence[Cell]]  #: a cell for each column
    alike: Mapping[str, str]  #: column -> text that is the same in all rows, so that the column is left out


NOTHING = Cell("-", "")
_OF_PAPER = ("paper", "ours - paper", "paper's row", "paper's GMACs", "trained and tested on", "started from")
_T = TypeVar("_T", Run, Result)


def results_table(results: Sequence[Result]) -> PageTable:
    """Return all results: mean ± standard deviation over seeds in %, and the paper's figure where there is one."""
    columns: dict[str, tuple[bool, Callable[[Result], Cell]]] = {
        "selection": (False, lambda result: _text(result.method)),
        "data set": (False, _field("dataset")),
        "split": (True, _field("split")),
        "modality": (False, _field("modality")),
        "M:N": (False, lambda result: _scheme(result, "M", "N")),
        "trained M:N": (False, lambda result: _scheme(result, "train_M", "train_N")),
        "gamma": (True, _field("gamma")),
        "backbone": (False, _field("backbone")),
        "observation": (False, _field("observation")),
        "estimator": (False, _field("estimator")),
        "reward": (False, _field("reward")),
        "setting": (False, lambda result: _text(result.setting)),
        "clips": (True, _field("clips")),
        **{heading: (True, _rate(name)) for name, heading in HEADINGS.items()},
        "GMACs": (True, lambda result: _number(result.mean("gmacs"))),
        "paper": (True, _paper),
        "ours - paper": (True, _difference),
        "paper's row": (False, lambda result: _text(_places(result))),
        "paper's GMACs": (True, _paper_gmacs),
        "trained and tested on": (False, lambda result: _text(result.basis[0])),
        "started from": (False, lambda result: _text(result.basis[1])),
        "seeds": (False, lambda result: _text(", ".join(str(seed) for seed in result.seeds))),
        "crops": (True, _field("crops")),
        "videos": (True, _field("videos")),
        "missing": (True, _field("videos_missing")),
        "failed": (True, _field("videos_failed")),
        "s/video": (True, lambda result: _number(result.mean("seconds_per_video"))),
    }
    return _table(
        columns, results, always=("selection", "M:N", "clips", *HEADINGS.values(), "GMACs", *_OF_PAPER, "seeds")
    )


def runs_table(runs: Sequence[Run]) -> PageTable:
    """Return all runs with their states."""
    columns: dict[str, tuple[bool, Callable[[Run], Cell]]] = {
        "run": (False, lambda run: _text(run.name)),
        "state": (False, lambda run: _text(run.state)),
        "algorithm": (False, _of_config("algorithm.name")),
        "data set": (False, lambda run: _text(run.dataset if "dataset.name" in run.config else None)),
        "backbone": (False, _of_config("backbone.name")),
        **{key: (True, _of_config(key)) for key in ("M", "N", "gamma")},
        "seed": (True, _seed),
        "epochs": (True, lambda run: _number(len(run.history) or None)),
        "minutes": (True, lambda run: _number(None if run.seconds is None else round(run.seconds / 60, 1))),
        "warnings": (False, lambda run: _text("; ".join(run.warnings))),
    }
    return _table(columns, runs, always=("run", "state", "warnings"))


def _seed(run: Run) -> Cell:
    is_training = any(key.partition(".")[0] == "algorithm" for key in run.config)
    return _of_config("seed")(run) if is_training else NOTHING  # that of an evaluation is of its draws


def _of_config(key: str) -> Callable[[Run], Cell]:
    return lambda run: _number(run.config.get(key))


def _field(name: str) -> Callable[[Result], Cell]:
    return lambda result: _number(result.described.get(name))


def _table(
    columns: Mapping[str, tuple[bool, Callable[[_T], Cell]]], records: Sequence[_T], *, always: Sequence[str]
) -> PageTable:
    """Return a row for each record; columns without a value are left out.

    So are columns with the same value wherever they have one, unless ``always`` names them.
    """
    cells = {name: [cell(record) for record in records] for name, (_, cell) in columns.items()}
    shown, alike = [], {}
    for name, column in cells.items():
        texts = {cell.text for cell in column} - {NOTHING.text}
        if len(texts) > 1 or (texts and (name in always or len(records) == 1)):
            shown.append(name)
        elif texts:
            alike[name] = texts.pop() + (" (where it applies)" if NOTHING in column else "")
    rows = [[cells[name][i] for name in shown] for i in range(len(records))]
    return PageTable(shown, [columns[name][0] for name in shown], rows, alike)


def _text(value: object) -> Cell:
    return NOTHING if value in (None, "") else Cell(str(value), str(value))


def _number(value: object) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(value)
    return Cell(f"{value:.4g}" if isinstance(value, float) else str(value), repr(value))


def _scheme(result: Result, m: str, n: str) -> Cell:
    numbers = [result.described.get(m), result.described.get(n)]
    return NOTHING if numbers[0] is None else _text(":".join(str(n) for n in numbers if n is not None))


def _rate(name: str) -> Callable[[Result], Cell]:
    def cell(result: Result) -> Cell:
        mean = result.mean(name)
        return NOTHING if mean is None else Cell(percent(mean, result.spread(name)), repr(mean))

    return cell


def _figures_of_paper(result: Result) -> list[PaperFigure]:
    return paper_figures({**result.described, **{figure: result.mean(figure) for figure in HEADINGS}})


def _paper(result: Result) -> Cell:
    given = _figures_of_paper(result)
    if not given:
        return NOTHING
    texts = [HEADINGS[one.figure] + " " if one.figure != result.main_figure else "" for one in given]
    values = [f"{text}{100 * one.value:.1f}" for text, one in zip(texts, given, strict=True)]
    return Cell("; ".join(dict.fromkeys(values)), repr(given[0].value))


def _difference(result: Result) -> Cell:
    given = _figures_of_paper(result)
    if not given:
        return NOTHING
    if result.withheld:
        return Cell(f"withheld: {result.withheld}", "")
    ours = result.mean(given[0].figure)
    assert ours is not None
    differences = [ours - value for value in _values_of_first_figure(given)]
    return Cell("; ".join(f"{100 * difference:+.1f}" for difference in differences), repr(differences[0]))


def _values_of_first_figure(given: Sequence[PaperFigure]) -> list[float]:
    """Return the different values of the first one's figure: several where a result may belong to several rows."""
    return list(dict.fromkeys(one.value for one in given if one.figure == given[0].figure))


def _places(result: Result) -> str:
    return "; ".join(dict.fromkeys(one.place for one in _figures_of_paper(result)))


def _paper_gmacs(result: Result) -> Cell:
    return _number(next((one.gmacs for one in _figures_of_paper(result) if one.gmacs is not None), None))


def paper_note(results: Sequence[Result]) -> str:
    """Return what limits the comparison with the paper's figures; empty where the table has none."""
    given = [one for result in results for one in _figures_of_paper(result)]
    if not given:
        return ""
    note = (
        "The paper's figures are for whole data sets and networks pre-trained on Kinetics. A difference is withheld "
        "where the classes differ or what a row was trained on is not recorded"
    )
    networks = sorted({one.networks for one in given} - {""})
    tables = sorted({one.table for one in given if one.networks})
    if networks:
        named = " and ".join(NUMERALS[table] for table in tables)
        note += f"; those of Table {named} are for {networks[0]}, while some of these rows have other networks"
    return note + "."


def to_markdown(table: PageTable) -> str:
    """Return the table as Markdown; its cells appear as plain text."""
    cells = [[escape_cell(cell.text) for cell in row] for row in table.rows]
    text = TextTable([escape_cell(head) for head in table.heads], cells, numbers=table.numbers).markdown()
    if table.alike:
        text += f"\nThe same in all rows: {', '.join(f'{k} {escape_markdown(v)}' for k, v in table.alike.items())}.\n"
    return text


def to_csv(results: Sequence[Result]) -> str:
    """Return the results with all digits, rates as fractions: ``<figure>``, ``<figure>_std``, and the paper's."""
    described = list(dict.fromkeys(name for result in results for name in result.described))
    figures = [name for figure in FIGURES for name in (figure, f"{figure}_std")]
    paper = ["paper_row", "paper_figure", "paper", "paper_gmacs", "ours_minus_paper"]
    columns = [*described, "setting", "seeds", "num_seeds", *figures, *paper, "basis", "started_from", "folders"]
    return csv_text(map(_record, results), columns)


def _record(result: Result) -> dict[str, Any]:
    record = {**result.described, "setting": result.setting, "folders": "; ".join(result.sources)}
    record |= {"basis": result.basis[0], "started_from": result.basis[1]}
    record |= {"seeds": " ".join(map(str, result.seeds)), "num_seeds": len(result.seeds)}
    for figure in FIGURES:
        record |= {figure: result.mean(figure), f"{figure}_std": result.spread(figure)}
    if given := _figures_of_paper(result):
        mean = result.mean(given[0].figure)
        assert mean is not None
        record |= {"paper_row": _places(result), "paper_figure": given[0].figure}
        if len(values := _values_of_first_figure(given)) == 1:  # with several, any of them may be the result's
            costs = [one.gmacs for one in given if one.gmacs is not None]
            difference = None if result.withheld else mean - values[0]
            record |= {"paper": values[0], "paper_gmacs": next(iter(costs), None), "ours_minus_paper": difference}
    return record
