"""``--dry-run`` of a table: the commands, which of them are finished, and what each costs."""

from collections.abc import Sequence

from rich.console import Console

from dsn_lightning.errors import UsageError
from dsn_lightning.text_tables import TextTable
from reproduce.commands import FINISHED, Command
from reproduce.configurations import selections_of
from reproduce.estimates import CostEstimate, Costs
from reproduce.paper_table import PaperTable
from reproduce.planner import Part, Planner

HEADER = ("", "state", "clips", "GMACs", "hours")


def show_plan(planner: Planner, parts: Sequence[Part], console: Console) -> None:
    """Print the commands of all parts in the order in which they run, and then a table of what they cost.

    The commands are all printed before the networks are timed.

    Args:
        planner: the table and the wanted rows.
        parts: one a seed and split.
        console: where it is printed.
    """
    plans: list[tuple[Part, list[Command], dict[str, Command]]] = []
    for part in parts:
        trainings = planner.trainings(part)
        evaluations = {name: planner.planned_evaluation(part, name) for name in planner.evaluations()}
        planned = {name: command for name, command in evaluations.items() if command is not None}
        plans.append((part, trainings, planned))
        for command in [*trainings, *planned.values()]:
            console.print(command.line(), markup=False, highlight=False, soft_wrap=True)
    console.print("timing the networks ...", markup=False, highlight=False)
    costs = Costs(timed=True)
    lines: list[list[str]] = []
    remaining = CostEstimate(0, 0.0, 0.0)
    for part, trainings, planned in plans:
        estimates = [(command, _of_training(command, part, costs)) for command in trainings]
        estimates += [(command, _of_evaluation(name, planner.table, part, costs)) for name, command in planned.items()]
        for command, cost in estimates:
            state = command.state()
            lines.append([command.name, state, *_texts(cost)])
            if isinstance(cost, CostEstimate) and state != FINISHED:
                remaining += cost
    lines.append(["remaining", "", *_texts(remaining)])
    table = TextTable(HEADER, lines, num_names=2, title=f"{planner.table.name}: the plan", fold=True).terminal()
    table.rows[-2].end_section = True
    console.print(table)
    console.print(_explanation(costs), markup=False, highlight=False, soft_wrap=True)


def _texts(cost: CostEstimate | str) -> list[str]:
    """Return clips, GMACs and hours of a command, or the reason why they are unknown."""
    if isinstance(cost, str):
        return ["-", "-", cost]
    assert cost.hours is not None
    return [f"{cost.clips:,}", f"{cost.gmacs:,.0f}", f"{cost.hours:.3g}"]


def _explanation(costs: Costs) -> str:
    speeds = "; ".join(
        f"{networks}: {', '.join(f'{role} {speed / 1e9:.3g} GMAC/s' for role, speed in by_role.items())}"
        for networks, by_role in costs.speeds().items()
    )
    return (
        "Hours are multiply-adds divided by the forward speed of the networks, just measured on this machine with one "
        f"command at a time ({speeds}). A training step counts as three forward passes, that of a sampler with "
        "algorithm.recompute as four. The hours leave out reading the videos and computing activations that are "
        "stored. An interrupted run counts as a whole one."
    )


def _of_training(command: Command, part: Part, costs: Costs) -> CostEstimate | str:
    runs = [run for run, other in part.trainings.items() if other.name == command.name and run in part.settings]
    try:
        if runs:
            return costs.training(part.settings[runs[0]])
        starts = (run for run, other in part.trainings.items() if command.name in other.after and run in part.settings)
        return costs.training_of_max_response(part.settings[next(starts, "dsn")])  # of dsn if it is only evaluated
    except UsageError as error:
        return f"unknown: {error}"


def _of_evaluation(name: str, table: PaperTable, part: Part, costs: Costs) -> CostEstimate | str:
    evaluation = table.evaluations[name]
    if evaluation.fusion:
        return CostEstimate(0, 0.0, 0.0)
    try:
        methods = selections_of(evaluation.selections)
        return costs.evaluation(part.settings[table.main_run(name)], [*evaluation.roles], methods)
    except UsageError as error:
        return f"unknown: {error}"
