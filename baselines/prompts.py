"""The prompt around a document, used alike in training and in decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from harness.errors import UsageError

DEFAULT_TEMPLATE = "{text} 한줄 요약:"
"""The prompt of the contest's official baseline."""


class Encoder(Protocol):
    """The part of ``baselines.vocabulary.Vocabulary`` that prompts need."""

    @property
    def before(self) -> tuple[int, ...]:
        """Special tokens before an input."""
        ...

    @property
    def after(self) -> tuple[int, ...]:
        """Special tokens after an input."""
        ...

    def encode(self, text: str, /) -> list[int]:
        """Tokens of a text from outside."""
        ...

    def encode_markup(self, text: str, /) -> list[int]:
        """Tokens of our own text, special tokens read by their names."""
        ...


class Prompt(NamedTuple):
    """A document ready for a model, and how many of its tokens did not fit."""

    ids: list[int]
    left_out: int


class LabelledPrompt(NamedTuple):
    """A training example: the prompt's tokens, then the summary's and EOS, which alone are learnt."""

    ids: list[int]
    prompt_length: int


@dataclass(frozen=True)
class Template:
    """Text with ``{text}`` where the document goes.

    ``is_conversation`` says that ``text`` is a whole conversation in a model's chat template, which holds
    all special tokens itself. ``gap`` stands between the prompt and a summary.

    Raises:
        UsageError: ``{text}`` is not in it exactly once.
    """

    text: str
    is_conversation: bool = False
    gap: str = " "

    def __post_init__(self) -> None:
        if self.text.count("{text}") != 1:
            raise UsageError(
                f"The template {self.text!r} must hold {{text}} once: that is where the document goes.",
                hint=f"For example: --template '{DEFAULT_TEMPLATE}'",
            )

    def encode(self, document: str, encoder: Encoder, room: int) -> Prompt:
        """The prompt's tokens, at most ``room``; what is too long is cut from the end of the document.

        The document and what stands around it are encoded apart, so that the same tokens come before a
        summary however the document ends.

        Raises:
            UsageError: ``room`` has no place even for the template alone.
        """
        before, after = (encoder.encode_markup(part) if part else [] for part in self.text.split("{text}"))
        if not self.is_conversation:
            before, after = [*encoder.before, *before], [*after, *encoder.after]
        space = room - len(before) - len(after)
        if space < 1:
            raise UsageError(
                f"The template alone takes {len(before) + len(after)} tokens, and there is room for {room}.",
                hint="Raise --max-input-tokens or shorten --template.",
            )
        middle = encoder.encode(document)
        return Prompt([*before, *middle[:space], *after], max(0, len(middle) - space))

    def label(
        self, prompt: Prompt, summary: str, encoder: Encoder, end: int, max_new_tokens: int
    ) -> LabelledPrompt:
        """``prompt`` followed by its summary, at most ``max_new_tokens`` of it, and the end token."""
        wanted = encoder.encode(self.gap + summary.strip())[: max_new_tokens - 1]
        return LabelledPrompt([*prompt.ids, *wanted, end], len(prompt.ids))


def order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of ``count`` examples in one epoch: a function of ``seed`` and ``epoch`` alone."""
    import numpy as np

    return [int(index) for index in np.random.default_rng([seed, epoch]).permutation(count)]


def split_dev(count: int, dev_size: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on, and ``dev_size`` (at most a fifth of all) held back, drawn by ``seed``."""
    import numpy as np

    held = min(dev_size, count // 5)
    shuffled = [int(index) for index in np.random.default_rng([seed, 0xDE5]).permutation(count)]
    return sorted(shuffled[held:]), sorted(shuffled[:held])
