"""Trains the embedded model's tokenizer: BPE over characters, with bytes for what it has never seen.

Every digit is a token of its own, so that a number is copied and not guessed. The special tokens are KoGPT's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from baselines.tiny.reading import syllables

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = ["[BOS]", "[EOS]", "[UNK]", "[PAD]", "[MASK]"]
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of ``vocab_size`` entries from ``texts``; the same texts give the same one."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", byte_fallback=True, fuse_unk=False))  # noqa: S106
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation(),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    ascii_characters = [chr(code) for code in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *BYTES],
        initial_alphabet=[*syllables(), *ascii_characters, "\n", "▁"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The bytes were made special only to give them places; in text they are plain tokens.
    return _with_plain_bytes(tokenizer, [AddedToken(name, special=True) for name in SPECIAL_TOKENS])


def _with_plain_bytes(tokenizer: Tokenizer, special: list[object]) -> Tokenizer:
    import json

    from tokenizers import Tokenizer

    description = json.loads(tokenizer.to_str())
    names = {str(token.content) for token in special}  # type: ignore[attr-defined]
    description["added_tokens"] = [token for token in description["added_tokens"] if token["content"] in names]
    return Tokenizer.from_str(json.dumps(description, ensure_ascii=False))
