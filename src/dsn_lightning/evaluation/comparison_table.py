"""What ``statistics.json`` holds, as tables and lines that a person reads; rates in percentage points."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from dsn_lightning.evaluation.splits import kind_of_videos

Entry = Mapping[str, Any]

_HEADINGS = {"top1": "top-1", "mean_class": "mean class", "map": "mAP", "hit_rate": "hit rate"}
_NUM_NAMES = 4  # columns before those of figures


def main_differences(statistics: Entry) -> list[Entry]:
    """Return the differences that are asked for first.

    Each method with a sampler against uniform and dense clips of the same classifier; where it answers
    with a classifier of its own, also against the baseline's; and such methods against each other. Of another
    training's methods (see `outcomes.beside`) those with the same selection, its uniform clips, and the dense ones of
    its baseline.
    """
    learned = {_key(own) for own in statistics["methods"] if own.get("sampler")}
    learned |= {_key(own) for own in statistics["gap_share"]}  # of files from before methods said it

    def wanted(own: Entry) -> bool:
        method, other = own["method"], own["other"]
        if ":" in method["classifier"] + other["classifier"]:
            alike = method["selection"] == other["selection"] in ("uniform", "dense", "dsn", "dsn_fixed")
            of_baseline = other["selection"] == "dense" and other["classifier"].endswith(":baseline")
            return alike or (_key(method) in learned and (other["selection"] == "uniform" or of_baseline))
        if _key(method) not in learned:
            return False
        if _key(other) in learned:
            return (
                "baseline" in (method["classifier"], other["classifier"]) and method["selection"] != other["selection"]
            )
        return other["selection"] in ("uniform", "dense") and other["classifier"] in (method["classifier"], "baseline")

    return [own for own in statistics["differences"] if wanted(own)]


def against_references(statistics: Entry) -> list[Entry]:
    """Return, of `main_differences`, those to uniform and dense clips of the same classifier, of the first M:N."""
    main = main_differences(statistics)
    references = [own for own in main if own["other"]["selection"] in ("uniform", "dense") and own["same_classifier"]]
    return [own for own in references if _scheme(own) == _scheme(references[0])]


def rich_differences(statistics: Entry, differences: Sequence[Entry], *, title: str) -> Table:
    """Return the table of differences with their intervals."""
    table = Table(title=title, title_justify="left")
    header, *lines = _cells(statistics, differences)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < _NUM_NAMES else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def markdown_differences(statistics: Entry, differences: Sequence[Entry]) -> str:
    """Return the same as Markdown."""
    header, *lines = _cells(statistics, differences)
    rule = ["---" if i < _NUM_NAMES else "---:" for i in range(len(header))]
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


def gap_lines(statistics: Entry) -> list[str]:
    """Return a line for each share of the gap, beside the paper's mixed one."""
    return [_gap_line(own) for own in statistics["gap_share"]]


def headroom_table(statistics: Entry, *, title: str) -> Table:
    """Return, for each M:N, uniform clips' rate and what others of the same classifier gain over them."""
    found = [(own, figure) for own in statistics["headroom"] for figure in ("top1", "map") if figure in own["figures"]]
    names = list(dict.fromkeys(name for own, figure in found for name in own["figures"][figure] if name != "uniform"))
    table = Table(title=title, title_justify="left")
    for i, heading in enumerate(["M:N", "", "uniform", *names]):
        table.add_column(heading, justify="left" if i < 2 else "right", no_wrap=True)
    for own, figure in found:
        gains = own["figures"][figure]
        rate = f"{100 * gains['uniform']['value']:.1f}"
        cells = [points(gains.get(name)) for name in names]
        table.add_row(f"{own['M']}:{own['N']}", _HEADINGS[figure], rate, *cells)
    return table


def headroom_lines(statistics: Entry) -> list[str]:
    """Return the verdict at each M:N."""
    return [own["verdict"] + "." for own in statistics["headroom"]]


def explanation(statistics: Entry) -> str:
    """Say how the intervals were made."""
    about = statistics["about"]
    seeds = len(about["seeds"])
    over = f"mean over {seeds} seeds ± their standard deviation, " if seeds > 1 else ""
    what = "the same videos for all methods" + (" and seeds" if seeds > 1 else "")
    if about["resampled"] != "videos":
        what += ", the seeds as well"
    return (
        f"percentage points, {over}[{100 * about['level']:.0f}% interval] of {about['resamples']} resamples of the "
        f"{about['videos']} {kind_of_videos(about.get('dataset'))}, {what}; * where it lies on one side of 0"
    )


def points(estimate: Entry | None) -> str:
    """Return a difference for a cell.

    >>> points({"value": 0.1, "low": 0.05, "high": 0.151, "seeds": [0.1, 0.1], "spread": 0.0})
    '+10.0 ± 0.0 [+5.0, +15.1]*'
    """
    if estimate is None:
        return "-"
    spread = "" if estimate["spread"] is None else f" ± {100 * estimate['spread']:.1f}"
    low, high = estimate["low"], estimate["high"]
    star = "*" if low > 0 or high < 0 else ""
    return f"{100 * estimate['value']:+.1f}{spread} [{100 * low:+.1f}, {100 * high:+.1f}]{star}"


def schemes(difference: Entry) -> str:
    """Return the M:N of a difference, or of both methods."""
    return " and ".join(dict.fromkeys(f"{own['M']}:{own['N']}" for own in (difference["method"], difference["other"])))


def _cells(statistics: Entry, differences: Sequence[Entry]) -> list[list[str]]:
    columns = {name: heading for name, heading in _HEADINGS.items() if any(own[name] for own in differences)}
    if all(own["top1"] and own["mean_class"] and _same(own["top1"], own["mean_class"]) for own in differences):
        columns.pop("mean_class", None)  # as many videos in each class
    cells = [["method", "classifier", "minus", "M:N", *columns.values()]]
    for own in differences:
        method, other = own["method"], own["other"]
        minus = other["selection"] if own["same_classifier"] else f"{other['selection']} ({other['classifier']})"
        names = [method["selection"], method["classifier"], minus, schemes(own)]
        cells.append([*names, *(points(own[name]) for name in columns)])
    return cells


def _gap_line(own: Entry) -> str:
    low, high = 100 * own["low"]["value"], 100 * own["high"]["value"]
    what = (
        f"{_HEADINGS[own['figure']]} of {own['selection']} ({own['classifier']}'s classifier) at {own['M']}:{own['N']}"
    )
    ends = "with the same classifier" if own["ends"] == "same classifier" else "with the baseline's (mixed)"
    gap = f"the gap from uniform to oracle {ends}, {low:.1f} to {high:.1f}"
    if own["share"] is None:
        return f"{what}: no share of {gap}: {own['reason']}"
    share = own["share"]
    paper = (
        "" if own["paper"] is None or own["ends"] != "mixed" else f"; the paper's Table I: {100 * own['paper']:.0f}%"
    )
    interval = f"[{100 * share['low']:.0f}, {100 * share['high']:.0f}]"
    return f"{what}: {100 * share['value']:.0f}% {interval} of {gap}{paper}"


def _same(first: Entry, second: Entry) -> bool:
    return abs(first["value"] - second["value"]) < 1e-9


def _scheme(difference: Entry) -> tuple[int, int]:
    return difference["method"]["M"], difference["method"]["N"]


def _key(method: Entry) -> tuple[Any, ...]:
    return tuple(method[name] for name in ("selection", "classifier", "M", "N"))
