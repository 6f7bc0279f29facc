"""Prompts and the rows that continue them, in any model of transformers that keeps keys and values.

Prompts are padded on the left here and nowhere else, with positions and mask made from their lengths: that
they are padded on the wrong side, or seen by the model as text, cannot happen to whoever calls ``generate``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class CachedRows:
    """Rows of a decoder-only model; each row has its own copy of its prompt's keys and values."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self.model, self.width = model, 1
        device = model.device
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        longest = int(lengths.max())
        ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        places = torch.arange(longest, device=device)
        self.mask = (places >= longest - lengths[:, None]).long()  # [rows, tokens so far]
        self.next = lengths  # [rows]: the position of the next token
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
        takes = inspect.signature(model.forward).parameters
        self.takes_positions = "position_ids" in takes
        keep = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        out = model(
            input_ids=ids.to(device), attention_mask=self.mask, use_cache=True, **keep,
            **self._positions(positions),
        )  # fmt: skip
        self.cache, self.first_logits = out.past_key_values, out.logits[:, -1].float()

    def _positions(self, positions: Tensor) -> dict[str, Tensor]:
        return {"position_ids": positions} if self.takes_positions else {}

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """As ``baselines.adapted.Rows``."""
        rows = chosen_rows(prompts, parents, self.width, len(self.next))
        self.width = parents.shape[1]
        if rows is not None:
            self.cache.reorder_cache(rows)
            self.mask, self.next = self.mask[rows], self.next[rows]

    def step(self, tokens: Tensor) -> Tensor:
        """As ``baselines.adapted.Rows``."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        out = self.model(
            input_ids=tokens.reshape(-1, 1), attention_mask=self.mask, past_key_values=self.cache,
            use_cache=True, **self._positions(self.next[:, None]),
        )  # fmt: skip
        self.next = self.next + 1
        logits: Tensor = out.logits[:, -1].float()
        return logits.view(*tokens.shape, -1)


class EncodedRows:
    """Rows of an encoder-decoder model: ``start`` is what its decoder reads before a summary."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], start: Sequence[int]) -> None:
        self.model, self.width = model, 1
        ids, self.mask = padded(prompts, model.device)
        self.encoded = model.get_encoder()(input_ids=ids, attention_mask=self.mask).last_hidden_state
        first = torch.tensor([list(start)] * len(prompts), device=model.device)
        self.cache: Any = None
        self.first_logits = self._forward(first)

    def _forward(self, ids: Tensor) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutput

        out = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.encoded), attention_mask=self.mask,
            decoder_input_ids=ids, past_key_values=self.cache, use_cache=True,
        )  # fmt: skip
        self.cache = out.past_key_values
        logits: Tensor = out.logits[:, -1].float()
        return logits

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """As ``baselines.adapted.Rows``."""
        rows = chosen_rows(prompts, parents, self.width, len(self.mask))
        self.width = parents.shape[1]
        if rows is not None:
            self.cache.reorder_cache(rows)
            self.mask, self.encoded = self.mask[rows], self.encoded[rows]

    def step(self, tokens: Tensor) -> Tensor:
        """As ``baselines.adapted.Rows``."""
        return self._forward(tokens.reshape(-1, 1)).view(*tokens.shape, -1)


def chosen_rows(prompts: Sequence[int], parents: Tensor, width: int, count: int) -> Tensor | None:
    """Int64 [prompts * rows]: the rows to go on with, ``width`` to a prompt so far; None where all stay."""
    at = torch.tensor(prompts, device=parents.device)
    rows = (at[:, None] * width + parents).flatten()
    same = len(rows) == count and bool((rows == torch.arange(count, device=rows.device)).all())
    return None if same else rows


def padded(texts: Sequence[Sequence[int]], device: torch.device, fill: int = 0) -> tuple[Tensor, Tensor]:
    """Tokens [texts, longest] with ``fill`` on the right, and their mask of 0 and 1."""
    longest = max(len(text) for text in texts)
    ids = torch.full((len(texts), longest), fill, dtype=torch.int64)
    mask = torch.zeros(len(texts), longest, dtype=torch.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    return ids.to(device), mask.to(device)
