"""A model's tokenizer as training and decoding see it: text to tokens, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer of the ``tokenizers`` library, with what its model expects around a text.

    ``end`` is the token that ends a summary; ``before`` and ``after`` are the special tokens around an
    input (Llama's ``<s>``, T5's ``</s>``), as the model's own tokenizer adds them. ``chat_template`` is
    a function from a question to the conversation as text, or None where the model has none.
    """

    tokenizer: Tokenizer
    end: int
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    chat_template: Any = None

    def encode(self, text: str) -> list[int]:
        """Tokens of ``text``. The name of a special token in it is text like any other."""
        self.tokenizer.encode_special_tokens = True
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_markup(self, text: str) -> list[int]:
        """Tokens of our own ``text``, where the name of a special token stands for the token."""
        self.tokenizer.encode_special_tokens = False
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def conversation(self, template: str) -> str:
        """``template`` as a user's question in the model's chat template, the answer's turn opened.

        Raises:
            UsageError: the model has no chat template, or its template changes or drops ``{text}``.
        """
        if self.chat_template is None:
            raise UsageError(
                "This model has no chat template.",
                hint="Leave out --chat-template: --template is all it needs.",
            )
        made = str(self.chat_template(template))
        if made.count("{text}") != 1:
            raise UsageError("The model's chat template does not keep the place of the document, {text}.")
        return made


def specials_around(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that ``tokenizer`` puts before and after a text."""
    inner = list(tokenizer.encode("가", add_special_tokens=False).ids)
    whole = list(tokenizer.encode("가", add_special_tokens=True).ids)
    for start in range(len(whole) - len(inner) + 1):
        if whole[start : start + len(inner)] == inner:
            return tuple(whole[:start]), tuple(whole[start + len(inner) :])
    return (), ()
