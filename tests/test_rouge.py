"""ROUGE against google's rouge-score, rapidfuzz, an independent DACON scorer, and values worked by hand."""

from __future__ import annotations

import importlib
import math
import random
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from rapidfuzz.distance import LCSseq
from rouge_score.rouge_scorer import RougeScorer

import harness.rouge
from harness.errors import UsageError
from harness.rouge import PairScores, Rouge, lcs_length, rouge, rouge_multiple
from harness.tokenizers import DaconTokenizer, TextTokenizer, load_mecab, load_tokenizer

NGRAMS_AND_LCS = ("rouge1", "rouge2", "rouge3", "rougeL")

# --- Values worked by hand --------------------------------------------------------------------------

PAPER = "Lin 2004, section 3.1"
README = "README of rouge-score 0.1.2"
CLIPPING = "by hand, on the candidate of Papineni et al. 2002 (BLEU), section 2.1"

# (source, prediction, reference, variant, precision, recall, F1); tokens stand between spaces
WORKED = [
    (PAPER, "police kill the gunman", "police killed the gunman", "rougeL", 3 / 4, 3 / 4, 3 / 4),
    (PAPER, "the gunman kill police", "police killed the gunman", "rougeL", 2 / 4, 2 / 4, 2 / 4),
    (PAPER, "police kill the gunman", "police killed the gunman", "rouge2", 1 / 3, 1 / 3, 1 / 3),
    (PAPER, "the gunman kill police", "police killed the gunman", "rouge2", 1 / 3, 1 / 3, 1 / 3),
    (PAPER, "the gunman police killed", "police killed the gunman", "rougeL", 2 / 4, 2 / 4, 2 / 4),
    (PAPER, "the gunman police killed", "police killed the gunman", "rouge2", 2 / 3, 2 / 3, 2 / 3),
    (
        README, "the quick brown dog jumps on the log", "the quick brown fox jumps over the lazy dog",
        "rouge1", 6 / 8, 6 / 9, 12 / 17,
    ),
    (
        README, "the quick brown dog jumps on the log", "the quick brown fox jumps over the lazy dog",
        "rougeL", 5 / 8, 5 / 9, 10 / 17,
    ),
    (CLIPPING, "the the the the the the the", "the cat is on the mat", "rouge1", 2 / 7, 2 / 6, 4 / 13),
    (CLIPPING, "the the the the the the the", "the cat is on the mat", "rougeL", 2 / 7, 2 / 6, 4 / 13),
    ("by hand", "물가가 오르고 금리가 올랐다", "금리가 올랐다", "rouge1", 2 / 4, 2 / 2, 4 / 6),
    ("by hand", "물가가 오르고 금리가 올랐다", "금리가 올랐다", "rouge2", 1 / 3, 1 / 1, 2 / 4),
    ("by hand", "비가 눈이 비가", "비가 비가 눈이 비가 비가", "rouge2", 2 / 2, 2 / 4, 4 / 6),
    ("by hand", "비가", "비가", "rouge2", 0.0, 0.0, 0.0),
    ("by hand", "", "비가 온다", "rouge1", 0.0, 0.0, 0.0),
    ("by hand", "비가 온다", "", "rougeL", 0.0, 0.0, 0.0),
    ("by hand", "", "", "rouge1", 0.0, 0.0, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("source", "prediction", "reference", "variant", "precision", "recall", "f1"), WORKED)
def test_worked_values(
    source: str, prediction: str, reference: str, variant: str, precision: float, recall: float, f1: float
) -> None:
    """Figures from publications and from pencil and paper come out."""
    scores = rouge([prediction.split()], [reference.split()], variants=[variant])[variant]
    expected = pytest.approx([precision, recall, f1], rel=1e-14)
    assert [scores.precision[0], scores.recall[0], scores.f1[0]] == expected, source


def test_union_lcs_of_the_paper() -> None:
    """The union LCS of Lin 2004, section 3.2, matches 4 of the 5 words of its reference sentence."""
    scores = rouge(
        ["w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5"], ["w1 w2 w3 w4 w5"], tokenizer="eojeol", variants=["rougeLsum"]
    )["rougeLsum"]
    assert (scores.recall[0], scores.precision[0]) == (4 / 5, 4 / 10)


# --- Google's rouge-score ---------------------------------------------------------------------------


def generator(seed: int) -> random.Random:
    """Repeatable draws."""
    return random.Random(seed)


Texts = tuple[list[str], list[str]]  # the tokens of a prediction and of its reference

STRANGE = [
    "a",
    "b",
    "가",
    "각",
    "",
    " ",
    "\u3000",
    "\u2028",
    "\xa0",
    "\n",
    "\0",
    "😀",
    "👨‍👩‍👧",
    "\ud800",
    "\udfff",
]


class Lookup:
    """A tokenizer for rouge-score that hands out prepared tokens, so that no text limits what they are."""

    def __init__(self, tokens: Mapping[str, list[str]]) -> None:
        self.tokens = tokens

    def tokenize(self, text: str) -> list[str]:
        """The tokens that were prepared under this name."""
        return self.tokens[text]


def generated_pairs(seed: int, count: int) -> list[Texts]:
    """Pairs of 0 to 40 tokens from vocabularies of 1 to 15; half of the predictions are edited references."""
    draw = generator(seed)
    pairs: list[Texts] = []
    for _ in range(count):
        vocabulary = draw.sample(STRANGE, draw.randint(1, len(STRANGE)))
        reference = draw.choices(vocabulary, k=draw.randint(0, draw.choice([2, 40, 40, 40])))
        prediction = draw.choices(vocabulary, k=draw.randint(0, draw.choice([2, 40, 40, 40])))
        if draw.random() < 0.5:
            prediction = [token for token in reference if draw.random() < 0.8] + prediction[:3]
        pairs.append((prediction, reference))
    return pairs


def row(scores: Rouge, variant: str, index: int) -> tuple[float, float, float]:
    """Precision, recall and F1 of one pair."""
    pairs = scores[variant]
    return pairs.precision[index], pairs.recall[index], pairs.f1[index]


def long_pairs(seed: int, count: int) -> list[Texts]:
    """Pairs of 0 to 400 tokens, so that masks of one machine word and of several meet."""
    draw = generator(seed)

    def tokens(size: int) -> list[str]:
        return [f"말{draw.randrange(size)}" for _ in range(draw.randint(0, 400))]

    return [(tokens(size), tokens(size)) for size in draw.choices([3, 40, 400], k=count)]


PATHS = ("python", "compiled")


def choose_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Let every pair be counted by Python's integers, or by the compiled kernel."""
    kernel = importlib.import_module("harness.rouge_kernel") if path == "compiled" else None
    monkeypatch.setattr(harness.rouge, "_kernel", lambda characters: kernel)


def expect_rouge_score(pairs: Sequence[Texts], monkeypatch: pytest.MonkeyPatch) -> None:
    """On both paths every P, R and F1 is rouge-score's own float."""
    predictions, references = [list(side) for side in zip(*pairs, strict=True)]
    ours = {}
    for path in PATHS:
        choose_path(monkeypatch, path)
        ours[path] = rouge(predictions, references, variants=NGRAMS_AND_LCS)
    for index, (prediction, reference) in enumerate(pairs):
        tokenizer = Lookup({"prediction": prediction, "reference": reference})
        theirs = RougeScorer(NGRAMS_AND_LCS, tokenizer=tokenizer).score("reference", "prediction")
        for variant in NGRAMS_AND_LCS:
            expected = tuple(theirs[variant])
            for path in PATHS:
                assert row(ours[path], variant, index) == expected, (path, variant, prediction, reference)
    assert 0.2 < ours["python"]["rougeL"].f1.mean() < 0.8  # neither all equal nor all different


def test_equals_rouge_score_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 3,000 generated pairs every P, R and F1 of ROUGE-1, -2, -3 and -L is rouge-score's own float."""
    expect_rouge_score(generated_pairs(seed=100, count=2_950) + long_pairs(seed=100, count=50), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_equals_rouge_score_200000_times(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on 200,000 pairs in all, 1,500 of them of up to 400 tokens."""
    expect_rouge_score(generated_pairs(seed, 19_850) + long_pairs(seed, 150), monkeypatch)


def test_equals_a_second_implementation() -> None:
    """rouge-score-rs, written in Rust by others, finds the same floats for 20,000 pairs, Lsum included."""
    rust: Any = importlib.import_module("rouge_score_rs.rouge_scorer")
    variants = [*NGRAMS_AND_LCS, "rougeLsum"]
    draw = generator(6)

    def text() -> str:
        words = [f"w{draw.randrange(9)}" for _ in range(draw.randint(0, 25))]
        return " ".join(words).replace(" w3", "\n").replace(" w4", "\n\n")

    pairs = [(text(), text()) for _ in range(20_000)]
    predictions, references = [list(side) for side in zip(*pairs, strict=True)]
    theirs = rust.RougeScorer(variants).score_batch(references, predictions)
    ours = rouge(predictions, references, tokenizer="rouge_score", variants=variants)
    for index, scores in enumerate(theirs):
        for variant in variants:
            assert row(ours, variant, index) == tuple(scores[variant]), (variant, pairs[index])


def test_words_are_those_of_str_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of strange characters and every kind of white space score as their ``str.split`` does."""
    draw = generator(4)
    letters = [*STRANGE, "나", "다라", *(chr(code) for code in range(0x3001) if chr(code).isspace())]
    texts = [["".join(draw.choices(letters, k=draw.randint(0, 90))) for _ in range(3_000)] for _ in range(2)]
    split = TextTokenizer("words", str, str.split)
    expected = rouge(*([text.split() for text in side] for side in texts), variants=NGRAMS_AND_LCS)
    choose_path(monkeypatch, "compiled")
    ours = rouge(*texts, tokenizer=split, variants=NGRAMS_AND_LCS)
    for variant in NGRAMS_AND_LCS:
        assert np.array_equal(ours[variant].f1, expected[variant].f1)
        assert np.array_equal(ours[variant].precision, expected[variant].precision)
    assert 0 < expected["rouge2"].f1.mean() < 1


def test_white_space_is_python_s() -> None:
    """The kernel separates words at every code point at which ``str.split`` does, and nowhere else."""
    from harness import rouge_kernel

    spaces = {code for code in range(0x110000) if chr(code).isspace()}
    assert {code for code in range(0x110000) if rouge_kernel._is_space(code)} == spaces


@pytest.mark.parametrize("path", PATHS)
def test_ids_score_as_the_tokens_they_stand_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's token ids, as lists or as arrays, score as strings do."""
    choose_path(monkeypatch, path)
    pairs = long_pairs(seed=5, count=100)
    predictions, references = [list(side) for side in zip(*pairs, strict=True)]
    ids: dict[str, int] = {}
    encoded = [[[ids.setdefault(token, len(ids)) for token in text] for text in pair] for pair in pairs]
    expected = rouge(predictions, references)
    kinds: tuple[Callable[[list[int]], Any], ...] = (list, np.array)
    for kind in kinds:
        ours = rouge([kind(pair[0]) for pair in encoded], [kind(pair[1]) for pair in encoded])
        assert all(np.array_equal(ours[name].f1, expected[name].f1) for name in ("rouge1", "rouge2", "rougeL"))


@pytest.mark.parametrize("tokens", [[-1, 2], [2**40, 2], [1.5, 2.0], ["a", 1], [1, "a"], [(1, 2), (3,)]])
def test_unusual_tokens_are_counted_all_the_same(tokens: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel does not know as a token is left to Python."""
    choose_path(monkeypatch, "compiled")
    assert rouge([tokens], [tokens])["rouge2"].f1[0] == 1.0


def test_the_kernel_is_loaded_where_it_pays() -> None:
    """A contest's 500 rows do not load numba; a large batch does, once, and figures stay the same."""
    code = """
import sys
import harness.rouge as module
pair = (["비가 온다"], ["비가 왔다"])
module.rouge(*pair, tokenizer="eojeol")
assert "numba" not in sys.modules
module.KERNEL_FROM = 10
before = module.rouge(*pair, tokenizer="eojeol")["rouge1"].f1
assert "numba" in sys.modules
module.KERNEL_FROM = 10**9
assert module._kernel(1) is not None
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_numba_python_counts() -> None:
    """The extra is an extra: where numba cannot be imported, every figure is there all the same."""
    code = """
import sys
sys.modules["numba"] = None
import harness.rouge as module
module.KERNEL_FROM = 0
assert module.rouge(["비가 온다"], ["비가 왔다"], tokenizer="eojeol")["rouge1"].f1[0] == 0.5
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class Letters:
    """Every character is a token, for both libraries."""

    def tokenize(self, text: str) -> list[str]:
        """The characters."""
        return list(text)


def test_equals_rouge_score_sentence_by_sentence() -> None:
    """On 4,000 generated pairs of 0 to 5 lines, some of them empty, ROUGE-Lsum is rouge-score's own float."""
    draw = generator(2)

    def text(letters: str) -> str:
        return "\n".join(
            "".join(draw.choices(letters, k=draw.randint(0, 9))) for _ in range(draw.randint(0, 5))
        )

    alphabets = ["ab", "abcd", "가나다라마바", "ab가\u3000\0\ud800😀"]
    chosen = [draw.choice(alphabets) for _ in range(4_000)]
    predictions, references = [text(letters) for letters in chosen], [text(letters) for letters in chosen]
    scorer = RougeScorer(["rougeLsum"], tokenizer=Letters())
    ours = rouge(
        predictions, references, tokenizer=lambda texts: [list(item) for item in texts], variants=["rougeLsum"]
    )
    for index, pair in enumerate(zip(references, predictions, strict=True)):
        assert row(ours, "rougeLsum", index) == tuple(scorer.score(*pair)["rougeLsum"]), pair


def test_lcs_equals_rapidfuzz() -> None:
    """The longest common subsequence is as long as rapidfuzz says, also beyond a machine word."""
    draw = generator(3)
    for _ in range(300):
        size = draw.choice([2, 5, 40])
        first, second = ([f"t{draw.randrange(size)}" for _ in range(draw.randint(0, 400))] for _ in range(2))
        assert lcs_length(first, second) == LCSseq.similarity(first, second)


def test_long_documents() -> None:
    """Documents of 20,000 tokens are scored, and their figures are exact."""
    tokens = [str(number % 977) for number in range(20_000)]
    scores = rouge([tokens[:5_000]], [tokens], variants=("rouge1", "rouge2", "rougeL"))
    assert [float(scores[name].precision[0]) for name in ("rouge1", "rouge2", "rougeL")] == [1.0, 1.0, 1.0]
    assert (scores["rouge2"].recall[0], scores["rougeL"].recall[0]) == (4_999 / 19_999, 1 / 4)


class Twin(str):
    """A token with the hash of every other; only a comparison of the strings can tell them apart."""

    def __hash__(self) -> int:
        return 1


def test_tokens_are_compared_as_strings() -> None:
    """Two different tokens with one hash do not match."""
    scores = rouge(
        [[Twin("가"), Twin("나")]], [[Twin("나"), Twin("다")]], variants=("rouge1", "rouge2", "rougeL")
    )
    assert [float(scores[name].f1[0]) for name in ("rouge1", "rouge2", "rougeL")] == [0.5, 0.0, 0.5]


# --- The DACON scorer, written again from its published formulas --------------------------------------


def dacon_words(text: str, morphemes: Callable[[str], list[str]]) -> list[str]:
    """Lower case, and anything but ASCII letters, digits and Hangul syllables is a space."""
    kept = [
        letter if (letter.isascii() and letter.isalnum()) or "가" <= letter <= "힣" else " "
        for letter in text.lower()
    ]
    return morphemes("".join(kept).strip())


def dacon_mark(reference: list[str], prediction: list[str]) -> set[int]:
    """One LCS by a full table; py-rouge prefers to give up the reference's token."""
    table = [[0] * (len(prediction) + 1) for _ in range(len(reference) + 1)]
    for i, left in enumerate(reference, 1):
        for j, right in enumerate(prediction, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if left == right else max(table[i - 1][j], table[i][j - 1])
    marked: set[int] = set()
    i, j = len(reference), len(prediction)
    while i and j:
        if reference[i - 1] == prediction[j - 1]:
            i, j = i - 1, j - 1
            marked.add(i)
        elif table[i - 1][j] >= table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return marked


def dacon_figures(predicted: int, referenced: int, overlap: float) -> tuple[float, float, float]:
    """py-rouge's P*R / ((1 - alpha)*P + alpha*R) with alpha = .5."""
    precision = overlap / predicted if predicted > 0 else 0.0
    recall = overlap / referenced if referenced > 0 else 0.0
    if precision == 0.0 or recall == 0.0:
        return precision, recall, 0.0
    return precision, recall, precision * recall / ((1 - 0.5) * precision + 0.5 * recall)


def dacon_ngrams(n: int, prediction: list[str], reference: list[str]) -> tuple[float, float, float]:
    """N-grams in common, each at most as often as on the other side."""
    grams = [
        Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))
        for tokens in (prediction, reference)
    ]
    overlap = sum(min(count, grams[1][gram]) for gram, count in grams[0].items())
    return dacon_figures(len(prediction) - n + 1, len(reference) - n + 1, overlap)


def dacon_lines(text: str, morphemes: Callable[[str], list[str]]) -> list[list[str]]:
    """At most 1,000 words; a line that does not fit is cut, and nothing after it is read."""
    lines: list[list[str]] = []
    used = 0
    for line in text.split("\n"):
        words = line.split()
        fits = used + len(words) < 1_000
        lines.append(dacon_words(" ".join(words if fits else words[: 1_000 - used]), morphemes))
        used += len(words)
        if not fits:
            break
    return lines


def dacon_union(prediction: list[list[str]], reference: list[list[str]]) -> tuple[float, float, float]:
    """The words of each reference line that some predicted line has in order, while predicted ones last."""
    left = Counter(token for line in prediction for token in line)
    predicted, referenced = left.total(), sum(map(len, reference))
    overlap = 0.0
    for line in reference:
        for index in sorted(set().union(*(dacon_mark(line, other) for other in prediction))):
            if left[line[index]] > 0:
                left[line[index]] -= 1
                overlap += 1
    return dacon_figures(predicted, referenced, overlap)


def dacon_score(
    prediction: str, reference: str, morphemes: Callable[[str], list[str]]
) -> dict[str, tuple[float, ...]]:
    """The DACON/NIKL scorer on one pair.

    Source: py-rouge, rouge/rouge.py (github.com/Diego999/py-rouge, commit 03029b3b), with the changes of the
    scorer of DACON 235673 as participants' public copies show them: Hangul kept, Mecab, no stemming.
    """
    whole = [
        dacon_words(" ".join(" ".join(text.split("\n")).split()[:1_000]), morphemes)
        for text in (prediction, reference)
    ]
    lines = [dacon_lines(text, morphemes) for text in (prediction, reference)]
    return {
        "rouge1": dacon_ngrams(1, *whole), "rouge2": dacon_ngrams(2, *whole), "rougeL": dacon_union(*lines),
    }  # fmt: skip


WORDS = [
    "정부는", "물가가", "금리를", "올렸다.", "尹", "대통령은", "ㅋㅋㅋ", "AI", "ai", "3.5%", "(서울)",
    "‘맛보기’", "비가",
    "온다", "오늘", "내일", "않았다", "#Person1#", "…", "İstanbul", "한국은행이",
]  # fmt: skip


def korean_texts(draw: random.Random, count: int) -> list[str]:
    """Texts of 0 to 24 words, some joined by newlines; a few are long enough to meet the limit of words."""

    def text(words: int) -> str:
        return "".join(
            draw.choice(WORDS) + draw.choice([" ", " ", " ", "\n", "\n\n", "  "]) for _ in range(words)
        )

    return [text(draw.choice([0, 1, draw.randint(0, 24)])) for _ in range(count)]


@pytest.mark.parametrize(("unit", "count"), [("words", 3_000), ("mecab", 1_000)])
def test_dacon_equals_its_formulas(unit: str, count: int) -> None:
    """The dacon rule gives, to the last bit, what its published formulas give, written out plainly."""
    morphemes = load_mecab().surfaces if unit == "mecab" else str.split
    draw = generator(4)
    predictions, references = korean_texts(draw, count), korean_texts(draw, count)
    ours = rouge(predictions, references, tokenizer=DaconTokenizer("test", morphemes))
    for index, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        for variant, figures in dacon_score(prediction, reference, morphemes).items():
            assert row(ours, variant, index) == figures, (variant, prediction, reference)


def test_dacon_reads_a_thousand_words() -> None:
    """Dacon agrees where the limit of 1,000 words falls inside, at the end of and between lines."""
    draw = generator(5)
    references = [
        "\n".join(" ".join(draw.choices("가나다라마", k=size)) for size in [600, 400 + more, 60])
        for more in (-1, 0, 1, 90)
    ]
    predictions = ["\n".join(" ".join(draw.choices("가나다라마", k=500)) for _ in range(3)) for _ in references]
    ours = rouge(predictions, references, tokenizer=DaconTokenizer("test", str.split))
    for index, pair in enumerate(zip(predictions, references, strict=True)):
        for variant, figures in dacon_score(*pair, str.split).items():
            assert row(ours, variant, index) == figures


def test_dacon_by_hand() -> None:
    """Dacon's ROUGE-L forgives the order of lines, and its cleaning loses hanja and ㅋㅋ: worked by hand.

    Lines of the reference: 비가 온다 / 금리를 올렸다; of the prediction: the same two, the other way round,
    with 尹 and ㅋㅋ, which do not count. Mecab: 비, 가, 온다 / 금리, 를, 올렸, 다. So 7 of 7 by lines; in
    one sequence the longest common part is the second line, 4 of 7.
    """
    prediction, reference = "금리를 올렸다 ㅋㅋ\n尹 비가 온다", "비가 온다\n금리를 올렸다"
    assert load_tokenizer("dacon")([reference]) == [["비", "가", "온다", "금리", "를", "올렸", "다"]]
    dacon = rouge([prediction], [reference], tokenizer="dacon")
    assert [float(dacon[name].f1[0]) for name in ("rouge1", "rouge2", "rougeL")] == [1.0, 5 / 6, 1.0]
    flat = rouge(
        [["금리", "를", "올렸", "다", "비", "가", "온다"]], [["비", "가", "온다", "금리", "를", "올렸", "다"]]
    )
    assert flat["rougeL"].f1[0] == pytest.approx(4 / 7)


# --- Several references, means, presets and mistakes --------------------------------------------------


def test_several_references_by_hand() -> None:
    """Two references of 2 and 4 words give the mean of the figures, or those of the better one."""
    predictions, references = ["비가 온다"], [["비가 온다", "비가 오늘 많이 온다"]]
    mean = rouge_multiple(predictions, references, tokenizer="eojeol", combine="mean")["rouge1"]
    assert (mean.precision[0], mean.recall[0], mean.f1[0]) == (1.0, 0.75, pytest.approx((1 + 2 / 3) / 2))
    best = rouge_multiple(predictions, [references[0][::-1]], tokenizer="eojeol", combine="max")["rouge1"]
    assert (best.precision[0], best.recall[0], best.f1[0]) == (1.0, 1.0, 1.0)


def test_maximum_is_score_multi() -> None:
    """``max`` equals rouge-score's ``score_multi`` on generated rows of 1 to 4 references."""
    draw = generator(6)
    pairs = generated_pairs(seed=6, count=1_000)
    references = [
        [reference, *(pairs[draw.randrange(1_000)][1] for _ in range(draw.randint(0, 3)))]
        for _, reference in pairs
    ]
    ours = rouge_multiple(
        [prediction for prediction, _ in pairs], references, variants=NGRAMS_AND_LCS, combine="max"
    )
    for index, (prediction, _) in enumerate(pairs):
        names = [f"reference {number}" for number in range(len(references[index]))]
        tokens = {"prediction": prediction, **dict(zip(names, references[index], strict=True))}
        theirs = RougeScorer(NGRAMS_AND_LCS, tokenizer=Lookup(tokens)).score_multi(names, "prediction")
        for variant in NGRAMS_AND_LCS:
            assert row(ours, variant, index) == tuple(theirs[variant])


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_one_reference_is_several_of_one(combine: str) -> None:
    """With one reference a row, both rules give the figures of ``rouge`` itself."""
    pairs = generated_pairs(seed=7, count=200)
    predictions, references = [prediction for prediction, _ in pairs], [reference for _, reference in pairs]
    single = rouge(predictions, references)
    several = rouge_multiple(predictions, [[reference] for reference in references], combine=combine)  # type: ignore[arg-type]
    for variant in ("rouge1", "rouge2", "rougeL"):
        for name in ("precision", "recall", "f1"):
            assert getattr(single[variant], name).tolist() == getattr(several[variant], name).tolist()


def test_means_are_exact_sums() -> None:
    """A corpus mean is ``math.fsum`` over the pairs, divided once: adding .1 ten times gives 1, not .999…"""
    tenth = np.full(10, 0.1)
    assert np.cumsum(tenth)[-1] != 1.0
    assert PairScores(tenth, tenth, tenth).mean() == (0.1, 0.1, 0.1) == (math.fsum(tenth) / 10,) * 3


def test_no_pairs() -> None:
    """No pairs give empty arrays, and no mean."""
    scores = rouge([], [])
    assert scores["rouge1"].f1.shape == (0,)
    with pytest.raises(UsageError, match="no mean"):
        scores["rouge1"].mean()


@pytest.mark.parametrize("preset", ["mecab", "eojeol", "syllable", "kiwi", "dacon"])
def test_identical_korean_is_perfect(preset: str) -> None:
    """Identical Korean texts score 1.0 in every Korean preset, in NFD too."""
    text = "정부는 14일 노후 상수도관을 교체하기로 했다.\n내년까지 42km를 바꾼다."
    for other in (text, unicodedata.normalize("NFD", text)):
        scores = rouge([other], [text], tokenizer=preset)
        assert [float(scores[name].f1[0]) for name in ("rouge1", "rouge2", "rougeL")] == [1.0, 1.0, 1.0]


def test_identical_korean_is_nothing_to_rouge_score() -> None:
    """The trap: rouge-score's own tokenizer finds no tokens in Korean, so identical texts score 0.0."""
    text = "정부는 노후 상수도관을 교체하기로 했다."
    assert rouge([text], [text], tokenizer="rouge_score")["rouge1"].f1.tolist() == [0.0]
    assert RougeScorer(["rouge1"]).score(text, text)["rouge1"].fmeasure == 0.0


def test_english_end_to_end() -> None:
    """With the preset ``rouge_score``, texts score as rouge-score scores them, Lsum included."""
    pairs = [
        ("The U.S. economy\ngrew 3.1% in Q2.", "Growth: 3.1 percent in Q2,\nU.S. says"),
        ("", "a"),
        ("Don't!", "don t"),
    ]
    variants = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    ours = rouge(*map(list, zip(*pairs, strict=True)), tokenizer="rouge_score", variants=variants)
    for index, (prediction, reference) in enumerate(pairs):
        theirs = RougeScorer(variants).score(reference, prediction)
        for variant in variants:
            assert row(ours, variant, index) == tuple(theirs[variant])


Call = Callable[[], Rouge]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rouge([["가"]], []), "1 predictions but 0 references"),
        (lambda: rouge(["가"], ["가"]), "what a token is"),
        (lambda: rouge("가", "가"), "what a token is"),
        (lambda: rouge("가", "가", tokenizer="eojeol"), "lists of texts"),
        (lambda: rouge([["가"]], ["가"], tokenizer="eojeol"), "lists of texts"),
        (lambda: rouge([["가"]], [["가"]], variants=["rouge0"]), "no variant 'rouge0'"),
        (lambda: rouge([["가"]], [["가"]], variants=["rouge-1"]), "no variant 'rouge-1'"),
        (lambda: rouge([["가"]], [["가"]], variants=["rougeLsum"]), "rougeLsum needs texts"),
        (lambda: rouge(["가"], ["가"], tokenizer="mecap"), "Did you mean 'mecab'"),
        (lambda: rouge_multiple(["가"], [[]], tokenizer="eojeol"), "Row 1 has no list"),
        (lambda: rouge_multiple(["가"], ["가"], tokenizer="eojeol"), "Row 1 has no list"),
        (lambda: rouge_multiple([["가"]], [[["가"]]], combine="best"), "not by 'best'"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_explained(call: Call, message: str) -> None:
    """A call that cannot be meant is refused with a sentence that says why."""
    with pytest.raises(UsageError, match=message):
        call()


def test_any_function_is_a_tokenizer() -> None:
    """A function from texts to token lists does in place of a preset's name."""

    def pairs_of_letters(texts: Sequence[str]) -> list[list[str]]:
        return [[text[start : start + 2] for start in range(0, len(text), 2)] for text in texts]

    assert rouge(["가나다라"], ["가나라다"], tokenizer=pairs_of_letters)["rouge1"].f1.tolist() == [0.5]
    assert isinstance(load_tokenizer("mecab"), TextTokenizer)
