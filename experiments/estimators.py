"""Compares estimators, observation networks and rewards of a sampler on the same classifier.

    python experiments/estimators.py [--rows demo|mobilenet_v2] [--seeds 0,1,2,3,4] [--subset test|val]
        [--studies estimators,rewards,observations,prices] [--output DIR] [--jobs 2] [--found BASELINE:MAX_RESPONSE,...]
        [OVERRIDE ...]

For each seed: trains a baseline and a max-response network with the configurations of ``conf/experiment/ROWS``, unless
they are given by --found, one pair of runs per seed; stores the classifier's scores and the max-response network's
features of all candidates; and trains samplers on them with the package's DSN, with a fixed classifier and a fixed
sampler trunk. All samplers of a seed have the same classifier, features, number of epochs, batches and learning rate.
Choose settings with --subset val, or on a data set made for that purpose (join_videos.py --from training).

Writes estimators.json, estimators.md and curves.png: reward and top-1 after each epoch; hit rate and share of the
uniform-to-oracle gap after the last one; the multiply-adds that the classifier spent on rewards; on one batch, how far
the mean of each estimator's gradient is from the exact one ("bias"; gumbel and distill follow another objective) and
its variance. Rewards of different kinds have different units. Intervals are 95% paired bootstrap intervals over the
videos, of the mean over seeds.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.launch.jobs import run_jobs, start_server
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.text_tables import TextTable
from reproduce.configurations import PRELOAD
from reproduce.table1_jobs import table1_jobs

if TYPE_CHECKING:
    from dsn_lightning.datasets import Subset
    from reproduce.sampler_study import Outcome, Variant
    from reproduce.stored_clips import StoredClips

STUDIES = ("estimators", "rewards", "observations", "prices")
RESAMPLES = 2000
DRAWS = 200
PRICES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


def variants(study: str) -> "list[Variant]":
    """Return the samplers of a study; the others are compared with the first one."""
    from dsn_lightning import estimators as e
    from dsn_lightning import observations as o
    from dsn_lightning import rewards as r
    from reproduce.sampler_study import StoredFeatures, Variant

    def trunk(clips: "StoredClips") -> StoredFeatures:
        return StoredFeatures(clips.features.shape[-1])

    def shared(clips: "StoredClips") -> Any:
        return o.SharedObservation(trunk(clips))

    def video(clips: "StoredClips", *, may_skip: bool = False) -> Any:
        return o.VideoObservation(classifier_of(clips), may_skip=may_skip)

    def greedy() -> Any:
        return e.reinforce_with_greedy_baseline

    eq6 = r.CorrectClass(gamma=0.5)
    made: dict[str, Callable[[], Any]] = {
        "greedy_baseline": greedy,
        "reinforce": lambda: e.reinforce,
        "moving_average": e.MovingAverage,
        "leave_one_out": e.LeaveOneOut,
        "exact": lambda: e.exact,
        "ppo": e.PPO,
        "gumbel": partial(e.Gumbel, batches=200),
        "distill": e.Distill,
    }
    if study == "estimators":
        return [Variant(name, shared, make, eq6) for name, make in made.items()]
    if study == "rewards":
        rewards = {
            "correct_class": eq6,
            "true_class": r.TrueClass(),
            "section_gain": r.SectionGain(),
            "consensus_gain": r.ConsensusGain(),
        }
        return [Variant(name, shared, made["exact"], reward) for name, reward in rewards.items()]
    if study == "observations":
        heads = {
            "concat (Eq. 3)": lambda clips: o.ConcatObservation(trunk(clips), clips_per_section=clips.logits.shape[2]),
            "shared": shared,
            "set": lambda clips: o.SetObservation(trunk(clips)),
            "section": lambda clips: o.SectionObservation(classifier_of(clips)),
            "lstm": lambda clips: o.RecurrentObservation(trunk(clips)),
            "transformer": lambda clips: o.TransformerObservation(trunk(clips)),
            "video": video,
        }
        return [Variant(name, make, made["exact"], eq6) for name, make in heads.items()]
    skipping = partial(video, may_skip=True)
    paid = [Variant(f"price {p:g}", skipping, made["exact"], r.ConsensusGain(price=p)) for p in PRICES]
    return [Variant("keeps all", video, made["exact"], r.ConsensusGain()), *paid]


def classifier_of(clips: "StoredClips") -> Any:
    """Return the max-response network's classification layer, which its features and responses determine."""
    import torch

    from reproduce.sampler_study import StoredFeatures

    features = clips.features.reshape(-1, clips.features.shape[-1]).astype(np.float64)
    responses = clips.responses.reshape(len(features), -1).astype(np.float64)
    solution, *_ = np.linalg.lstsq(np.column_stack([features, np.ones(len(features))]), responses, rcond=None)
    network = StoredFeatures(features.shape[1], responses.shape[1])
    layer = {"weight": torch.from_numpy(solution[:-1].T), "bias": torch.from_numpy(solution[-1])}
    network.fc.load_state_dict({name: value.float() for name, value in layer.items()})
    return network


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="demo", help="folder of conf/experiment (default: demo)")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="comma-separated (default: 0,1,2,3,4)")
    parser.add_argument("--subset", default="test", choices=["test", "val"], help="evaluated videos (default: test)")
    parser.add_argument("--studies", default=",".join(STUDIES), help="comma-separated (default: all)")
    parser.add_argument("--output", type=Path, default=Path("outputs/estimators"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at the same time")
    parser.add_argument("--found", default="", help="comma-separated pairs of runs, BASELINE:MAX_RESPONSE, one a seed")
    parser.add_argument("--epochs", type=int, default=10, help="of each sampler (default: 10)")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of the two trainings")
    arguments = parser.parse_args()
    if unknown := {*arguments.studies.split(",")} - {*STUDIES}:
        parser.error(f"--studies: unknown {', '.join(sorted(unknown))}; choose from {', '.join(STUDIES)}")
    try:
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
    except ValueError:
        parser.error(f"--seeds {arguments.seeds}: expected whole numbers, such as 0,1,2")
    if arguments.epochs < 1 or arguments.jobs < 1:
        parser.error("--epochs, --jobs: expected at least 1")
    output = arguments.output.absolute()
    split = [pair.partition(":") for pair in arguments.found.split(",") if pair]
    pairs = [(Path(baseline), Path(max_response)) for baseline, _, max_response in split]
    if pairs and len(pairs) != len(seeds):
        parser.error(f"--found: expected a pair of runs for each of the {len(seeds)} seeds, got {len(pairs)}")
    try:
        return _run(pairs, seeds, arguments, output)
    except UsageError as error:
        parser.error(str(error))


def _run(pairs: list[tuple[Path, Path]], seeds: list[int], arguments: argparse.Namespace, output: Path) -> int:
    """Train what is missing, compare the samplers, and write the files; 1 if a training failed.

    Raises:
        UsageError: a run cannot be read or is refused.
    """
    console = Console(width=None if sys.stdout.isatty() else 150)
    if not pairs:
        pairs = [(output / f"seed{seed}/baseline", output / f"seed{seed}/max_response") for seed in seeds]
        if not _train(seeds, arguments, output, console):
            return 1
    content = _studies(pairs, seeds, arguments, output / "clips")
    content["environment"] = environment(seeds=seeds)
    write_json(output / "estimators.json", content)
    _report(content, output, console)
    return 0


def _train(seeds: list[int], arguments: argparse.Namespace, output: Path, console: Console) -> bool:
    """Train the baseline and the max-response network of each seed, unless they are finished."""
    start_server(at_once=arguments.jobs, preload=PRELOAD)
    jobs = [
        job
        for seed in seeds
        for job in table1_jobs(f"seed {seed}", seed, arguments.overrides, output / f"seed{seed}", rows=arguments.rows)[
            :2
        ]
        if not RunFolder(job.folder).is_finished()
    ]
    failed = run_jobs(jobs, at_once=arguments.jobs, console=console, preload=PRELOAD) if jobs else []
    if failed:
        console.print("not finished: " + ", ".join(f"{job.name} ({job.state})" for job in failed))
    return not failed


def _studies(
    pairs: list[tuple[Path, Path]], seeds: list[int], arguments: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    import logging
    import warnings
    from dataclasses import replace

    import torch
    from pytorch_lightning.utilities import disable_possible_user_warnings

    from dsn_lightning.config.network_costs import clip_shape
    from dsn_lightning.config.trained import load_trained
    from dsn_lightning.cost.macs import macs_per_clip
    from reproduce.sampler_study import gradients, references, train, what_rewards_tell
    from reproduce.stored_clips import stored_clips

    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    disable_possible_user_warnings()
    warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
    subsets: tuple[Subset, ...] = ("train", arguments.subset)
    clips = [[stored_clips(b, r, subset, folder=folder) for b, r in pairs] for subset in subsets]
    first = load_trained(pairs[0][0] / "checkpoints/last.ckpt", key="run")
    macs = macs_per_clip(first.recognizer.classifier, clip_shape(first.settings.backbone, modality="rgb"))
    ends = [references(evaluated, training) for training, evaluated in zip(*clips, strict=True)]
    content: dict[str, Any] = {
        "dataset": first.settings.dataset.name,
        "subset": arguments.subset,
        "videos": len(clips[1][0].targets),
        "training_videos": len(clips[0][0].targets),
        "M": int(clips[0][0].logits.shape[1]),
        "N": int(clips[0][0].logits.shape[2]),
        "seeds": seeds,
        "epochs": arguments.epochs,
        "classifier_gmacs_a_clip": macs / 1e9,
        "rewards_tell": {
            subset: {
                key: float(np.mean([what_rewards_tell(part)[key] for part in parts]))
                for key in ("clips_right", "sections_with_both")
            }
            for subset, parts in zip(("train", arguments.subset), clips, strict=True)
        },
        "references": {name: _figures([end[name] for end in ends], ends) for name in ends[0]},
        "studies": {},
    }
    for study in arguments.studies.split(","):
        found = {}
        baseline: list[Outcome] = []
        for variant in variants(study):
            variant = replace(variant, epochs=arguments.epochs)
            runs = [train(variant, *pair, seed=seed) for *pair, seed in zip(*clips, seeds, strict=True)]
            last = [run[-1] for run in runs]
            baseline = baseline or last
            found[variant.name] = {
                **_figures(last, ends),
                "less_first": _interval([o.correct for o in last], [o.correct for o in baseline]),
                "less_max_response": _interval([o.correct for o in last], [e["max response"].correct for e in ends]),
                "less_dense": _interval([o.correct for o in last], [e["dense"].correct for e in ends]),
                "reward": [o.reward for o in last],
                "reward_gmacs": [o.classified * macs / 1e9 for o in last],
                "curves": {
                    "reward": np.mean([[o.reward for o in run] for run in runs], 0).tolist(),
                    "top1": np.mean([[o.correct.mean() for o in run] for run in runs], 0).tolist(),
                    "gmacs": np.mean([[o.classified * macs / 1e9 for o in run] for run in runs], 0).tolist(),
                },
            }
            if study == "estimators":
                measured = [
                    gradients(variant, part, seed=seed, draws=DRAWS) for part, seed in zip(clips[0], seeds, strict=True)
                ]
                found[variant.name] |= {"bias": float(np.mean([b for b, _ in measured]))}
                found[variant.name] |= {"variance": float(np.mean([v for _, v in measured]))}
            print(study, variant.name, f"{100 * np.mean([o.correct.mean() for o in last]):.1f}", flush=True)
        content["studies"][study] = found
    return content


def _figures(outcomes: "list[Outcome]", ends: "list[dict[str, Outcome]]") -> dict[str, Any]:
    top1 = np.array([o.correct.mean() for o in outcomes])
    low, high = (np.array([end[name].correct.mean() for end in ends]) for name in ("uniform", "oracle"))
    hits = [o.hit_rate for o in outcomes]
    return {
        "top1": top1.tolist(),
        "less_uniform": _interval([o.correct for o in outcomes], [end["uniform"].correct for end in ends]),
        "gap_share": float((top1.mean() - low.mean()) / (high.mean() - low.mean())),
        "hit_rate": None if None in hits else [float(hit) for hit in hits if hit is not None],
        "clips": float(np.mean([o.clips for o in outcomes])),
    }


def _interval(outcomes: list[np.ndarray], others: list[np.ndarray]) -> dict[str, float]:
    """Return the mean difference over seeds and videos, with a bootstrap interval over the videos."""
    from dsn_lightning.evaluation.resampling import resamples

    difference = np.mean([a.astype(float) - b for a, b in zip(outcomes, others, strict=True)], 0)  # (V,)
    means = resamples(len(difference), number=RESAMPLES, seed=0).sums(difference[None])[0] / len(difference)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"value": float(difference.mean()), "low": float(low), "high": float(high)}


def _report(content: dict[str, Any], output: Path, console: Console) -> None:
    """Print and write a table for each study, and draw the curves of the estimators."""
    text = ""
    seeds = ", ".join(map(str, content["seeds"]))
    for subset, told in content["rewards_tell"].items():
        line = (
            f"{subset} videos: the classifier is right on {100 * told['clips_right']:.1f}% of the clips; "
            f"{100 * told['sections_with_both']:.1f}% of the sections have right and wrong ones"
        )
        console.print(line, highlight=False)
        text += f"- {line}\n"
    text += "\n"
    for study, found in {"references": content["references"], **content["studies"]}.items():
        columns = ["top-1", "minus uniform", "gap", "hit rate", "clips"]
        differences = [k for k in ("less_first", "less_max_response", "less_dense") if k in next(iter(found.values()))]
        more = [k for k in ("reward", "reward_gmacs", "bias", "variance") if k in next(iter(found.values()))]
        lines = [
            [
                name,
                _percent(f["top1"]),
                _points(f["less_uniform"]),
                f"{100 * f['gap_share']:.0f}%",
                "-" if f["hit_rate"] is None else _percent(f["hit_rate"]),
                f"{f['clips']:.2f}",
                *(_points(f[key]) for key in differences),
                *(f"{np.mean(f[key]):.3g}" for key in more),
            ]
            for name, f in found.items()
        ]
        header = [study, *columns, *(key.replace("less_", "minus ").replace("_", " ") for key in differences)]
        header += ["reward GMACs" if key == "reward_gmacs" else key for key in more]
        table = TextTable(
            header, lines, title=f"{content['dataset']}, {content['videos']} videos, seeds {seeds}: {study}"
        )
        table.print(console)
        text += f"{table.markdown()}\n"
    write_atomically(output / "estimators.md", text)
    if "estimators" in content["studies"]:
        _draw(content, output / "curves.png")
    console.print(f"written: {output}/estimators.json, estimators.md")


def _percent(values: list[float]) -> str:
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


def _points(interval: dict[str, float]) -> str:
    return f"{100 * interval['value']:+.1f} [{100 * interval['low']:+.1f}, {100 * interval['high']:+.1f}]"


def _draw(content: dict[str, Any], path: Path) -> None:
    """Draw reward and top-1 against epochs and against the classifier's multiply-adds."""
    from matplotlib.figure import Figure

    from dsn_lightning.evaluation.chart_style import use_log_scale
    from dsn_lightning.evaluation.figures import save_figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(2, 2)
    costs = [cost for found in content["studies"]["estimators"].values() for cost in found["curves"]["gmacs"]]
    for name, found in content["studies"]["estimators"].items():
        curves = found["curves"]
        epochs = np.arange(1, len(curves["reward"]) + 1)
        for row, key in enumerate(("reward", "top1")):
            values = np.array(curves[key]) * (100 if key == "top1" else 1)
            axes[row, 0].plot(epochs, values, label=name)
            axes[row, 1].plot(curves["gmacs"], values, label=name)
    for row, label in enumerate(("reward of the most probable clips, training", "top-1 (%)")):
        axes[row, 0].set_ylabel(label)
        axes[row, 0].set_xlabel("epochs")
        axes[row, 1].set_xlabel("classifier's GMACs for rewards")
        use_log_scale(axes[row, 1], min(costs), max(costs))
    axes[0, 1].legend(fontsize="small")
    figure.suptitle(f"{content['dataset']}: mean over {len(content['seeds'])} seeds")
    save_figure(figure, path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
