"""The report of dsn-prepare, as a person wants it."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dsn_lightning.commands.copying import readable

_SHOWN = 5


def print_summary(report: dict[str, Any], console: Console) -> None:
    """Print what `dataset_report` and `make_copies` found; long lists are cut."""
    columns = ("listed", "present", "missing", "bad", "flagged")
    table = Table("", *columns, title=f"{report['dataset']}: videos")
    for name, counts in (*report["subsets"].items(), ("all", report["totals"])):
        table.add_row(name, *(str(counts[column]) for column in columns))
    console.print(table)
    if report["frames"] is not None:
        console.print(", ".join((
            _range("frames", report["frames"]), _range("seconds", report["seconds"]), _range("frames/s", report["fps"]),
        )), highlight=False)  # fmt: skip
    _list(console, "bad", [f"{v['video']}: {v['reason']}" for v in report["bad"]])
    _list(console, "flagged (FFmpeg reported errors, frames came out)",
          [f"{v['video']}: {'; '.join(v['damage'])}" for v in report["flagged"]])  # fmt: skip
    _list(console, "header and decoded frames differ",
          [f"{v['video']}: {v['header']}, {v['decoded']}" for v in report["header_mismatches"]])  # fmt: skip
    _list(console, "groups on several sides of the split", [_sides(v) for v in report["leakage"]["groups"]])
    _list(console, "same content on several sides of the split", [_sides(v) for v in report["leakage"]["identical"]])
    _list(console, "same content within a side", [" = ".join(ids) for ids in report["repeated"]])
    for kind, name in (("small", "small copies"), ("flow", "flow")):
        if kind in report:
            made = report[kind]
            console.print(f"{name}: {made['copies']} videos, {readable(made['bytes'])}", highlight=False)
            _list(console, f"{name} that failed", [f"{v['video']}: {v['reason']}" for v in made["failed"]])


def _range(name: str, spread: dict[str, float]) -> str:
    low, high = spread["min"], spread["max"]
    return f"{name} {low:g}" if low == high else f"{name} {low:g} to {high:g} (median {spread['median']:g})"


def _sides(leak: dict[str, Any]) -> str:
    sides = [f"{side} {ids[0]}{f' and {len(ids) - 1} more' if len(ids) > 1 else ''}"
             for side, ids in leak.items() if side != "group"]  # fmt: skip
    return (f"{leak['group']}: " if "group" in leak else "") + ", ".join(sides)


def _list(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        console.print(f"{title}: {len(lines)}", highlight=False, style="bold")
        for line in lines[:_SHOWN]:
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        if len(lines) > _SHOWN:
            console.print(f"  ... and {len(lines) - _SHOWN} more", highlight=False)
