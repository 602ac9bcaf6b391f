"""Every comparison of speed, one after the other: `make bench`.

    python experiments/speed/bench.py [--only loading growth ...] [--output DIR] [--video FILE ...]

Runs the scripts beside this one, each of which times its ways in turn, and writes DIR/NAME.json with the machine.
docs/speed.md shows the results that are kept in experiments/results/speed. Nothing else should run meanwhile.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS: dict[str, list[str]] = {
    "loading": [],
    "growth": [],
    "evaluation": [],
    "training_step": ["--rounds", "3"],
    "step_profile": [],
    "prediction": [],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=sorted(SCRIPTS), default=list(SCRIPTS))
    parser.add_argument("--output", type=Path, default=Path("outputs/speed"))
    parser.add_argument("--video", type=Path, nargs="*", default=[], help="files to read, besides the made ones")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in arguments.only:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        script = Path(__file__).with_name(f"{name}.py")
        options = [*SCRIPTS[name], "--output", str(arguments.output / f"{name}.json")]
        if name == "loading":
            options += ["--video", *map(str, arguments.video)]
        command = [sys.executable, str(script), *options]
        if subprocess.run(command).returncode:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - began:.0f} s\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
