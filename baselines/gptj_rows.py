"""GPT-J's prompts and the rows that continue them: each prompt's keys and values held once for all its rows.

Prompts run through the model packed, without padding. Then every prompt has rows: one for greedy decoding,
one for each beam, and, where several ways of decoding are tried, the rows of all of them side by side. All
look at the same prompt, and only the tokens written so far are a row's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from baselines.gptj import GPTJ, Packed, gelu, pack

Product = Callable[[Tensor], Tensor]
"""A frozen linear layer, [..., out] from [..., in]."""


class Products:
    """The linear layers of a model as decoding calls them: a few rows at a time, thousands of times.

    Query, key, value and the inner layer read the same input and are one product. On a CPU, weights are laid
    out once as oneDNN's kernel reads them; left as they are, a product of 16 rows spends more time on laying
    them out than on multiplying.
    """

    ROWS = 64
    """Rows that the layout is made for; it serves any other number."""

    def __init__(self, model: GPTJ) -> None:
        self.read, self.attended, self.inner = [], [], []
        for block in model.blocks:
            bias = torch.cat([block.fc_in_bias.new_zeros(len(block.qkv)), block.fc_in_bias])
            self.read.append(self._product(torch.cat([block.qkv, block.fc_in]), bias))
            self.attended.append(self._product(block.out_proj, None))
            self.inner.append(self._product(block.fc_out, block.fc_out_bias))
        self.keys_and_values = self._product(model.blocks[-1].qkv[model.shape.n_embd :], None)
        self.head = self._product(model.head, model.head_bias)

    def _product(self, weight: Tensor, bias: Tensor | None) -> Product:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        plain = weight.dtype == torch.float32 and weight.device.type == "cpu"
        if not (plain and torch.backends.mkldnn.is_available()):
            return lambda x: functional.linear(x, weight, bias)
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), self.ROWS)
        product = torch.ops.mkldnn._linear_pointwise
        return lambda x: product(x, laid_out, bias, "none", [], "")


class GPTJRows:
    """Prompts that have been read, and the rows that continue them: ``R`` to each prompt, at first 1."""

    def __init__(self, model: GPTJ, products: Products, prompts: Sequence[Sequence[int]], room: int) -> None:
        self.model, self.products, self.written = model, products, 0
        device, heads = model.embedding.device, model.shape.n_head
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)  # [B]
        places = torch.arange(int(self.lengths.max()), device=device)
        self.hidden_places = (places >= self.lengths[:, None])[:, None, None]  # [B, 1, 1, L]
        self.prompt: list[tuple[Tensor, Tensor]] = []  # each block's keys and values, [B, heads, L, size]
        own = (len(prompts), 1, heads, room, model.shape.n_embd // heads)
        self.own = [
            (model.embedding.new_zeros(own), model.embedding.new_zeros(own)) for _ in range(model.shape.n_layer)
        ]
        last = [len(prompt) - 1 for prompt in prompts]
        self.first_logits = self._read(pack(prompts, last, [1] * len(prompts)).to(device))  # [B, V]

    def _read(self, batch: Packed) -> Tensor:
        """Float32 [B, V]: logits after each prompt, whose keys and values are kept.

        The first block is computed once for every token that occurs: its inner layer, queries, keys and
        values depend on nothing else, for attention and inner layer stand side by side.
        """
        model, d = self.model, self.model.shape.n_embd
        turn, last = model.rotations(batch.tokens.device)[batch.positions].unsqueeze(1), model.shape.n_layer - 1
        occurring, which = torch.unique(batch.tokens, return_inverse=True)
        x = functional.embedding(occurring if last else batch.tokens, model.embedding)
        for layer in range(last):
            keep: list[tuple[Tensor, Tensor]] = []
            qkv, inner = self._into(layer, x)
            x = x + self.products.inner[layer](gelu(inner))
            if layer == 0:
                qkv, x = qkv[which], x[which]
            x = x + self.products.attended[layer](model.attention(qkv, turn, batch, keep))
            self._keep(*keep[0], batch.lengths)
        chosen = batch.predicting
        qkv, inner = self._into(last, x[chosen])
        keys, values = (
            part.unflatten(-1, (self.model.shape.n_head, -1))
            for part in self.products.keys_and_values(self._norm(last, x)).split(d, dim=-1)
        )
        self._keep(model.rotate(keys, turn), values, batch.lengths)
        q = model.rotate(qkv[:, :d].unflatten(-1, (model.shape.n_head, -1)), turn[chosen])
        mixed = self.products.attended[last](self._attend(last, q[:, None])[:, 0])
        return self._out(x[chosen] + mixed + self.products.inner[last](gelu(inner)))

    def _norm(self, layer: int, x: Tensor) -> Tensor:
        block, shape = self.model.blocks[layer], self.model.shape
        return functional.layer_norm(x, (shape.n_embd,), block.norm, block.norm_bias, shape.layer_norm_epsilon)

    def _into(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """What a block makes of ``x`` [..., d] first: queries, keys and values [..., 3d], and its inner layer."""
        shape = self.model.shape
        qkv, inner = self.products.read[layer](self._norm(layer, x)).split(
            [3 * shape.n_embd, shape.n_inner], dim=-1
        )
        return qkv, inner

    def _out(self, x: Tensor) -> Tensor:
        """Float32 [..., V] from what the last block leaves."""
        model, shape = self.model, self.model.shape
        x = functional.layer_norm(x, (shape.n_embd,), model.norm, model.norm_bias, shape.layer_norm_epsilon)
        return self.products.head(x).float()

    def _keep(self, keys: Tensor, values: Tensor, lengths: Sequence[int]) -> None:
        """Keep a block's ``keys`` and ``values`` [T, heads, size], a place for each prompt."""
        _, heads, size = keys.shape
        longest, made = max(lengths), []
        for packed in (keys, values):
            kept = packed.new_empty(len(lengths), heads, longest, size)
            for row, part in zip(kept, packed.split(tuple(lengths)), strict=True):
                row[:, : len(part)] = part.transpose(0, 1)
                row[:, len(part) :] = 0.0
            made.append(kept)
        self.prompt.append((made[0], made[1]))

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """Go on with these prompts, and with rows that continue ``parents``, int64 [prompts, R'].

        ``prompts`` are places in the batch as it is, ``parents`` places among the rows of the same prompt.
        """
        count, rows = self.own[0][0].shape[:2]
        same = len(prompts) == count
        at = torch.tensor(prompts, device=parents.device)
        if not same:
            self.lengths, self.hidden_places = self.lengths[at], self.hidden_places[at]
            self.prompt = [(k[at], v[at]) for k, v in self.prompt]
        elif parents.shape[1] == rows and bool((parents == torch.arange(rows, device=parents.device)).all()):
            return
        self.own = [(self._moved(k, at, parents), self._moved(v, at, parents)) for k, v in self.own]

    def _moved(self, own: Tensor, at: Tensor, parents: Tensor) -> Tensor:
        _, _, heads, room, size = own.shape
        moved = own.new_empty(*parents.shape, heads, room, size)
        moved[:, :, :, : self.written] = own[at[:, None], parents, :, : self.written]
        return moved

    def step(self, tokens: Tensor) -> Tensor:
        """Float32 [B, R, V]: logits after appending ``tokens`` [B, R] to the rows."""
        model, shape = self.model, self.model.shape
        turn = model.rotations(tokens.device)[self.lengths + self.written][:, None, None]  # [B, 1, 1, half]
        x = functional.embedding(tokens, model.embedding)
        self.written += 1
        for layer in range(shape.n_layer):
            qkv, inner = self._into(layer, x)
            heads = qkv.unflatten(-1, (3 * shape.n_head, -1))
            q, k = model.rotate(heads[..., : 2 * shape.n_head, :], turn).chunk(2, dim=-2)  # [B, R, heads, size]
            own_k, own_v = self.own[layer]
            own_k[:, :, :, self.written - 1] = k
            own_v[:, :, :, self.written - 1] = heads[..., 2 * shape.n_head :, :]
            x = x + self.products.attended[layer](self._attend(layer, q))
            x = x + self.products.inner[layer](gelu(inner))
        return self._out(x)

    def _attend(self, layer: int, q: Tensor) -> Tensor:
        """[B, R, d]: one query a row, over the shared prompt and the row's own tokens, in one softmax."""
        (prompt_k, prompt_v), (own_k, own_v) = self.prompt[layer], self.own[layer]
        scale = q.shape[-1] ** -0.5
        across = q.transpose(1, 2)  # [B, heads, R, size]
        shared = torch.matmul(across, prompt_k.transpose(-1, -2)).mul_(scale)
        shared.masked_fill_(self.hidden_places, torch.finfo(shared.dtype).min)
        own = torch.matmul(own_k[:, :, :, : self.written], q.unsqueeze(-1)).squeeze(-1).mul_(scale)
        own = own.transpose(1, 2)  # [B, heads, R, written]
        weights = torch.cat([shared, own], dim=-1).float().softmax(dim=-1).to(q.dtype)
        width = prompt_k.shape[2]
        mixed = torch.matmul(weights[..., :width], prompt_v).transpose(1, 2)
        per_row = weights[..., width:].transpose(1, 2).unsqueeze(-2)  # [B, R, heads, 1, written]
        mixed = mixed + torch.matmul(per_row, own_v[:, :, :, : self.written]).squeeze(-2)
        return mixed.flatten(-2)
