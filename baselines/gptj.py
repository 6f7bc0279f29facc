"""GPT-J (KoGPT's architecture), written by hand for packed training and shared-prompt decoding.

The arithmetic is that of ``GPTJForCausalLM`` in transformers, which the tests hold it to (logits, losses
and gradients): a parallel residual, rotary positions on the first ``rotary_dim`` dimensions of each head in
interleaved pairs (Su et al., "RoFormer", equation 34), GELU by its tanh approximation.

What is left out makes it fast. Documents of one batch lie end to end without padding, and each attends to
itself alone. Query, key and value are one product. The last block works on those positions whose output
somebody asks for, and so does the output head: a summary is a tenth of its document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from baselines.gptj_rows import GPTJRows, Products

MODULES = ("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out")
"""The linear layers of a block, any of which an adapter may change."""

DRAWS = 2**16
"""Draws behind one dropout mask."""

CACHE_ON_A_CPU = 2**29
"""Bytes of keys and values that prompts decoded at once may take; a quarter of the weights' if more."""

LARGEST_BATCH = 256
"""Prompts decoded at once at most: more are no faster."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a GPT-J, by the names of its ``config.json``."""

    vocab_size: int
    n_embd: int
    n_layer: int
    n_head: int
    rotary_dim: int
    n_inner: int
    n_positions: int
    layer_norm_epsilon: float
    tie_word_embeddings: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """The sizes in a ``config.json``; what it leaves out has transformers' default."""
        embedding = int(config.get("n_embd", 4096))
        heads = int(config.get("n_head", 16))
        return cls(
            vocab_size=int(config.get("vocab_size", 50400)),
            n_embd=embedding,
            n_layer=int(config.get("n_layer", 28)),
            n_head=heads,
            rotary_dim=int(config["rotary_dim"] if config.get("rotary_dim") else embedding // heads),
            n_inner=int(config.get("n_inner") or 4 * embedding),
            n_positions=int(config.get("n_positions", 2048)),
            layer_norm_epsilon=float(config.get("layer_norm_epsilon", 1e-5)),
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
        )


@dataclass
class Block:
    """The weights of one block; linear weights are [out, in]."""

    norm: Tensor  # [d]
    norm_bias: Tensor  # [d]
    qkv: Tensor  # [3d, d]
    out_proj: Tensor  # [d, d]
    fc_in: Tensor  # [inner, d]
    fc_in_bias: Tensor  # [inner]
    fc_out: Tensor  # [d, inner]
    fc_out_bias: Tensor  # [d]


@dataclass
class LowRank:
    """One adapted layer (Hu et al., "LoRA", equation 3): ``W x + scaling · B A x``, ``A`` with dropout."""

    a: Tensor  # [r, in]
    b: Tensor  # [out, r]
    scaling: float


Adapter = dict[tuple[int, str], LowRank]
"""From (block, module) to its update."""


@dataclass(frozen=True)
class Packed:
    """Documents end to end.

    ``tokens`` int64 [T]; ``lengths`` of the documents, whose sum is T; ``predicting`` int64 [M]: positions
    whose output is wanted, in order, those of a document consecutive and ending with it or before;
    ``wanted`` how many of them each document has.
    """

    tokens: Tensor
    lengths: tuple[int, ...]
    predicting: Tensor
    wanted: tuple[int, ...]
    first_wanted: tuple[int, ...]

    @property
    def positions(self) -> Tensor:
        """Int64 [T]: each token's place in its own document."""
        return torch.cat([torch.arange(length) for length in self.lengths]).to(self.tokens.device)

    def to(self, device: torch.device) -> Packed:
        """The same batch elsewhere."""
        tokens, predicting = self.tokens.to(device), self.predicting.to(device)
        return Packed(tokens, self.lengths, predicting, self.wanted, self.first_wanted)


@dataclass(frozen=True)
class Dropout:
    """Dropout of the adapters' inputs; ``p`` 0 does nothing.

    A mask is a function of ``seed``, block and place alone, so that a block computed twice drops the same
    elements twice, and one seed gives one mask on every device.
    """

    p: float = 0.0
    seed: tuple[int, ...] = (0,)

    def mask(self, layer: int, place: int, like: Tensor) -> Tensor | None:
        """Bool, shaped like ``like`` [T, width]: what is dropped, a share ``p`` (to 1/65,536); None if p is 0.

        ``place`` tells the inputs of one block apart. Every row is a window, at a drawn place of its own, of
        one line of ``DRAWS`` draws, made for this mask alone: a mask is drawn in no time, wherever the tensor
        is, and two rows have no more in common than two windows that may overlap, shifted.
        """
        if self.p == 0.0:
            return None
        rows, width = like.shape
        bits = np.random.SFC64([*self.seed, layer, place])
        line = np.asarray(bits.random_raw(-(-(DRAWS + width) // 4))).view(np.uint16) < round(self.p * 65_536)
        places = np.asarray(bits.random_raw(rows)) % DRAWS
        dropped = torch.from_numpy(line).to(like.device).as_strided((DRAWS, width), (1, 1))
        return dropped[torch.from_numpy(places.astype(np.int64)).to(like.device)]


@dataclass
class GPTJ:
    """The weights of a GPT-J, and its forward pass over packed documents."""

    shape: Shape
    embedding: Tensor  # [V, d]
    blocks: list[Block]
    norm: Tensor
    norm_bias: Tensor
    head: Tensor  # [V, d]
    head_bias: Tensor  # [V]
    _rotations: dict[torch.device, Tensor] = field(default_factory=dict, repr=False)
    _products: Products | None = field(default=None, repr=False)

    @classmethod
    def from_state(cls, shape: Shape, state: Mapping[str, Tensor]) -> GPTJ:
        """The model from transformers' names (``transformer.h.0.attn.q_proj.weight``, ``lm_head.weight``).

        Raises:
            KeyError: a weight is missing.
        """
        prefix = "transformer." if "transformer.wte.weight" in state else ""
        blocks = []
        for layer in range(shape.n_layer):
            at = f"{prefix}h.{layer}."
            qkv = torch.cat([state[f"{at}attn.{name}.weight"] for name in MODULES[:3]])
            blocks.append(
                Block(
                    state[f"{at}ln_1.weight"], state[f"{at}ln_1.bias"], qkv, state[f"{at}attn.out_proj.weight"],
                    state[f"{at}mlp.fc_in.weight"], state[f"{at}mlp.fc_in.bias"],
                    state[f"{at}mlp.fc_out.weight"], state[f"{at}mlp.fc_out.bias"],
                )
            )  # fmt: skip
        embedding = state[f"{prefix}wte.weight"]
        head = embedding if shape.tie_word_embeddings else state["lm_head.weight"]
        bias = state.get("lm_head.bias", torch.zeros(shape.vocab_size))
        norm = (state[f"{prefix}ln_f.weight"], state[f"{prefix}ln_f.bias"])
        return cls(shape, embedding, blocks, *norm, head, bias)

    def to_state(self) -> dict[str, Tensor]:
        """The weights by transformers' names; the inverse of ``from_state``."""
        state = {"transformer.wte.weight": self.embedding}
        for layer, block in enumerate(self.blocks):
            at = f"transformer.h.{layer}."
            state |= {f"{at}attn.{n}.weight": w for n, w in zip(MODULES, block.qkv.chunk(3), strict=False)}
            state |= {
                f"{at}ln_1.weight": block.norm, f"{at}ln_1.bias": block.norm_bias,
                f"{at}attn.out_proj.weight": block.out_proj,
                f"{at}mlp.fc_in.weight": block.fc_in, f"{at}mlp.fc_in.bias": block.fc_in_bias,
                f"{at}mlp.fc_out.weight": block.fc_out, f"{at}mlp.fc_out.bias": block.fc_out_bias,
            }  # fmt: skip
        state |= {"transformer.ln_f.weight": self.norm, "transformer.ln_f.bias": self.norm_bias}
        if not self.shape.tie_word_embeddings:
            state["lm_head.weight"] = self.head
        return {name: weight.detach().contiguous() for name, weight in state.items()} | {
            "lm_head.bias": self.head_bias.detach().contiguous()
        }

    def tensors(self) -> list[Tensor]:
        """Every weight once."""
        each = [tensor for block in self.blocks for tensor in vars(block).values()]
        rest = [self.embedding, self.norm, self.norm_bias, self.head_bias]
        return [*rest, *each, *([] if self.head is self.embedding else [self.head])]

    def to(self, device: torch.device, dtype: torch.dtype) -> GPTJ:
        """The same model elsewhere, or in another precision."""
        blocks = [Block(**{n: w.to(device, dtype) for n, w in vars(block).items()}) for block in self.blocks]
        embedding = self.embedding.to(device, dtype)
        head = embedding if self.head is self.embedding else self.head.to(device, dtype)
        rest = (self.norm.to(device, dtype), self.norm_bias.to(device, dtype))
        return GPTJ(self.shape, embedding, blocks, *rest, head, self.head_bias.to(device, dtype))

    # --- reading prompts, to write on ---

    @property
    def longest_prompt(self) -> int:
        """Tokens that a prompt and its summary may have together."""
        return self.shape.n_positions

    def rows(self, prompts: Sequence[Sequence[int]], room: int, width: int) -> GPTJRows:
        """As ``baselines.adapted.Reader``. The weights must not change between calls."""
        from baselines.gptj_rows import GPTJRows

        return GPTJRows(self, self._laid_out(), prompts, room, width)

    def batch_size(self, tokens: int, width: int) -> int:
        """As ``baselines.adapted.Reader``: as many as fit into a cache, on a GPU half of what is free."""
        device = self.embedding.device
        if device.type == "cuda":
            size = torch.cuda.mem_get_info(device)[0] // 2
        else:
            size = max(CACHE_ON_A_CPU, sum(tensor.nbytes for tensor in self.tensors()) // 4)
        each = 2 * self.shape.n_layer * self.shape.n_embd * self.embedding.element_size() * tokens
        return min(max(1, size // each), LARGEST_BATCH)

    def ready_for_threads(self) -> bool:
        """As ``baselines.adapted.Reader``: on a CPU."""
        device = self.embedding.device
        if device.type != "cpu":
            return False
        self._laid_out()
        self.rotations(device)
        return True

    def _laid_out(self) -> Products:
        from baselines.gptj_rows import Products

        if self._products is None:
            self._products = Products(self)
        return self._products

    # --- rotary positions ---

    def rotations(self, device: torch.device) -> Tensor:
        """Complex64 [n_positions, rotary_dim / 2]: the turn of each pair at each position."""
        if device not in self._rotations:
            half = torch.arange(0, self.shape.rotary_dim, 2, dtype=torch.int64).float()
            frequency = 1.0 / (10_000 ** (half / self.shape.rotary_dim))
            angle = torch.outer(torch.arange(self.shape.n_positions).float(), frequency)
            self._rotations[device] = torch.polar(torch.ones_like(angle), angle).to(device)
        return self._rotations[device]

    def rotate(self, x: Tensor, turn: Tensor) -> Tensor:
        """``x`` [..., heads, head size], its first dimensions turned by ``turn`` [..., 1, rotary_dim / 2]."""
        width = self.shape.rotary_dim
        pairs = torch.view_as_complex(x[..., :width].float().unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)
        return turned if width == x.shape[-1] else torch.cat([turned, x[..., width:]], dim=-1)

    # --- the packed forward pass ---

    def hidden(
        self,
        batch: Packed,
        adapter: Adapter | None = None,
        dropout: Dropout | None = None,
        checkpointing: bool = False,
    ) -> Tensor:
        """[M, d]: the normalised last hidden state at ``batch.predicting``."""
        adapter, dropout = adapter or {}, dropout or Dropout()
        x = functional.embedding(batch.tokens, self.embedding)
        turn = self.rotations(x.device)[batch.positions].unsqueeze(1)
        last = self.shape.n_layer - 1
        for layer in range(last):
            if checkpointing and torch.is_grad_enabled():
                x = checkpoint(self._block, layer, x, turn, batch, adapter, dropout, use_reentrant=False)
            else:
                x = self._block(layer, x, turn, batch, adapter, dropout)
        x = self._last_block(last, x, turn, batch, adapter, dropout)
        return functional.layer_norm(
            x, (self.shape.n_embd,), self.norm, self.norm_bias, self.shape.layer_norm_epsilon
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, V] from [M, d]."""
        return functional.linear(hidden, self.head, self.head_bias)

    def cross_entropy_sum(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        """The summed cross-entropy, float32, of ``wanted`` int64 [M] after ``hidden`` [M, d].

        The output layer is frozen: it gets no gradient.
        """
        loss: Tensor = SummedCrossEntropy.apply(hidden, wanted, self.head, self.head_bias)
        return loss

    def _norm(self, block: Block, x: Tensor) -> Tensor:
        return functional.layer_norm(
            x, (self.shape.n_embd,), block.norm, block.norm_bias, self.shape.layer_norm_epsilon
        )

    def _block(
        self, layer: int, x: Tensor, turn: Tensor, batch: Packed, adapter: Adapter, dropout: Dropout,
    ) -> Tensor:  # fmt: skip
        normed = self._norm(self.blocks[layer], x)
        if x.requires_grad or (layer, "fc_in") in adapter:
            qkv, inner = self._linear(layer, 0, normed, adapter, dropout, _QKV, _FC_IN)
        else:  # below the first adapter: apart, so that the inner layer has no gradient at all
            (qkv,) = self._linear(layer, 0, normed, adapter, dropout, _QKV)
            (inner,) = self._linear(layer, 0, normed, adapter, dropout, _FC_IN)
        attended = self.attention(qkv, turn, batch)
        return x + self._written(layer, attended, inner, adapter, dropout)

    def attention(
        self, qkv: Tensor, turn: Tensor, batch: Packed, keep: list[tuple[Tensor, Tensor]] | None = None
    ) -> Tensor:
        """[T, d]: every token attending to its own document, up to itself; ``qkv`` [T, 3d] is used up.

        Keys and values, both [T, heads, head size], are added to ``keep``.
        """
        d = self.shape.n_embd
        if qkv.device.type == "cpu" and (keep is None or qkv.dtype == torch.float32):
            attended: Tensor = PackedAttention.apply(
                qkv, turn, self.shape.n_head, self.shape.rotary_dim, batch.lengths
            )
            if keep is not None:  # turned in place
                keep.append((self._heads(qkv[:, d : 2 * d]), self._heads(qkv[:, 2 * d :])))
            return attended
        qk = self.rotate(self._heads(qkv[:, : 2 * d]), turn)
        q, k = qk.chunk(2, dim=1)  # each [T, heads, head size]
        v = self._heads(qkv[:, 2 * d :])
        if keep is not None:
            keep.append((k, v))
        pieces = zip(*(part.split(batch.lengths) for part in (q, k, v)), strict=True)
        return torch.cat([_attend(*piece) for piece in pieces]).flatten(-2)

    def _last_block(
        self, layer: int, x: Tensor, turn: Tensor, batch: Packed, adapter: Adapter, dropout: Dropout
    ) -> Tensor:
        """Like ``_block``, for the predicting positions only; keys and values come from all."""
        block, d = self.blocks[layer], self.shape.n_embd
        normed = self._norm(block, x)
        chosen, turn_chosen = normed[batch.predicting], turn[batch.predicting]
        (kv,) = self._linear(layer, 0, normed, adapter, dropout, _KV)
        q, inner = self._linear(layer, 3, chosen, adapter, dropout, _Q, _FC_IN)
        q = self.rotate(self._heads(q), turn_chosen)
        k, v = self.rotate(self._heads(kv[:, :d]), turn), self._heads(kv[:, d:])
        pieces = zip(
            q.split(batch.wanted), k.split(batch.lengths), v.split(batch.lengths), batch.first_wanted,
            strict=True,
        )  # fmt: skip
        attended = torch.cat([_attend(*piece) for piece in pieces]).flatten(-2)
        return x[batch.predicting] + self._written(layer, attended, inner, adapter, dropout)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], -1, self.shape.n_embd // self.shape.n_head)

    def _written(
        self, layer: int, attended: Tensor, inner: Tensor, adapter: Adapter, dropout: Dropout
    ) -> Tensor:
        """What a block adds to the residual stream, from its attention and its inner layer."""
        (mixed,) = self._linear(layer, 1, attended, adapter, dropout, _OUT_PROJ)
        inner = gelu(inner)
        (outer,) = self._linear(layer, 2, inner, adapter, dropout, _FC_OUT)
        return mixed + outer

    def _linear(
        self, layer: int, place: int, x: Tensor, adapter: Adapter, dropout: Dropout, *products: tuple[str, ...]
    ) -> tuple[Tensor, ...]:
        """The outputs of linear layers that read the same ``x``, a tensor for each of ``products``.

        The adapters among them share one dropout mask and one product with their stacked ``A``.
        """
        changes = [[adapter.get((layer, name)) for name in names] for names in products]
        weights = [self._weight(layer, names) for names in products]
        found = [change for each in changes for change in each if change is not None]
        if not found:
            return tuple(functional.linear(x, weight, bias) for weight, bias in weights)
        mask = dropout.mask(layer, place, x)
        up = tuple(change.scaling / (1 - dropout.p) for change in found)
        plan = tuple(tuple(change is not None for change in each) for each in changes)
        factors = [part for change in found for part in (change.a, change.b)]
        flat = [part for pair in weights for part in pair]
        outputs: tuple[Tensor, ...] = AdaptedLinear.apply(x, mask, up, plan, *flat, *factors)
        return outputs

    def _weight(self, layer: int, names: tuple[str, ...]) -> tuple[Tensor, Tensor | None]:
        """Weight [out, in] and bias of neighbouring linear layers taken as one."""
        block = self.blocks[layer]
        if names[0] in MODULES[:3]:
            d, first = self.shape.n_embd, MODULES.index(names[0])
            return block.qkv[first * d : (first + len(names)) * d], None
        bias: Tensor | None = getattr(block, f"{names[0]}_bias", None)
        return getattr(block, names[0]), bias


_QKV, _KV, _Q = MODULES[:3], MODULES[1:3], MODULES[:1]
_OUT_PROJ, _FC_IN, _FC_OUT = MODULES[3:4], MODULES[4:5], MODULES[5:6]


class AdaptedLinear(torch.autograd.Function):
    """Frozen linear layers on one input, with their low-rank updates, in as few passes as there can be.

    For every output i: ``y_i = W_i x + b_i``, and on the columns of an adapted module ``+ up · B A x`` without
    the elements of ``x`` in the mask.
    The updates are accumulated into ``y`` by the product itself, forwards and backwards, and the products
    with all ``A`` are one. ``W`` and ``b`` are frozen: they get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor | None, up: tuple[float, ...], plan: tuple[tuple[bool, ...], ...],
        *tensors: Any,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """``x`` [T, in]; ``plan`` says for each output which of its equal column ranges are adapted.

        ``tensors``: weight [out, in] and bias (or None) for each output, then ``A`` [r, in] and ``B``
        [columns, r] for each adapted range, in order.
        """
        count = 2 * len(plan)
        a, b = tensors[count::2], tensors[count + 1 :: 2]
        ranks = tuple(part.shape[0] for part in a)
        stacked = torch.cat([part.to(x.dtype) for part in a])
        scaled = [(part * factor).to(x.dtype) for part, factor in zip(b, up, strict=True)]
        dropped = x if mask is None else x.masked_fill(mask, 0.0)
        down = dropped @ stacked.T
        outputs = [
            functional.linear(x, w, c) for w, c in zip(tensors[:count:2], tensors[1:count:2], strict=True)
        ]
        for (output, columns), lanes, factor in zip(_ranges(plan, outputs), _lanes(ranks), scaled, strict=True):
            outputs[output][:, columns].addmm_(down[:, lanes], factor.T)
        ctx.save_for_backward(x if mask is None else dropped, mask, down, stacked, *scaled, *tensors[:count:2])
        ctx.up, ctx.plan, ctx.ranks = up, plan, ranks
        ctx.kinds = [part.dtype for part in tensors[count:]]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Gradients of ``x`` and of every ``A`` and ``B``."""
        dropped, mask, down, stacked, *rest = ctx.saved_tensors
        scaled, weights = rest[: len(ctx.ranks)], rest[len(ctx.ranks) :]
        of_down = torch.empty_like(down)
        of_factors: list[Tensor] = []
        lanes = _lanes(ctx.ranks)
        for place, (output, columns) in enumerate(_ranges(ctx.plan, gradients)):
            gradient = gradients[output][:, columns]
            torch.mm(gradient, scaled[place], out=of_down[:, lanes[place]])
            of_b = (gradient.T @ down[:, lanes[place]]).float().mul_(ctx.up[place])
            of_factors += [of_b, of_b]
        of_stacked = of_down.T @ dropped
        of_factors[::2] = [of_stacked[each] for each in lanes]
        of_factors = [part.to(kind) for part, kind in zip(of_factors, ctx.kinds, strict=True)]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = gradients[0] @ weights[0]
            for gradient, weight in zip(gradients[1:], weights[1:], strict=True):
                of_x.addmm_(gradient, weight)
            if mask is None:
                of_x.addmm_(of_down, stacked)
            else:
                of_x += (of_down @ stacked).masked_fill_(mask, 0.0)
        return of_x, None, None, None, *([None] * (2 * len(ctx.plan))), *of_factors


def _ranges(plan: tuple[tuple[bool, ...], ...], outputs: Sequence[Tensor]) -> list[tuple[int, slice]]:
    """Output and columns of each adapted range."""
    found = []
    for output, adapted in enumerate(plan):
        width = outputs[output].shape[1] // len(adapted)
        found += [(output, slice(at * width, (at + 1) * width)) for at, yes in enumerate(adapted) if yes]
    return found


def _lanes(ranks: tuple[int, ...]) -> list[slice]:
    """Each update's columns among the stacked ranks."""
    ends = [sum(ranks[: place + 1]) for place in range(len(ranks))]
    return [slice(end - rank, end) for end, rank in zip(ends, ranks, strict=True)]


class PackedAttention(torch.autograd.Function):
    """Rotary positions and causal attention of documents that lie end to end, on a CPU.

    Torch's own kernel, called for each document on views of one tensor, forwards and backwards: nothing is
    split or put together in between. It computes in float32 whatever the precision, being slower in bfloat16.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, turn: Tensor, heads: int, rotary: int, lengths: tuple[int, ...]
    ) -> Tensor:
        """[T, d] from ``qkv`` [T, 3d], which is overwritten if it is float32: nobody else reads it."""
        each = qkv.detach().float().unflatten(-1, (3, heads, -1))  # [T, 3, heads, size]
        _turn(each[:, :2], turn, rotary)
        attended = torch.empty_like(each[:, 0])
        sums = []
        for part, target in zip(each.split(lengths), attended.split(lengths), strict=True):
            q, k, v = part.permute(1, 2, 0, 3).unsqueeze(1)  # each [1, heads, n, size]
            out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)
            target.copy_(out[0].transpose(0, 1))
            sums.append(log_sum)
        ctx.save_for_backward(each, attended, turn, *sums)
        ctx.rotary, ctx.lengths, ctx.kind = rotary, lengths, qkv.dtype
        return attended.flatten(-2).to(qkv.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """The gradient of ``qkv``."""
        each, attended, turn, *sums = ctx.saved_tensors
        of_each = torch.empty_like(each)
        parts = [x.split(ctx.lengths) for x in (each, attended, gradient.float().view_as(attended), of_each)]
        for part, out, of_out, target, log_sum in zip(*parts, sums, strict=True):
            q, k, v = part.permute(1, 2, 0, 3).unsqueeze(1)
            out, of_out = (x.transpose(0, 1).unsqueeze(0) for x in (out, of_out))
            found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                of_out, q, k, v, out, log_sum, 0.0, True
            )
            for place, of_one in enumerate(found):
                target[:, place].copy_(of_one[0].transpose(0, 1))
        _turn(of_each[:, :2], turn.conj(), ctx.rotary)
        return of_each.flatten(1).to(ctx.kind), None, None, None, None


def _turn(x: Tensor, turn: Tensor, rotary: int) -> None:
    """Turn ``x`` [T, parts, heads, size] in place by ``turn`` [T, 1, rotary / 2]; see ``GPTJ.rotate``."""
    torch.view_as_complex(x[..., :rotary].unflatten(-1, (-1, 2))).mul_(turn.unsqueeze(1))


def gelu(x: Tensor) -> Tensor:
    """GELU by its tanh approximation, as GPT-J has it (``gelu_new``)."""
    if x.dtype == torch.float32 and x.device.type == "cpu":
        activated: Tensor = SigmoidGELU.apply(x)
        return activated
    return functional.gelu(x, approximate="tanh")


def gelu_(x: Tensor) -> Tensor:
    """``gelu`` of ``x``, which is contiguous and, in float32 on a CPU, overwritten; it has no gradient."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return functional.gelu(x, approximate="tanh")
    flat, step = x.view(-1), x.new_tensor(SigmoidGELU.STEP)
    room = torch.empty(min(len(flat), SigmoidGELU.LARGE_PIECE))
    for piece in flat.split(SigmoidGELU.LARGE_PIECE):
        share = torch.addcmul(step, piece, piece, value=SigmoidGELU.CUBE, out=room[: len(piece)])
        piece.mul_(share.mul_(piece).sigmoid_())
    return x


class SigmoidGELU(torch.autograd.Function):
    """GELU's tanh approximation on a CPU, by ``(1 + tanh(z)) / 2 = sigmoid(2z)``.

    Torch's vectorised sigmoid takes a third of the time of its tanh. The derivative is computed along the
    way, piece by piece in the processor's cache, and is what is kept for the way back.
    """

    STEP = 2 * math.sqrt(2 / math.pi)
    CUBE = 0.044715 * STEP
    PIECE, LARGE_PIECE = 2**16, 2**18
    """Elements to a piece, with a slope and without: a few of them fit into a core's cache, or all of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """``x sigmoid(x (STEP + CUBE x²))``."""
        kind = SigmoidGELU
        out = torch.empty(x.shape)
        slope = torch.empty(x.shape) if ctx.needs_input_grad[0] else None
        step, width = x.new_tensor(kind.STEP), x.shape[-1]
        rows, into = x.reshape(-1, width), out.view(-1, width)
        count = max(1, kind.PIECE // width)
        for at in range(0, len(rows), count):
            piece, target = rows[at : at + count], into[at : at + count]
            rate = torch.addcmul(step, piece, piece, value=kind.CUBE)
            share = torch.mul(rate, piece).sigmoid_()
            torch.mul(piece, share, out=target)
            if slope is not None:
                rate.mul_(3.0).sub_(2 * kind.STEP)  # the derivative of x (STEP + CUBE x²)
                rest = torch.addcmul(target, target, share, value=-1.0)
                torch.addcmul(share, rest, rate, out=slope.view(-1, width)[at : at + count])
        if slope is not None:
            ctx.save_for_backward(slope)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The gradient of ``x``."""
        (slope,) = ctx.saved_tensors
        of_x: Tensor = gradient * slope
        return of_x


class SummedCrossEntropy(torch.autograd.Function):
    """A frozen output layer and the cross-entropy after it, without ever holding all logits.

    The vocabulary is gone through once, in ranges. Each range's logits are turned into their share of the
    softmax's sum and of the gradient while they are in the cache, with the running maximum taken out
    (Milakov and Gimelshein, "Online normalizer calculation for softmax", algorithm 3).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, wanted: Tensor, head: Tensor, bias: Tensor) -> Tensor:
        """Float32 [], the sum over ``hidden`` [M, d] of minus the log probability of ``wanted`` [M]."""
        if any(ctx.needs_input_grad[2:]):
            raise ValueError("the output layer is frozen here; use logits() to train it")
        count, size = len(hidden), len(head)
        best = hidden.new_full((count, 1), -math.inf, dtype=torch.float32)
        total, pull = torch.zeros_like(best), hidden.new_zeros(hidden.shape, dtype=torch.float32)
        room = 2**20 if hidden.device.type == "cpu" else 2**26
        wide = min(size, max(256, room // max(1, count)))
        for start in range(0, size, wide):
            rows = head[start : start + wide]
            logits = functional.linear(hidden, rows, bias[start : start + wide]).float()
            higher = torch.maximum(best, logits.amax(dim=1, keepdim=True))
            fade = (best - higher).exp_()
            logits.sub_(higher).exp_()
            total.mul_(fade).add_(logits.sum(dim=1, keepdim=True))
            if ctx.needs_input_grad[0]:
                pull.mul_(fade).add_(logits.to(rows.dtype) @ rows)
            best = higher
        of_wanted = head[wanted].float()
        said = (hidden.float() * of_wanted).sum(dim=1) + bias[wanted].float()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(pull.div_(total).sub_(of_wanted))
            ctx.kind = hidden.dtype
        summed: Tensor = (best.squeeze(1) + total.squeeze(1).log() - said).sum()
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient of ``hidden``, found on the way forwards."""
        (of_hidden,) = ctx.saved_tensors
        return (of_hidden * gradient).to(ctx.kind), None, None, None


def _attend(q: Tensor, k: Tensor, v: Tensor, first: int = 0) -> Tensor:
    """[m, heads, size] attending to [n, heads, size] causally; ``first`` is the place of query 0 among n."""
    m, n = q.shape[0], k.shape[0]
    if m == 0:
        return q
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":  # torch's CPU kernel is slower in bfloat16
        with torch.autocast("cpu", enabled=False):
            return _attend(q.float(), k.float(), v.float(), first).to(q.dtype)
    q, k, v = (part.transpose(0, 1).unsqueeze(0) for part in (q, k, v))
    if first == 0 and m == n:
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        mask = torch.ones(m, n, dtype=torch.bool, device=q.device).tril(first)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attended.squeeze(0).transpose(0, 1)


def pack(documents: Sequence[Sequence[int]], first_wanted: Sequence[int], wanted: Sequence[int]) -> Packed:
    """Lay ``documents`` end to end; of each, ``wanted`` outputs from place ``first_wanted`` on are needed."""
    lengths = tuple(len(document) for document in documents)
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    predicting = [
        torch.arange(start + first, start + first + count)
        for start, first, count in zip(starts, first_wanted, wanted, strict=False)
    ]
    tokens = torch.tensor([token for document in documents for token in document], dtype=torch.int64)
    return Packed(tokens, lengths, torch.cat(predicting), tuple(wanted), tuple(first_wanted))


def new_weights(shape: Shape, generator: torch.Generator, spread: float = 0.02) -> GPTJ:
    """Random float32 weights: normal with standard deviation ``spread``, as transformers starts a GPT-J.

    The layers that write into the residual stream start smaller by the root of twice the number of blocks
    (Radford et al., "Language Models are Unsupervised Multitask Learners", section 2.3).
    """

    def normal(*size: int, by: float = 1.0) -> Tensor:
        return torch.empty(size).normal_(0.0, spread * by, generator=generator)

    d, inner, less = shape.n_embd, shape.n_inner, 1 / math.sqrt(2 * shape.n_layer)
    embedding = normal(shape.vocab_size, d)
    blocks = [
        Block(torch.ones(d), torch.zeros(d), normal(3 * d, d), normal(d, d, by=less), normal(inner, d),
              torch.zeros(inner), normal(d, inner, by=less), torch.zeros(d))
        for _ in range(shape.n_layer)
    ]  # fmt: skip
    head = embedding if shape.tie_word_embeddings else normal(shape.vocab_size, d)
    return GPTJ(shape, embedding, blocks, torch.ones(d), torch.zeros(d), head, torch.zeros(shape.vocab_size))
