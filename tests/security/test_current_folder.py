"""No process loads a library from the current folder, although PyTorch's CUDA builds look for some there."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
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
LOADING = """
from dsn_lightning.data.batches import ClipLoader

assert list(ClipLoader(range(2), batch_size=None, num_workers=1, start_workers="{method}")) == [0, 1]
"""
FLOW = """
import os
import subprocess
import sys

os.environ["LD_LIBRARY_PATH"] = "{own}"
from dsn_lightning.prepare.optical_flow import check_opencv

check_opencv()
subprocess.run([sys.executable, "-c", "import math"], check=True)
entries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
assert [entry for entry in entries if "cv2" not in entry] == ["{own}"] * bool("{own}" or entries == [""]), entries
"""


@pytest.fixture
def loaded_libraries(tmp_path, monkeypatch):
    """Run a script in a folder that holds libraries; return the paths that the loader initialises, of all processes.

    ``has_main`` tells whether new processes import the script first; those of a notebook or of submitit's jobs do not.
    """
    place = tmp_path / "place"
    place.mkdir()
    for name in ("libcuda.so.1", "librt.so.1", "libm.so.6"):
        shutil.copy(markupsafe._speedups.__file__, place / name)
    monkeypatch.setenv("LD_DEBUG", "files")
    monkeypatch.setenv("LD_DEBUG_OUTPUT", str(tmp_path / "loader"))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as commands set it for the processes that they start

    def run(program: str, *, has_main: bool = True, of: str = "libtorch") -> list[list[Path]]:
        script = tmp_path / "script.py"
        script.write_text(program)
        command = [script] if has_main else ["-c", program]
        subprocess.run([sys.executable, *command], cwd=place, check=True, env=os.environ)
        found = []
        for file in tmp_path.glob("loader.*"):
            lines = [line for line in file.read_text().splitlines() if "calling init: " in line]
            found.append([place / line.partition("calling init: ")[2].strip() for line in lines])
            file.unlink()
        return [libraries for libraries in found if any(of in path.name for path in libraries)]

    return run


def test_a_library_in_the_current_folder_is_not_loaded(loaded_libraries, tmp_path):
    processes = loaded_libraries(SPAWNING.format(first="import dsn_lightning.cli.program"))
    assert len(processes) == 2
    for libraries in processes:
        assert [path for path in libraries if path.is_relative_to(tmp_path)] == []


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_loader_processes_load_none_where_they_do_not_know_the_program(method, loaded_libraries, tmp_path):
    processes = loaded_libraries(LOADING.format(method=method), has_main=False)
    assert len(processes) == 2
    for libraries in processes:
        assert [path for path in libraries if path.is_relative_to(tmp_path)] == []


@pytest.mark.parametrize("own", ["", "/usr/lib"])
def test_opencv_lets_new_processes_look_for_no_library_there(own, loaded_libraries, tmp_path):
    if find_spec("cv2") is None:
        pytest.skip("OpenCV is not installed")
    processes = loaded_libraries(FLOW.format(own=own), of="libc.so")
    assert len(processes) >= 2
    for libraries in processes:
        assert [path for path in libraries if path.is_relative_to(tmp_path)] == []


def test_pytorch_alone_would_load_it(loaded_libraries, tmp_path):
    processes = loaded_libraries(SPAWNING.format(first=""))
    loaded = [[path.name for path in libraries if path.is_relative_to(tmp_path)] for libraries in processes]
    if not any(loaded):
        pytest.skip("this PyTorch, or this machine's driver, does not look for libcuda.so.1 in the current folder")
    assert loaded == [["libcuda.so.1"]] * 2
