"""Decoding: many documents at once, by every way of choosing at once.

A batch of prompts is read once. Then every prompt has rows: one for greedy decoding, one for each beam, and,
where several ways of decoding are tried, the rows of all of them side by side; ways that have written the
same tokens share a row. Where the model's rows can be refilled, a prompt that has ended in every way makes
room for one that waits. Where a model may be read in several threads, each has a batch of its own. How a model
keeps its rows is its own affair (``baselines.adapted.Rows``); how tokens are chosen is ``baselines.search``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from baselines.adapted import Reader, Refillable, Rows
from baselines.search import Decoding, Moves, Search, Text, new_search
from baselines.side_by_side import Report, side_by_side

__all__ = ["Decoding", "generate", "generate_each"]

SPARE = 0.75
"""A batch that is filled to no more than this share gets new prompts, or goes on without the ended ones."""

ROWS_OF_A_THREAD = 16
"""Rows that a thread decodes at least: with fewer, reading the weights takes longer than multiplying them."""


def generate(
    model: Reader,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    end: int,
    batch_size: int = 0,
    progress: Report | None = None,
    text: Text | None = None,
    numbers: Sequence[int] | None = None,
) -> list[list[int]]:
    """The tokens that continue each prompt, without ``end``; in the order of ``prompts``.

    The longest are begun first, ``batch_size`` at a time, in all threads together; 0 asks the model how many.
    ``progress`` is called with the number of prompts done; ``text`` turns tokens into text, for rules about
    characters. ``numbers`` are the prompts' numbers in a larger whole, from which sampling draws; 0, 1, 2, ...
    unless given.

    Raises:
        ValueError: a prompt is empty, or longer with ``max_new_tokens`` than the model has positions.
    """
    return generate_each(model, prompts, [decoding], end, batch_size, progress, text, numbers)[0]


@torch.no_grad()
def generate_each(
    model: Reader,
    prompts: Sequence[Sequence[int]],
    decodings: Sequence[Decoding],
    end: int,
    batch_size: int = 0,
    progress: Report | None = None,
    text: Text | None = None,
    numbers: Sequence[int] | None = None,
) -> list[list[list[int]]]:
    """What ``generate`` gives for each of ``decodings``, reading every prompt once for all of them."""
    longest = max((len(prompt) for prompt in prompts), default=0)
    room = max((decoding.max_new_tokens for decoding in decodings), default=0)
    limit = model.longest_prompt
    if not all(prompts) or (limit is not None and longest + room > limit):
        raise ValueError(f"prompts hold 1 to {(limit or longest) - room} tokens, not {longest}")
    numbers = range(len(prompts)) if numbers is None else numbers
    searches = [new_search(decoding, end, numbers, text) for decoding in decodings]
    width = sum(search.width for search in searches)
    batch_size = batch_size or model.batch_size(longest + room * width, width)
    # The longest first: a prompt that takes another's place fits into it.
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    threads = _threads(model, min(batch_size, len(prompts)), width)

    def decode(share: list[int], report: Report) -> None:
        waiting, size = deque(share), batch_size // threads
        while waiting:
            first = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            rows = model.rows([prompts[index] for index in first], room, width)
            batch = _Batch(rows, searches, prompts, size, first)
            batch.run(waiting, lambda left: report(len(share) - left))

    told = progress or (lambda done: None)
    if threads == 1:
        decode(order, told)
    else:  # dealt out beforehand: what stands in a batch together does not depend on who is quicker
        side_by_side([partial(decode, order[number::threads]) for number in range(threads)], told)
    return [[search.result(index) for index in range(len(prompts))] for search in searches]


def _threads(model: Reader, prompts: int, width: int) -> int:
    """Into how many threads so many prompts at a time, with ``width`` rows each, are dealt out."""
    count = min(torch.get_num_threads(), prompts, prompts * width // ROWS_OF_A_THREAD)
    return count if count > 1 and model.ready_for_threads() else 1


Going = list[tuple[int, list[int]]]
"""For one prompt, the searches that still go on, by number, and the row of each of a search's beams."""

Steps = list[tuple[int, Moves]]
"""For one prompt, the searches that go on and their moves, with parents among all rows of the prompt."""


@dataclass
class _Batch:
    """Prompts that are being continued by all ``searches``: ``places`` says which prompt each place holds."""

    rows: Rows
    searches: Sequence[Search]
    prompts: Sequence[Sequence[int]]
    size: int
    places: list[int]
    going: list[Going] = field(init=False)

    def __post_init__(self) -> None:
        self.going = [self._start() for _ in self.places]

    def _start(self) -> Going:
        return [(number, [0] * search.width) for number, search in enumerate(self.searches)]

    def run(self, waiting: deque[int], report: Report) -> None:
        """Go on until every prompt has ended; where rows can be refilled, none is ``waiting`` then either.

        ``report`` is called with the number of prompts that have not ended.
        """
        steps = self._choose(self.places, self.going, self.rows.first_logits[:, None])
        while True:
            if isinstance(self.rows, Refillable):
                self._refill(self.rows, waiting, steps)
            alive = [at for at, each in enumerate(steps) if each]
            report(len(waiting) + len(alive))
            if not alive:
                return
            device = self.rows.first_logits.device
            kept = self._kept(alive)
            parents, tokens = self._move(kept, steps)
            self.rows.select(kept, torch.tensor(parents, device=device))
            logits = self.rows.step(torch.tensor(tokens, device=device))
            steps = self._choose(self.places, self.going, logits)

    def _refill(self, rows: Refillable, waiting: deque[int], steps: list[Steps]) -> None:
        """Read waiting prompts into the places of ended ones, and behind the last, and start them."""
        while waiting:
            dead = [at for at, each in enumerate(steps) if not each]
            free = [*dead, *range(len(self.places), self.size)]
            if len(free) < (1 - SPARE) * self.size:
                return
            at = free[: len(waiting)]
            new = [waiting.popleft() for _ in at]
            logits = rows.refill(at, [self.prompts[index] for index in new])
            going = [self._start() for _ in new]
            first = self._choose(new, going, logits[:, None])
            for place, index, rows_of_it, chosen in zip(at, new, going, first, strict=True):
                if place == len(self.places):
                    self.places.append(index)
                    self.going.append(rows_of_it)
                    steps.append(chosen)
                self.places[place], self.going[place], steps[place] = index, rows_of_it, chosen

    def _kept(self, alive: list[int]) -> list[int]:
        """The old places of those that go on: of the living alone, few of which move, where that is cheap."""
        if not isinstance(self.rows, Refillable):
            return alive if len(alive) <= SPARE * len(self.places) else list(range(len(self.places)))
        still = [at for at in alive if at < len(alive)]
        last = iter(alive[len(still) :])
        staying = set(still)
        return [at if at in staying else next(last) for at in range(len(alive))]

    def _move(self, kept: list[int], steps: Sequence[Steps]) -> tuple[list[list[int]], list[list[int]]]:
        """Parents and tokens [kept, rows] of the next rows. Searches that have written the same share a row."""
        rows: list[dict[tuple[int, int], int]] = []  # of each prompt: from parent and token to the new row
        going: list[Going] = []
        for at in kept:
            mine: dict[tuple[int, int], int] = {}
            going.append([
                (number, [mine.setdefault(move, len(mine)) for move in moves]) for number, moves in steps[at]
            ])  # fmt: skip
            rows.append(mine)
        width = max(map(len, rows))
        self.places, self.going = [self.places[at] for at in kept], going
        filled = [[*mine, *[(0, 0)] * (width - len(mine))] for mine in rows]
        parents = [[parent for parent, _ in moves] for moves in filled]
        return parents, [[token for _, token in moves] for moves in filled]

    def _choose(self, places: Sequence[int], going: Sequence[Going], logits: Tensor) -> list[Steps]:
        """The steps of the prompts at ``places``, from ``logits`` [places, rows, V]."""
        steps: list[Steps] = [[] for _ in places]
        width, seen = logits.shape[1], logits.flatten(0, 1)
        for number, search in enumerate(self.searches):
            mine = [(at, rows) for at, each in enumerate(going) for n, rows in each if n == number]
            if not mine:
                continue
            flat = [at * width + row for at, rows in mine for row in rows]
            whole = flat == list(range(len(seen)))
            own = seen if whole else seen[torch.tensor(flat, device=logits.device)]
            moves = search.choose([places[at] for at, _ in mine], own.unflatten(0, (len(mine), -1)))
            for (at, rows), each in zip(mine, moves, strict=True):
                if each:
                    steps[at].append((number, [(rows[parent], token) for parent, token in each]))
        return steps
