"""What commands answer before they load PyTorch."""

import subprocess
import sys

import pytest

from helpers.processes import call


@pytest.mark.parametrize("command", ["dsn-train", "dsn-evaluate", "dsn-predict", "dsn-export", "dsn-cost"])
def test_help_is_that_of_hydra(command, tmp_path):
    ours = call(command, "--help", cwd=tmp_path).stdout
    assert ours == call(command, "--help", f"hydra.job.name={command}", cwd=tmp_path).stdout
    assert "dataset/reading/decoder: frames, pyav, torchcodec" in ours


def test_help_shows_what_is_given(tmp_path):
    shown = call("dsn-train", "--help", "gamma=0.75", cwd=tmp_path).stdout
    assert "\ngamma: 0.75\n" in shown
    assert "Could not override 'gama'" in call("dsn-train", "--help", "gama=1", cwd=tmp_path, expect=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["gama=1"], 1), (["schedule.lr=-1", "dataset=needle"], 2)]
)
def test_help_and_refused_settings_do_not_load_pytorch(arguments, code, tmp_path):
    program = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        "from dsn_lightning.cli.train import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
