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

from baselines.gptj import GPTJ, gelu, pack


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

    def __init__(
        self, model: GPTJ, products: Products, prompts: Sequence[Sequence[int]], room: int
    ) -> None:
        self.model, self.products, self.written = model, products, 0
        keep: list[tuple[Tensor, Tensor]] = []
        last = [len(prompt) - 1 for prompt in prompts]
        device = model.embedding.device
        batch = pack(prompts, last, [1] * len(prompts)).to(device)
        self.first_logits = self.products.head(model.hidden(batch, keep=keep)).float()  # [B, V]
        self.lengths = torch.tensor(batch.lengths, device=device)  # [B]
        places = torch.arange(int(self.lengths.max()), device=device)
        self.hidden_places = (places >= self.lengths[:, None])[:, None, None]  # [B, 1, 1, L]
        # Each block's prompt: keys and values [B, heads, L, size]
        self.prompt = [(self._padded(k, batch.lengths), self._padded(v, batch.lengths)) for k, v in keep]
        heads, size = model.shape.n_head, model.shape.n_embd // model.shape.n_head
        own = (len(prompts), 1, heads, room, size)
        self.own = [
            (torch.zeros(own, dtype=k.dtype, device=device), torch.zeros(own, dtype=k.dtype, device=device))
            for k, _ in keep
        ]

    def _padded(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        padded = torch.nn.utils.rnn.pad_sequence(list(x.split(tuple(lengths))), batch_first=True)
        return padded.transpose(1, 2).contiguous()

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
            block = model.blocks[layer]
            normed = functional.layer_norm(
                x, (shape.n_embd,), block.norm, block.norm_bias, shape.layer_norm_epsilon
            )
            qkv, inner = self.products.read[layer](normed).split([3 * shape.n_embd, shape.n_inner], dim=-1)
            heads = qkv.unflatten(-1, (3 * shape.n_head, -1))
            q, k = model.rotate(heads[..., : 2 * shape.n_head, :], turn).chunk(2, dim=-2)  # [B, R, heads, size]
            own_k, own_v = self.own[layer]
            own_k[:, :, :, self.written - 1] = k
            own_v[:, :, :, self.written - 1] = heads[..., 2 * shape.n_head :, :]
            x = x + self.products.attended[layer](self._attend(layer, q))
            x = x + self.products.inner[layer](gelu(inner.contiguous()))
        x = functional.layer_norm(x, (shape.n_embd,), model.norm, model.norm_bias, shape.layer_norm_epsilon)
        return self.products.head(x).float()

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
