"""From text to the tokens that are scored: normalisation, and the presets a contest may name.

What the presets make of one line (``[…]`` is the list of tokens)::

    text         "해솔시, 노후 상수도관 42km 교체(尹)"
    mecab        [해, 솔, 시, 노후, 상수도관, 42, km, 교체, 尹]
    eojeol       [해솔시,, 노후, 상수도관, 42km, 교체(尹)]
    syllable     [해, 솔, 시, 노, 후, 상, 수, 도, 관, 4, 2, k, m, 교, 체, 尹]
    dacon        [해, 솔, 시, 노후, 상수도관, 42, km, 교체]
    rouge_score  [42km]

A tokenizer is a function from texts to lists of tokens with a ``signature`` that names everything the
tokens depend on. ``docs/scoring.md`` says why each preset is as it is. Importing this module loads no
analyser; a preset's packages are imported when it is first used.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "matbogi.tokenizers"
"""Where other packages register presets: a name, and a function without arguments that returns a
``Tokenizer``."""


class Tokenizer(Protocol):
    """Texts in, lists of tokens out, one list a text, in order."""

    @property
    def signature(self) -> str:
        """Everything the tokens depend on, in one line without ``|`` or white space."""
        ...

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of every text."""
        ...


@runtime_checkable
class SentenceTokenizer(Tokenizer, Protocol):
    """A tokenizer that also says where sentences end. ROUGE-L is then the union LCS over sentences."""

    def sentences(self, texts: Sequence[str]) -> list[list[list[str]]]:
        """The tokens of every sentence of every text."""
        ...


@dataclass(frozen=True, slots=True)
class Preset:
    """One entry of ``TOKENIZERS``. ``load`` imports what it needs; ``normalisation`` goes before it.

    ``slow`` tokens cost more to make than to look up, so they are kept (``harness.token_cache``).
    """

    load: Callable[[], Tokenizer]
    help: str
    normalisation: str
    slow: bool = False


# --- Normalisation --------------------------------------------------------------------------------


def to_nfc(text: str) -> str:
    """``text`` with its syllables composed (Unicode NFC): the same word, however it was typed."""
    return unicodedata.normalize("NFC", text)


class _Cleaning(dict[int, int | str | None]):
    """What ``str.translate`` does with each code point; filled as characters are met."""

    def __missing__(self, code: int) -> int | str | None:
        category = unicodedata.category(chr(code))
        # Format characters (zero width space, direction marks) cannot be seen, so they cannot count.
        replacement = {"P": " ", "Z": " ", "Cc": " ", "Cf": None}
        self[code] = found = replacement.get(category, replacement.get(category[0], code))
        return found


_CLEANING = _Cleaning()


def clean(text: str) -> str:
    """NFC, lower case, punctuation and control characters to spaces, format characters dropped.

    "Punctuation" is Unicode's general category P. Letters and digits of every script, symbols (₩, ℃, ~)
    and emoji stay: nothing a person wrote disappears but the marks around it.
    """
    return to_nfc(text).lower().translate(_CLEANING)


_NOT_DACON = re.compile("[^A-Za-z0-9가-힣]")


def clean_dacon(text: str) -> str:
    """NFC, lower case, and everything but ASCII letters, digits and Hangul syllables to a space.

    This is the cleaning of the DACON scorer, which loses hanja and ㅋㅋ; only NFC is added.
    """
    return _NOT_DACON.sub(" ", to_nfc(text).lower())


# --- Tokenizers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """A tokenizer that normalises each text and then splits it."""

    signature: str
    normalise: Callable[[str], str]
    split: Callable[[str], list[str]]

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of every text."""
        return [self.split(self.normalise(text)) for text in texts]


DACON_WORDS = 1_000
"""How many words, split at white space, the DACON scorer reads of a summary."""


@dataclass(frozen=True, slots=True)
class DaconTokenizer:
    """The DACON scorer's reading of a text: whole for ROUGE-N, line by line for ROUGE-L.

    Source: the scorer of DACON 235673 (2020) in participants' public copies, an adaptation of py-rouge
    (github.com/Diego999/py-rouge, ``rouge/rouge.py``, commit 03029b3b): its
    ``_preprocess_summary_as_a_whole`` and ``_preprocess_summary_per_sentence`` with KoNLPy's Mecab.
    """

    signature: str
    split: Callable[[str], list[str]]

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of every text, its lines joined."""
        return [self._tokens(text.split()[:DACON_WORDS]) for text in texts]

    def sentences(self, texts: Sequence[str]) -> list[list[list[str]]]:
        """The tokens of every line of every text, until the limit of words is used up."""
        return [[self._tokens(words) for words in _lines_of_words(text)] for text in texts]

    def _tokens(self, words: Sequence[str]) -> list[str]:
        return self.split(clean_dacon(" ".join(words)))


def _lines_of_words(text: str) -> Iterator[list[str]]:
    left = DACON_WORDS
    for line in text.split("\n"):
        words = line.split()[:left]
        left -= len(words)
        yield words


# --- Plain presets --------------------------------------------------------------------------------


def _load_eojeol() -> Tokenizer:
    return TextTokenizer("eojeol,norm:nfc", to_nfc, str.split)


def _load_syllable() -> Tokenizer:
    return TextTokenizer("syllable,norm:nfc+lower+punct", clean, _characters)


def _characters(text: str) -> list[str]:
    return list("".join(text.split()))


_ENGLISH = re.compile("[a-z0-9]+")


def _load_rouge_score() -> Tokenizer:
    # What google's tokenize.py does without its stemmer: everything but [a-z0-9] separates tokens. No
    # NFC, which would change what it makes of accents.
    return TextTokenizer("rouge_score,norm:lower+ascii", str.lower, _ENGLISH.findall)


# --- Morphological analysers ----------------------------------------------------------------------

_LONGEST_WORD = 1_000  # characters
_LONGEST_PIECE = 20_000  # characters
_UNENCODABLE = re.compile("[\0\ud800-\udfff]")


def _pieces(text: str) -> Iterator[str]:
    """``text`` in pieces that an analyser can take, its white space made single spaces.

    A NUL would end the text inside Mecab, and a lone surrogate cannot be encoded. Mecab's time grows with
    the square of an unbroken run of letters (87 s for a million), and it gives up on a sentence whose
    costs exceed 2**31. No summary comes near either bound, so no figure depends on them.
    """
    piece: list[str] = []
    size = 0
    for word in _UNENCODABLE.sub(_encodable, text).split():
        for start in range(0, len(word), _LONGEST_WORD):
            part = word[start : start + _LONGEST_WORD]
            if size + len(part) > _LONGEST_PIECE:
                yield " ".join(piece)
                piece, size = [], 0
            piece.append(part)
            size += len(part) + 1
    if piece:
        yield " ".join(piece)


def _encodable(match: re.Match[str]) -> str:
    return " " if match[0] == "\0" else "\ufffd"


@dataclass(frozen=True, slots=True)
class Mecab:
    """mecab-ko with a checked dictionary. It gives a text the same morphemes whatever came before it."""

    tagger: Any  # mecab_ko's Tagger; it has no types
    signature: str

    def surfaces(self, text: str) -> list[str]:
        """The morphemes of ``text`` as they are written; put together they are the text without spaces."""
        return [surface for surface, _ in self.parse(text)]

    def parse(self, text: str) -> list[tuple[str, str]]:
        """The morphemes of ``text``, each with its part-of-speech tag (``NNG``, ``JKS``, ``VV+EF``, …)."""
        morphemes: list[tuple[str, str]] = []
        for piece in _pieces(text):
            parsed = self.tagger.parse(piece)
            if parsed is None:
                raise UsageError(f"Mecab could not read a text of {len(text):,} characters.")
            for line in parsed.splitlines()[:-1]:  # the last one says EOS
                surface, _, feature = line.partition("\t")
                morphemes.append((surface, feature.partition(",")[0]))
        return morphemes


MECAB_ENGINE = "mecab-ko"
MECAB_DICTIONARY = "python-mecab-ko-dic"
MECAB_DICTIONARY_SHA256 = "d765ae3ceb2973d74cfea70937560f7c1b4fc3ab73032f5b8d3b47328578a403"
"""``dictionary_sha256`` of python-mecab-ko-dic 2.1.1.post2, which is mecab-ko-dic 2.1.1-20180720."""


_MECAB_HINT = (
    "Install both parts with: python -m pip install --force-reinstall mecab-ko python-mecab-ko-dic==2.1.1.post2"
)


@cache
def load_mecab() -> Mecab:
    """mecab-ko and its dictionary, loaded once.

    Raises:
        UsageError: a package is missing, or the dictionary is not the one that scores are made with.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        # The engine's own wrapper would import the package mecab_ko_dic and ask it for a folder. Two
        # distributions own that package, with different dictionaries; this goes to the one we mean.
        from mecab_ko import _MeCab

        engine = distribution(MECAB_ENGINE)
        dictionary = distribution(MECAB_DICTIONARY)
        folder = Path(str(dictionary.locate_file("mecab_ko_dic/dictionary")))
        sha256 = dictionary_sha256(folder)
    except (ImportError, PackageNotFoundError, OSError) as error:
        raise UsageError(f"Mecab cannot be used: {error}.", hint=_MECAB_HINT) from None
    if sha256 != MECAB_DICTIONARY_SHA256:
        raise UsageError(
            f"Mecab's dictionary is not the one scores are made with: {dictionary.version} in {folder} "
            f"has the hash {sha256[:8]}, not {MECAB_DICTIONARY_SHA256[:8]}.",
            hint=_MECAB_HINT,
        )
    # Without a file of its own Mecab would read ~/.mecabrc or $MECABRC, and scores would depend on it.
    options = ["", "--rcfile", str(folder / "dicrc"), "--dicdir", str(folder), "--allocate-sentence"]
    tagger = _MeCab.Tagger([option.encode() for option in options])
    return Mecab(tagger, f"{MECAB_ENGINE}-{engine.version},dic:{sha256[:8]}")


_DICTIONARY_FILES = ("dicrc", "char.bin", "unk.dic", "matrix.bin", "sys.dic")
_SAMPLES, _SAMPLE_BYTES = 64, 4_096


def dictionary_sha256(folder: Path) -> str:
    """A hash, in hex, of the files Mecab analyses with: their sizes, and 64 blocks of each.

    Reading all 100 MB would cost .3 s of CPU every time. The sample tells builds apart; it is no guard
    against a forger.
    """
    digest = hashlib.sha256()
    for name in _DICTIONARY_FILES:
        with (folder / name).open("rb") as file:
            size = file.seek(0, 2)
            digest.update(f"{name}:{size}\n".encode())
            for offset in range(0, size, max(_SAMPLE_BYTES, size // _SAMPLES)):
                file.seek(offset)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _load_mecab() -> Tokenizer:
    mecab = load_mecab()
    return TextTokenizer(f"mecab:{mecab.signature},norm:nfc+lower+punct", clean, mecab.surfaces)


def _load_dacon() -> Tokenizer:
    mecab = load_mecab()
    signature = f"dacon:{mecab.signature},norm:nfc+words{DACON_WORDS}+lower+dacon,L:lines+union"
    return DaconTokenizer(signature, mecab.surfaces)


def _load_kiwi() -> Tokenizer:
    from importlib.metadata import PackageNotFoundError, version

    try:
        from kiwipiepy import Kiwi

        packages = f"kiwipiepy-{version('kiwipiepy')},model:{version('kiwipiepy_model')}"
    except (ImportError, PackageNotFoundError) as error:
        raise UsageError(
            f"Kiwi cannot be used: {error}.",
            hint="Install it with: python -m pip install 'matbogi[kiwi]'  (or: kiwipiepy)",
        ) from None
    kiwi = Kiwi(num_workers=1)

    def split(text: str) -> list[str]:
        return [token.form for piece in _pieces(text) for token in kiwi.tokenize(piece)]

    return TextTokenizer(f"kiwi:{packages}-{kiwi.model_type},norm:nfc+lower+punct", clean, split)


# --- The table ------------------------------------------------------------------------------------

TOKENIZERS: Mapping[str, Preset] = {
    "mecab": Preset(
        _load_mecab, "Mecab morphemes, the contest's own", "NFC, lower case, no punctuation", slow=True
    ),
    "eojeol": Preset(_load_eojeol, "words between white space", "NFC"),
    "syllable": Preset(_load_syllable, "single characters", "NFC, lower case, no punctuation"),
    "kiwi": Preset(_load_kiwi, "Kiwi morphemes", "NFC, lower case, no punctuation", slow=True),
    "dacon": Preset(
        _load_dacon,
        "equal to the DACON/NIKL scorer: Mecab morphemes, ROUGE-L by the union LCS over lines",
        "NFC, lower case, only [a-z0-9가-힣]",
    ),
    "rouge_score": Preset(
        _load_rouge_score,
        "equal to google's rouge-score: English only; any Korean scores 0",
        "lower case, only [a-z0-9]",
    ),
}


@cache
def load_tokenizer(preset: str) -> Tokenizer:
    """The tokenizer of a preset, loaded once.

    Raises:
        UsageError: there is no such preset, or a package it needs is missing; the message says how to
            install it. Nothing is ever put in its place.
    """
    if preset in TOKENIZERS:
        return TOKENIZERS[preset].load()
    registered = _registered()
    if preset not in registered:
        names = [*TOKENIZERS, *registered]
        near = get_close_matches(preset, names, n=1, cutoff=0.5)
        raise UsageError(
            f"There is no tokenizer {preset!r}." + (f" Did you mean {near[0]!r}?" if near else ""),
            hint=f"The tokenizers are {', '.join(names)}.",
        )
    try:
        loaded: Tokenizer = registered[preset].load()()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"The tokenizer {preset!r} ({registered[preset].value}) cannot be loaded: {error}."
        ) from None
    return loaded


def preset_exists(name: str) -> bool:
    """Whether ``load_tokenizer`` knows ``name``. Other packages are asked only if our own table does not."""
    return name in TOKENIZERS or name in _registered()


def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
