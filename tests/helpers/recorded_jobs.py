"""Jobs of a search that record what a training would, in a moment."""

import json
import signal
import time
from pathlib import Path

from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.status import recorded_status
from dsn_lightning.text_tables import csv_text

EPOCHS = 4


def record(folder: str, sweep: str) -> None:
    """Record epochs of ``val/top1 = quality``, as the composed settings say; a resumed job goes on with its epochs."""
    run = RunFolder(Path(folder))
    settings = json.loads(run.composed_yaml.read_text())
    with (run.path / "starts.txt").open("a") as file:
        file.write("start\n")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with recorded_status(run):
        if settings["fails"]:
            raise ValueError("as it should")
        for epoch in range(run.num_epochs(), EPOCHS):
            rows = [{"epoch": e, "val/top1": settings["quality"]} for e in range(epoch + 1)]
            write_atomically(run.metrics_csv, csv_text(rows))
            progress = {"epoch": epoch + 1, "max_epochs": EPOCHS, "seconds_per_epoch": 0.0}
            write_json(run.progress_json, progress | {"best_value": settings["quality"], "best_of": "val/top1"})
            time.sleep(settings["seconds"])
