#!/usr/bin/env bash
# Times trainings, their loaders and evaluations on one GPU; written for a machine that is lent for minutes.
#
#   OUT=results experiments/speed/gpu.sh          (TINY=1: the tiny networks and few videos, to try the script on a CPU)
#
# Needs the commands of this package on PATH. Each part has its own time limit and leaves its results in $OUT at once:
# speeds.csv (videos per second and the share of time without data, by training), step_profile.json (the operators that
# take most of a step), a log of each part, machine.txt.
set -uo pipefail
OUT=${OUT:-outputs/gpu}
TINY=${TINY:-}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader > "$OUT/machine.txt" 2>&1 || echo "no GPU" > "$OUT/machine.txt"
nproc >> "$OUT/machine.txt"

DISTINCT=32 LINKS=40 SIZE='[128,171]' PRECISION=bf16-mixed
if [ -n "$TINY" ]; then DISTINCT=4 LINKS=3 SIZE='[34,34]' PRECISION=32-true; fi
part() { # part SECONDS NAME COMMAND...: run with a time limit, keep the log, go on after a failure
  local limit=$1 name=$2; shift 2
  echo "== $name"
  timeout -k 10 "$limit" "$@" > "$OUT/$name.log" 2>&1 || echo "$name: exit code $?" | tee -a "$OUT/failed.txt"
}

part 120 videos python - "$HERE" "$DISTINCT" "$LINKS" <<'E2'
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from videos import make

count, links = map(int, sys.argv[2:])
if __name__ == "__main__":
    with ProcessPoolExecutor() as pool:
        paths = [Path(f"{i}.mp4").absolute() for i in range(count)]
        list(pool.map(make, paths, [17] * count))
    for i in range(count * links):
        place = Path("videos", ("a", "b")[i % 2], f"v{i:05}.mp4")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(paths[i % count])
E2
FOLDER=(dataset=folder dataset.root=videos dataset.reading.prepared=prepared dataset.reading.resize=squash recipe=none)
part 180 prepare dsn-prepare "${FOLDER[@]:0:2}" output=prepared 'steps=[check,frames]' "frames.size=$SIZE" frames.resize=squash

train() { # train NAME SECONDS OVERRIDES...: one epoch; a line in speeds.csv
  local name=$1 limit=$2; shift 2
  part "$limit" "$name" dsn-train "${FOLDER[@]}" algorithm=dsn schedule.max_epochs=1 algorithm.warmup_epochs=0 \
    test.enabled=false trainer.precision=$PRECISION "hydra.run.dir=$name" progress=false "$@"
  python - "$name" "$OUT/speeds.csv" <<'E2'
import csv, sys
from pathlib import Path

name, speeds = sys.argv[1], Path(sys.argv[2])
file = Path(name, "metrics.csv")
rows = list(csv.DictReader(open(file))) if file.is_file() else []
found = [rows[-1].get(key, "") for key in ("time/videos_per_second", "time/loader_wait")] if rows else ["failed", ""]
if not speeds.exists():
    speeds.write_text("training,videos_per_second,loader_wait\n")
with open(speeds, "a") as file:
    file.write(",".join([name, *found]) + "\n")
E2
}
R3D=(backbone=r3d_18 observation=r2d_18 M=6 N=3 schedule.batch_size=32)
R34=(backbone=r2plus1d_34 observation=r2d_18 M=1 N=3 schedule.batch_size=16)
if [ -n "$TINY" ]; then
  R3D=(backbone=r3d_tiny observation=r2d_tiny M=2 N=2 schedule.batch_size=4)
  R34=(backbone=r3d_tiny observation=r2d_tiny M=1 N=3 schedule.batch_size=4)
fi
train r3d_frames 120 "${R3D[@]}" dataset.reading.copies=frames
train r3d_frames_cropped_on_device 120 "${R3D[@]}" dataset.reading.copies=frames dataset.reading.crop_on_device=true
train r3d_frames_compiled 240 "${R3D[@]}" dataset.reading.copies=frames compile=true
train r3d_files 120 "${R3D[@]}"
train r2plus1d_34_frames 150 "${R34[@]}" dataset.reading.copies=frames
PROFILE=(--scheme 6:3 --batch 16)
if [ -n "$TINY" ]; then PROFILE=(--scheme 2:2 --batch 2 --tiny); fi
part 90 step_profile python "$HERE/step_profile.py" "${PROFILE[@]}" --precision $PRECISION --output "$OUT/step_profile.json"
part 120 evaluate dsn-evaluate checkpoint=r3d_frames/checkpoints/last.ckpt 'test.M=[1,3,6]' test.figures=false hydra.run.dir=evaluated
cat "$OUT/speeds.csv"
