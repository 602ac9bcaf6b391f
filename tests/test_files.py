"""Reading and writing files, and paths that somebody has given."""

from pathlib import Path

import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.files import user_path


def test_a_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/somebody")
    assert user_path("~/videos") == Path("/home/of/somebody/videos")
    assert user_path(Path("~") / "videos") == Path("/home/of/somebody/videos")
    assert user_path("a/~") == Path("a/~")


@pytest.mark.parametrize("given", ["a\0b", ["a"], {"_target_": "os.system"}, 3, None, b"a"])
def test_what_is_no_path_is_refused_in_one_line(given):
    with pytest.raises(UsageError, match="expected a path, got") as caught:
        user_path(given)
    assert "\n" not in str(caught.value)
