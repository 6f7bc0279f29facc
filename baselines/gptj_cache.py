"""Keys and values of a GPT-J's prompts, held once for all rows that continue them, and attention to them.

Here in torch's operations, for any device and precision. ``baselines.compiled_cache`` does the same for float32
on a CPU, where numba is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from baselines.gptj import GPTJ

Attend = Callable[[int, Tensor], Tensor]
"""For a block's number and new queries, keys and values [B, R, 3d]: [B, R, d], what the rows see."""

Pair = tuple[Tensor, Tensor]
"""Keys and values."""


class Cache(Protocol):
    """Prompts in their places, ``B`` of them, and what the rows of each have written.

    A prompt's keys and values stand in a slot, which its place is told by ``begin``.
    """

    @property
    def positions(self) -> Tensor:
        """Int64 [B]: where each prompt's next token stands, counted from its first."""
        ...

    def begin(self, places: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """Int64 [prompts], the slots of new prompts of these ``lengths`` at ``places``.

        Those are places of prompts that have ended, or the next ones behind all others.
        """
        ...

    def keep(self, number: int, keys: Tensor, values: Tensor, slots: Tensor) -> None:
        """Put a block's keys and values [T, heads, size] of prompts that lie end to end into ``slots``."""
        ...

    def look(self, number: int, q: Tensor, slots: Tensor) -> Tensor:
        """[prompts, d]: what one query a prompt, ``q`` [prompts, heads, size], sees of the whole prompt."""
        ...

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """As ``baselines.adapted.Rows``."""
        ...

    def attention(self, turn: Tensor) -> Attend:
        """Attention for one step, whose queries and keys are turned by ``turn`` [B, half]; it adds a token."""
        ...

    def wrote(self) -> None:
        """Every row has written a token."""
        ...


class TorchCache:
    """A ``Cache`` in which a prompt's slot is its place, so that the prompts of a step lie side by side.

    Of every block it has two pairs of tensors:

    - ``cache``: [slots, heads, longest prompt + room, size]; a single row's tokens stand behind the prompt;
    - ``own``, where ``width`` > 1: those of what rows have written, [slots, width, heads, room, size].
    """

    def __init__(self, model: GPTJ, lengths: Sequence[int], room: int, width: int) -> None:
        slots, longest = len(lengths), max(lengths)
        self.model, self.count = model, slots
        heads, some = model.shape.n_head, model.embedding
        size = model.shape.n_embd // heads
        self.scale = size**-0.5
        self.lengths = torch.zeros(slots, dtype=torch.int64, device=some.device)  # of prompts
        self.written = torch.zeros_like(self.lengths)  # tokens of each row
        self.cache = self._empty(slots, heads, longest + room, size)
        self.own = self._empty(slots, width, heads, room, size) if width > 1 else []

    def _empty(self, *sizes: int) -> list[Pair]:
        # A hidden score is overwritten, but a hidden value is counted no times: it must be a number.
        some = self.model.embedding
        return [(some.new_empty(sizes), some.new_zeros(sizes)) for _ in range(self.model.shape.n_layer)]

    @property
    def positions(self) -> Tensor:
        """As ``Cache``."""
        return (self.lengths + self.written)[: self.count]

    # --- prompts ---

    def begin(self, places: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """As ``Cache``."""
        self.count = max(self.count, *(place + 1 for place in places))
        slots = torch.tensor(list(places), device=self.lengths.device)
        self.lengths[slots], self.written[slots] = torch.tensor(list(lengths), device=slots.device), 0
        return slots

    def keep(self, number: int, keys: Tensor, values: Tensor, slots: Tensor) -> None:
        """As ``Cache``."""
        lengths = self.lengths[slots].tolist()
        for packed, cache in zip((keys, values), self.cache[number], strict=True):
            for slot, part in zip(slots.tolist(), torch.split(packed, lengths), strict=True):
                cache[slot, :, : len(part)] = part.transpose(0, 1)

    def look(self, number: int, q: Tensor, slots: Tensor) -> Tensor:
        """As ``Cache``."""
        keys, values = self.cache[number]
        lengths = self.lengths[slots].tolist()
        parts = [
            (keys[slot, :, :length], values[slot, :, :length])
            for slot, length in zip(slots.tolist(), lengths, strict=True)
        ]
        return look_at(q, parts)

    # --- which rows go on ---

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """As ``Cache``. Only what changes its place is copied."""
        device, self.count = parents.device, len(prompts)
        old = torch.tensor(list(prompts), device=device)
        into = (old != torch.arange(self.count, device=device)).nonzero()[:, 0]
        if self.own:
            self._select_own(old, parents)
        if not len(into):
            return
        source = old[into]
        self.lengths[into], self.written[into] = self.lengths[source], self.written[source]
        behind = 0 if self.own else self.written
        reach = int((self.lengths + behind)[into].max())
        for part in (part for pair in self.cache for part in pair):
            part[into, :, :reach] = part[source, :, :reach]

    def _select_own(self, old: Tensor, parents: Tensor) -> None:
        rows = torch.arange(parents.shape[1], device=old.device)
        changed = (parents != rows) | (old != torch.arange(len(old), device=old.device))[:, None]
        place, row = changed.nonzero(as_tuple=True)
        written = int(self.written[old].max())
        if not len(place) or not written:
            return
        source, parent = old[place], parents[place, row]
        for part in (part for pair in self.own for part in pair):
            part[place, row, :, :written] = part[source, parent, :, :written]

    # --- writing on ---

    def wrote(self) -> None:
        """As ``Cache``."""
        self.written[: self.count] += 1

    def attention(self, turn: Tensor) -> Attend:
        """As ``Cache``."""
        lengths, written = self.lengths[: self.count], self.written[: self.count]
        return self._apart(lengths, written, turn) if self.own else self._behind(lengths + written, turn)

    def _split(self, qkv: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [B, R, heads, size], from ``qkv`` [B, R, 3d], the first two turned."""
        heads = self.model.shape.n_head
        each = qkv.view(*qkv.shape[:-1], 3 * heads, -1)
        q, k = self.model.rotate(each[..., : 2 * heads, :], turn[:, None, None]).chunk(2, dim=-2)
        return q, k, each[..., 2 * heads :, :]

    def _behind(self, place: Tensor, turn: Tensor) -> Attend:
        """Attention of single rows for one step; keys and values go to ``place`` [B] of the cache."""
        slots, reach = torch.arange(len(place), device=place.device), int(place.max()) + 1
        hidden = (torch.arange(reach, device=place.device) > place[:, None])[:, None, None]

        def attend(number: int, qkv: Tensor) -> Tensor:
            q, k, v = self._split(qkv, turn)
            keys, values = self.cache[number]
            keys[slots, :, place], values[slots, :, place] = k[:, 0], v[:, 0]
            return self._attend_cache(q, keys[: len(slots), :, :reach], values[: len(slots), :, :reach], hidden)

        return attend

    def _apart(self, lengths: Tensor, written: Tensor, turn: Tensor) -> Attend:
        """Attention of several rows to a prompt for one step; keys and values are each row's own."""
        slots, device = torch.arange(len(lengths), device=lengths.device), lengths.device
        reach, width = int(lengths.max()), int(written.max()) + 1
        hidden = torch.cat([
            torch.arange(reach, device=device) >= lengths[:, None],
            torch.arange(width, device=device) > written[:, None],
        ], dim=1)[:, None, None]  # fmt: skip

        def attend(number: int, qkv: Tensor) -> Tensor:
            q, k, v = self._split(qkv, turn)
            prompt_k, prompt_v = (part[: len(slots), :, :reach] for part in self.cache[number])
            own_k, own_v = (part[: len(slots), : q.shape[1]] for part in self.own[number])
            own_k[slots, :, :, written], own_v[slots, :, :, written] = k, v
            own_k, own_v = own_k[:, :, :, :width], own_v[:, :, :, :width]
            return self._attend_both(q, prompt_k, prompt_v, own_k, own_v, hidden)

        return attend

    def _attend_cache(self, q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor) -> Tensor:
        """[B, R, d]: ``q`` [B, R, heads, size] over keys and values [B, heads, places, size]."""
        scores = torch.matmul(q.transpose(1, 2).mul(self.scale), keys.transpose(-1, -2)).float()
        scores.masked_fill_(hidden, torch.finfo(scores.dtype).min)
        return torch.matmul(scores.softmax(dim=-1).to(q.dtype), values).transpose(1, 2).flatten(-2)

    def _attend_both(
        self, q: Tensor, prompt_k: Tensor, prompt_v: Tensor, own_k: Tensor, own_v: Tensor, hidden: Tensor
    ) -> Tensor:
        """[B, R, d]: over the shared prompt and the row's own tokens [B, R, heads, n, size], in one softmax."""
        q = q * self.scale
        shared = torch.matmul(q.transpose(1, 2), prompt_k.transpose(-1, -2))  # [B, heads, R, places]
        own = torch.matmul(own_k, q.unsqueeze(-1)).squeeze(-1).transpose(1, 2)  # [B, heads, R, n]
        scores = torch.cat([shared, own], dim=-1).float()
        scores.masked_fill_(hidden, torch.finfo(scores.dtype).min)
        weights, width = scores.softmax(dim=-1).to(q.dtype), prompt_k.shape[2]
        mixed = torch.matmul(weights[..., :width], prompt_v).transpose(1, 2)
        per_row = weights[..., width:].transpose(1, 2).unsqueeze(-2)  # [B, R, heads, 1, n]
        return (mixed + torch.matmul(per_row, own_v).squeeze(-2)).flatten(-2)


def look_at(q: Tensor, parts: Sequence[Pair]) -> Tensor:
    """[prompts, d]: what each query ``q`` [prompts, heads, size] sees of its prompt [heads, places, size]."""
    seen = [
        functional.scaled_dot_product_attention(one[None, :, None], keys[None], values[None])
        for one, (keys, values) in zip(q, parts, strict=True)
    ]
    return torch.cat(seen).flatten(1)
