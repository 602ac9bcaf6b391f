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
    done = call("dsn-train", "--help", "gama=1", cwd=tmp_path, expect=2)
    assert "gama: there is no such key; did you mean gamma?" in done.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "code"),
    [
        ("train", ["--help"], 0),
        ("train", ["gama=1"], 2),
        ("train", ["schedule.lr=-1", "dataset=needle"], 2),
        ("evaluate", ["baseline=/no/run.ckpt"], 2),
        ("predict", ["checkpoint=/no/run.ckpt", "videos=[x.mp4]", "output=out"], 2),
        ("export", ["checkpoint=/no/run.ckpt", "output=out"], 2),
    ],
)
def test_help_and_refused_settings_do_not_load_pytorch(command, arguments, code, tmp_path):
    program = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        f"from dsn_lightning.cli.{command} import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert ("/no/run.ckpt: no such checkpoint file" in done.stderr) == ("/no/run.ckpt" in "".join(arguments))
