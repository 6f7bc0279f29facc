"""Decoding: many documents at once, by every way of choosing at once.

A batch of prompts is read once. Then every prompt has rows: one for greedy decoding, one for each beam, and,
where several ways of decoding are tried, the rows of all of them side by side. How a model keeps its rows is
its own affair (``baselines.adapted.Rows``); how tokens are chosen is ``baselines.search``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from baselines.adapted import Reader, Rows
from baselines.search import Decoding, Search, Text, new_search

__all__ = ["Decoding", "generate", "generate_each"]

SPARE = 0.75
"""Ended prompts are taken out of a batch when no more than this share is left: taking out costs a copy."""


def generate(
    model: Reader,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    end: int,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
    text: Text | None = None,
    numbers: Sequence[int] | None = None,
) -> list[list[int]]:
    """The tokens that continue each prompt, without ``end``; in the order of ``prompts``.

    Prompts of like length share a batch. ``progress`` is called with the number of prompts done; ``text``
    turns tokens into text, for rules about characters. ``numbers`` are the prompts' numbers in a larger whole,
    from which sampling draws; 0, 1, 2, ... unless given.

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
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
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
    written: list[list[list[int]]] = [[[] for _ in prompts] for _ in decodings]
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(prompts), batch_size):
        chosen = by_length[start : start + batch_size]
        documents = [numbers[index] for index in chosen]
        searches = [new_search(decoding, end, documents, text) for decoding in decodings]
        _run(model.rows([prompts[index] for index in chosen], room), searches)
        for search, results in zip(searches, written, strict=True):
            for place, index in enumerate(chosen):
                results[index] = search.result(place)
        if progress is not None:
            progress(min(start + batch_size, len(prompts)))
    return written


def _run(rows: Rows, searches: Sequence[Search]) -> None:
    """Let all ``searches`` choose, token by token, until every prompt has ended in each of them."""
    logits = rows.first_logits[:, None]  # [B, 1, V]; R rows from the second step on
    count = len(logits)
    places = list(range(count))
    # For each prompt of the batch, the searches still going and the rows of each.
    going = [[(number, [0] * search.width) for number, search in enumerate(searches)] for _ in places]
    while True:
        moves = _choose(searches, places, going, logits)
        alive = [at for at, each in enumerate(moves) if each]
        if not alive:
            return
        kept = alive if len(alive) <= SPARE * len(places) else list(range(len(places)))
        width = max(sum(len(steps) for _, steps in moves[at]) for at in alive)
        parents, tokens = [[0] * width for _ in kept], [[0] * width for _ in kept]
        after = []
        for place, at in enumerate(kept):
            slot, left = 0, []
            for number, steps in moves[at]:
                for offset, (parent, token) in enumerate(steps):
                    parents[place][slot + offset], tokens[place][slot + offset] = parent, token
                left.append((number, list(range(slot, slot + len(steps)))))
                slot += len(steps)
            after.append(left)
        rows.select(kept, torch.tensor(parents, device=logits.device))
        places, going = [places[at] for at in kept], after
        logits = rows.step(torch.tensor(tokens, device=logits.device))


def _choose(
    searches: Sequence[Search],
    places: Sequence[int],
    going: Sequence[Sequence[tuple[int, list[int]]]],
    logits: Tensor,
) -> list[list[tuple[int, list[tuple[int, int]]]]]:
    """For each prompt of the batch, the searches that go on and their moves, with parents among all rows."""
    moves: list[list[tuple[int, list[tuple[int, int]]]]] = [[] for _ in places]
    rows = logits.shape[1]
    for number, search in enumerate(searches):
        mine = [(at, slots) for at, each in enumerate(going) for n, slots in each if n == number]
        if not mine:
            continue
        flat = [at * rows + slot for at, slots in mine for slot in slots]
        seen = logits.flatten(0, 1)
        if flat != list(range(len(seen))):
            seen = seen[torch.tensor(flat, device=logits.device)]
        chosen = search.choose([places[at] for at, _ in mine], seen.unflatten(0, (len(mine), search.width)))
        for (at, slots), steps in zip(mine, chosen, strict=True):
            if steps:
                moves[at].append((number, [(slots[parent], token) for parent, token in steps]))
    return moves
