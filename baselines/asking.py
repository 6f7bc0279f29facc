"""Asking many questions: several at once, at a set pace, again where that may help, each paid for once.

This is the only place that retries. A request is looked up among the kept answers first; equal requests are
asked once; an answer is kept before anything else is done with it. Where a request fails for good, the
others go on, unless they would all fail in the same way.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from baselines.answers import Answers
from baselines.chat import KINDS, BatchClient, ChatClient, ChatFailure, Kind, Reply, Request
from baselines.token_counts import estimate_tokens

MAX_WAIT = 60.0
"""Seconds between two tries at most, unless the server names a longer time."""
LONGEST_RETRY_AFTER = 600.0
"""Seconds; a server that asks for more is not waited for."""
FAILURES_IN_A_ROW = 10
"""So many requests given up one after another, and the rest is not asked."""
EMPTY_TRIES = 2
"""A model that says nothing twice will not speak."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and how often again. 0 requests or tokens a minute is no limit; ``retry_wait`` in seconds."""

    concurrency: int = 8
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    max_attempts: int = 6
    retry_wait: float = 1.0
    seed: int = 0


class RateLimit:
    """Turns for requests, spread evenly, so that no minute holds more than its share.

    Each request moves the next turn on by its own cost: a request by ``60 / requests_per_minute`` seconds,
    its tokens by ``60 / tokens_per_minute`` each (the generic cell rate algorithm without bursts, ITU-T
    I.371). Tokens are reserved by estimate and settled when the server has counted them.
    """

    def __init__(
        self, requests_per_minute: float, tokens_per_minute: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._request = 60 / requests_per_minute if requests_per_minute else 0.0  # seconds
        self._token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock, self._lock = clock, threading.Lock()
        self._next_request = self._next_token = self._paused_until = clock()

    def wait(self, tokens: int, sleep: Callable[[float], object]) -> None:
        """Take a turn for a request of ``tokens``, and sleep until it has come."""
        while True:
            with self._lock:
                now = self._clock()
                turn = max(now, self._next_request, self._next_token, self._paused_until)
                self._next_request = turn + self._request
                self._next_token = turn + tokens * self._token
            if turn > now:
                sleep(turn - now)
            with self._lock:
                # Whoever held a turn when the server called a halt takes a new one after it.
                if self._paused_until <= turn:
                    return

    def settle(self, reserved: int, used: int | None) -> None:
        """Give back what was reserved and not used, or take what was used beyond it."""
        if used is not None:
            with self._lock:
                self._next_token += (used - reserved) * self._token

    def pause(self, seconds: float) -> None:
        """Let no request start for so long."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)


@dataclass(slots=True)
class Tally:
    """What has happened so far. ``paid`` maps a model's name to prompt and completion tokens.

    ``latencies`` are the seconds of new answers; ``failures`` counts each try that failed, by kind.
    """

    kept: int = 0
    fresh: int = 0
    given_up: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    paid: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    latencies: list[float] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Requests that need no more work."""
        return self.kept + self.fresh + self.given_up

    @property
    def tokens(self) -> int:
        """Tokens the server has counted in this run, both ways."""
        return sum(sum(pair) for pair in self.paid.values())

    def pay(self, reply: Reply) -> None:
        """Count what ``reply`` took, whether or not it can be used."""
        pair = self.paid[reply.model]
        pair[0] += reply.prompt_tokens or 0
        pair[1] += reply.completion_tokens or 0


Outcome = Reply | ChatFailure


def ask(
    client: ChatClient,
    requests: Sequence[Request],
    pace: Pace,
    answers: Answers | None,
    *,
    tally: Tally,
    usable: Callable[[Reply], bool],
    watch: Callable[[], object],
) -> list[Outcome]:
    """A reply, or why there is none, for each of ``requests``, in order.

    ``tally`` is counted up and ``watch`` called, both in the calling thread's time, as answers arrive.
    ``usable`` judges a reply: one that is not usable is an ``empty`` answer.
    """
    keys = [request.key(client) for request in requests]
    wanted = dict(zip(keys, requests, strict=True))
    kept = answers.find(list(wanted)) if answers else {}
    # Judged again, since what can be used depends on the settings; asking again would give the same.
    found = {key: _judge(reply, usable) for key, reply in kept.items()}
    copies = Counter(keys)
    tally.kept += sum(copies[key] for key, outcome in found.items() if isinstance(outcome, Reply))
    tally.given_up += sum(copies[key] for key, outcome in found.items() if isinstance(outcome, ChatFailure))
    watch()
    missing = {key: request for key, request in wanted.items() if key not in found}
    work = _ask_in_batches if isinstance(client, BatchClient) else _ask_at_once
    if missing:
        for key, outcome in work(client, missing, pace, answers, tally, usable):  # type: ignore[arg-type]
            found[key] = outcome
            tally.fresh += 1 if isinstance(outcome, Reply) else 0
            tally.kept += copies[key] - 1 if isinstance(outcome, Reply) else 0
            tally.given_up += copies[key] if isinstance(outcome, ChatFailure) else 0
            watch()
    return [found[key] for key in keys]


def _ask_in_batches(
    client: BatchClient,
    missing: dict[str, Request],
    pace: Pace,
    answers: Answers | None,
    tally: Tally,
    usable: Callable[[Reply], bool],
) -> Iterator[tuple[str, Outcome]]:
    """All of ``missing``, texts of like length together."""
    order = sorted(missing, key=lambda key: len(missing[key].text))
    for start in range(0, len(order), client.batch_size):
        some = order[start : start + client.batch_size]
        for key, outcome in zip(some, client.complete_batch([missing[key] for key in some]), strict=True):
            judged = _judge(outcome, usable)
            _count(judged, tally)
            if answers and isinstance(judged, Reply):
                answers.keep(key, judged)
            yield key, judged


def _judge(outcome: Outcome, usable: Callable[[Reply], bool]) -> Outcome:
    if isinstance(outcome, Reply) and not usable(outcome):
        return ChatFailure("empty", reply=outcome)
    return outcome


def _count(outcome: Outcome, tally: Tally) -> None:
    if isinstance(outcome, Reply):
        tally.latencies.append(outcome.seconds)
        tally.pay(outcome)
        return
    tally.failures[outcome.kind] += 1
    if outcome.reply is not None:
        tally.pay(outcome.reply)


def _ask_at_once(
    client: ChatClient,
    missing: dict[str, Request],
    pace: Pace,
    answers: Answers | None,
    tally: Tally,
    usable: Callable[[Reply], bool],
) -> Iterator[tuple[str, Outcome]]:
    """All of ``missing``, ``pace.concurrency`` at a time, in the order in which they end."""
    crew = _Crew(client, pace, answers, tally, usable, missing)
    crew.start(min(pace.concurrency, len(missing)))
    left = dict.fromkeys(missing)
    in_a_row = 0
    try:
        while left:
            key, outcome = crew.results.get()
            if isinstance(outcome, BaseException) and not isinstance(outcome, ChatFailure):
                raise outcome
            del left[key]
            if isinstance(outcome, ChatFailure) and outcome.kind != "not-asked":
                kind = kind_of(outcome)
                in_a_row += 1 if kind.retry else 0
                if kind.everywhere or in_a_row >= FAILURES_IN_A_ROW:
                    crew.stop.set()  # requests under way still end, and are paid for
            elif isinstance(outcome, Reply):
                in_a_row = 0
            yield key, outcome
    finally:
        crew.stop.set()


class _Crew:
    """Threads that work off one queue. They are daemons: an interrupted run ends at once."""

    def __init__(
        self,
        client: ChatClient,
        pace: Pace,
        answers: Answers | None,
        tally: Tally,
        usable: Callable[[Reply], bool],
        missing: dict[str, Request],
    ) -> None:
        self.client, self.pace, self.answers, self.usable = client, pace, answers, usable
        self.tally, self.counting = tally, threading.Lock()
        self.limit = RateLimit(pace.requests_per_minute, pace.tokens_per_minute)
        self.stop = threading.Event()
        self.results: queue.SimpleQueue[tuple[str, Reply | BaseException]] = queue.SimpleQueue()
        self.todo: queue.SimpleQueue[tuple[str, Request]] = queue.SimpleQueue()
        for item in missing.items():
            self.todo.put(item)

    def start(self, count: int) -> None:
        """Set ``count`` threads to work."""
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                key, request = self.todo.get_nowait()
            except queue.Empty:
                return
            try:
                outcome: Reply | BaseException = self._obtain(key, request)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                outcome = error
            self.results.put((key, outcome))

    def _obtain(self, key: str, request: Request) -> Outcome:
        """An answer, asked for as often as is sensible, and kept."""
        draw = random.Random(f"{self.pace.seed} {key}")  # noqa: S311 - jitter
        reserved = estimate_tokens(request) + request.sampling.max_tokens
        for attempt in range(1, self.pace.max_attempts + 1):
            self.limit.wait(reserved, self.stop.wait)
            if self.stop.is_set():
                return ChatFailure("not-asked")
            outcome = self._try(request)
            self._settle(outcome, reserved)
            if isinstance(outcome, Reply):
                if self.answers:
                    self.answers.keep(key, outcome)
                return outcome
            if not self._may_help(outcome, attempt):
                return outcome
            self._wait(outcome, attempt, draw)
        return outcome

    def _try(self, request: Request) -> Outcome:
        try:
            return _judge(self.client.complete(request), self.usable)
        except ChatFailure as failure:
            return failure

    def _settle(self, outcome: Outcome, reserved: int) -> None:
        reply = outcome if isinstance(outcome, Reply) else outcome.reply
        if reply is not None and reply.prompt_tokens is not None:
            self.limit.settle(reserved, reply.prompt_tokens + (reply.completion_tokens or 0))
        with self.counting:
            _count(outcome, self.tally)

    def _may_help(self, failure: ChatFailure, attempt: int) -> bool:
        if failure.kind == "empty" and attempt >= EMPTY_TRIES:
            return False
        if (failure.retry_after or 0.0) > LONGEST_RETRY_AFTER:
            return False
        return kind_of(failure).retry and attempt < self.pace.max_attempts

    def _wait(self, failure: ChatFailure, attempt: int, draw: random.Random) -> None:
        """Wait as long as the server says; else twice as long each time, by half up to chance."""
        wait = min(MAX_WAIT, self.pace.retry_wait * 2.0 ** (attempt - 1)) * draw.uniform(0.5, 1.0)
        if failure.retry_after is not None:
            if failure.kind == "rate-limit":
                self.limit.pause(failure.retry_after)  # the limit is the account's, not this request's
            wait = max(wait, failure.retry_after)
        self.stop.wait(wait)


def kind_of(failure: ChatFailure) -> Kind:
    """What ``failure`` means; a kind that a third party made up is taken for a failing server."""
    return KINDS.get(failure.kind, KINDS["server-error"])
