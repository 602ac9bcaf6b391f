"""No process loads a library from the current folder, although PyTorch's CUDA builds look for some there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import markupsafe._speedups
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RUNPATH and LD_DEBUG are those of Linux")

SPAWNING = """
import multiprocessing
from importlib import import_module

{first}

if __name__ == "__main__":
    import_module("torch")
    process = multiprocessing.get_context("spawn").Process(target=import_module, args=("torch",))
    process.start()
    process.join()
    assert process.exitcode == 0
"""


@pytest.fixture
def loaded_libraries(tmp_path, monkeypatch):
    """Run a script in a folder that holds libraries; return the paths that the loader initialises, of all processes."""
    place = tmp_path / "place"
    place.mkdir()
    for name in ("libcuda.so.1", "librt.so.1"):
        shutil.copy(markupsafe._speedups.__file__, place / name)
    monkeypatch.setenv("LD_DEBUG", "files")
    monkeypatch.setenv("LD_DEBUG_OUTPUT", str(tmp_path / "loader"))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as commands set it for the processes that they start

    def run(first: str) -> list[list[Path]]:
        script = tmp_path / "script.py"
        script.write_text(SPAWNING.format(first=first))
        subprocess.run([sys.executable, script], cwd=place, check=True, env=os.environ)
        found = []
        for file in tmp_path.glob("loader.*"):
            lines = [line for line in file.read_text().splitlines() if "calling init: " in line]
            found.append([place / line.partition("calling init: ")[2].strip() for line in lines])
            file.unlink()
        return [libraries for libraries in found if any("libtorch" in path.name for path in libraries)]

    return run


def test_a_library_in_the_current_folder_is_not_loaded(loaded_libraries, tmp_path):
    processes = loaded_libraries("import dsn_lightning.cli.program")
    assert len(processes) == 2
    for libraries in processes:
        assert [path for path in libraries if path.is_relative_to(tmp_path)] == []


def test_pytorch_alone_would_load_it(loaded_libraries, tmp_path):
    processes = loaded_libraries("")
    loaded = [[path.name for path in libraries if path.is_relative_to(tmp_path)] for libraries in processes]
    if not any(loaded):
        pytest.skip("this PyTorch, or this machine's driver, does not look for libcuda.so.1 in the current folder")
    assert loaded == [["libcuda.so.1"]] * 2
