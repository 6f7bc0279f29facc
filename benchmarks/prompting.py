"""How fast the prompt baseline asks: throughput against a server on this machine, and a run from kept answers.

    python benchmarks/prompting.py

The server (tests/chat_server.py, a process of its own) answers each request after 100 ms. Ideal is what 16
connections that never wait for us would get: 160 answers a second. The aim is 90% of that. The second figure
is a whole ``python cli.py baseline prompt`` of the sample contest's 500 rows whose answers are all kept; the
aim is 2 seconds.

Both need a machine with nothing else to do. The processor time beside them does not: it is what our side takes,
and 160 answers a second leave it 6.25 ms each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chat_server import SLOWNESS, Server, running  # noqa: E402

from baselines.answers import Answers  # noqa: E402
from baselines.asking import Pace, Tally, ask  # noqa: E402
from baselines.chat import Message, Request, Sampling  # noqa: E402
from baselines.chat_openai import OpenAIClient  # noqa: E402

AT_ONCE = 16
REQUESTS = 960


class Speed(NamedTuple):
    """Answers a second, and the seconds of processor time that one of them takes on our side."""

    rate: float
    processor: float


def throughput(server: Server, folder: Path) -> Speed:
    """How fast answers come, each of them kept in a file as in a real run."""
    client = OpenAIClient("m", server.url("slow"), "", 10.0, AT_ONCE)
    client.complete(Request("warm", (Message("user", "warm"),), Sampling(50)))  # imports are not throughput
    asked = [
        Request(str(n), (Message("user", f"글 {n} " + "가" * 500),), Sampling(50)) for n in range(REQUESTS)
    ]
    with Answers(folder / "answers.sqlite3") as answers:
        begin, worked = time.perf_counter(), time.process_time()
        ask(client, asked, Pace(AT_ONCE), answers, tally=Tally(), usable=lambda _: True, watch=lambda: None)
        seconds, processor = time.perf_counter() - begin, time.process_time() - worked
    client.close()
    return Speed(REQUESTS / seconds, processor / REQUESTS)


class Run(NamedTuple):
    """Seconds that a run took by the clock, and of processor time."""

    seconds: float
    processor: float


def whole_run(server: Server, folder: Path) -> Run:
    """``baseline prompt`` on the sample contest, process start included."""
    command = [
        sys.executable, str(ROOT / "cli.py"), "baseline", "prompt", "--base-url", server.url("ok"),
        "--contest", str(ROOT / "contests" / "mini"), "--concurrency", str(AT_ONCE),
        "--answers-file", str(folder / "run.sqlite3"), "-o", str(folder / "preds.csv"),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    begin, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = os.times()
    processor = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return Run(time.perf_counter() - begin, processor)


def main() -> None:
    """Measure and print."""
    ideal = AT_ONCE / SLOWNESS
    with tempfile.TemporaryDirectory() as name, running(Path(name) / "log.jsonl") as server:
        folder = Path(name)
        reached = [throughput(server, Path(tempfile.mkdtemp(dir=folder))) for _ in range(3)]
        for speed in reached:
            print(
                f"{AT_ONCE} at once, 100 ms each: {speed.rate:6.1f} answers/s,"
                f" {speed.rate / ideal:.1%} of ideal,"
                f" {speed.processor * 1000:.2f} ms of processor time each"
            )
        first, second = whole_run(server, folder), whole_run(server, folder)
        for words, run in (("500 rows, asked:", first), ("500 rows, all answers kept:", second)):
            print(f"{words:28} {run.seconds:5.2f} s, {run.processor:5.2f} s of processor time")
        print(f"Requests sent by both: {len(server.requests('ok'))}")


if __name__ == "__main__":
    main()
