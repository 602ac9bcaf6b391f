"""Fig. 5: of some videos the two clips that DSN finds most probable and the two least, with probability and time.

    python experiments/fig5.py [dataset=thumos14] dataset.root=DIR [videos=8] [pick=0] [seeds=0] [--dry-run]

The videos are drawn by the seed ``pick``, not by hand; the training is that of Table I, and of several seeds the first
is shown. Writes OUTPUT/fig5/clips/<dataset>.{png,md,csv,json}. More arguments: --help.
"""

import sys
from collections.abc import Sequence
from functools import partial

from rich.console import Console

from reproduce.planner import Evaluation, PaperTable, Part, Planner, Row
from reproduce.records import Record
from reproduce.tables import Asked, main

TABLE = PaperTable(
    name="fig5",
    title="Fig. 5: the sampler whose clips are shown",
    datasets={"thumos14": ("map",)},
    evaluations={"clips": Evaluation({"checkpoint": "dsn"}, ("dsn",))},
    rows=(Row("DSN", "clips", "dsn", "dsn"),),
    why_not_run="no Kinetics weights and no videos of THUMOS14 are at hand",
)


def draw(
    asked: Asked, parts: Sequence[Part], planner: Planner, made: Sequence[Record], console: Console, *,
    videos: int, pick: int,
) -> None:  # fmt: skip
    """Draw the clips of the first part, if it was evaluated."""
    from reproduce.clips import show_clips  # imports all of the training, which takes seconds

    command = planner.evaluation(parts[0], "clips", there=True)
    if command is not None and command.state() == "there":
        folder = asked.output / TABLE.name / "clips"
        show_clips(parts[0].configs["dsn"], command.folder, folder, videos=videos, pick=pick, console=console)


if __name__ == "__main__":
    own = {"videos": 8, "pick": 0}
    for argument in sys.argv[1:]:
        key, _, value = argument.partition("=")
        if key in own:
            if not value.isdigit():
                sys.exit(f"fig5: error: {argument}: must be a whole number")
            own[key] = int(value)
    others = [a for a in sys.argv[1:] if a.partition("=")[0] not in own]
    sys.exit(main(TABLE, others, also=partial(draw, videos=own["videos"], pick=own["pick"])))
