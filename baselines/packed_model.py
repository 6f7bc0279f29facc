"""GPT-J with LoRA by hand behind the interface of ``baselines.adapted``: packed, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from baselines.adapted import Settings
from baselines.gptj import GPTJ, Adapter, Dropout, Packed, pack
from baselines.models import merged, save_adapter
from baselines.prompts import LabelledPrompt
from baselines.vocabulary import Vocabulary


class PackedModel:
    """A GPT-J and its adapter; ``peft`` is what ``adapter_config.json`` will say of it."""

    is_encoder_decoder = False

    def __init__(
        self,
        model: GPTJ,
        adapter: Adapter,
        vocabulary: Vocabulary,
        peft: Settings,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        self.model, self.adapter, self.vocabulary = model, adapter, vocabulary
        self.peft, self.dropout, self.checkpointing = peft, dropout, checkpointing
        self.limit: int | None = model.shape.n_positions

    @property
    def device(self) -> torch.device:
        """As ``AdaptedModel``."""
        return self.model.embedding.device

    @property
    def weights(self) -> list[Tensor]:
        """As ``AdaptedModel``."""
        return [part for change in self.adapter.values() for part in (change.a, change.b)]

    def loss_sum(self, examples: Sequence[LabelledPrompt], seed: tuple[int, ...]) -> Tensor:
        """As ``AdaptedModel``."""
        batch, wanted = batch_of(examples, self.device)
        hidden = self.model.hidden(batch, self.adapter, Dropout(self.dropout, seed), self.checkpointing)
        return self.model.cross_entropy_sum(hidden, wanted)

    def reader(self) -> GPTJ:
        """The model with the updates added to its weights."""
        return merged(self.model, self.adapter) if self.adapter else self.model

    def save(self, folder: Path) -> None:
        """As ``AdaptedModel``."""
        save_adapter(self.adapter, folder, dict(self.peft))


def batch_of(examples: Sequence[LabelledPrompt], device: torch.device) -> tuple[Packed, Tensor]:
    """Examples packed, and the tokens to be predicted: int64 [M], the summary and EOS of each and no more."""
    batch = pack(
        [example.ids[:-1] for example in examples],
        [example.prompt_length - 1 for example in examples],
        [len(example.ids) - example.prompt_length for example in examples],
    )
    wanted = [token for example in examples for token in example.ids[example.prompt_length :]]
    return batch.to(device), torch.tensor(wanted, device=device)
