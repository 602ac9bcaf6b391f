"""Executes the notebooks on small real runs of the embedded data set, which it trains where they are missing.

    python experiments/run_notebooks.py [NAME ...] [--output outputs/notebooks]

`make notebooks` calls it. Writes the executed copies to OUTPUT/*.ipynb, which `make docs` shows. The runs are
OUTPUT/dsn (one DSN, tested with the networks of Table I for several M) and OUTPUT/sweep (M, N, gamma, two seeds); an
interrupted one is continued. DSN_RUN, DSN_EVALUATION, DSN_SWEEP, DSN_VIDEO and DSN_VIDEOS in the environment point
notebooks at other runs and videos.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from dsn_lightning.runs import RunFolder, SweepFolder, read_configs

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
DATA = ("dataset.num_train=240", "dataset.num_val=60", "dataset.num_test=100")
RUN = (
    *DATA,
    "schedule.max_epochs=16",
    "algorithm.exploration=0.15",  # Eq. 3's head is apt to collapse in so short a training
    "trainer.check_val_every_n_epoch=2",
    "observation.checkpoint=auto",
    "test.baseline=auto",
    "test.max_response=auto",
    "test.M=[3,1,2,4,6,8]",
)
SWEEP = (
    *DATA,
    "M=1,3",
    "N=2,4",
    "gamma=0,0.5",
    "seed=0,1",
    "schedule.max_epochs=4",  # both networks are trained already
    "algorithm.warmup_epochs=0",
    "algorithm.exploration=0.15",
    "trainer.check_val_every_n_epoch=1",
    "test.figures=false",
    "sweep.jobs=2",
)


def main() -> int:
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--output", type=Path, default=Path("outputs/notebooks"))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {*names}:
        parser.error(f"no notebook {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    output = arguments.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    inputs = make_runs(output)
    for name in arguments.names or names:
        started = time.perf_counter()
        execute(NOTEBOOKS / f"{name}.ipynb", output / f"{name}.ipynb", inputs=inputs)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    print(f"written: {arguments.output}/*.ipynb; make docs shows them")
    return 0


def make_runs(output: Path) -> dict[str, str]:
    """Train what is missing or unfinished in ``output``; return the notebooks' variables, those of the user first."""
    run, sweep, data = RunFolder(output / "dsn"), SweepFolder(output / "sweep"), output / "data"
    if not run.is_finished():
        places = (f"dataset.root={data}", f"shared.folder={output / 'shared'}", f"hydra.run.dir={run.path}")
        _train(f"resume={run.path}" if run.was_saved() else (*RUN, *places, "overwrite=true"))
    if any(job.state != "done" for job in sweep.read().jobs):
        _train(f"sweep.resume={sweep.path}")
    elif not sweep.exists():
        trained = read_configs(run.path).iloc[0]
        starts = [f"classifier.checkpoint={trained['test.baseline']}"]
        starts.append(f"observation.checkpoint={trained['observation.checkpoint']}")
        _train(("-m", *SWEEP, f"dataset.root={data}", *starts, f"hydra.sweep.dir={sweep.path}"))
    made = {"DSN_RUN": run.path, "DSN_SWEEP": sweep.path, "DSN_VIDEO": min(data.rglob("*.mp4")), "DSN_VIDEOS": data}
    return {name: os.environ.get(name) or str(path) for name, path in made.items()}


def _train(arguments: str | Sequence[str]) -> None:
    """Run dsn-train; exit as it does if it fails."""
    program = "from dsn_lightning.cli.program import train; train()"
    given = [arguments] if isinstance(arguments, str) else arguments
    code = subprocess.run([sys.executable, "-c", program, *given], check=False).returncode
    if code:
        sys.exit(code)


def execute(notebook: Path, copy: Path, *, inputs: Mapping[str, str]) -> None:
    """Run a notebook in a kernel of its own and write it with its outputs.

    Args:
        notebook: the file.
        copy: the file to write.
        inputs: variables of the kernel's environment.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails; nothing is written.
    """
    content = nbformat.read(notebook, as_version=4)
    place = {"metadata": {"path": str(notebook.parent)}}
    client = NotebookClient(content, timeout=600, resources=place, extra_arguments=["--IPKernelApp.log_level=40"])
    quiet = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # of tqdm, which Lightning imports
    client.execute(env={**os.environ, **quiet, **inputs})
    nbformat.write(content, copy)


if __name__ == "__main__":
    sys.exit(main())
