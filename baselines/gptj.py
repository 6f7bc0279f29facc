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
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

MODULES = ("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out")
"""The linear layers of a block, any of which an adapter may change."""


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


@dataclass
class Dropout:
    """Dropout of the adapters' inputs, drawn from a generator of its own; ``p`` 0 does nothing."""

    p: float = 0.0
    generator: torch.Generator | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` with a share ``p`` of its elements zeroed and the rest scaled up."""
        if self.p == 0.0:
            return x
        # The generator may live on the CPU while x does not: one seed then gives one mask everywhere.
        device = self.generator.device if self.generator is not None else x.device
        keep = torch.empty(x.shape, device=device).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep.to(x.device, x.dtype).div_(1 - self.p)


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
        keep: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """[M, d]: the normalised last hidden state at ``batch.predicting``.

        ``keep`` is filled with the keys and values of each block, both [T, heads, head size].
        """
        adapter, dropout = adapter or {}, dropout or Dropout()
        x = functional.embedding(batch.tokens, self.embedding)
        turn = self.rotations(x.device)[batch.positions].unsqueeze(1)
        last = self.shape.n_layer - 1
        for layer in range(last):
            if checkpointing and torch.is_grad_enabled():
                drawn = dropout.generator.get_state() if dropout.generator is not None else None
                x = checkpoint(self._again, layer, x, turn, batch, adapter, dropout, drawn, use_reentrant=False)
            else:
                x = self._block(layer, x, turn, batch, adapter, dropout, keep)
        x = self._last_block(last, x, turn, batch, adapter, dropout, keep)
        return functional.layer_norm(
            x, (self.shape.n_embd,), self.norm, self.norm_bias, self.shape.layer_norm_epsilon
        )

    def _again(
        self, layer: int, x: Tensor, turn: Tensor, batch: Packed, adapter: Adapter, dropout: Dropout,
        drawn: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """One block that may be run twice, with the same dropout both times."""
        if dropout.generator is None or drawn is None:
            return self._block(layer, x, turn, batch, adapter, dropout)
        after = dropout.generator.get_state()
        dropout.generator.set_state(drawn)
        out = self._block(layer, x, turn, batch, adapter, dropout)
        if not torch.equal(after, drawn):  # the second time: leave the generator where it was
            dropout.generator.set_state(after)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, V] from [M, d]."""
        return functional.linear(hidden, self.head, self.head_bias)

    def _norm(self, block: Block, x: Tensor) -> Tensor:
        return functional.layer_norm(
            x, (self.shape.n_embd,), block.norm, block.norm_bias, self.shape.layer_norm_epsilon
        )

    def _block(
        self, layer: int, x: Tensor, turn: Tensor, batch: Packed, adapter: Adapter, dropout: Dropout,
        keep: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:  # fmt: skip
        block = self.blocks[layer]
        normed = self._norm(block, x)
        qkv = self._adapted_qkv(layer, normed, adapter, dropout)
        qk = self.rotate(self._heads(qkv[:, : 2 * self.shape.n_embd], 2), turn)
        q, k = qk.chunk(2, dim=1)  # each [T, heads, head size]
        v = self._heads(qkv[:, 2 * self.shape.n_embd :], 1)
        if keep is not None:
            keep.append((k, v))
        pieces = zip(*(part.split(batch.lengths) for part in (q, k, v)), strict=True)
        attended = torch.cat([_attend(*piece) for piece in pieces])
        return x + self._out(layer, attended, adapter, dropout) + self._mlp(layer, normed, adapter, dropout)

    def _last_block(
        self, layer: int, x: Tensor, turn: Tensor, batch: Packed, adapter: Adapter, dropout: Dropout,
        keep: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:  # fmt: skip
        """Like ``_block``, for the predicting positions only; keys and values come from all."""
        block, width = self.blocks[layer], self.shape.n_embd
        normed = self._norm(block, x)
        chosen = normed[batch.predicting]
        q = functional.linear(chosen, block.qkv[:width])
        q = q + self._update(layer, "q_proj", chosen, adapter, dropout)
        kv = functional.linear(normed, block.qkv[width:])
        k = kv[:, :width] + self._update(layer, "k_proj", normed, adapter, dropout)
        v = kv[:, width:] + self._update(layer, "v_proj", normed, adapter, dropout)
        q = self.rotate(self._heads(q, 1), turn[batch.predicting])
        k, v = self.rotate(self._heads(k, 1), turn), self._heads(v, 1)
        if keep is not None:
            keep.append((k, v))
        pieces = zip(
            q.split(batch.wanted),
            k.split(batch.lengths),
            v.split(batch.lengths),
            batch.first_wanted,
            strict=True,
        )
        attended = torch.cat([_attend(*piece) for piece in pieces])
        mixed = self._out(layer, attended, adapter, dropout) + self._mlp(layer, chosen, adapter, dropout)
        return x[batch.predicting] + mixed

    def _heads(self, x: Tensor, count: int) -> Tensor:
        return (
            x.view(*x.shape[:-1], count * self.shape.n_head, -1)
            if x.is_contiguous()
            else x.reshape(*x.shape[:-1], count * self.shape.n_head, -1)
        )

    def _adapted_qkv(self, layer: int, x: Tensor, adapter: Adapter, dropout: Dropout) -> Tensor:
        qkv = functional.linear(x, self.blocks[layer].qkv)
        updates = [self._update(layer, name, x, adapter, dropout) for name in MODULES[:3]]
        if all(isinstance(update, float) for update in updates):
            return qkv
        parts = [part + update for part, update in zip(qkv.chunk(3, dim=-1), updates, strict=True)]
        return torch.cat(parts, dim=-1)

    def _out(self, layer: int, x: Tensor, adapter: Adapter, dropout: Dropout) -> Tensor:
        x = x.flatten(-2)
        return functional.linear(x, self.blocks[layer].out_proj) + self._update(
            layer, "out_proj", x, adapter, dropout
        )

    def _mlp(self, layer: int, x: Tensor, adapter: Adapter, dropout: Dropout) -> Tensor:
        block = self.blocks[layer]
        inner = functional.linear(x, block.fc_in, block.fc_in_bias)
        inner = functional.gelu(inner + self._update(layer, "fc_in", x, adapter, dropout), approximate="tanh")
        outer = functional.linear(inner, block.fc_out, block.fc_out_bias)
        return outer + self._update(layer, "fc_out", inner, adapter, dropout)

    def _update(self, layer: int, name: str, x: Tensor, adapter: Adapter, dropout: Dropout) -> Tensor | float:
        """What the adapter adds to the output of one linear layer; 0.0 where it has nothing to say."""
        change = adapter.get((layer, name))
        if change is None:
            return 0.0
        down = functional.linear(dropout(x), change.a.to(x.dtype))
        return functional.linear(down, (change.b * change.scaling).to(x.dtype))


def _attend(q: Tensor, k: Tensor, v: Tensor, first: int = 0) -> Tensor:
    """[m, heads, size] attending to [n, heads, size] causally; ``first`` is the place of query 0 among n."""
    m, n = q.shape[0], k.shape[0]
    if m == 0:
        return q
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
