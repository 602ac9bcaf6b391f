"""The fault suite: its table, and the small training that faults are tried on.

``DSN_FAULT_TABLE=FILE`` writes the table "fault, tried, survived, lost".
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dsn_lightning.datasets.needle import Needle
from helpers.faults import PROPERTY, fault_table
from helpers.processes import call

SET = ["dataset.num_train=6", "dataset.num_val=4", "dataset.num_test=4"]
TRAINING = [
    *SET, "schedule.max_epochs=3", "schedule.batch_size=3", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=1", "trainer.accelerator=cpu", "checkpoint.every_n_batches=1", "test.figures=false",
    "test.random_draws=2",
]  # fmt: skip

Attempt = Callable[[str], AbstractContextManager[list[Any]]]

_attempts: list[tuple[str, bool]] = []


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call":
        _attempts.extend(value for name, value in report.user_properties if name == PROPERTY)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _attempts:
        return
    table = fault_table(_attempts)
    terminalreporter.write_sep("=", "faults")
    terminalreporter.write(table)
    if file := os.environ.get("DSN_FAULT_TABLE"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(table)


@pytest.fixture
def attempt(request: pytest.FixtureRequest) -> Attempt:
    """Counts what runs inside as an attempt of a fault, or as several, which are put into the list that it yields.

    They are lost if it raises, and not counted if it is skipped.
    """

    @contextmanager
    def count(fault: str) -> Iterator[list[Any]]:
        several: list[Any] = []
        try:
            yield several
        except pytest.skip.Exception:
            raise
        except BaseException:
            report(fault, False, several)
            raise
        report(fault, True, several)

    def report(fault: str, survived: bool, several: list[Any]) -> None:
        request.node.user_properties.extend([(PROPERTY, (fault, survived))] * max(1, len(several)))

    return count


@pytest.fixture(scope="session")
def needle_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A needle set of 6 + 4 + 4 videos; its settings are `SET`."""
    from conftest import made_once  # which loads this file

    return made_once(
        tmp_path_factory, "fault_needle", lambda root: Needle(str(root), num_train=6, num_val=4, num_test=4).prepare()
    )


@pytest.fixture
def training(needle_set: Path) -> list[str]:
    """The arguments of a small training in the folder ``run``."""
    return [f"dataset.root={needle_set}", *TRAINING, "hydra.run.dir=run"]


@pytest.fixture(scope="session")
def trained(needle_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a finished training."""
    root = tmp_path_factory.mktemp("trained")
    call("dsn-train", f"dataset.root={needle_set}", *TRAINING, "hydra.run.dir=run", "test.enabled=false", cwd=root)
    return root / "run" / "checkpoints" / "last.ckpt"
