"""Fig. 5: for some videos, the two clips that DSN finds most probable and the two least, with probability and time.

    python experiments/fig5.py [dataset=thumos14] dataset.root=DIR [videos=8] [pick=0] [seeds=0] [--dry-run]

The seed ``pick`` draws the videos; none is chosen by hand. The training is that of Table I; of several seeds the first
is shown. Writes OUTPUT/fig5/clips/<dataset>.{png,md,csv,json}. More arguments: --help.
"""

import sys
from functools import partial

from rich.console import Console

from reproduce.commands import FINISHED
from reproduce.paper_table import PaperTable, PlannedEvaluation, Row
from reproduce.tables import FinishedTable, main

TABLE = PaperTable(
    name="fig5",
    title="Fig. 5: the sampler whose clips are shown",
    datasets={"thumos14": ("map",)},
    evaluations={"clips": PlannedEvaluation({"checkpoint": "dsn"}, ("dsn",))},
    rows=(Row("DSN", "clips", "dsn", "dsn"),),
    why_not_run="needs Kinetics weights and the videos of THUMOS14",
)


def draw(finished: FinishedTable, console: Console, *, num_videos: int, pick: int) -> None:
    """Draw the clips of the first part, if it was evaluated."""
    from reproduce.clips import show_clips  # imports all of the training, which takes seconds

    part = finished.parts[0]
    command = finished.planner.possible_evaluation(part, "clips")
    if command is not None and command.state() == FINISHED:
        folder = finished.folder / "clips"
        show_clips(part.settings["dsn"], command.folder, folder, num_videos=num_videos, pick=pick, console=console)


if __name__ == "__main__":
    numbers = {"videos": 8, "pick": 0}
    for argument in sys.argv[1:]:
        key, _, value = argument.partition("=")
        if key in numbers:
            if not value.isdigit():
                sys.exit(f"fig5: error: {argument}: expected a whole number")
            numbers[key] = int(value)
    others = [a for a in sys.argv[1:] if a.partition("=")[0] not in numbers]
    sys.exit(main(TABLE, others, draw=partial(draw, num_videos=numbers["videos"], pick=numbers["pick"])))
