"""The contract of a data set: one error that lists all its violations."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dsn_lightning.datasets import check_source
from dsn_lightning.errors import UsageError


class Complete:
    """Follows the protocol; `classes` may be read only after `prepare`."""

    metric = "top1"
    num_classes = None
    name = "complete"
    root = Path("/videos")

    @classmethod
    def official_counts(cls, **_):
        return None

    @property
    def classes(self):
        raise AssertionError("the check must not read files")

    def prepare(self) -> None:
        raise AssertionError("the check must not prepare anything")

    def records(self, subset):
        raise AssertionError("the check must not read files")


def test_a_complete_source_passes_and_is_not_read():
    check_source(Complete(), "dataset=complete")


def test_one_error_lists_all_that_is_missing_or_mistyped():
    class Partial(Complete):
        metric = "accuracy"
        num_classes = 0
        root = "videos"
        records = None

    with pytest.raises(UsageError) as caught:
        check_source(Partial(), "dataset=partial")
    message = str(caught.value)
    assert message.startswith("dataset=partial: ")
    assert "expected metric to be one of top1, map, got 'accuracy'" in message
    assert "expected num_classes to be a whole number above 0, or None, got 0" in message
    assert "expected root to be an absolute pathlib.Path, got 'videos'" in message
    assert "expected records to be a method, got None" in message
    assert "missing:" not in message
    with pytest.raises(UsageError, match=r"missing: metric, num_classes, official_counts, classes, prepare, records$"):
        check_source(SimpleNamespace(name="bare", root=Path("/videos")), "dataset=bare")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metric", None),
        ("num_classes", True),
        ("num_classes", "101"),
        ("name", ""),
        ("root", Path("videos")),
        ("official_counts", {"train": 1}),
        ("prepare", "yes"),
    ],
)
def test_each_attribute_is_checked(name, value):
    with pytest.raises(UsageError, match=f"expected {name} to be"):
        check_source(type("Wrong", (Complete,), {name: value})(), "dataset=wrong")
