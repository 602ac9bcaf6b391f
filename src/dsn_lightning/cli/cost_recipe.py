"""The work of dsn-cost: counting networks and videos, timing networks, printing both."""

import json
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console
from torch import nn

from dsn_lightning.config.build import build_classifier, build_observation
from dsn_lightning.config.compose import compose_anew
from dsn_lightning.config.cost_settings import CostSettings
from dsn_lightning.config.network_costs import ClipShape, NetworkCost, clip_shape, count_classifier, count_observation
from dsn_lightning.cost import paper_tables
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.cost.speed import PRECISIONS, time_networks
from dsn_lightning.errors import UsageError
from dsn_lightning.selections import DSN_SAMPLER, Dense, Uniform
from dsn_lightning.text_tables import TextTable


def paper_rows(number: int) -> list[paper_tables.TableRow]:
    """Return the cost columns of the paper's Table III or IV, counted anew, with the paper's next to them."""
    classifiers: dict[str, float] = {}
    samplers: dict[tuple[str, int], float] = {}
    for row in paper_tables.rows_of(number).values():
        n, classes = row.N or 1, paper_tables.NUM_CLASSES[number]
        groups = (f"backbone={row.backbone}", f"observation={paper_tables.OBSERVATION}")
        settings = CostSettings.of(compose_anew("cost", *groups, f"N={n}", f"num_classes={classes}"))
        if row.backbone not in classifiers:
            classifiers[row.backbone] = _classifier(settings).macs
        if row.N is not None and (row.backbone, n) not in samplers:
            samplers[row.backbone, n] = _samplers(settings)[n].macs
    return paper_tables.cost_table(number, classifiers=classifiers, samplers=samplers)


def print_paper_table(number: int, console: Console, *, as_json: bool) -> None:
    """Print `paper_rows` as a table, or as JSON."""
    rows = paper_rows(number)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        paper_tables.print_table(number, rows, console)


def costs(settings: CostSettings) -> dict[str, Any]:
    """Return what the networks and videos cost, in plain values.

    Its keys: ``clip`` (channels, frames, height, width), ``num_classes``, ``crops``, ``networks`` (``role``, ``name``,
    ``N``, ``parameters``, ``gmacs`` of a clip, for the largest M), ``rows`` of one video each (``selection``, ``M``,
    ``N``, ``clips``, ``gmacs_classifier``, ``gmacs_observation``, ``gmacs`` as in ``results.json``, and
    ``share_of_dense``: of each of ``dense_clips``), and ``measured``, None unless ``measure`` is set.
    """
    if settings.measure:
        _check_measuring(settings)
    classifier, crops = _classifier(settings), settings.test.crops
    samplers_of = {m: _samplers(settings, num_sections=m) for m in settings.M}
    samplers = samplers_of[max(settings.M)]
    dense = {k: _row(Dense.name, classifier, clips=k, crops=crops) for k in settings.dense_clips}
    rows = list(dense.values())
    for m in settings.M:
        rows.append(_row(Uniform.name, classifier, clips=m, crops=crops) | {"M": m})
        for n, sampler in samplers_of[m].items():
            rows.append(_row(DSN_SAMPLER, classifier, clips=m, crops=crops, sampler=sampler, n=n) | {"M": m, "N": n})
    for row in rows:
        row["share_of_dense"] = {str(k): row["gmacs"] / other["gmacs"] for k, other in dense.items()}
    return {
        "clip": list(_clip(settings)),
        "num_classes": settings.num_classes,
        "crops": crops,
        "networks": [
            _network("classifier", None, classifier),
            *(_network("observation", n, sampler) for n, sampler in samplers.items()),
        ],
        "rows": rows,
        "measured": measured(settings, classifier, samplers) if settings.measure else None,
    }


def _clip(settings: CostSettings) -> ClipShape:
    return clip_shape(settings.backbone, modality=settings.dataset.modality)


def _classifier(settings: CostSettings) -> NetworkCost:
    return count_classifier(settings.backbone, num_classes=settings.num_classes, modality=settings.dataset.modality)


def _samplers(settings: CostSettings, *, num_sections: int = 1) -> dict[int, NetworkCost]:
    data: dict[str, Any] = {"num_classes": settings.num_classes, "modality": settings.dataset.modality}
    return {
        n: count_observation(observation, settings.backbone, num_sections=num_sections, clips_per_section=n, **data)
        for n, observation in settings.observations.items()
    }


def _network(role: str, n: int | None, network: NetworkCost) -> dict[str, Any]:
    return {"role": role, "name": network.name, "N": n, "parameters": network.parameters, "gmacs": network.macs / 1e9}


def _row(
    selection: str, classifier: NetworkCost, *, clips: int, crops: int, sampler: NetworkCost | None = None, n: int = 0
) -> dict[str, Any]:
    cost = VideoCost.of(
        clips=clips,
        classifier=classifier.macs * crops,
        candidates=clips * n,
        observation=sampler.macs if sampler else 0.0,
    )
    return {
        "selection": selection,
        "M": None,
        "N": None,
        "clips": clips,
        "gmacs_classifier": cost.classifier,
        "gmacs_observation": cost.observation,
        "gmacs": cost.total,
    }


def print_costs(found: dict[str, Any], console: Console) -> None:
    """Print what `costs` found."""
    c, t, h, w = found["clip"]
    windows = "" if found["crops"] == 1 else f", {found['crops']} windows of each for the classifier"
    networks = TextTable(
        ["", "network", "parameters", "GMACs a clip"],
        [
            [n["role"] + (f", N = {n['N']}" if n["N"] else ""), n["name"], f"{n['parameters']:,}", f"{n['gmacs']:.4g}"]
            for n in found["networks"]
        ],
        num_names=2,
        title=f"Clips of {t} frames of {h}x{w}, {c} channels{windows}; {found['num_classes']} classes",
    )
    networks.print(console)
    shares = list(found["rows"][0]["share_of_dense"])
    videos = TextTable(
        ["", "clips", "classifier", "sampler", "together", *(f"of {k} clips" for k in shares)],
        [
            [
                f"{row['selection']} {row['M']}:{row['N']}" if row["N"] else row["selection"],
                str(row["clips"]),
                f"{row['gmacs_classifier']:.4g}",
                f"{row['gmacs_observation']:.4g}" if row["N"] else "-",
                f"{row['gmacs']:.4g}",
                *(f"{row['share_of_dense'][k]:.1%}" for k in shares),
            ]
            for row in found["rows"]
        ],
        title="GMACs of a video",
    )
    videos.print(console)
    if found["measured"] is not None:
        print_measured(found["measured"], console)


def _check_measuring(settings: CostSettings) -> None:
    if settings.precision not in PRECISIONS:
        raise UsageError(f"precision={settings.precision}: must be one of {', '.join(PRECISIONS)}")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda: torch finds no GPU on this machine; use device=cpu")


def measured(settings: CostSettings, classifier: NetworkCost, samplers: dict[int, NetworkCost]) -> dict[str, Any]:
    """Time the networks with random weights; the observation network for the first N. See `speed.time_networks`."""
    arguments: dict[str, Any] = {"num_classes": settings.num_classes, "modality": settings.dataset.modality}
    batch, clip = settings.batch_size, _clip(settings)
    networks: dict[str, tuple[nn.Module, float, tuple[int, ...]]] = {
        "classifier": (build_classifier(settings.backbone, **arguments), classifier.macs, (batch, *clip))
    }
    for n, sampler in list(samplers.items())[:1]:
        network = build_observation(settings.observations[n], **arguments)
        networks["observation"] = (network, sampler.macs, (batch, n, *clip))
    machine: dict[str, Any] = {"device": settings.device, "threads": settings.threads}
    return time_networks(networks, **machine, precision=settings.precision, repeats=settings.repeats)


def print_measured(found: dict[str, Any], console: Console) -> None:
    """Print what `measured` found."""
    lines = []
    for speed in found["networks"]:
        low, high = speed["seconds_quartiles"]
        least, most = speed["share_of_peak_quartiles"]
        seconds = f"{speed['seconds']:.3g} ({low:.3g}-{high:.3g})"
        rates = [f"{speed['clips_per_second']:.3g}", f"{speed['gmacs_per_second']:.4g}"]
        peak = [f"{speed['peak_gmacs_per_second']:.4g}", f"{speed['share_of_peak']:.0%} ({least:.0%}-{most:.0%})"]
        lines.append([speed["network"], str(speed["clips_at_once"]), seconds, *rates, *peak])
    title = (
        f"{found['device']}, CPU threads: {found['threads']}, {found['precision']}, torch {found['torch']}; "
        f"medians of {found['repeats']} runs (quartiles)"
    )
    header = ["", "clips at once", "seconds a run", "clips/s", "GMAC/s", "matrices", "share of peak"]
    TextTable(header, lines, title=title).print(console)
    note = "Peak: a product of large matrices with the same threads and precision, timed between the runs."
    console.print(note, highlight=False, soft_wrap=True)
