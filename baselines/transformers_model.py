"""Every architecture that transformers and peft know, behind the interface of ``baselines.adapted``.

Decoder-only models read a batch's documents end to end, without padding, where that is exact; whether it is,
is tried on the model itself when it is loaded, since several architectures ignore silently what keeps
documents apart. Where it is not, and for encoders, documents are padded on the right.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.adapted import Rows
from baselines.cached_rows import CachedRows, EncodedRows, padded
from baselines.prompts import LabelledPrompt
from baselines.vocabulary import Vocabulary

PROMPTS_AT_ONCE, ROWS_AT_ONCE = 32, 128


class TransformersModel:
    """A model of transformers; ``peft`` has its adapter, or is the model itself where there is none.

    ``start`` is what an encoder-decoder model's decoder reads before a summary.
    """

    def __init__(self, model: Any, peft: Any, vocabulary: Vocabulary, start: Sequence[int] = ()) -> None:
        self.base, self.peft, self.vocabulary, self.start = model, peft, vocabulary, tuple(start)
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        self.limit = position_limit(model.config)
        self._takes = inspect.signature(model.forward).parameters
        self.packs = not self.is_encoder_decoder and self._packs_exactly()

    @property
    def device(self) -> torch.device:
        """As ``AdaptedModel``."""
        return torch.device(self.base.device)

    @property
    def weights(self) -> list[Tensor]:
        """As ``AdaptedModel``."""
        return [weight for weight in self.peft.parameters() if weight.requires_grad]

    # --- training ---

    def loss_sum(self, examples: Sequence[LabelledPrompt], seed: tuple[int, ...]) -> Tensor:
        """As ``AdaptedModel``. Dropout is peft's and the model's own, from torch's generator seeded here."""
        self.peft.train()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(_one_number(seed))
            logits, wanted = self._label_logits(examples)
        return functional.cross_entropy(logits.float(), wanted, reduction="sum")

    def _label_logits(self, examples: Sequence[LabelledPrompt]) -> tuple[Tensor, Tensor]:
        """[M, V] logits at the label positions of all ``examples``, and int64 [M] labels."""
        labels = [example.ids[example.prompt_length :] for example in examples]
        wanted = torch.tensor([token for each in labels for token in each], device=self.device)
        if self.is_encoder_decoder:
            return self._decoder_logits(examples, labels), wanted
        texts = [example.ids[:-1] for example in examples]
        places = [range(example.prompt_length - 1, len(example.ids) - 1) for example in examples]
        return self._packed(texts, places) if self.packs else self._padded(texts, places), wanted

    def _packed(self, texts: Sequence[Sequence[int]], places: Sequence[Sequence[int]]) -> Tensor:
        ids = torch.tensor([[token for text in texts for token in text]], device=self.device)
        positions = torch.cat([torch.arange(len(text)) for text in texts])[None].to(self.device)
        starts = [sum(map(len, texts[:number])) for number in range(len(texts))]
        chosen = torch.tensor(
            [start + place for start, each in zip(starts, places, strict=True) for place in each],
            device=self.device,
        )
        keep = {"logits_to_keep": chosen} if "logits_to_keep" in self._takes else {}
        logits: Tensor = self.peft(
            input_ids=ids, attention_mask=None, position_ids=positions, use_cache=False, **keep
        ).logits[0]
        return logits if keep else logits[chosen]

    def _padded(self, texts: Sequence[Sequence[int]], places: Sequence[Sequence[int]]) -> Tensor:
        ids, mask = padded(texts, self.device)
        logits: Tensor = self.peft(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return torch.cat([logits[row, list(each)] for row, each in enumerate(places)])

    def _decoder_logits(self, examples: Sequence[LabelledPrompt], labels: Sequence[Sequence[int]]) -> Tensor:
        prompts = [example.ids[: example.prompt_length] for example in examples]
        ids, mask = padded(prompts, self.device)
        read, _ = padded([[*self.start, *each[:-1]] for each in labels], self.device)
        logits: Tensor = self.peft(
            input_ids=ids, attention_mask=mask, decoder_input_ids=read, use_cache=False
        ).logits
        first = len(self.start) - 1
        return torch.cat([logits[row, first : first + len(each)] for row, each in enumerate(labels)])

    @torch.no_grad()
    def _packs_exactly(self) -> bool:
        """Whether two texts end to end give the logits that each gives alone."""
        if "position_ids" not in self._takes:
            return False
        self.peft.eval()
        size = int(self.base.config.get_text_config().vocab_size)
        draw = torch.Generator().manual_seed(0)
        texts = [torch.randint(size, (length,), generator=draw).tolist() for length in (7, 9, 5)]
        together = self._packed(texts, [range(len(text)) for text in texts])
        alone = torch.cat([self._padded([text], [range(len(text))]) for text in texts])
        kind = next(self.base.parameters()).dtype
        tolerance = 1e-4 if kind == torch.float32 else 3e-2
        difference = (together.float() - alone.float()).abs().max()
        return bool(difference <= tolerance * alone.float().abs().max().clamp(min=1e-3))

    # --- decoding ---

    @property
    def longest_prompt(self) -> int | None:
        """As ``Reader``; an encoder's limit is of prompts alone, and they were cut to it."""
        return None if self.is_encoder_decoder else self.limit

    def reader(self) -> TransformersModel:
        """The model itself, dropout switched off."""
        self.peft.eval()
        return self

    def rows(self, prompts: Sequence[Sequence[int]], room: int, width: int) -> Rows:
        """As ``Reader``; ``room`` and ``width`` are not needed, the cache grows."""
        if self.is_encoder_decoder:
            return EncodedRows(self.base, prompts, self.start)
        return CachedRows(self.base, prompts)  # peft has put the adapter's layers into it

    def batch_size(self, tokens: int, width: int) -> int:
        """As ``Reader``: few, because a batch is padded and goes on until its last prompt has ended."""
        return max(1, min(PROMPTS_AT_ONCE, ROWS_AT_ONCE // width))

    def ready_for_threads(self) -> bool:
        """As ``Reader``: no, torch's threads share the work."""
        return False

    def save(self, folder: Path) -> None:
        """As ``AdaptedModel``."""
        self.peft.save_pretrained(str(folder))


def position_limit(config: Any) -> int | None:
    """Tokens a model of this ``config`` can read; None where its positions are relative, as T5's are."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions"):
        value = getattr(text, name, None)
        if isinstance(value, int) and config.model_type not in ("t5", "mt5", "umt5"):
            return value
    return None


def _one_number(seed: tuple[int, ...]) -> int:
    """A seed for torch from several numbers, the same on every machine."""
    import numpy as np

    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0] % (2**63))
