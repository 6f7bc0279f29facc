"""GPT-J's prompts and the rows that continue them: each prompt's keys and values held once for all its rows.

Prompts run through the model packed, without padding, a few thousand tokens at a time. Then every prompt has
rows: one for greedy decoding, one for each beam, and, where several ways of decoding are tried, the rows of
all of them side by side. All look at the same prompt, and only the tokens written so far are a row's own.
Where a prompt has one row, its tokens stand behind the prompt's in one cache, and attention is one product.

A prompt that has ended gives its slot to the next one, so that a batch stays full while others still write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from baselines.gptj import GPTJ, Block, Packed, gelu, pack

READ_ON_A_CPU, READ_ELSEWHERE = 4096, 32768
"""Prompt tokens read at once: on a CPU, what a block computes for them should fit into its cache."""

LAID_OUT_AT_MOST = 2**31
"""Bytes of weights that are held a second time, as the CPU's kernel reads them."""

Product = Callable[[Tensor], Tensor]
"""A frozen linear layer, [..., out] from [..., in]."""

Addition = Callable[[Tensor, Tensor], Tensor]
"""A frozen linear layer whose output is added to the second tensor."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""For a block's number, queries, keys and values [B, R, heads, size]: [B, R, d], what the rows see."""


class Layer(NamedTuple):
    """The linear layers of one block as decoding calls them; ``inner`` has its activation in it."""

    qkv: Product
    inner: Product
    attended: Addition
    written: Addition


class Products:
    """The linear layers of a model as decoding calls them: a few rows at a time, thousands of times."""

    def __init__(self, model: GPTJ) -> None:
        size = sum(tensor.nbytes for tensor in model.tensors())
        on_cpu = model.head.dtype == torch.float32 and model.head.device.type == "cpu"
        kernel = on_cpu and torch.backends.mkldnn.is_available() and size <= LAID_OUT_AT_MOST
        layer, product = (_laid_out_layer, _laid_out) if kernel else (_layer, _plain)
        self.layers = [layer(block) for block in model.blocks]
        self.last_keys_and_values = product(model.blocks[-1].qkv[model.shape.n_embd :], None)
        self.head = product(model.head, model.head_bias)


def _layer(block: Block) -> Layer:
    inner = _plain(block.fc_in, block.fc_in_bias)
    attended, written = _plain(block.out_proj), _plain(block.fc_out, block.fc_out_bias)
    return Layer(
        _plain(block.qkv),
        lambda x: gelu(inner(x)),
        lambda x, to: to + attended(x),
        lambda x, to: to + written(x),
    )


def _plain(weight: Tensor, bias: Tensor | None = None) -> Product:
    return partial(functional.linear, weight=weight, bias=bias)


def _laid_out_layer(block: Block) -> Layer:
    """Weights laid out once as oneDNN's kernel reads them, activation and sum done by the kernel.

    Left as they are, a product of 16 rows by 50,000 columns spends as long on laying the weights out, each
    time, as on multiplying, and a block of 64 rows takes 1.4 times as long.
    """
    return Layer(
        _laid_out(block.qkv),
        _laid_out(block.fc_in, block.fc_in_bias, "gelu"),
        _laid_out_sum(block.out_proj),
        _laid_out_sum(block.fc_out, block.fc_out_bias),
    )


def _laid_out(weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Product:
    kernel, laid_out = torch.ops.mkldnn._linear_pointwise, _reordered(weight)
    return lambda x: kernel(x, laid_out, bias, then, [], "tanh" if then == "gelu" else "")


def _laid_out_sum(weight: Tensor, bias: Tensor | None = None) -> Addition:
    kernel, laid_out = torch.ops.mkldnn._linear_pointwise.binary, _reordered(weight)
    return lambda x, to: kernel(x, to, laid_out, bias, "add")


def _reordered(weight: Tensor) -> Tensor:
    laid_out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), 64)
    return laid_out


class _FirstBlock(NamedTuple):
    """The first block's work for every token that occurs, done once: it depends on the token alone.

    Attention and inner layer stand side by side in a GPT-J, so only attention looks at other tokens.
    """

    place: Tensor  # int64 [V]: each token's row in the others
    qkv: Tensor  # [tokens, 3d]
    written: Tensor  # [tokens, d]: embedding and inner layer


class GPTJRows:
    """Prompts that have been read, and the rows that continue them: ``R`` to each prompt, at most ``width``.

    A prompt's place among the ``count`` is its slot in the tensors, of which every block has two:

    - ``cache``: keys and values, [slots, heads, longest prompt + room, size];
    - ``own``, where ``width`` > 1: those of what rows have written, [slots, width, heads, room, size].
    """

    def __init__(
        self, model: GPTJ, products: Products, prompts: Sequence[Sequence[int]], room: int, width: int
    ) -> None:
        self.model, self.products = model, products
        self.longest, self.count, slots = max(map(len, prompts)), len(prompts), len(prompts)
        heads = model.shape.n_head
        size = model.shape.n_embd // heads
        self.scale = size**-0.5
        self.lengths = torch.zeros(slots, dtype=torch.int64, device=model.embedding.device)  # of prompts
        self.written = torch.zeros_like(self.lengths)  # tokens of each row
        self.cache = self._empty(slots, heads, self.longest + room, size)
        self.own = self._empty(slots, width, heads, room, size) if width > 1 else []
        self.first_logits = self.refill(range(slots), prompts)  # [B, V]

    def _empty(self, *sizes: int) -> list[tuple[Tensor, Tensor]]:
        # A hidden score is overwritten, but a hidden value is counted no times: it must be a number.
        some = self.model.embedding
        return [(some.new_empty(sizes), some.new_zeros(sizes)) for _ in range(self.model.shape.n_layer)]

    # --- reading prompts ---

    def refill(self, places: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """As ``baselines.adapted.Refillable``."""
        if max(map(len, prompts)) > self.longest:
            raise ValueError(f"no prompt may be longer than the first ones, {self.longest} tokens")
        self.count = max(self.count, *(place + 1 for place in places))
        device = self.lengths.device
        at = torch.tensor(list(places), device=device)
        self.lengths[at] = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.written[at] = 0
        size = READ_ON_A_CPU if device.type == "cpu" else READ_ELSEWHERE
        first = self._first_block([token for prompt in prompts for token in prompt])
        hidden = []
        for part in _parts([len(prompt) for prompt in prompts], size):
            some = prompts[part]
            batch = pack(some, [len(prompt) - 1 for prompt in some], [1] * len(some))
            hidden.append(self._read(batch.to(device), at[part], first))
        return self._out(torch.cat(hidden))

    def _first_block(self, tokens: Sequence[int]) -> _FirstBlock | None:
        """What the first block has for each token that occurs; None where it is the last one too."""
        if self.model.shape.n_layer == 1:
            return None
        layer, weight = self.products.layers[0], self.model.embedding
        occurring = torch.tensor(sorted(set(tokens)), device=weight.device)
        place = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)
        place[occurring] = torch.arange(len(occurring), device=weight.device)
        x = functional.embedding(occurring, weight)
        normed = self._norm(0, x)
        return _FirstBlock(place, layer.qkv(normed), layer.written(layer.inner(normed), x))

    def _read(self, batch: Packed, slots: Tensor, first: _FirstBlock | None) -> Tensor:
        """[n, d]: what the last block leaves behind each prompt, whose keys and values go into ``slots``."""
        model = self.model
        turn = model.rotations(batch.tokens.device)[batch.positions].unsqueeze(1)
        if first is None:
            return self._read_last(functional.embedding(batch.tokens, model.embedding), turn, batch, slots)
        which = first.place[batch.tokens]
        qkv, x = first.qkv[which], first.written[which]
        for number, layer in enumerate(self.products.layers[:-1]):
            if number:
                normed = self._norm(number, x)
                qkv, x = layer.qkv(normed), layer.written(layer.inner(normed), x)
            keep: list[tuple[Tensor, Tensor]] = []
            x = layer.attended(model.attention(qkv, turn, batch, keep), x)
            self._keep(number, *keep[0], batch.lengths, slots)
        return self._read_last(x, turn, batch, slots)

    def _read_last(self, x: Tensor, turn: Tensor, batch: Packed, slots: Tensor) -> Tensor:
        """The last block, for each prompt's last token alone; keys and values are those of all."""
        model, d, chosen = self.model, self.model.shape.n_embd, batch.predicting
        last, layer = model.shape.n_layer - 1, self.products.layers[-1]
        normed = self._norm(last, x)
        keys, values = (
            part.unflatten(-1, (model.shape.n_head, -1))
            for part in self.products.last_keys_and_values(normed).split(d, dim=-1)
        )
        self._keep(last, model.rotate(keys, turn), values, batch.lengths, slots)
        normed = normed[chosen]
        q = layer.qkv(normed)[:, :d].unflatten(-1, (model.shape.n_head, -1))
        reach = max(batch.lengths)
        hidden = torch.arange(reach, device=x.device) >= self.lengths[slots, None]
        keys, values = (part[slots, :, :reach] for part in self.cache[last])
        mixed = self._attend_cache(model.rotate(q, turn[chosen])[:, None], keys, values, hidden[:, None, None])
        return layer.written(layer.inner(normed), layer.attended(mixed[:, 0], x[chosen]))

    def _keep(self, number: int, keys: Tensor, values: Tensor, lengths: Sequence[int], slots: Tensor) -> None:
        """Put a block's ``keys`` and ``values`` [T, heads, size] into the prompts' ``slots``."""
        for packed, cache in zip((keys, values), self.cache[number], strict=True):
            for slot, part in zip(slots.tolist(), packed.split(tuple(lengths)), strict=True):
                cache[slot, :, : len(part)] = part.transpose(0, 1)

    def _norm(self, number: int, x: Tensor) -> Tensor:
        block, shape = self.model.blocks[number], self.model.shape
        return functional.layer_norm(x, (shape.n_embd,), block.norm, block.norm_bias, shape.layer_norm_epsilon)

    def _out(self, x: Tensor) -> Tensor:
        """Float32 [..., V] from what the last block leaves."""
        model, shape = self.model, self.model.shape
        x = functional.layer_norm(x, (shape.n_embd,), model.norm, model.norm_bias, shape.layer_norm_epsilon)
        return self.products.head(x).float()

    # --- which rows go on ---

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """As ``baselines.adapted.Rows``. Only what changes its place is copied."""
        device, self.count = parents.device, len(prompts)
        old = torch.tensor(prompts, device=device)
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

    def step(self, tokens: Tensor) -> Tensor:
        """Float32 [B, R, V]: logits after appending ``tokens`` [B, R] to the rows."""
        model, heads = self.model, self.model.shape.n_head
        lengths, written = self.lengths[: self.count], self.written[: self.count]
        turn = model.rotations(tokens.device)[lengths + written][:, None, None]  # [B, 1, 1, half]
        attend = self._apart(lengths, written) if self.own else self._behind(lengths + written)
        x = functional.embedding(tokens, model.embedding)
        for number, layer in enumerate(self.products.layers):
            normed = self._norm(number, x)
            each = layer.qkv(normed).unflatten(-1, (3 * heads, -1))
            q, k = model.rotate(each[..., : 2 * heads, :], turn).chunk(2, dim=-2)  # [B, R, heads, size]
            mixed = attend(number, q, k, each[..., 2 * heads :, :])
            x = layer.written(layer.inner(normed), layer.attended(mixed, x))
        written += 1
        return self._out(x)

    def _behind(self, place: Tensor) -> Attend:
        """Attention of single rows for one step; keys and values go to ``place`` [B] of the cache."""
        slots, reach = torch.arange(len(place), device=place.device), int(place.max()) + 1
        hidden = (torch.arange(reach, device=place.device) > place[:, None])[:, None, None]

        def attend(number: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self.cache[number]
            keys[slots, :, place], values[slots, :, place] = k[:, 0], v[:, 0]
            return self._attend_cache(q, keys[: len(slots), :, :reach], values[: len(slots), :, :reach], hidden)

        return attend

    def _apart(self, lengths: Tensor, written: Tensor) -> Attend:
        """Attention of several rows to a prompt for one step; keys and values are each row's own."""
        slots, device = torch.arange(len(lengths), device=lengths.device), lengths.device
        reach, width = int(lengths.max()), int(written.max()) + 1
        hidden = torch.cat([
            torch.arange(reach, device=device) >= lengths[:, None],
            torch.arange(width, device=device) > written[:, None],
        ], dim=1)[:, None, None]  # fmt: skip

        def attend(number: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
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


def _parts(lengths: Sequence[int], size: int) -> Iterator[slice]:
    """Neighbours whose ``lengths`` sum to at most ``size``, or single ones that are longer."""
    start = total = 0
    for place, length in enumerate(lengths):
        if total and total + length > size:
            yield slice(start, place)
            start, total = place, 0
        total += length
    yield slice(start, len(lengths))
