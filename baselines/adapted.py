"""The one interface between models and the loops that train them and let them write.

``PackedModel`` (GPT-J by hand) and ``TransformersModel`` (every other architecture) have it. Neither loop
knows which of them it drives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from baselines.prompts import LabelledPrompt
from baselines.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Rows(Protocol):
    """Prompts that have been read, and the rows that continue each of them: at first one a prompt."""

    @property
    def first_logits(self) -> Tensor:
        """Float32 [prompts, V]: what may follow each prompt."""
        ...

    def select(self, prompts: Sequence[int], parents: Tensor) -> None:
        """Go on with these prompts, and with rows that continue ``parents``, int64 [prompts, rows].

        ``prompts`` are places in the batch as it is, ``parents`` places among the rows of the same prompt.
        """
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Float32 [prompts, rows, V]: what may follow after appending ``tokens`` [prompts, rows]."""
        ...


@runtime_checkable
class Refillable(Rows, Protocol):
    """Rows that can be given further prompts while others still write."""

    def refill(self, places: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Float32 [prompts, V]: what may follow each of ``prompts``, which take ``places`` of the batch.

        Those are places of prompts that have ended, or the next ones behind all others, up to as many as
        there were at first. ``select`` comes next, with one row to each new prompt so far.

        Raises:
            ValueError: a prompt is longer than any of the first ones.
        """
        ...


class Reader(Protocol):
    """A model as it is now, for decoding alone."""

    @property
    def longest_prompt(self) -> int | None:
        """Tokens a prompt and what is written after it may have together; None where nothing limits them."""
        ...

    def rows(self, prompts: Sequence[Sequence[int]], room: int, width: int) -> Rows:
        """Read ``prompts``, each of which at most ``room`` tokens will follow in at most ``width`` rows."""
        ...

    def batch_size(self, tokens: int, width: int) -> int:
        """How many prompts to decode at once; each takes ``tokens``, with what its ``width`` rows write."""
        ...

    def ready_for_threads(self) -> bool:
        """Whether ``rows`` may from now on be called, and go on, in several threads, and it is worth it."""
        ...


class AdaptedModel(Protocol):
    """A frozen base model with an adapter on it."""

    vocabulary: Vocabulary
    limit: int | None
    """Tokens that fit: prompt and summary together, or the prompt alone with an encoder; None: any number."""
    is_encoder_decoder: bool

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        ...

    @property
    def weights(self) -> list[Tensor]:
        """The adapter's tensors, float32, always in the same order."""
        ...

    def loss_sum(self, examples: Sequence[LabelledPrompt], seed: tuple[int, ...]) -> Tensor:
        """The summed cross-entropy (float32) over the summaries' tokens; dropout is drawn from ``seed``."""
        ...

    def reader(self) -> Reader:
        """The model with the adapter as it is now."""
        ...

    def save(self, folder: Path) -> None:
        """Write the adapter in PEFT's format."""
        ...


class Update(Protocol):
    """What ``baselines.lora.Config`` says of the adapter."""

    r: int
    lora_alpha: float
    lora_dropout: float
    target_modules: str
    use_rslora: bool
    use_dora: bool
    init_lora_weights: str
    gradient_checkpointing: bool
    seed: int


Settings = Mapping[str, Any]
