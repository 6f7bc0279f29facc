"""``baselines.gptj_cache.Cache`` with attention compiled by numba, for float32 on a CPU.

Of each prompt's keys and values only those that are there are read, one after another and once for all rows
of the prompt. Torch's products go as far as the longest prompt reaches, with a mask and a softmax between
them, and take twice as long (docs/performance.md). No prompt is moved: a place that goes on says which slot it
had.

The kernel is ``baselines.attention_kernel``. Importing it costs half a second; compiling it takes some seconds
once on a machine, after which it is read from numba's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from baselines.attention_kernel import attend_once
from baselines.gptj_cache import Attend, Pair, look_at

if TYPE_CHECKING:
    from baselines.gptj import GPTJ

_OTHERS = ThreadPoolExecutor(thread_name_prefix="attention")
"""Threads that share the prompts of a step where torch's share everything else; they begin when needed."""


class CompiledCache:
    """Two pairs of tensors for every block, whatever the number of rows.

    - ``cache``: [places, heads, size], the prompts' end to end: a slot is as long as the first prompt in it;
    - ``own``: those of what rows have written, [slots, width, room, heads, size].
    """

    def __init__(self, model: GPTJ, lengths: Sequence[int], room: int, width: int) -> None:
        self.heads, layers, slots = model.shape.n_head, range(model.shape.n_layer), len(lengths)
        each = (self.heads, model.shape.n_embd // self.heads)
        self.slots = torch.empty(0, dtype=torch.int64)  # [B], the slot of each place
        self.free = list(reversed(range(slots)))
        self.starts = torch.tensor([0, *lengths]).cumsum(0)[:-1]
        self.lengths, self.written = (torch.zeros(slots, dtype=torch.int64) for _ in range(2))  # [slots]
        self.cache = [_empty(sum(lengths), *each) for _ in layers]
        self.own = [_empty(slots, width, room, *each) for _ in layers]

    @property
    def positions(self) -> Tensor:
        """As ``Cache``."""
        return (self.lengths + self.written)[self.slots]

    def begin(self, places: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """As ``Cache``."""
        held = self.slots.tolist()
        held += [self.free.pop() for _ in range(max(places) + 1 - len(held))]
        self.slots = torch.tensor(held)
        slots = self.slots[list(places)]
        self.lengths[slots], self.written[slots] = torch.tensor(list(lengths)), 0
        return slots

    def keep(self, number: int, keys: Tensor, values: Tensor, slots: Tensor) -> None:
        """As ``Cache``."""
        starts, ends = self.starts[slots], (self.starts + self.lengths)[slots]
        lengths = (ends - starts).tolist()
        if torch.equal(starts[1:], ends[:-1]):  # no gaps: all at once
            starts, lengths = starts[:1], [len(keys)]
        for packed, cache in zip((keys, values), self.cache[number], strict=True):
            for start, part in zip(starts.tolist(), torch.split(packed, lengths), strict=True):
                cache[start : start + len(part)] = part

    def look(self, number: int, q: Tensor, slots: Tensor) -> Tensor:
        """As ``Cache``."""
        keys, values = self.cache[number]
        parts = [
            slice(start, start + length)
            for start, length in zip(self.starts[slots].tolist(), self.lengths[slots].tolist(), strict=True)
        ]
        return look_at(q, [(keys[part].transpose(0, 1), values[part].transpose(0, 1)) for part in parts])

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """As ``Cache``. Only rows that continue another row are copied."""
        before = set(self.slots.tolist())
        self.slots = self.slots[list(prompts)]
        self.free += before - set(self.slots.tolist())
        place, row = (parents != torch.arange(parents.shape[1])).nonzero(as_tuple=True)
        if not len(place):
            return
        slot, parent = self.slots[place], parents[place, row]
        written = int(self.written[slot].max())
        for part in (part for pair in self.own for part in pair):
            part[slot, row, :written] = part[slot, parent, :written]

    def wrote(self) -> None:
        """As ``Cache``."""
        self.written[self.slots] += 1

    def attention(self, turn: Tensor) -> Attend:
        """As ``Cache``."""
        turns = torch.view_as_real(turn).numpy()
        places = [each.numpy() for each in (self.slots, self.starts, self.lengths, self.written)]
        threads = torch.get_num_threads()
        kernel: Any = attend_once  # numba declares that what it compiles takes no arguments

        def attend(number: int, qkv: Tensor) -> Tensor:
            each = qkv.view(*qkv.shape[:-1], 3, self.heads, -1)
            out = qkv.new_empty(*each.shape[:2], *each.shape[3:])
            pairs = [part.numpy() for part in (*self.cache[number], *self.own[number])]
            arrays = (each.numpy(), turns, *places, *pairs, out.numpy())
            shares = [partial(kernel, *arrays, first, threads) for first in range(threads)]
            others = [_OTHERS.submit(share) for share in shares[1:]]
            shares[0]()
            for other in others:
                other.result()
            return out.flatten(2)

        return attend


def _empty(*sizes: int) -> Pair:
    return torch.empty(sizes), torch.empty(sizes)
