"""GPT-J's prompts and the rows that continue them: each prompt's keys and values held once for all its rows.

Prompts run through the model packed, without padding, a few thousand tokens at a time. Then every prompt has
rows: one for greedy decoding, one for each beam, and, where several ways of decoding are tried, the rows of
all of them side by side. All look at the same prompt, and only the tokens written so far are a row's own. How
keys and values are kept and looked at is ``baselines.gptj_cache``'s affair.

A prompt that has ended gives its slot to the next one, so that a batch stays full while others still write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from baselines.gptj import GPTJ, Block, Packed, gelu_, pack
from baselines.gptj_cache import Cache, TorchCache

READ_ON_A_CPU, READ_ELSEWHERE = 4096, 32768
"""Prompt tokens read at once: on a CPU, what a block computes for them should fit into its cache."""

LAID_OUT_AT_MOST = 2**31
"""Bytes of weights that are held a second time, as the CPU's kernel reads them."""

Product = Callable[[Tensor], Tensor]
"""A frozen linear layer, [..., out] from [..., in]."""

Addition = Callable[[Tensor, Tensor], Tensor]
"""A frozen linear layer whose output is added to the second tensor."""


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
        lambda x: gelu_(inner(x)),
        lambda x, to: to + attended(x),
        lambda x, to: to + written(x),
    )


def _plain(weight: Tensor, bias: Tensor | None = None) -> Product:
    return partial(functional.linear, weight=weight, bias=bias)


def _laid_out_layer(block: Block) -> Layer:
    """Weights laid out once as oneDNN's kernel reads them, and sums done by the kernel.

    Left as they are, a product of 16 rows by 50,000 columns spends as long on laying the weights out, each
    time, as on multiplying, and a block of 64 rows takes 1.4 times as long. The kernel's own activation is not
    used: its tanh takes as long as the product before it, ``gelu_`` a third of that.
    """
    inner = _laid_out(block.fc_in, block.fc_in_bias)
    return Layer(
        _laid_out(block.qkv),
        lambda x: gelu_(inner(x)),
        _laid_out_sum(block.out_proj),
        _laid_out_sum(block.fc_out, block.fc_out_bias),
    )


def _laid_out(weight: Tensor, bias: Tensor | None = None) -> Product:
    kernel, laid_out = torch.ops.mkldnn._linear_pointwise, _reordered(weight)
    return lambda x: kernel(x, laid_out, bias, "none", [], "")


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
    """Prompts that have been read, and the rows that continue them: ``R`` to each prompt, at most ``width``."""

    def __init__(
        self, model: GPTJ, products: Products, prompts: Sequence[Sequence[int]], room: int, width: int
    ) -> None:
        lengths = [len(prompt) for prompt in prompts]
        self.model, self.products, self.fitting = model, products, min(lengths)
        self.cache = _cache_for(model.embedding)(model, lengths, room, width)
        self.first_logits = self._fill(range(len(prompts)), prompts)  # [B, V]

    # --- reading prompts ---

    def refill(self, places: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """As ``baselines.adapted.Refillable``."""
        if max(map(len, prompts)) > self.fitting:
            raise ValueError(f"no prompt may be longer than any of the first, {self.fitting} tokens")
        return self._fill(places, prompts)

    def _fill(self, places: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        slots = self.cache.begin(places, [len(prompt) for prompt in prompts])
        device = slots.device
        size = READ_ON_A_CPU if device.type == "cpu" else READ_ELSEWHERE
        first = self._first_block([token for prompt in prompts for token in prompt])
        hidden = []
        for part in _parts([len(prompt) for prompt in prompts], size):
            some = prompts[part]
            batch = pack(some, [len(prompt) - 1 for prompt in some], [1] * len(some))
            hidden.append(self._read(batch.to(device), slots[part], first))
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
            self.cache.keep(number, *keep[0], slots)
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
        self.cache.keep(last, model.rotate(keys, turn), values, slots)
        normed = normed[chosen]
        q = layer.qkv(normed)[:, :d].unflatten(-1, (model.shape.n_head, -1))
        mixed = self.cache.look(last, model.rotate(q, turn[chosen]), slots)
        return layer.written(layer.inner(normed), layer.attended(mixed, x[chosen]))

    def _norm(self, number: int, x: Tensor) -> Tensor:
        block, shape = self.model.blocks[number], self.model.shape
        return functional.layer_norm(x, (shape.n_embd,), block.norm, block.norm_bias, shape.layer_norm_epsilon)

    def _out(self, x: Tensor) -> Tensor:
        """Float32 [..., V] from what the last block leaves."""
        model, shape = self.model, self.model.shape
        x = functional.layer_norm(x, (shape.n_embd,), model.norm, model.norm_bias, shape.layer_norm_epsilon)
        return self.products.head(x).float()

    # --- writing on ---

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """As ``baselines.adapted.Rows``."""
        self.cache.select(prompts, parents)

    def step(self, tokens: Tensor) -> Tensor:
        """Float32 [B, R, V]: logits after appending ``tokens`` [B, R] to the rows."""
        turn = self.model.rotations(tokens.device)[self.cache.positions]  # [B, half]
        attend = self.cache.attention(turn)
        x = functional.embedding(tokens, self.model.embedding)
        for number, layer in enumerate(self.products.layers):
            normed = self._norm(number, x)
            mixed = attend(number, layer.qkv(normed))
            x = layer.written(layer.inner(normed), layer.attended(mixed, x))
        self.cache.wrote()
        return self._out(x)


def _cache_for(some: Tensor) -> Callable[[GPTJ, Sequence[int], int, int], Cache]:
    """The compiled cache where numba is there and weights are like ``some``, float32 on a CPU."""
    if some.dtype == torch.float32 and some.device.type == "cpu":
        try:
            from baselines.compiled_cache import CompiledCache
        except (ImportError, RuntimeError):  # no numba, none that fits this numpy, or no place for its cache
            return TorchCache
        return CompiledCache
    return TorchCache


def _parts(lengths: Sequence[int], size: int) -> Iterator[slice]:
    """Neighbours whose ``lengths`` sum to at most ``size``, or single ones that are longer."""
    start = total = 0
    for place, length in enumerate(lengths):
        if total and total + length > size:
            yield slice(start, place)
            start, total = place, 0
        total += length
    yield slice(start, len(lengths))
