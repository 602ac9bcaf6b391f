"""The results of a sweep as a table in Markdown, and the states of its jobs, for a report in W&B."""

from typing import Any

import pandas as pd

from dsn_lightning.evaluation.splits import HEADINGS
from dsn_lightning.text_tables import TextTable, escape_cell, percent

_SETTING = ["dataset", "run.M", "run.N", "run.gamma", "selection", "classifier", "M", "N"]
_SETTING += ["estimator", "reward"]


def states_line(configs: pd.DataFrame) -> str:
    """Return how many jobs are in which state.

    >>> states_line(pd.DataFrame({"state": ["finished", "finished", "failed"]}))
    '3 jobs: 2 finished, 1 failed'
    """
    counts = configs["state"].value_counts()
    return f"{len(configs)} jobs: {', '.join(f'{count} {state}' for state, count in counts.items())}"


def results_table(results: pd.DataFrame) -> str:
    """Return a row for each setting and selection method, mean ± standard deviation over seeds in %; empty if none.

    Args:
        results: of `read_results`; rows that are no results of ours are left out.
    """
    figures = [*HEADINGS, "gmacs"]
    results = results.reindex(columns=[*_SETTING, "run.seed", *figures])
    results = results[results.drop(columns=figures).map(lambda value: isinstance(value, str | float | int)).all(axis=1)]
    if results.empty:
        return ""
    results[_SETTING] = results[_SETTING].map(_text)
    results[figures] = results[figures].apply(pd.to_numeric, errors="coerce")
    rates = [name for name in HEADINGS if results[name].notna().any()]
    rows = []
    for setting, group in results.groupby(_SETTING, sort=False):
        dataset, m, n, gamma, selection, classifier, test_m, test_n, estimator, reward = map(str, setting)
        names = [dataset, f"{m}:{n}", gamma, selection, classifier, f"{test_m}:{test_n}", estimator, reward]
        means = [*(_mean(group[rate]) for rate in rates), _text(group["gmacs"].mean())]
        rows.append([*names, str(group["run.seed"].nunique()), *means])
    heads = ["data set", "trained M:N", "gamma", "selection", "classifier", "tested M:N", "estimator", "reward"]
    header = [*heads, "seeds", *(f"{HEADINGS[rate]} (%)" for rate in rates), "GMACs"]
    return TextTable(header, rows, num_names=len(heads)).markdown()


def _text(value: Any) -> str:
    return "-" if pd.isna(value) else escape_cell(value) if isinstance(value, str) else f"{value:.3g}"


def _mean(values: pd.Series) -> str:
    """Return a rate's mean in %, with the standard deviation of two values or more."""
    known = values.dropna().astype(float)
    return percent(known.mean() if len(known) else None, known.std() if len(known) > 1 else None)
