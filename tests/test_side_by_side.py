"""Jobs in threads: who computes with how many of torch's, who is told, and how all of them stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from baselines.side_by_side import Report, side_by_side


@pytest.fixture(autouse=True)
def six_threads() -> Iterator[None]:
    """Torch has six threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def forever(report: Report) -> None:
    """A job that never ends by itself."""
    while True:
        time.sleep(0.001)


def test_progress_is_the_sum_of_all_jobs_told_in_the_caller_s_thread() -> None:
    """Two jobs of 10 and 20; whoever is quicker, the sum rises to 30."""
    told: list[tuple[int, str]] = []

    def job(size: int, report: Report) -> None:
        for done in range(size + 1):
            report(done)

    side_by_side(
        [lambda report: job(10, report), lambda report: job(20, report)],
        lambda done: told.append((done, threading.current_thread().name)),
    )
    counts = [done for done, _ in told]
    assert counts == sorted(counts)
    assert counts[-1] == 30
    assert {name for _, name in told} == {threading.current_thread().name}


def test_torch_s_threads_are_divided_and_given_back() -> None:
    """Six among four are one each; afterwards here, and in threads that begin later, there are six again."""
    inside, later = list[int](), list[int]()
    side_by_side([lambda report: inside.append(torch.get_num_threads())] * 4, lambda done: None)
    new = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert inside == [1, 1, 1, 1]
    assert torch.get_num_threads() == 6
    assert later == [6]


def test_jobs_compute_without_gradients() -> None:
    """Torch keeps that for each thread, and a new one has gradients."""
    seen: list[bool] = []
    side_by_side([lambda report: seen.append(torch.is_grad_enabled())] * 2, lambda done: None)
    assert seen == [False, False]
    assert torch.is_grad_enabled()


def test_what_goes_wrong_in_one_job_stops_the_others_and_is_raised(capfd: pytest.CaptureFixture[str]) -> None:
    """Its own traceback comes along; nothing else is said, and no thread is left."""

    def fail(report: Report) -> None:
        raise RuntimeError("out of ink")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of ink") as caught:
        side_by_side([forever, fail, forever], lambda done: None)
    assert caught.traceback[-1].name == "fail"
    assert threading.active_count() == before
    assert torch.get_num_threads() == 6
    assert capfd.readouterr().err == ""


def test_jobs_stop_when_whoever_is_told_of_progress_fails() -> None:
    """As a screen that was closed."""

    def job(report: Report) -> None:
        report(1)
        forever(report)

    def told(done: int) -> None:
        raise BrokenPipeError

    before = threading.active_count()
    with pytest.raises(BrokenPipeError):
        side_by_side([job, job], told)
    assert threading.active_count() == before


PROGRAM = """
import sys, time
from baselines.side_by_side import side_by_side

def job(report):
    report(1)
    while True:
        time.sleep(0.001)

def told(done):
    if done == 2:
        print("both run", flush=True)

try:
    side_by_side([job, job], told)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_stops_all_jobs() -> None:
    """Though none of them reports anything any more."""
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "both run\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (out, err, running.returncode) == ("interrupted\n", "", 0)
