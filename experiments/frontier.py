"""Accuracy against cost: multiply-adds a video, and seconds a video on this machine, with the field's published points.

    python experiments/frontier.py EVALUATION... --run RUN [--selections dsn,uniform,...] [--rate map] [--output DIR]

EVALUATION is the folder of a dsn-evaluate with several M (test.M=[1,2,3,4,6]), one a seed. RUN is a run of
algorithm=dsn whose networks are timed: the sampler on the M * N candidates of a video at once, and the classifier on
the kept clips at once (their mean number rounded up, and the time in proportion), as dsn-cost measure=true does. The
network of max response has the sampler's trunk, and gets its time. Neither figure contains reading the videos. Writes
frontier.json, frontier.md and frontier.png.

The published points are ActivityNet's mAP on its own videos, with other networks and training sets: they show where the
field stands, and are not comparable with other data.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_json
from dsn_lightning.text_tables import TextTable

PUBLISHED = (
    ("FrameExit, X3D-S", 86.0, 9.8),
    ("FrameExit, EfficientNet", 81.2, 18.0),
    ("Uni-AdaFocus", 78.3, 9.1),
    ("Uni-AdaFocus", 80.4, 18.1),
    ("Uni-AdaFocus", 80.7, 27.2),
    ("OCSampler", 76.9, 21.7),
    ("NSNet", 76.8, 26.0),
    ("TSQNet", 76.6, 26.1),
    ("FrameExit", 76.1, 24.7),
    ("Dynamic-STE", 75.9, 30.5),
    ("AFNet", 75.6, 24.6),
    ("VideoIQ", 74.8, 28.1),
    ("AR-Net", 73.8, 33.5),
    ("AdaFuse", 73.1, 61.4),
    ("SCSampler", 72.9, 42.0),
    ("LiteEval", 72.7, 95.1),
    ("ListenToLook", 72.3, 81.4),
    ("AdaFrame", 71.5, 79.0),
)
"""Method, mAP in % and GFLOPs a video (multiply-adds), as their authors report them.

FrameExit (Ghodrati et al., CVPR 2021), OCSampler (Lin et al., CVPR 2022), NSNet and TSQNet (Xia et al., ECCV and ACM MM
2022), AFNet (Zhang et al., NeurIPS 2022), Dynamic-STE (Kim et al., ICCV 2021), VideoIQ (Sun et al., ICCV 2021), AR-Net
(Meng et al., ECCV 2020), AdaFuse (Meng et al., ICLR 2021), SCSampler (Korbar et al., ICCV 2019), LiteEval (Wu et al.,
NeurIPS 2019), ListenToLook (Gao et al., CVPR 2020), AdaFrame (Wu et al., CVPR 2019), Uni-AdaFocus (Wang et al., TPAMI
2024). Later papers sometimes cite other costs for the same method.
"""

SELECTIONS = ("uniform", "max_response", "dsn", "dense")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", nargs="+", type=Path, metavar="EVALUATION", help="one a seed")
    parser.add_argument("--run", type=Path, required=True, help="run of algorithm=dsn whose networks are timed")
    parser.add_argument("--selections", help=f"default: those of {','.join(SELECTIONS)} that were evaluated")
    parser.add_argument("--rate", default="map", choices=["map", "top1"], help="default: map, as published")
    parser.add_argument("--repeats", type=int, default=10, help="runs that are timed (default: 10)")
    parser.add_argument("--output", type=Path, default=Path("outputs/frontier"))
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"--repeats {arguments.repeats}: expected at least 1")
    try:
        content = frontier(arguments.evaluations, arguments.run, arguments)
    except UsageError as error:
        parser.error(str(error))
    write_json(arguments.output / "frontier.json", content)
    table = _table(content)
    table.print(Console(width=None if sys.stdout.isatty() else 150))
    write_atomically(arguments.output / "frontier.md", table.markdown() + "\n")
    draw(content, arguments.output / "frontier.png")
    print(f"written: {arguments.output}/frontier.json, frontier.md, frontier.png")
    return 0


def frontier(evaluations: Sequence[Path], run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the methods with their rates, multiply-adds and seconds; `UsageError` if a folder cannot be used."""
    from dsn_lightning.evaluation.results import mean_and_spread

    rows = [row for folder in evaluations for row in _rows(folder)]
    wanted = arguments.selections.split(",") if arguments.selections else SELECTIONS
    unknown = sorted({*wanted} - {row["selection"] for row in rows})
    if unknown and arguments.selections:
        raise UsageError(f"--selections {','.join(unknown)}: not in {evaluations[0]}")
    chosen = [row for row in rows if row["selection"] in wanted and row[arguments.rate] is not None]
    if not chosen:
        raise UsageError(f"--rate {arguments.rate}: not in {evaluations[0]}")
    groups = mean_and_spread(chosen)
    if len({len(rates[arguments.rate]) for _, rates in groups}) > 1 or len({row["dataset"] for row in chosen}) > 1:
        raise UsageError("the evaluations differ in data set, methods or M; give one a seed, with the same settings")
    seconds = networks_seconds(run, [row for row, _ in groups], repeats=arguments.repeats)
    methods = []
    for row, rates in groups:
        values, clips = rates[arguments.rate], math.ceil(row["clips"])
        sampling = 0.0 if not row["gmacs_observation"] else seconds["sampler"][f"{row['M']}:{row['N']}"]
        classifying = seconds["classifier"][str(clips)] * row["clips"] / clips
        methods.append(
            {name: row[name] for name in ("selection", "classifier", "M", "N", "clips", "gmacs")}
            | {"seeds": values.tolist(), arguments.rate: float(values.mean())}
            | {"seconds": sampling + classifying}
        )
    about = {name: chosen[0][name] for name in ("dataset", "backbone", "observation")}
    return {**about, "rate": arguments.rate, "measured": seconds, "methods": methods, "published": list(PUBLISHED)}


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of an evaluation that have a cost."""
    from dsn_lightning.evaluation.results import FIELDS
    from dsn_lightning.evaluation.row_check import is_row

    content = read_json(RunFolder(folder).results_json)
    rows = content if isinstance(content, list) else []
    if not rows or not all(is_row(row) and {*FIELDS} <= {*row} for row in rows):
        raise UsageError(f"{folder}: has no results; expected the folder of a dsn-evaluate")
    return [row for row in rows if row["gmacs"] is not None]


def networks_seconds(run: Path, rows: Sequence[Mapping[str, Any]], *, repeats: int) -> dict[str, Any]:
    """Time a run's networks: ``classifier``, seconds by the number of clips at once; ``sampler``, seconds by M:N.

    Raises:
        UsageError: the run has no sampler, or other networks than the rows.
    """
    from dsn_lightning.config.network_costs import clip_shape
    from dsn_lightning.config.trained import load_trained
    from dsn_lightning.cost.speed import time_networks

    trained = load_trained(RunFolder(run).last_checkpoint, key="run")
    recognizer, settings = trained.recognizer, trained.settings
    sampler = getattr(recognizer, "observation", None)
    if sampler is None:
        raise UsageError(f"{run}: has no sampler; expected a run of algorithm=dsn")
    if others := {row["backbone"] for row in rows} - {settings.backbone.name}:
        raise UsageError(f"{run}: has the backbone {settings.backbone.name}, the evaluations have {sorted(others)[0]}")
    shape = clip_shape(settings.backbone, modality=settings.dataset.modality)
    counts = sorted({math.ceil(row["clips"]) for row in rows})
    schemes = sorted({(row["M"], row["N"]) for row in rows if row["gmacs_observation"]})
    classifiers = {str(count): (recognizer.classifier, 1.0, (count, *shape)) for count in counts}
    samplers = {f"{m}:{n}": (sampler, 1.0, (1, m, n, *shape)) for m, n in schemes}
    found = time_networks({**classifiers, **samplers}, repeats=repeats)
    times = {entry["network"]: entry["seconds"] for entry in found.pop("networks")}
    parts = {"classifier": [*classifiers], "sampler": [*samplers]}
    return found | {part: {name: times[name] for name in names} for part, names in parts.items()}


def _table(content: Mapping[str, Any]) -> TextTable:
    rate = content["rate"]
    lines = [
        [
            *(str(m[name]) for name in ("selection", "classifier")),
            f"{m['M']}:{m['N']}",
            f"{m['clips']:.3g}",
            f"{100 * m[rate]:.1f}",
            f"{m['gmacs']:.2f}",
            f"{1000 * m['seconds']:.0f}",
        ]
        for m in content["methods"]
    ]
    title = f"{content['dataset']}: {content['backbone']} + {content['observation']}, {content['measured']['device']}"
    header = ["selection", "classifier", "M:N", "clips", "mAP" if rate == "map" else "top-1", "GMACs", "ms"]
    return TextTable(header, lines, num_names=2, title=title)


def draw(content: Mapping[str, Any], path: Path) -> None:
    """Draw the rates over multiply-adds, with the published points in grey, and over seconds."""
    import numpy as np
    from matplotlib.figure import Figure

    from dsn_lightning.evaluation.chart_style import NEUTRAL, PALETTE, use_log_scale
    from dsn_lightning.evaluation.figures import save_figure
    from dsn_lightning.evaluation.frontier import FrontierPoint, draw_frontier

    rate, figure = content["rate"], Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colours = {name: PALETTE[i] for i, name in enumerate(dict.fromkeys(m["selection"] for m in content["methods"]))}
    points = [
        FrontierPoint(
            name=f"{m['selection']}, {m['classifier']}'s classifier",
            gmacs=m["gmacs"],
            rate=100 * m[rate],
            spread=100 * float(np.std(m["seeds"], ddof=1)) if len(m["seeds"]) > 1 else None,
            colour=colours[m["selection"]],
            hollow=m["classifier"] != "baseline",
        )
        for m in content["methods"]
    ]
    metric = {"map": "mAP", "top1": "top-1"}[rate]
    draw_frontier(left, points, metric=metric)
    if rate == "map":
        _, rates, gflops = zip(*content["published"], strict=True)
        left.scatter(gflops, rates, c=NEUTRAL, s=18, label="published, on ActivityNet's own videos: not comparable")
        lowest, highest = min(p.gmacs for p in points), max(gflops)
        use_log_scale(left, lowest, highest)
        left.set_xlim(0.8 * lowest, 1.25 * highest)
    left.set_xlabel("GMACs a video (classifier and sampler)")
    draw_frontier(
        right,
        [replace(p, gmacs=m["seconds"]) for p, m in zip(points, content["methods"], strict=True)],
        metric=metric,
    )
    right.set_xlabel(f"seconds a video on {content['measured']['device']} (networks alone)")
    handles = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
    figure.legend(
        [*handles.values()], [name.strip() for name in handles], loc="outside lower center", ncols=2, frameon=False
    )
    figure.suptitle(
        f"{content['dataset']}: {content['backbone']}, mean over {len(content['methods'][0]['seeds'])} seeds"
    )
    save_figure(figure, path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
