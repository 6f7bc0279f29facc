"""``baselines.gptj_cache.Cache`` with attention compiled by numba, for float32 on a CPU.

Of each prompt's keys and values only those that are there are read, one after another and once for all rows
of the prompt. Torch's products go as far as the longest prompt reaches, with a mask and a softmax between
them, and take twice as long (docs/performance.md). No prompt is moved: a place that goes on says which slot it
had.

Importing this module costs half a second. Compiling it takes some 10 seconds once on a machine; after that it
is read from numba's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from torch import Tensor

from baselines.gptj_cache import Attend, Pair, look_at

if TYPE_CHECKING:
    from baselines.gptj import GPTJ


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
        threads = min(torch.get_num_threads(), _MOST_THREADS)
        numba.set_num_threads(threads)
        kernel: Any = _attend  # numba declares that what it compiles takes no arguments

        def attend(number: int, qkv: Tensor) -> Tensor:
            each = qkv.view(*qkv.shape[:-1], 3, self.heads, -1)
            out = qkv.new_empty(*each.shape[:2], *each.shape[3:])
            pairs = [part.numpy() for part in (*self.cache[number], *self.own[number])]
            arrays = (each.numpy(), turns, *places, *pairs, out.numpy())
            kernel(*arrays, threads)
            return out.flatten(2)

        return attend


def _empty(*sizes: int) -> Pair:
    return torch.empty(sizes), torch.empty(sizes)


# --- compiled -----------------------------------------------------------------------------------------

_MOST_THREADS: int = numba.get_num_threads()

# Sums may be taken in any order, so that they are vectorised. Infinities and NaN stay what they are.
_FAST = {"reassoc", "contract", "arcp", "nsz"}


@numba.njit(cache=True, parallel=True)
def _attend(qkv, turns, slots, starts, lengths, written, keys, values, own_keys, own_values, out, threads):
    """What rows see after each has written one more token, which is put into its own keys and values first.

    ``qkv`` is [B, R, 3, heads, size], of which queries and keys are turned where they stand, ``turns``
    [B, half, 2], ``slots`` [B], ``starts``, ``lengths`` and ``written`` [slots], ``out`` [B, R, heads, size].

    numba gives each of the ``threads`` neighbouring numbers; the prompts are dealt out in turn, because the
    longest come first.
    """
    share = (len(qkv) + threads - 1) // threads
    for one in numba.prange(share * threads):
        prompt = one % share * threads + one // share
        if prompt < len(qkv):
            slot = slots[prompt]
            _write(qkv[prompt], turns[prompt], own_keys[slot], own_values[slot], written[slot])
            _look(
                qkv[prompt], keys[starts[slot] :], values[starts[slot] :], lengths[slot],
                own_keys[slot], own_values[slot], written[slot] + 1, out[prompt],
            )  # fmt: skip


@numba.njit(cache=True, fastmath=_FAST)
def _write(qkv, turns, own_keys, own_values, place):
    """Turn the pairs of queries and keys of ``qkv`` [R, 3, heads, size]; put keys and values to ``place``."""
    rows, _, heads, size = qkv.shape
    for row in range(rows):
        for which in range(2):
            for head in range(heads):
                for pair in range(len(turns)):
                    cosine, sine = turns[pair, 0], turns[pair, 1]
                    first, second = qkv[row, which, head, 2 * pair], qkv[row, which, head, 2 * pair + 1]
                    qkv[row, which, head, 2 * pair] = first * cosine - second * sine
                    qkv[row, which, head, 2 * pair + 1] = first * sine + second * cosine
        for head in range(heads):
            for at in range(size):
                own_keys[row, place, head, at] = qkv[row, 1, head, at]
                own_values[row, place, head, at] = qkv[row, 2, head, at]


@numba.njit(cache=True, fastmath=_FAST)
def _look(qkv, keys, values, length, own_keys, own_values, own, out):
    """Attention of the rows of one prompt: ``length`` keys and values of its own, ``own`` of each row."""
    rows, _, heads, size = qkv.shape
    scores, scale = np.empty((rows, heads, length + own), np.float32), np.float32(size**-0.5)
    for place in range(length):
        for row in range(rows):
            for head in range(heads):
                scores[row, head, place] = _product(qkv, row, head, keys, place) * scale
    for row in range(rows):
        for place in range(own):
            for head in range(heads):
                score = _product(qkv, row, head, own_keys[row], place)
                scores[row, head, length + place] = score * scale
        for head in range(heads):
            _softmax(scores[row, head])
            out[row, head] = 0
        for place in range(own):
            for head in range(heads):
                share = scores[row, head, length + place]
                for at in range(size):
                    out[row, head, at] += share * own_values[row, place, head, at]
    for place in range(length):
        for row in range(rows):
            for head in range(heads):
                share = scores[row, head, place]
                for at in range(size):
                    out[row, head, at] += share * values[place, head, at]


@numba.njit(cache=True, fastmath=_FAST)
def _product(qkv, row, head, keys, place):
    """The query of ``row`` and ``head`` times the key at ``place``."""
    total = np.float32(0)
    for at in range(qkv.shape[3]):
        total += qkv[row, 0, head, at] * keys[place, head, at]
    return total


@numba.njit(cache=True, fastmath=_FAST)
def _softmax(scores):
    """``scores`` [n] become shares of one."""
    best = scores[0]
    for score in scores:
        best = max(best, score)
    total = np.float32(0)
    for place in range(len(scores)):
        scores[place] = np.exp(scores[place] - best)
        total += scores[place]
    for place in range(len(scores)):
        scores[place] /= total
