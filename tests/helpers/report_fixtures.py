"""Fixtures of the report's tests: evaluations of small networks, and dsn-report in this process."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from dsn_lightning.cli import report
from dsn_lightning.cli.evaluate_recipe import evaluate_trained
from helpers.report_files import Page
from helpers.synthetic import SyntheticData, composed, fresh


@pytest.fixture(scope="session")
def evaluations(tmp_path_factory) -> Path:
    """Two seeds of a DSN and a baseline, each evaluated on 8 videos at 2:2."""
    root = tmp_path_factory.mktemp("evaluations")
    for seed in (0, 1):
        overrides = ["M=2", "N=2", "test.random_draws=2", "dataset.name=synthetic", "dataset.reading.dense_clips=3"]
        overrides += [f"seed={seed}", f"run_dir={root}/runs/seed{seed}/evaluate"]
        settings = composed(*overrides)
        given = {
            "dsn": fresh(settings, root / f"{seed}.ckpt", seed=seed),
            "baseline": fresh(composed(*overrides, "algorithm=baseline"), root / f"{seed}_b.ckpt", seed=2 + seed),
        }
        data = SyntheticData("rgb", settings)
        evaluate_trained(given, settings, data, device=torch.device("cpu"))
    return root / "runs"


@pytest.fixture
def runs(evaluations: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evaluations, tmp_path / "runs"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run dsn-report in this process; return what it printed and its page."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, expect: int = 0) -> tuple[str, Page | None]:
        monkeypatch.setattr(sys, "argv", ["dsn-report", *map(str, arguments)])
        code = 0
        try:
            report.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert code == expect, out + err
        return (err, None) if code else (out, Page(Path("report/report.html").read_text()))

    return call
