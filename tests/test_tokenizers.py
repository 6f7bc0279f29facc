"""The presets: what they make of a text, what they refuse, and what their signatures promise."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.tokenizers import DefaultTokenizer

from harness import tokenizers
from harness.errors import UsageError
from harness.tokenizers import (
    TOKENIZERS,
    Mecab,
    SentenceTokenizer,
    dictionary_sha256,
    load_mecab,
    load_tokenizer,
    preset_exists,
)

ROOT = Path(__file__).parents[1]
KOREAN = ["mecab", "eojeol", "syllable", "kiwi", "dacon"]
SENTENCE = "해솔시, 노후 상수도관 42km 교체(尹)"
ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates and NUL included


def tokens(preset: str, text: str) -> list[str]:
    """The tokens of one text."""
    return load_tokenizer(preset)([text])[0]


# --- Every preset -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("mecab", "해 솔 시 노후 상수도관 42 km 교체 尹"),
        ("eojeol", "해솔시, 노후 상수도관 42km 교체(尹)"),
        ("syllable", "해 솔 시 노 후 상 수 도 관 4 2 k m 교 체 尹"),
        ("dacon", "해 솔 시 노후 상수도관 42 km 교체"),
        ("rouge_score", "42km"),
    ],
)
def test_worked_tokens(preset: str, expected: str) -> None:
    """The line in the module's docstring becomes the tokens written there."""
    assert tokens(preset, SENTENCE) == expected.split()


@pytest.mark.parametrize("preset", TOKENIZERS)
def test_one_list_a_text(preset: str) -> None:
    """Every preset gives one list a text in order, an empty one for an empty text, the same each time."""
    tokenizer = load_tokenizer(preset)
    texts = ["비가 온다", "", "seven 7 dogs", " \n\t", "비가 온다"]
    found = tokenizer(texts)
    assert len(found) == 5
    assert (found[1], found[3]) == ([], [])
    assert found == [tokens(preset, text) for text in texts]
    assert tokenizer([]) == []


@pytest.mark.parametrize("preset", TOKENIZERS)
def test_signature(preset: str) -> None:
    """A signature begins with its preset's name, names the normalisation and fits into a longer one."""
    signature = load_tokenizer(preset).signature
    assert re.fullmatch(rf"{preset}[:,][^|\s]*norm:[a-z0-9+]+(,L:lines\+union)?", signature)


def test_signatures_name_packages() -> None:
    """Analysers are named with the versions of their packages, Mecab's dictionary by its hash."""
    engine, kiwi = distribution("mecab-ko").version, distribution("kiwipiepy").version
    assert load_tokenizer("mecab").signature == f"mecab:mecab-ko-{engine},dic:d765ae3c,norm:nfc+lower+punct"
    assert f"kiwi:kiwipiepy-{kiwi},model:" in load_tokenizer("kiwi").signature


@pytest.mark.parametrize("preset", TOKENIZERS)
def test_presets_are_described(preset: str) -> None:
    """Every preset has one line of help and says what it does to a text first; docs/scoring.md lists it."""
    assert TOKENIZERS[preset].help
    assert TOKENIZERS[preset].normalisation
    assert f"| `{preset}` |" in (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("preset", KOREAN)
def test_nfd_is_nfc(preset: str) -> None:
    """A text typed on a Mac (NFD) and the same text in NFC give the same tokens."""
    decomposed = unicodedata.normalize("NFD", SENTENCE)
    assert decomposed != SENTENCE
    assert tokens(preset, decomposed) == tokens(preset, SENTENCE)


@pytest.mark.parametrize("preset", KOREAN)
@given(text=ANY_TEXT)
@settings(max_examples=60, deadline=None)
@example(text="가\0나")
@example(text="\ud800")
@example(text="\x1c가\x85나\u2028다")
def test_any_text_has_tokens_without_white_space(preset: str, text: str) -> None:
    """No text is too strange, and no token is empty or holds white space."""
    found = tokens(preset, text)
    assert all(token and not any(letter.isspace() for letter in token) for token in found)


@pytest.mark.parametrize("preset", ["mecab", "syllable", "kiwi"])
@pytest.mark.parametrize(
    "word", ["尹", "ㅋㅋㅋ", "ㅠㅠ", "日本語", "привет", "مرحبا", "ภาษา", "℃", "₩", "😀", "½"]
)
def test_nothing_written_is_lost(preset: str, word: str) -> None:
    """Hanja, ㅋㅋ, other scripts, symbols and emoji stay: put together, the tokens hold the word."""
    assert word in "".join(tokens(preset, f"오늘 {word} 내일"))


@pytest.mark.parametrize("preset", ["mecab", "syllable", "kiwi", "dacon"])
def test_case_and_punctuation_do_not_count(preset: str) -> None:
    """Upper case, quotes, full stops, invisible and control characters make no difference."""
    plain = tokens(preset, "ai 시대 서울에서 열린다")
    assert tokens(preset, "“AI 시대”, ‘서울’에서 열린다.") == tokens(preset, "ai 시대 서울 에서 열린다")
    assert tokens(preset, "\ufeffAI 시대\u2026 서울에서\x07\r\n열린다!") == plain
    if preset != "dacon":
        assert tokens(preset, "AI 시\u200b대 서울\u00ad에서 열린다") == plain


# --- English ----------------------------------------------------------------------------------------


@given(text=st.one_of(ANY_TEXT, st.text(alphabet="aZ09 -'.\n\x1c\u00a0éİßK가\ud800")))
@settings(max_examples=2_000, deadline=None)
@example(text="İstanbul'da 3.5% “U.S.”\n\x85\u2028snake_case")
def test_english_is_rouge_score(text: str) -> None:
    """The preset ``rouge_score`` gives the tokens of rouge-score's own default tokenizer."""
    assert tokens("rouge_score", text) == DefaultTokenizer().tokenize(text)


# --- Mecab ------------------------------------------------------------------------------------------


def korean_texts(count: int) -> list[str]:
    """Repeatable texts of Korean words, numbers, marks and hanja."""
    draw = random.Random(11)
    words = [
        "정부는", "물가가", "올랐다고", "14일", "밝혔다.", "尹", "대통령은", "‘맛보기’", "ㅋㅋ", "42km",
        "AI를", "않았다", "한국은행이", "3.5%", "학교에서", "😀",
    ]  # fmt: skip
    return [" ".join(draw.choices(words, k=draw.randint(1, 30))) for _ in range(count)]


def test_mecab_loses_nothing() -> None:
    """Mecab's morphemes put together are the text without its spaces."""
    mecab = load_mecab()
    for text in korean_texts(300):
        assert "".join(mecab.surfaces(text)) == "".join(text.split())


def test_mecab_tags() -> None:
    """``parse`` gives each morpheme with its part of speech, as the dictionary's tag set names them."""
    tagged = [("학교", "NNG"), ("에서", "JKB"), ("배웠", "VV+EP"), ("다", "EF"), (".", "SF")]
    assert load_mecab().parse("학교에서 배웠다.") == tagged


def test_mecab_does_not_remember() -> None:
    """A text's morphemes do not depend on the texts before it, nor on other threads."""
    mecab, texts = load_mecab(), korean_texts(400)
    found = [mecab.surfaces(text) for text in texts]
    assert [mecab.surfaces(text) for text in reversed(texts)] == found[::-1]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(mecab.surfaces, texts * 2)) == found * 2


@pytest.mark.parametrize("text", ["가\0나", "가 \0\0 나", "\0가나", "가\n\n나\t", "\u3000가\u00a0나\u2028"])
def test_mecab_reads_to_the_end(text: str) -> None:
    """NUL, which ends a text in C, and white space of any kind separate; nothing behind them is lost."""
    assert "".join(load_mecab().surfaces(text)) == "가나"


@pytest.mark.parametrize("letter", [".", "a", "가", "😀", "漢"])
def test_mecab_reads_a_megabyte(letter: str) -> None:
    """A million bytes without a space come out whole; left to itself Mecab needs 87 s or gives up."""
    text = letter * (1_000_000 // len(letter.encode()))
    assert "".join(load_mecab().surfaces(text)) == text


def test_mecab_ignores_settings_of_the_machine(tmp_path: Path) -> None:
    """A ``.mecabrc`` at home or named by ``MECABRC`` changes no token."""
    (tmp_path / ".mecabrc").write_text("dicdir = /nowhere\noutput-format-type = wakati\n", encoding="utf-8")
    code = f"from harness.tokenizers import load_mecab; print(ascii(load_mecab().surfaces({SENTENCE!r})))"
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "MECABRC": str(tmp_path / ".mecabrc")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ascii(load_mecab().surfaces(SENTENCE))


def test_dictionary_is_the_published_one() -> None:
    """The dictionary that hashes to our constant is, to the last byte, the wheel's of version 2.1.1.post2."""
    wheel = distribution("python-mecab-ko-dic")
    assert wheel.version == "2.1.1.post2"
    listed = {Path(str(file)).name: file for file in wheel.files or () if "dictionary" in file.parts}
    for name in ("sys.dic", "matrix.bin", "char.bin", "unk.dic"):
        hashed = listed[name].hash
        assert hashed is not None
        digest = hashlib.sha256(Path(str(listed[name].locate())).read_bytes()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == hashed.value


def test_dictionary_hash_tells_builds_apart(tmp_path: Path) -> None:
    """The hash changes with a file's size and with any byte of its first block."""
    for name in ("dicrc", "char.bin", "unk.dic", "matrix.bin", "sys.dic"):
        (tmp_path / name).write_bytes(bytes(1_000_000))
    hashes = {dictionary_sha256(tmp_path)}
    for content in (bytes(1_000_001), b"\1" + bytes(999_999), bytes(4_095) + b"\1" + bytes(995_904)):
        (tmp_path / "sys.dic").write_bytes(content)
        hashes.add(dictionary_sha256(tmp_path))
    assert len(hashes) == 4


def without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if mecab-ko were not installed."""
    monkeypatch.setitem(sys.modules, "mecab_ko", None)


def without_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if python-mecab-ko-dic were not installed."""
    monkeypatch.setattr(tokenizers, "MECAB_DICTIONARY", "python-mecab-ko-dic-that-nobody-has")


def other_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the dictionary were another build."""
    monkeypatch.setattr(tokenizers, "MECAB_DICTIONARY_SHA256", "0" * 64)


@pytest.mark.parametrize("change", [without_engine, without_dictionary, other_dictionary])
def test_missing_mecab_is_an_error(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its engine or its very dictionary the preset refuses, with the command that mends it."""
    change(monkeypatch)
    load: Callable[[], Mecab] = load_mecab.__wrapped__
    with pytest.raises(UsageError) as caught:
        load()
    assert "python -m pip install" in caught.value.hint
    assert "python-mecab-ko-dic==2.1.1.post2" in caught.value.hint


def test_missing_kiwi_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without kiwipiepy the preset refuses, with the command that installs it."""
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(UsageError, match="Kiwi cannot be used") as caught:
        TOKENIZERS["kiwi"].load()
    assert "pip install" in caught.value.hint


# --- DACON ------------------------------------------------------------------------------------------


def test_dacon_has_sentences() -> None:
    """Of the presets only dacon has sentences: lines, empty ones included, each tokenised by itself."""
    assert [name for name in TOKENIZERS if isinstance(load_tokenizer(name), SentenceTokenizer)] == ["dacon"]
    dacon = load_tokenizer("dacon")
    assert isinstance(dacon, SentenceTokenizer)
    assert dacon.sentences(["비가 온다\n\nAI"]) == [[["비", "가", "온다"], [], ["ai"]]]


# --- Names ------------------------------------------------------------------------------------------


def test_unknown_preset() -> None:
    """An unknown name is answered with the nearest one and the list."""
    assert not preset_exists("eojol")
    with pytest.raises(UsageError, match="Did you mean 'eojeol'") as caught:
        load_tokenizer("eojol")
    assert all(name in caught.value.hint for name in TOKENIZERS)


def test_other_packages_may_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset that an installed package registers loads by its name; a broken one says whose it is."""
    (tmp_path / "halves.py").write_text(
        "class Halves:\n"
        "    signature = 'halves:1'\n"
        "    def __call__(self, texts):\n"
        "        return [[text[: len(text) // 2], text[len(text) // 2 :]] for text in texts]\n",
        encoding="utf-8",
    )
    info = tmp_path / "halves-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halves\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[matbogi.tokenizers]\nhalves = halves:Halves\nbroken = halves:Nothing\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert preset_exists("halves")
    assert tokens("halves", "가나다라") == ["가나", "다라"]
    assert load_tokenizer("halves").signature == "halves:1"
    with pytest.raises(UsageError, match="halves:Nothing"):
        load_tokenizer("broken")


def test_importing_loads_no_analyser() -> None:
    """Importing the module, as reading a contest does, loads neither numpy nor an analyser."""
    heavy = ("numpy", "mecab_ko", "kiwipiepy", "importlib.metadata")
    code = f"import sys, harness.tokenizers; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
