"""Jobs side by side in threads, with torch's threads divided among them.

One job multiplies while another waits for memory, and none waits, at the end of every operation, for somebody
else's part of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread

import torch

Report = Callable[[int], object]
"""Called with how much is done."""

Job = Callable[[Report], object]
"""Something to be done, which now and then reports how much of it is."""

News = SimpleQueue[tuple[int, int | BaseException | None]]
"""Of the job with this number: how much is done, then what went wrong, or None."""


class _Stopped(SystemExit):
    """Raised in a job that is no longer wanted; threads that end by a ``SystemExit`` end silently."""


def side_by_side(jobs: Sequence[Job], progress: Report) -> None:
    """Run every one of ``jobs`` in a thread of its own, without gradients.

    ``progress`` is called in the caller's thread, with the sum of what the jobs report. If it raises something,
    or a job does, or Ctrl-C is pressed, the others are stopped, and that is raised.
    """
    threads, running = torch.get_num_threads(), list[_Running]()
    news = News()
    try:
        for number, job in enumerate(jobs):
            running.append(_Running(number, job, max(1, threads // len(jobs)), news))
            running[-1].start()
        _listen(news, len(jobs), progress)
    except BaseException:
        for each in running:
            each.stop()
        raise
    finally:
        for each in running:
            if each.ident is not None:  # it has begun
                each.join()
        torch.set_num_threads(threads)  # new threads begin with what any thread set last


def _listen(news: News, jobs: int, progress: Report) -> None:
    """Until all jobs have ended, or one went wrong."""
    done, left = [0] * jobs, jobs
    while left:
        number, said = news.get()
        if isinstance(said, BaseException):
            raise said
        if said is None:
            left -= 1
        else:
            done[number] = said
            progress(sum(done))


class _Running(Thread):
    """One job, with so many of torch's threads."""

    def __init__(self, number: int, job: Job, threads: int, news: News) -> None:
        super().__init__(name=f"job {number}")
        self.number, self.job, self.threads, self.news = number, job, threads, news

    def run(self) -> None:
        """Do the job, and say how it ended."""
        torch.set_num_threads(self.threads)
        try:
            with torch.no_grad():
                self.job(lambda done: self.news.put((self.number, done)))
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self.news.put((self.number, error))
        else:
            self.news.put((self.number, None))

    def stop(self) -> None:
        """End the job before its next line: it may be long till its next report."""
        if self.is_alive() and self.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(_Stopped))
