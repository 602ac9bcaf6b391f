"""What a run records of the package's own checkout: its commit, and how its files differ from that."""

import shlex
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from dsn_lightning.runs import environment


def git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit, whose git would run programs to show differences."""
    runs = tmp_path / "checkout" / "src" / "dsn_lightning" / "runs"
    runs.mkdir(parents=True)
    shutil.copy(environment.__file__, runs)
    root, canary = tmp_path / "checkout", shlex.quote(str(tmp_path / "canary"))
    (root / "network.py").write_text("".join(f"line {i}\n" for i in range(100)))
    (root / ".gitattributes").write_text("*.py diff=python\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"],
                    ["config", "diff.external", f"touch {canary}"],
                    ["config", "diff.python.textconv", f"touch {canary}; cat"]):  # fmt: skip
        git(root, *command)
    return root


@pytest.fixture
def module(checkout: Path) -> Any:
    """The module as it is in that checkout."""
    spec = spec_from_file_location("environment", checkout / "src" / "dsn_lightning" / "runs" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_difference_from_the_commit_is_recorded(checkout, module):
    head = git(checkout, "rev-parse", "HEAD")
    assert (module.git_commit(), module.git_diff()) == (head, "")
    (checkout / "notes.txt").write_text("git does not know this file\n")
    assert (module.git_commit(), module.git_diff()) == (head, "")
    (checkout / "network.py").write_text("another line\n")
    assert module.git_commit() == f"{head}-dirty"
    changed = [line for line in module.git_diff().splitlines() if line[:1] in "+-"]
    lines = [f"-line {i}" for i in range(100)]
    assert changed == ["--- a/network.py", "+++ b/network.py", *lines, "+another line"]
    assert not (checkout.parent / "canary").exists()


def test_a_long_difference_is_cut_after_a_line_and_says_so(checkout, module, monkeypatch):
    (checkout / "network.py").write_text("")
    whole = module.git_diff()
    monkeypatch.setattr(module, "MOST_DIFF", 300)
    *kept, last = module.git_diff().splitlines(keepends=True)
    assert "".join(kept) == whole[: len("".join(kept))]
    assert 290 < len("".join(kept)) <= 300
    assert last == f"[cut: {len(''.join(kept))} of {len(whole):,} characters]\n"


def test_outside_a_checkout_there_is_no_difference(checkout, module):
    shutil.rmtree(checkout / ".git")
    assert (module.git_commit(), module.git_diff()) == (None, None)
