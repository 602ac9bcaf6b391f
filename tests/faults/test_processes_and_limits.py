"""Killed and stopped processes of a run, small limits and small shared memory, and a clock that jumps."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.faults import assert_one_line, descendants, run_program, wait_until_quiet
from helpers.processes import call, start
from helpers.trained_runs import assert_same_run, epochs_done

LONG = "schedule.max_epochs=500"


def status_of(run: Path) -> dict:
    return json.loads((run / "status.json").read_text())


@pytest.mark.parametrize("method", ["fork", pytest.param("forkserver", marks=pytest.mark.faults)])
def test_a_killed_loader_process_ends_a_training_in_one_line(method, training, attempt, tmp_path):
    with attempt("killed: a data loader process of dsn-train"):
        workers = ["num_workers=1", f"start_workers={method}"]
        process = start("dsn-train", *training, LONG, *workers, cwd=tmp_path)
        while process.is_alive() and epochs_done(tmp_path / "run") < 1:
            time.sleep(0.002)
        assert process.pid is not None
        os.kill(descendants(process.pid)[-1], signal.SIGKILL)  # the last one: loader processes come from a server
        process.join(60)
        assert process.exitcode == 2
        assert_one_line((tmp_path / "err").read_text(), "dsn-train", "a data loader process has died (pid ")
        status = status_of(tmp_path / "run")
        assert (status["state"], status["exit_code"]) == ("failed", 2)
        assert status["error"].startswith("a data loader process has died")
        last = "trainer.max_time=00:00:00:01"
        call("dsn-train", "resume=run", "num_workers=0", last, "test.enabled=false", cwd=tmp_path)


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.faults)])
def test_ctrl_c_ends_an_evaluation_in_one_line(devices, trained, attempt, tmp_path):
    """As a terminal sends it: to all processes."""
    arguments = [f"checkpoint={trained}", f"devices={devices}", "num_workers=1", "hydra.run.dir=run", "overwrite=true"]
    with attempt("Ctrl-C: dsn-evaluate"):
        for _ in range(5):  # one may end before the signal
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            process = start("dsn-evaluate", *arguments, cwd=tmp_path)
            while process.is_alive() and not (tmp_path / "run" / ".lock").is_file():
                time.sleep(0.001)
            assert process.pid is not None
            for pid in [process.pid, *descendants(process.pid)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            process.join()
            if process.exitcode:
                break
        assert process.exitcode == 130
        err = (tmp_path / "err").read_text()
        assert "dsn-evaluate: stopped; the results are not complete; run the same command again" in err
        assert "Traceback" not in err


@pytest.mark.faults
def test_a_stopped_process_of_a_training_ends_it(training, attempt, tmp_path):
    with attempt("stopped (SIGSTOP): a process of a training"):
        process = start("dsn-train", *training, LONG, "trainer.devices=2", cwd=tmp_path)
        while process.is_alive() and epochs_done(tmp_path / "run") < 1:
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(descendants(process.pid)[1], signal.SIGSTOP)
        process.join(150)
        assert process.exitcode not in (0, None)
        err = (tmp_path / "err").read_text()
        assert "process 1 of 2 was stopped" in err
        assert "Traceback" not in err
        assert status_of(tmp_path / "run")["state"] == "failed"
        wait_until_quiet(tmp_path / "run")
        call("dsn-train", "resume=run", "trainer.max_time=00:00:00:01", "test.enabled=false", cwd=tmp_path)


@pytest.mark.faults
def test_few_file_descriptors_are_enough_or_one_line(training, attempt, tmp_path):
    with attempt("few descriptors (64): dsn-train, two loader processes"):
        done = run_program("dsn-train", *training, "num_workers=2", cwd=tmp_path, before="ulimit -n 64")
        if done.returncode:
            assert_one_line(done.stderr, "dsn-train", "ulimit -n")
            assert status_of(tmp_path / "run")["state"] == "failed"
    with attempt("few descriptors (24): dsn-train"):
        done = run_program("dsn-train", *training, "hydra.run.dir=few", cwd=tmp_path, before="ulimit -n 24")
        if done.returncode:
            assert_one_line(done.stderr, "dsn-train", "ulimit -n")


@pytest.mark.faults
@pytest.mark.parametrize("command", ["dsn-train", "dsn-evaluate"])
def test_little_shared_memory_is_one_line(command, training, trained, attempt, tmp_path):
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    small = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    arguments = [*training, "num_workers=1"]
    if command == "dsn-evaluate":
        arguments = [f"checkpoint={trained}", "num_workers=1", "hydra.run.dir=evaluated"]
    with attempt(f"small /dev/shm: {command}"):
        began = time.monotonic()
        done = run_program(command, *arguments, cwd=tmp_path, before=small, around=["unshare", "-m"])
        assert done.returncode == 2, done.stderr
        assert_one_line(done.stderr, command, "/dev/shm")
        assert time.monotonic() - began < 120
        if command == "dsn-train":
            assert status_of(tmp_path / "run")["state"] == "failed"


@pytest.mark.faults
def test_too_little_memory_is_one_line(training, attempt, tmp_path):
    with attempt("out of memory (limit on address space): dsn-train"):
        arguments = [*training, "schedule.batch_size=6", "backbone.crop_size=512", "backbone.frame_size=[512,512]"]
        done = run_program("dsn-train", *arguments, cwd=tmp_path, before="ulimit -v 4500000")
        assert done.returncode == 2, done.stderr
        assert_one_line(done.stderr, "dsn-train", "memory")
        assert status_of(tmp_path / "run")["state"] == "failed"


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
/* The wall clock: an hour forward and two hours back in turn, each time that it is read; the others are as they are. */
static long jump(void) { static long reads; return ++reads % 2 ? 3600 : -7200; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && !result) now->tv_sec += jump();
    return result;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.faults
def test_a_clock_that_jumps_changes_no_result(training, attempt, tmp_path):
    (tmp_path / "clock.c").write_text(CLOCK)
    compiler = ["cc", "-shared", "-fPIC", "-o", str(tmp_path / "clock.so"), str(tmp_path / "clock.c"), "-ldl"]
    try:
        subprocess.run(compiler, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler: {error}")
    call("dsn-train", *training, "hydra.run.dir=whole", cwd=tmp_path)
    with attempt("the clock jumps by hours, forward and back: dsn-train"):
        preload = {"LD_PRELOAD": str(tmp_path / "clock.so")}
        done = run_program("dsn-train", *training, "num_workers=1", cwd=tmp_path, env=preload)
        assert done.returncode == 0, done.stderr
        assert_same_run(tmp_path / "run", tmp_path / "whole")
