"""How the next token is chosen: greedily, by drawing, or by beams, under rules of length and repetition.

Greedy decoding and beam search choose as transformers' ``generate`` does, which the tests hold them to.
Sampling draws from a generator of its own for each document, so that neither batch nor order changes a
summary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from baselines.sentences import cut

NEVER = -1e9

Text = Callable[[list[int]], str]
"""From tokens to what they say."""

Moves = list[tuple[int, int]]
"""The rows of one prompt that go on: each one's parent among the rows before, and its token."""


@dataclass(frozen=True)
class Decoding:
    r"""How the next token is chosen, by the names of transformers' ``GenerationConfig``.

    ``repetition_penalty`` and ``no_repeat_ngram_size`` look at the summary alone: a summary must be able to
    copy its document. ``do_sample`` needs ``num_beams`` 1. Lengths in characters are those of the text so
    far, 0 meaning no limit; ``stop_strings`` are separated by ``|``, with ``\n`` for a line break.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    max_characters: int = 0
    min_characters: int = 0
    stop_strings: str = ""
    num_beams: int = 1
    length_penalty: float = 1.0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    seed: int = 0

    @property
    def stops(self) -> list[str]:
        """The texts at any of which a summary stops."""
        return [each.replace("\\n", "\n") for each in self.stop_strings.split("|") if each]


def finish(text: str, decoding: Decoding) -> str:
    """``text`` up to the first stop string, on one line, and not longer than ``max_characters``."""
    for stop in decoding.stops:
        text = text.partition(stop)[0] if text.strip() else text
    return cut(" ".join(text.split()), decoding.max_characters)


class Search(Protocol):
    """One way of choosing, for all prompts of a batch; ``width`` rows belong to each prompt."""

    width: int

    def choose(self, places: Sequence[int], logits: Tensor) -> list[Moves]:
        """Move the prompts at ``places`` on by a token; ``logits`` is float32 [places, width, V].

        A prompt with no moves has ended.
        """
        ...

    def result(self, place: int) -> list[int]:
        """What was written for one prompt, without the end token."""
        ...


class Rules:
    """When a summary has to stop, and when it may not yet."""

    def __init__(self, decoding: Decoding, end: int, text: Text | None) -> None:
        if text is None and (decoding.max_characters or decoding.min_characters or decoding.stops):
            raise ValueError("rules about characters need a way from tokens to text")
        self.decoding, self.end, self.text = decoding, end, text
        self.watched = bool(decoding.max_characters or decoding.stops)
        self.restrain = decoding.repetition_penalty != 1.0 or bool(
            decoding.no_repeat_ngram_size or decoding.min_new_tokens or decoding.min_characters
        )

    def over(self, tokens: list[int]) -> bool:
        """Whether ``tokens`` end by a rule of their own (the end token apart)."""
        if len(tokens) >= self.decoding.max_new_tokens:
            return True
        if not self.watched or self.text is None:
            return False
        said = self.text(tokens).strip()
        limit = self.decoding.max_characters
        return bool(limit and len(said) > limit) or any(stop in said for stop in self.decoding.stops)

    def too_short(self, tokens: list[int]) -> bool:
        """Whether the end token may not come yet."""
        decoding = self.decoding
        if len(tokens) < decoding.min_new_tokens:
            return True
        if not decoding.min_characters or self.text is None:
            return False
        return len(self.text(tokens).strip()) < decoding.min_characters


def new_search(decoding: Decoding, end: int, documents: Sequence[int], text: Text | None = None) -> Search:
    """The search that ``decoding`` asks for, over prompts whose numbers in the whole run are ``documents``."""
    rules = Rules(decoding, end, text)
    return Beams(rules, len(documents)) if decoding.num_beams > 1 else Single(rules, documents)


class Single:
    """Greedy decoding, or sampling: one row a prompt."""

    width = 1

    def __init__(self, rules: Rules, documents: Sequence[int]) -> None:
        self.rules, self.written = rules, [list[int]() for _ in documents]
        decoding = rules.decoding
        self.draws = [
            np.random.default_rng([decoding.seed, document]).random(decoding.max_new_tokens)
            for document in (documents if decoding.do_sample else ())
        ]

    def choose(self, places: Sequence[int], logits: Tensor) -> list[Moves]:
        """As ``Search``."""
        rules, written = self.rules, [self.written[place] for place in places]
        scores = restrain(logits[:, 0], written, rules)
        if rules.decoding.do_sample:
            draws = [float(self.draws[place][len(self.written[place])]) for place in places]
            tokens = _sample(scores, rules.decoding, draws).tolist()
        else:
            tokens = _best(scores).tolist()
        moves: list[Moves] = []
        for so_far, token in zip(written, tokens, strict=True):
            if token == rules.end:
                moves.append([])
                continue
            so_far.append(token)
            moves.append([] if rules.over(so_far) else [(0, token)])
        return moves

    def result(self, place: int) -> list[int]:
        """As ``Search``."""
        return self.written[place]


def restrain(scores: Tensor, written: Sequence[list[int]], rules: Rules) -> Tensor:
    """``scores`` [rows, V] under the repetition and length rules, given what each row has written.

    The repetition penalty is CTRL's (Keskar et al., section 4.1), as transformers applies it.
    """
    decoding = rules.decoding
    if decoding.repetition_penalty != 1.0:
        for row, tokens in enumerate(written):
            if tokens:
                seen = torch.tensor(sorted(set(tokens)), device=scores.device)
                old = scores[row, seen]
                penalty = decoding.repetition_penalty
                scores[row, seen] = torch.where(old < 0, old * penalty, old / penalty)
    size = decoding.no_repeat_ngram_size
    if size:
        for row, tokens in enumerate(written):
            scores[row, _completing(tokens, size)] = -torch.inf
    if decoding.min_new_tokens or decoding.min_characters:
        short = [row for row, tokens in enumerate(written) if rules.too_short(tokens)]
        scores[short, rules.end] = -torch.inf
    return scores


def _completing(tokens: Sequence[int], size: int) -> list[int]:
    """Tokens that would complete an n-gram of ``size`` already written."""
    begin = tuple(tokens[len(tokens) - size + 1 :])
    return [
        tokens[place + size - 1]
        for place in range(len(tokens) - size + 1)
        if tuple(tokens[place : place + size - 1]) == begin
    ]


LIKELY = 256
"""Tokens that a draw is first looked for among; it is seldom found outside, whatever the vocabulary."""

RANGE = 1024
"""Columns in which the place of a maximum is looked for."""

GROUP = 32
"""Columns of which ``largest`` first takes the maximum alone."""


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of each row of ``scores`` [rows, V], best first, and where they are.

    They are among the groups of columns whose maxima are largest, so a row is gone through once for its
    maxima, and only the groups that count are sorted: several times as fast as sorting where V is large.
    """
    rows, size = scores.shape
    groups = size // GROUP
    if groups <= 2 * count:
        best = scores.topk(min(count, size), dim=-1)
        return best.values, best.indices
    grouped = scores[:, : groups * GROUP].unflatten(-1, (groups, GROUP))
    chosen = grouped.amax(dim=-1).topk(count, dim=-1).indices  # [rows, count]
    found = grouped[torch.arange(rows, device=scores.device)[:, None], chosen].flatten(1)
    rest = scores[:, groups * GROUP :]
    columns = (chosen[:, :, None] * GROUP + torch.arange(GROUP, device=scores.device)).flatten(1)
    tail = torch.arange(groups * GROUP, size, device=scores.device).expand(rows, -1)
    best = torch.cat([found, rest], dim=1).topk(count, dim=-1)
    return best.values, torch.cat([columns, tail], dim=1).gather(1, best.indices)


def _best(scores: Tensor) -> Tensor:
    """Int64 [rows]: the first largest of each row of ``scores`` [rows, V], as ``argmax`` gives it.

    Torch's maximum is vectorised on a CPU and its argmax is not: the place is looked for in one range only.
    """
    rows, size = scores.shape
    if scores.device.type != "cpu" or size <= RANGE:
        return scores.argmax(dim=-1)
    whole = size // RANGE * RANGE
    ranges = scores[:, :whole].unflatten(-1, (-1, RANGE))
    best, chosen = ranges.amax(dim=-1).max(dim=-1)
    places: Tensor = chosen * RANGE + ranges[torch.arange(rows), chosen].argmax(dim=-1)
    if whole < size:
        rest, behind = scores[:, whole:].max(dim=-1)
        places = torch.where(rest > best, whole + behind, places)
    return places


def _sample(logits: Tensor, decoding: Decoding, draws: Sequence[float]) -> Tensor:
    """One token a row: temperature, then top-k, then top-p (Holtzman et al.), by the inverse of the CDF.

    A row whose draw lies among its ``LIKELY`` best tokens is never sorted.
    """
    scores, size = logits / decoding.temperature, logits.shape[1]
    drawn = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None]
    if decoding.top_k:
        ranked, tokens = largest(scores, min(decoding.top_k, size))
        return _drawn(ranked.double().softmax(dim=-1), tokens, drawn, decoding.top_p)
    whole = scores.logsumexp(dim=-1, keepdim=True).double()
    ranked, tokens = largest(scores, min(LIKELY, size))
    shares = (ranked.double() - whole).exp()
    chosen = _drawn(shares, tokens, drawn, decoding.top_p)
    reached = shares.sum(dim=-1) >= (decoding.top_p if decoding.top_p < 1.0 else drawn[:, 0])
    far = (~reached).nonzero()[:, 0] if len(ranked[0]) < size else reached[:0]
    if len(far):
        ranked, tokens = scores[far].sort(dim=-1, descending=True, stable=True)
        chosen[far] = _drawn((ranked.double() - whole[far]).exp(), tokens, drawn[far], decoding.top_p)
    return chosen


def _drawn(shares: Tensor, tokens: Tensor, drawn: Tensor, top_p: float) -> Tensor:
    """Int64 [rows]: of ``tokens`` with their ``shares`` float64, best first, the one that is ``drawn``."""
    if top_p < 1.0:
        before = shares.cumsum(dim=-1) - shares
        shares = shares.masked_fill(before >= top_p, 0.0)
        shares = shares / shares.sum(dim=-1, keepdim=True)
    place = (shares.cumsum(dim=-1) <= drawn).sum(dim=-1, keepdim=True)
    place = place.minimum((shares > 0).sum(dim=-1, keepdim=True) - 1)  # the last sum may fall short of 1
    return tokens.gather(1, place)[:, 0]


@dataclass
class _Hypotheses:
    """The beams of one prompt: those that go on, and those that have ended, best first."""

    running: list[tuple[float, list[int]]]
    ended: list[tuple[float, list[int]]]


class Beams:
    """Beam search as transformers' ``_beam_search`` with ``early_stopping=False`` does it."""

    def __init__(self, rules: Rules, count: int) -> None:
        self.rules, self.width = rules, rules.decoding.num_beams
        start: list[tuple[float, list[int]]] = [(0.0, []), *((NEVER, []) for _ in range(self.width - 1))]
        self.beams = [_Hypotheses(list(start), []) for _ in range(count)]

    def choose(self, places: Sequence[int], logits: Tensor) -> list[Moves]:
        """As ``Search``."""
        beams = [self.beams[place] for place in places]
        moves = []
        for each, (scores, flat) in zip(beams, self._candidates(logits, beams), strict=True):
            chosen = self._advance(each, scores, flat, logits.shape[-1])
            moves.append(chosen if self._may_improve(each) else [])
        return moves

    def result(self, place: int) -> list[int]:
        """As ``Search``."""
        tokens = self.beams[place].ended[0][1]
        return tokens[:-1] if tokens and tokens[-1] == self.rules.end else tokens

    def _candidates(self, logits: Tensor, beams: Sequence[_Hypotheses]) -> list[tuple[list[float], list[int]]]:
        """For each prompt the best ``2 * num_beams`` continuations: scores, and places in [beams * V]."""
        count, width, size = logits.shape
        rows = logits.reshape(count * width, size)
        written = [tokens for each in beams for _, tokens in each.running]
        if self.rules.restrain:
            rows = restrain(rows.log_softmax(dim=-1), written, self.rules)
            best, indices = largest(rows, min(2 * width, size))
        else:  # the best logits are the best log probabilities, which are needed of the best alone
            best, indices = largest(rows, min(2 * width, size))
            best = best - rows.logsumexp(dim=-1, keepdim=True)
        sums = torch.tensor([[score for score, _ in each.running] for each in beams], device=logits.device)
        # The best of all beams are among the best of each: a choice among few, and no pass over all sums.
        best, indices = (x.view(count, width, -1) for x in (best, indices))
        both = (best + sums[:, :, None]).flatten(1).topk(2 * width, dim=-1)
        shift = torch.arange(width, device=logits.device)[:, None] * size
        flat = (indices + shift).flatten(1).gather(1, both.indices)
        return list(zip(both.values.tolist(), flat.tolist(), strict=True))

    def _advance(self, beams: _Hypotheses, scores: list[float], flat: list[int], size: int) -> Moves:
        """Move the beams of one prompt on by a token."""
        end, penalty = self.rules.end, self.rules.decoding.length_penalty
        running: list[tuple[float, list[int]]] = []
        chosen: Moves = []
        for rank, (score, place) in enumerate(zip(scores, flat, strict=True)):
            parent, token = divmod(place, size)
            tokens = [*beams.running[parent][1], token]
            over = token == end or self.rules.over(tokens)
            if over and rank < self.width:
                beams.ended.append((score / len(tokens) ** penalty, tokens))
            if not over and len(running) < self.width:
                running.append((score, tokens))
                chosen.append((parent, token))
        beams.ended = sorted(beams.ended, key=lambda each: -each[0])[: self.width]
        beams.running = running
        return chosen

    def _may_improve(self, beams: _Hypotheses) -> bool:
        """Whether a running beam could still displace an ended one."""
        if not beams.running or len(beams.ended) < self.width:
            return bool(beams.running)
        (best, tokens), (last, _) = beams.running[0], beams.ended[-1]
        return best > last * float(len(tokens) ** self.rules.decoding.length_penalty)
