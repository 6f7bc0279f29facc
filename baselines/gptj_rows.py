"""GPT-J's prompts and the rows that continue them: each prompt's keys and values held once for all its rows.

Prompts run through the model packed, without padding. Then every prompt has rows: one for greedy decoding,
one for each beam, and, where several ways of decoding are tried, the rows of all of them side by side. All
look at the same prompt, and only the tokens written so far are a row's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from baselines.gptj import GPTJ, pack


class GPTJRows:
    """Prompts that have been read, and the rows that continue them: ``R`` to each prompt, at first 1."""

    def __init__(self, model: GPTJ, prompts: Sequence[Sequence[int]], room: int) -> None:
        self.model, self.written = model, 0
        keep: list[tuple[Tensor, Tensor]] = []
        last = [len(prompt) - 1 for prompt in prompts]
        device = model.embedding.device
        batch = pack(prompts, last, [1] * len(prompts)).to(device)
        self.first_logits = model.logits(model.hidden(batch, keep=keep)).float()  # [B, V]
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
            qkv = functional.linear(normed, block.qkv).unflatten(-1, (3 * shape.n_head, -1))
            qk = model.rotate(qkv[..., : 2 * shape.n_head, :], turn)
            q, k = qk.chunk(2, dim=-2)  # [B, R, heads, size]
            own_k, own_v = self.own[layer]
            own_k[:, :, :, self.written - 1] = k
            own_v[:, :, :, self.written - 1] = qkv[..., 2 * shape.n_head :, :]
            attended = self._attend(layer, q)
            inner = functional.linear(normed, block.fc_in, block.fc_in_bias)
            inner = functional.gelu(inner, approximate="tanh")
            x = x + functional.linear(attended, block.out_proj)
            x = x + functional.linear(inner, block.fc_out, block.fc_out_bias)
        x = functional.layer_norm(x, (shape.n_embd,), model.norm, model.norm_bias, shape.layer_norm_epsilon)
        return model.logits(x).float()

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
