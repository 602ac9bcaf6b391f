"""How the program of a command imports and ends."""

import gc
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from dsn_lightning.config.quick_imports import quick_imports

SCRIPTS = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]["scripts"]


def ended(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def test_each_script_runs_the_command_of_its_name():
    for name, target in SCRIPTS.items():
        module, _, function = target.partition(":")
        (command,) = getattr(import_module(module), function).args
        assert name == f"dsn-{command}"
        assert callable(import_module(f"dsn_lightning.cli.{command}").main)


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["/no/such/folder"], 2)])
def test_a_program_ends_with_the_code_of_its_command(arguments, code):
    done = ended("from dsn_lightning.cli.program import report; report()", *arguments)
    assert done.returncode == code
    assert (
        ("usage: " in done.stdout)
        if code == 0
        else (done.stderr == "dsn-report: error: /no/such/folder: no such folder\n")
    )


def test_a_process_ends_after_its_exit_functions_and_with_its_output():
    program = (
        "import atexit, sys; from dsn_lightning.cli.program import end_process\n"
        "class Kept:\n    def __del__(self): print('taken apart')\n"
        "kept = Kept(); atexit.register(print, 'exit function'); sys.stdout.write('written, '); end_process(3)"
    )
    done = ended(program)
    assert (done.stdout, done.stderr, done.returncode) == ("written, exit function\n", "", 3)


def test_a_process_ends_after_its_threads():
    program = (
        "import threading, time; from dsn_lightning.cli.program import end_process\n"
        "threading.Thread(target=lambda: (time.sleep(0.5), print('at work'))).start(); end_process(3)"
    )
    done = ended(program)
    assert (done.stdout, done.returncode) == ("at work\n", 3)


def test_an_error_ends_a_program_with_its_traceback():
    program = "import dsn_lightning.cli.report as r, dsn_lightning.cli.program as p; r.main = lambda: 1 / 0; p.report()"
    done = ended(program)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("enabled", [True, False])
def test_imports_leave_the_garbage_collection_as_it_was(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with quick_imports():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
        with pytest.raises(ImportError), quick_imports():
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()


def test_what_was_imported_is_searched_for_garbage_only_at_the_end():
    program = (
        "import atexit, gc; from dsn_lightning.config.quick_imports import quick_imports\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"
        "with quick_imports():\n    import decimal\n"
        "print(gc.get_freeze_count() > 1000)"
    )
    assert ended(program).stdout == "True\n0\n"
