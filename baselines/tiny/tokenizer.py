"""Trains the embedded model's tokenizer: BPE over characters, with bytes for what it has never seen.

It is made so that a name keeps its tokens wherever it stands, for a model copies tokens and not letters:
every digit is a token of its own, a particle is no part of the noun before it, and a word that begins a
line is written like one after a space. The special tokens are KoGPT's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from baselines.tiny.reading import syllables

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = ["[BOS]", "[EOS]", "[UNK]", "[PAD]", "[MASK]"]
BYTES = [f"<0x{value:02X}>" for value in range(256)]
PARTICLES = (
    "이었다", "였다", "으로는", "에서는", "에서도", "에게도", "까지는", "부터는", "이라고", "으로", "에서",
    "에게", "부터", "까지", "라고", "하고", "이나", "이며", "에는", "에도", "마다", "보다", "처럼", "만큼",
    "은", "는", "이", "가", "을", "를", "과", "와", "의", "에", "도", "로", "만",
)  # fmt: skip
"""What may end a word after two syllables or more, or after one that follows a number; longest first."""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of ``vocab_size`` entries from ``texts``; the same texts give the same one."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", byte_fallback=True, fuse_unk=False))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("\n", "\n ")])
    before = "(?:(?<=[가-힣]{2})|(?<=^[가-힣]))"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never"),
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Split(Regex(f"{before}(?:{'|'.join(PARTICLES)})$"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace("\n ", "\n"),
        ]
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
