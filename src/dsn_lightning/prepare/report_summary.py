"""The report of dsn-prepare as text for the terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from dsn_lightning.prepare.make_copies import TITLES, readable
from dsn_lightning.text_tables import TextTable

_MAX_LINES = 5  # of a list
_COUNTS = ("listed", "present", "missing", "bad", "flagged")


def print_summary(report: dict[str, Any], console: Console) -> None:
    """Print the findings of `dataset_report` and `make_copies`; long lists are shortened."""
    rows = [
        [name, *(str(counts[column]) for column in _COUNTS)]
        for name, counts in (*report["subsets"].items(), ("all", report["totals"]))
    ]
    console.print(TextTable(["subset", *_COUNTS], rows, title=f"{report['dataset']}: videos").terminal())
    if report["frames"] is not None:
        names = {"frames": "frames", "seconds": "seconds", "fps": "frames/s"}
        console.print(", ".join(_range(name, report[key]) for key, name in names.items()), highlight=False)
    leakage = report["leakage"]
    lists = {
        "bad": [f"{v['video']}: {v['reason']}" for v in report["bad"]],
        "flagged (FFmpeg reported errors, but frames came out)": [
            f"{v['video']}: {'; '.join(v['damage'])}" for v in report["flagged"]
        ],
        "numbers of frames in the header and decoded differ": [
            f"{v['video']}: {v['header']}, {v['decoded']}" for v in report["header_mismatches"]
        ],
        "groups in several subsets": [_ids_by_subset(v) for v in leakage["groups"]],
        "same content in several subsets": [_ids_by_subset(v) for v in leakage["identical"]],
        "same content within a subset": [" = ".join(ids) for ids in report["repeated"]],
    }
    for title, lines in lists.items():
        _print_list(console, title, lines)
    for kind, title in TITLES.items():
        if kind in report:
            copies = report[kind]
            console.print(f"{title}: {copies['copies']} videos, {readable(copies['bytes'])}", highlight=False)
            _print_list(console, f"{title} that failed", [f"{v['video']}: {v['reason']}" for v in copies["failed"]])


def _range(name: str, spread: dict[str, float]) -> str:
    low, high = spread["min"], spread["max"]
    return f"{name} {low:g}" if low == high else f"{name} {low:g} to {high:g} (median {spread['median']:g})"


def _ids_by_subset(leak: dict[str, Any]) -> str:
    parts = [
        f"{subset} {ids[0]}{f' and {len(ids) - 1} more' if len(ids) > 1 else ''}"
        for subset, ids in leak.items()
        if subset != "group"
    ]
    return (f"{leak['group']}: " if "group" in leak else "") + ", ".join(parts)


def _print_list(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        console.print(f"{title}: {len(lines)}", highlight=False, style="bold")
        for line in lines[:_MAX_LINES]:
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        if len(lines) > _MAX_LINES:
            console.print(f"  ... and {len(lines) - _MAX_LINES} more", highlight=False)
