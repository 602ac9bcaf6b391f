"""dsn-cost: what networks and videos cost, without weights, memory or videos; and how fast this machine is at it."""

import json
from dataclasses import asdict
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.measuring import check_measuring, measured, print_measured
from dsn_lightning.commands.networks import NetworkCost, as_list, clip_shape, count_classifier, count_observation
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.cost.paper_tables import NUM_CLASSES, OBSERVATION, TableRow, cost_table, print_table, rows_of
from dsn_lightning.errors import UsageError

_OF_A_TABLE = ("table", "format")


def cost(cfg: DictConfig) -> None:
    """Print what ``cfg`` asks for: a table of the paper, or any networks and schemes."""
    _check(cfg)
    console = Console(width=max(Console().width, 110))  # tables stay whole in files and narrow windows
    if cfg.table is not None:
        rows = paper_rows(cfg.table)
        if cfg.format == "json":
            print(json.dumps([asdict(row) for row in rows], indent=2))
        else:
            print_table(cfg.table, rows, console)
        return
    found = costs(cfg)
    if cfg.format == "json":
        print(json.dumps(found, indent=2))
        return
    print_costs(found, console)
    if found["measured"] is not None:
        print_measured(found["measured"], console)


def paper_rows(number: int) -> list[TableRow]:
    """Return the rows of the paper's Table III or IV, with the networks of ``conf/`` counted.

    Raises:
        UsageError: the paper has no such table of costs.
    """
    classifiers, samplers = {}, {}
    for row in rows_of(number).values():
        cfg = compose_anew("cost", f"backbone={row.backbone}", f"observation={OBSERVATION}")
        cfg.num_classes = NUM_CLASSES[number]
        if row.backbone not in classifiers:
            classifiers[row.backbone] = count_classifier(cfg).macs
        if row.N is not None and (row.backbone, row.N) not in samplers:
            samplers[row.backbone, row.N] = count_observation(cfg, row.N).macs
    return cost_table(number, classifiers=classifiers, samplers=samplers)


def _check(cfg: DictConfig) -> None:
    if cfg.format not in ("text", "json"):
        raise UsageError(f"format={cfg.format}: must be text or json")
    if cfg.table is not None:
        given = [o.lstrip("+~") for o in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
        others = [o for o in given if o.split("=")[0] not in _OF_A_TABLE]
        if others:
            raise UsageError(
                f"table={cfg.table}: has the paper's own networks and schemes; leave out {' '.join(others)}"
            )
        return
    whole = {key: as_list(cfg[key]) for key in ("M", "N", "dense_clips")}
    whole |= {key: [cfg[key]] for key in ("num_classes", "batch_size", "repeats")}
    whole["threads"] = [] if cfg.threads is None else [cfg.threads]
    for key in ("frames_per_clip", "crop_size"):
        whole[f"backbone.{key}"] = [cfg.backbone[key]]
    for key, numbers in whole.items():
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise UsageError(f"{key}={number}: must be a whole number of at least 1")
    for key in ("M", "N"):
        if not whole[key]:
            raise UsageError(f"{key}=[]: give at least one number")
    if isinstance(cfg.test.crops, bool) or cfg.test.crops not in (1, 3):
        raise UsageError(
            f"test.crops={cfg.test.crops}: must be 1 (the centre) or 3 (both ends of the longer side as well)"
        )
    if cfg.dataset.modality not in ("rgb", "flow"):
        raise UsageError(f"dataset.modality={cfg.dataset.modality}: must be rgb or flow")
    if not isinstance(cfg.measure, bool):
        raise UsageError(f"measure={cfg.measure}: must be true or false")
    if cfg.measure:
        check_measuring(cfg)


def costs(cfg: DictConfig) -> dict[str, Any]:
    """Return what the networks of ``cfg`` and videos cost, in plain values.

    Returns:
        ``clip`` (channels, frames, height, width), ``num_classes``, ``crops``, ``networks`` (``role``, ``name``, ``N``,
        ``parameters``, ``gmacs`` of a clip), ``rows`` of one video each (``selection``, ``M``, ``N``, ``clips``,
        ``gmacs_classifier``, ``gmacs_observation``, ``gmacs`` as in ``results.json``, and ``share_of_dense``: of each
        of ``dense_clips``), and ``measured``, None where that is not asked for.
    """
    classifier = count_classifier(cfg)
    samplers: dict[int, NetworkCost] = {}
    if cfg.get("observation") is not None:
        samplers = {n: count_observation(cfg, n) for n in as_list(cfg.N)}
    dense = {k: _row("dense", None, None, k, classifier, None, cfg) for k in as_list(cfg.dense_clips)}
    rows = list(dense.values())
    for m in as_list(cfg.M):
        rows.append(_row("uniform", m, None, m, classifier, None, cfg))
        rows += [_row("dsn", m, n, m, classifier, sampler, cfg) for n, sampler in samplers.items()]
    for row in rows:
        row["share_of_dense"] = {str(k): row["gmacs"] / other["gmacs"] for k, other in dense.items()}
    first = as_list(cfg.N)[0]
    macs = {"classifier": classifier.macs} | ({"observation": samplers[first].macs} if samplers else {})
    return {
        "clip": list(clip_shape(cfg)),
        "num_classes": cfg.num_classes,
        "crops": cfg.test.crops,
        "networks": [_network("classifier", None, classifier)]
        + [_network("observation", n, sampler) for n, sampler in samplers.items()],
        "rows": rows,
        "measured": measured(cfg, macs, first) if cfg.measure else None,
    }


def _network(role: str, n: int | None, own: NetworkCost) -> dict[str, Any]:
    return {"role": role, "name": own.name, "N": n, "parameters": own.parameters, "gmacs": own.macs / 1e9}


def _row(
    selection: str, m: int | None, n: int | None, clips: int, classifier: NetworkCost, sampler: NetworkCost | None,
    cfg: DictConfig,
) -> dict[str, Any]:  # fmt: skip
    cost = VideoCost.of(
        clips=clips, classifier=classifier.macs * cfg.test.crops,
        candidates=clips * n if n else 0, observation=sampler.macs if sampler else 0.0,
    )  # fmt: skip
    return {
        "selection": selection, "M": m, "N": n, "clips": clips, "gmacs_classifier": cost.classifier,
        "gmacs_observation": cost.observation, "gmacs": cost.total,
    }  # fmt: skip


def print_costs(found: dict[str, Any], console: Console) -> None:
    """Print what `costs` found."""
    c, t, h, w = found["clip"]
    windows = "" if found["crops"] == 1 else f", {found['crops']} windows of each for the classifier"
    networks = Table(title=f"Clips of {t} frames of {h}x{w}, {c} channels{windows}; {found['num_classes']} classes")
    for column in ("", "network", "parameters", "GMACs a clip"):
        networks.add_column(column, justify="right" if column.startswith(("p", "G")) else "left", no_wrap=True)
    for own in found["networks"]:
        role = own["role"] + (f", N = {own['N']}" if own["N"] else "")
        networks.add_row(role, own["name"], f"{own['parameters']:,}", f"{own['gmacs']:.4g}")
    console.print(networks)
    shares = list(found["rows"][0]["share_of_dense"])
    videos = Table(title="GMACs of a video")
    for column in ("", "clips", "classifier", "sampler", "together", *(f"of {k} clips" for k in shares)):
        videos.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in found["rows"]:
        name = f"{row['selection']} {row['M']}:{row['N']}" if row["N"] else row["selection"]
        videos.add_row(
            name, str(row["clips"]), f"{row['gmacs_classifier']:.4g}",
            f"{row['gmacs_observation']:.4g}" if row["N"] else "-", f"{row['gmacs']:.4g}",
            *(f"{row['share_of_dense'][k]:.1%}" for k in shares),
        )  # fmt: skip
    console.print(videos)
