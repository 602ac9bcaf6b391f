"""``--dry-run`` of a table: the exact commands, which are there already, and what each costs."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.errors import UsageError
from reproduce.commands import Command
from reproduce.estimates import Costs, Estimate
from reproduce.planner import PaperTable, Part, Planner


def show_plan(
    table: PaperTable, planner: Planner, parts: Sequence[tuple[Part, Sequence[Command]]], names: Sequence[str],
    console: Console,
) -> None:  # fmt: skip
    """Print the commands of all parts in the order in which they run, and a table of what they cost.

    Args:
        table: which one.
        planner: its planner.
        parts: each with the trainings that are needed.
        names: of the evaluations that are needed.
        console: where it goes.
    """
    costs = Costs(timed=True)
    shown = Table(title=f"{table.name}: what is planned", title_justify="left")
    for column in ("", "state", "clips", "GMACs", "hours"):
        shown.add_column(column, justify="left" if column in ("", "state") else "right", no_wrap=column != "")
    left = Estimate(0, 0.0, 0.0)
    for part, trainings in parts:
        evaluations = [c for name in names if (c := planner.evaluation(part, name, there=False)) is not None]
        for command in [*trainings, *evaluations]:
            console.print(command.line(), markup=False, highlight=False, soft_wrap=True)
        own = {command.name: _of_training(command, part, costs) for command in trainings}
        own |= {c.name: _of_evaluation(c.name.rpartition(" ")[2], table, part, costs) for c in evaluations}
        for command in [*trainings, *evaluations]:
            state, cost = command.state(), own[command.name]
            if isinstance(cost, str):
                shown.add_row(command.name, state, "-", "-", cost)
                continue
            assert cost.hours is not None
            assert left.hours is not None
            shown.add_row(command.name, state, f"{cost.clips:,}", f"{cost.gmacs:,.0f}", f"{cost.hours:.3g}")
            if state != "there":
                left = Estimate(left.clips + cost.clips, left.gmacs + cost.gmacs, left.hours + cost.hours)
    assert left.hours is not None
    shown.add_section()
    shown.add_row("still to do", "", f"{left.clips:,}", f"{left.gmacs:,.0f}", f"{left.hours:.3g}")
    console.print(shown)
    speeds = "; ".join(
        f"{name}: {', '.join(f'{role} {speed / 1e9:.3g} GMAC/s' for role, speed in own.items())}"
        for name, own in costs.speeds().items()
    )
    console.print(
        f"Hours: multiply-adds over the speed that the networks were just measured with on this machine, forward, one "
        f"command at a time ({speeds}); a training step counts as three forward passes. Reading videos is not in it, "
        "nor are activations that are stored; a run that was interrupted counts as a whole one.",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _of_training(command: Command, part: Part, costs: Costs) -> Estimate | str:
    run = next((name for name, own in part.trainings.items() if own.name == command.name and name in part.configs), "")
    try:
        if run:
            return costs.training(part.configs[run])
        base = next(part.configs[n] for n, own in part.trainings.items() if command.name in own.after)
        return costs.training_of_sampler(base)
    except UsageError as error:
        return f"not known: {error}"


def _of_evaluation(name: str, table: PaperTable, part: Part, costs: Costs) -> Estimate | str:
    own = table.evaluations[name]
    if own.fusion:
        return Estimate(0, 0.0, 0.0)
    cfg = part.configs[next(iter(own.roles.values()))]
    selections = [compose_anew("evaluate", f"selection=[{','.join(own.selections)}]", "run_dir=none").selection]
    try:
        return costs.evaluation(cfg, [*own.roles], [s for group in selections for s in group.values()])
    except UsageError as error:
        return f"not known: {error}"
