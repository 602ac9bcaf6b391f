"""The content of ``statistics.json`` as tables and lines of text; rates in percentage points."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsn_lightning.evaluation.splits import HEADINGS, kind_of_videos
from dsn_lightning.evaluation.study import RATES
from dsn_lightning.selections import BASELINE_CLASSIFIER, Dense, Kind, MaxResponse, Oracle, Random, Uniform
from dsn_lightning.text_tables import TextTable

Entry = Mapping[str, Any]

_SINGLE_TRAINING = (Random.name, MaxResponse.name)  # no control is about them


def main_differences(statistics: Entry) -> list[Entry]:
    """Return the differences that matter most.

    Each learned method is compared with the references of the same classifier, except random clips; if its classifier
    is not the baseline's, also with the references of the baseline's; and learned methods with each other. Methods of
    another training (see `outcomes.add_training`) are compared with the same selection, and learned ones also with
    uniform clips and with the dense clips of the other baseline.
    """
    kinds = _kinds(statistics)
    return [difference for difference in statistics["differences"] if _is_main(difference, kinds)]


def _is_main(difference: Entry, kinds: Mapping[tuple[Any, ...], Kind]) -> bool:
    method, other = difference["method"], difference["other"]
    selection, other_selection = method["selection"], other["selection"]
    learned = kinds[_key(method)] == "learned"
    if ":" in method["classifier"] + other["classifier"]:  # of another training
        if selection == other_selection:
            return selection not in _SINGLE_TRAINING
        dense_baseline = other_selection == Dense.name and other["classifier"].endswith(f":{BASELINE_CLASSIFIER}")
        return learned and (other_selection == Uniform.name or dense_baseline)
    if not learned:
        return False
    if kinds[_key(other)] == "learned":
        return BASELINE_CLASSIFIER in (method["classifier"], other["classifier"]) and selection != other_selection
    return other_selection != Random.name and other["classifier"] in (method["classifier"], BASELINE_CLASSIFIER)


def against_references(statistics: Entry) -> list[Entry]:
    """Return those of `main_differences` to references with the same classifier, at the first M:N."""
    kinds = _kinds(statistics)
    references = [
        difference
        for difference in main_differences(statistics)
        if kinds[_key(difference["other"])] == "reference" and difference["same_classifier"]
    ]
    return [difference for difference in references if schemes(difference) == schemes(references[0])]


def above_chance(statistics: Entry) -> Entry:
    """Return the statistics without differences, shares, headroom and gains by class of classifiers at chance."""

    def keep(entry: Entry) -> bool:
        return entry.get("method", entry)["classifier"] not in statistics["at_chance"]

    names = ("differences", "gap_share", "headroom", "classes")
    return {**statistics, **{name: [entry for entry in statistics[name] if keep(entry)] for name in names}}


def warning_lines(statistics: Entry) -> list[str]:
    """Return a line for each network that has learned nothing."""
    return [f"warning: {text}" for text in statistics["warnings"]]


def differences_table(statistics: Entry, differences: Sequence[Entry], *, title: str = "") -> TextTable:
    """Return the table of differences with their intervals."""
    columns = [rate for rate in RATES if any(difference[rate] for difference in differences)]
    if "mean_class" in columns and all(_same_in_classes(difference) for difference in differences):
        columns.remove("mean_class")  # all classes have equally many videos
    rows = []
    for difference in differences:
        method, other = difference["method"], difference["other"]
        same = difference["same_classifier"]
        minus = other["selection"] if same else f"{other['selection']} ({other['classifier']})"
        names = [method["selection"], method["classifier"], minus, schemes(difference)]
        rows.append([*names, *(points(difference[rate]) for rate in columns)])
    header = ["method", "classifier", "minus", "M:N", *(HEADINGS[rate] for rate in columns)]
    return TextTable(header, rows, num_names=4, title=title)


def gap_lines(statistics: Entry) -> list[str]:
    """Return a line for each share of the gap to the bound, with the paper's mixed share, and one for those unknown."""
    shares = statistics["gap_share"]
    known = [entry for entry in shares if entry["share"] is None or _width(entry["share"]) <= 1]
    lines = [_gap_line(entry) for entry in known]
    return lines if len(known) == len(shares) else [*lines, "too few videos to tell what share of the gap is closed"]


def headroom_table(statistics: Entry, *, title: str) -> TextTable:
    """Return the rate of uniform clips and the gains of other methods with the same classifier, for each M:N."""
    found = [(entry, rate) for entry in statistics["headroom"] for rate in ("top1", "map") if rate in entry["figures"]]
    names = dict.fromkeys(name for entry, rate in found for name in entry["figures"][rate] if name != Uniform.name)
    rows = []
    for entry, rate in found:
        gains = entry["figures"][rate]
        uniform = f"{100 * gains[Uniform.name]['value']:.1f}"
        cells = [points(gains.get(name)) for name in names]
        rows.append([f"{entry['M']}:{entry['N']}", HEADINGS[rate], uniform, *cells])
    return TextTable(["M:N", "", Uniform.name, *names], rows, num_names=2, title=title)


def headroom_lines(statistics: Entry) -> list[str]:
    """Return the verdict at each M:N."""
    return [entry["verdict"] + "." for entry in statistics["headroom"]]


def explanation(statistics: Entry) -> str:
    """Return how the intervals were computed."""
    about = statistics["about"]
    seeds = len(about["seeds"])
    over = f"mean over {seeds} seeds ± their standard deviation, " if seeds > 1 else ""
    shared = "the same videos for all methods" + (" and seeds" if seeds > 1 else "")
    if about["resampled"] != "videos":
        shared += ", the seeds as well"
    return (
        f"percentage points, {over}[{100 * about['level']:.0f}% interval] of {about['resamples']} resamples of the "
        f"{about['videos']} {kind_of_videos(about.get('dataset'))}, {shared}; * where it lies on one side of 0"
    )


def points(estimate: Entry | None) -> str:
    """Return a difference as the text of a cell.

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
    """Return the M:N of a difference, or those of both methods."""
    methods = difference["method"], difference["other"]
    return " and ".join(dict.fromkeys(f"{method['M']}:{method['N']}" for method in methods))


def _gap_line(entry: Entry) -> str:
    low, high = 100 * entry["low"]["value"], 100 * entry["high"]["value"]
    method = f"{entry['selection']} ({entry['classifier']}'s classifier) at {entry['M']}:{entry['N']}"
    subject = f"{HEADINGS[entry['figure']]} of {method}"
    mixed = entry["ends"] == "mixed"
    ends = "with the baseline's (mixed)" if mixed else "with the same classifier"
    bound = "the greedy oracle" if entry["bound"] == Oracle.name else "the best choice of clips"
    gap = f"the gap from uniform clips to {bound} {ends}, {low:.1f} to {high:.1f}"
    if entry["share"] is None:
        return f"{subject}: no share of {gap}: {entry['reason']}"
    share = entry["share"]
    paper = f"; the paper's Table I: {100 * entry['paper']:.0f}%" if mixed and entry["paper"] is not None else ""
    interval = f"[{100 * share['low']:.0f}, {100 * share['high']:.0f}]"
    return f"{subject}: {100 * share['value']:.0f}% {interval} of {gap}{paper}"


def _width(estimate: Entry) -> float:
    return float(estimate["high"] - estimate["low"])


def _same_in_classes(difference: Entry) -> bool:
    top1, mean_class = difference["top1"], difference["mean_class"]
    return bool(top1 and mean_class) and abs(top1["value"] - mean_class["value"]) < 1e-9


def _kinds(statistics: Entry) -> dict[tuple[Any, ...], Kind]:
    return {_key(method): method["kind"] for method in statistics["methods"]}


def _key(method: Entry) -> tuple[Any, ...]:
    return tuple(method[name] for name in ("selection", "classifier", "M", "N"))
