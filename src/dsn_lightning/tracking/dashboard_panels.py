"""The panels of the W&B dashboard and of the reports on sweeps, in sections: what is drawn of the keys that runs log.

W&B groups the runs by their settings, see `dsn_lightning.tracking.dashboards`; a curve is then the mean of a group's
seeds, and the area around it their standard deviation.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import wandb_workspaces.reports.v2 as wr

from dsn_lightning.evaluation.splits import HEADINGS
from dsn_lightning.runs import KEYS
from dsn_lightning.tracking.logged_keys import AXIS, LoggedKeys

_WIDTH, _HEIGHT, _WIDE_HEIGHT = 12, 8, 12  # of a panel in a report, whose grid has 24 columns


@dataclass(frozen=True)
class PanelSection:
    """Panels that answer one question."""

    name: str
    about: str  #: a sentence on how to read them
    panels: Sequence[Any]


@dataclass
class LoggedPanels:
    """Makes panels of the keys that runs log; the others are left out of them, and a panel without any is not made.

    Args:
        keys: None: all keys count as logged.
        missing: gets the keys that were left out.
    """

    keys: LoggedKeys | None
    missing: list[str] = field(default_factory=list)

    def logged(self, *names: str, kind: str = "metric") -> list[str]:
        """Return those of the names that are logged."""
        found = [name for name in names if self.keys is None or self.keys.has(f"{kind}:{name}")]
        self.missing += [name for name in names if name not in found and name not in self.missing]
        return found

    def curves(self, title: str, *names: str, **options: Any) -> list[wr.LinePlot]:
        """Return the curves of some figures over the epochs."""
        return [self._line(title, y=logged, **options)] if (logged := self.logged(*names)) else []

    def curves_like(self, title: str, pattern: str, **options: Any) -> list[wr.LinePlot]:
        """Return the curves of all figures whose names match."""
        logged = self.logged(pattern, kind="regex")
        return [self._line(title, metric_regex=pattern, **options)] if logged else []

    def _line(self, title: str, **options: Any) -> wr.LinePlot:
        spread = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
        return wr.LinePlot(title=title, x=AXIS, layout=_layout(), **{**spread, **options})

    def frontier(self, title: str, *, cost: str, accuracy: str) -> list[wr.ScatterPlot]:
        """Return accuracy against cost: W&B's line of the running maximum is the Pareto frontier."""
        if len(self.logged(cost, accuracy)) < 2:
            return []
        x, y = wr.SummaryMetric(cost), wr.SummaryMetric(accuracy)
        return [wr.ScatterPlot(title=title, x=x, y=y, running_ymax=True, layout=_layout())]

    def means(self, title: str, *names: str) -> list[wr.BarPlot]:
        """Return bars of the last values: mean and standard deviation of each group."""
        spread = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
        logged = self.logged(*names)
        return [wr.BarPlot(title=title, metrics=logged, layout=_layout(), **spread)] if logged else []

    def parallel(self, title: str, *, settings: Sequence[str], results: Sequence[str]) -> list[Any]:
        """Return parallel coordinates from settings to results."""
        logged = self.logged(*results)
        columns = [wr.Config(name) for name in self.logged(*settings, kind="config")]
        columns += [wr.SummaryMetric(name) for name in logged]
        axes = [wr.ParallelCoordinatesPlotColumn(metric=column) for column in columns]
        return [wr.ParallelCoordinatesPlot(title=title, columns=axes, layout=_layout(wide=True))] if logged else []

    def importance(self, name: str) -> list[wr.ParameterImportancePlot]:
        """Return which settings a figure depends on most."""
        plot = wr.ParameterImportancePlot(with_respect_to=name, layout=_layout())
        return [plot] if self.logged(name) else []

    def table(self, name: str) -> list[wr.WeavePanelSummaryTable]:
        """Return a logged table, the rows of all runs below each other."""
        return [wr.WeavePanelSummaryTable(table_name=name, layout=_layout(wide=True))] if self.logged(name) else []

    def confusion(self, title: str, name: str) -> list[wr.CustomChart]:
        """Return W&B's own chart of a confusion matrix that is logged as a table."""
        columns = {name: name for name in ("Actual", "Predicted", "nPredictions")}
        chart = wr.CustomChart.from_table(name, chart_fields=columns, chart_strings={"title": title})
        chart.chart_name, chart.layout = "wandb/confusion_matrix/v1", _layout(wide=True)
        return [chart] if self.logged(name) else []


def panel_sections(made: LoggedPanels) -> list[PanelSection]:
    """Return all sections that have panels; each panel has an id that depends on its place only."""
    sections = [
        *(_accuracy_and_cost(made), _training(made), _held_out_videos(made), _sampler(made)),
        *(_selected_clips(made), _mistakes(made), _sweep(made)),
    ]
    for section in sections:
        for number, panel in enumerate(section.panels):
            panel._id = hashlib.sha256(f"{section.name} {number}".encode()).hexdigest()[:12]
    return [section for section in sections if section.panels]


def _accuracy_and_cost(made: LoggedPanels) -> PanelSection:
    main = ("test/top1", "test/map")
    plots = [
        made.frontier(
            f"Test {HEADINGS[name.partition('/')[2]]} against GMACs a video", cost="test/gmacs", accuracy=name
        )
        for name in main
    ]
    results = ("val/top1_best", *main, "test/gmacs")
    panels = [
        *(plot for found in plots for plot in found),
        *made.means("Test top-1 of each setting", "test/top1"),
        *made.parallel("From settings to accuracy and cost", settings=KEYS, results=results),
    ]
    about = "The line is the running maximum, which is the frontier: no cheaper setting is more accurate."
    return PanelSection("Accuracy and cost", about, panels)


def _training(made: LoggedPanels) -> PanelSection:
    panels = [
        *made.curves("Loss of the classifier", "train/classifier_loss"),
        *made.curves("Loss of the sampler", "train/sampler_loss"),
        *made.curves("Learning rates", "train/classifier_lr", "train/sampler_lr"),
        *made.curves("Gradient norms", "train/classifier_gradient_norm", "train/sampler_gradient_norm", log_y=True),
        *made.curves("Videos a second", "time/videos_per_second"),
        *made.curves("Share of time without data", "time/loader_wait", range_y=(0, 1)),
    ]
    return PanelSection("Training", "A curve is the mean of a setting's seeds, its area their spread.", panels)


def _held_out_videos(made: LoggedPanels) -> PanelSection:
    panels = [
        *made.curves("Top-1 on held-out videos", "val/top1"),
        *made.curves("Best top-1 so far", "val/top1_best"),
        *made.curves("Mean average precision on held-out videos", "val/map"),
        *made.curves("Mean class accuracy on held-out videos", "val/mean_class"),
    ]
    return PanelSection("Held-out videos", "Choose settings here, not by the test videos.", panels)


def _sampler(made: LoggedPanels) -> PanelSection:
    panels = [
        *made.curves("Reward of sampled and of greedy clips", "train/policy_reward", "train/policy_baseline"),
        *made.curves("Entropy of the policy (nats)", "train/policy_entropy"),
        *made.curves("Share of sampled clips with a reward above 0", "train/policy_right", range_y=(0, 1)),
        *made.curves("Share of sections where the sampled clip is the greedy one", "train/policy_agreement"),
        *made.curves_like("Share of each position among preferred clips", r"train/position_share_\d+", range_y=(0, 1)),
        *made.curves("Positions of preferred clips", "train/selected_positions"),
    ]
    about = "A policy that has collapsed has an entropy near 0 and a position whose share is near 1."
    return PanelSection("The sampler", about, panels)


def _selected_clips(made: LoggedPanels) -> PanelSection:
    about = "The clips that the sampler kept of a few test videos, with first, middle and last frame."
    return PanelSection("Selected clips", about, made.table("test/selected_clips"))


def _mistakes(made: LoggedPanels) -> PanelSection:
    panels = made.confusion("Confusion matrix of the test videos", "test/confusion_matrix_table")
    return PanelSection("Mistakes", "Which classes are taken for which, in all runs that are shown.", panels)


def _sweep(made: LoggedPanels) -> PanelSection:
    panels = [
        wr.RunComparer(diff_only="split", layout=_layout(wide=True)),
        *made.table("sweep/jobs"),
        *made.importance("val/top1_best"),
        *made.table("test/rows"),
    ]
    about = "The comparison shows the settings that differ; the table of jobs is logged when a sweep ends."
    return PanelSection("The sweep", about, panels)


def _layout(*, wide: bool = False) -> wr.Layout:
    return wr.Layout(w=2 * _WIDTH, h=_WIDE_HEIGHT) if wide else wr.Layout(w=_WIDTH, h=_HEIGHT)
