"""How a score came about, and what lowered it: every mark is a match, and every figure is rouge's own."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from harness.contest import Answer, Metric
from harness.explanation import Explanation, explain
from harness.explanation import pitfalls as pitfalls_of_card
from harness.rouge import common_ngrams, common_subsequence, lcs_length, rouge
from harness.scoring import score_summaries

PAPER = ("the gunman police killed", "police killed the gunman")  # Lin 2004, section 3.1


def marked(found: Explanation, side: str, mark: str) -> list[str]:
    """The tokens of one side that carry ``mark``."""
    return [token.token for token in getattr(found, side) if getattr(token, mark)]


def test_the_paper_s_example_is_marked() -> None:
    """All four words match, two pairs of neighbours, and a longest common subsequence of two."""
    (found,) = explain(PAPER[0], [PAPER[1]], "eojeol")
    assert marked(found, "prediction", "unigram") == ["the", "gunman", "police", "killed"]
    assert marked(found, "prediction", "bigram") == ["the", "police"]
    assert marked(found, "reference", "bigram") == ["police", "the"]
    assert len(marked(found, "prediction", "lcs")) == len(marked(found, "reference", "lcs")) == 2
    arithmetic = [(line.variant, line.matches, line.predicted, line.referenced) for line in found.arithmetic]
    assert arithmetic == [("rouge1", 4, 4, 4), ("rouge2", 2, 3, 3), ("rougeL", 2, 4, 4)]
    assert found.mean == pytest.approx((1 + 2 / 3 + 2 / 4) / 3)


def test_a_repeated_token_counts_once_for_each_time_it_is_wanted() -> None:
    """Of three predicted "비가" only two are marked where the reference has two."""
    (found,) = explain("비가 비가 비가", ["비가 눈이 비가"], "eojeol")
    assert [token.unigram for token in found.prediction] == [True, True, False]
    assert [token.unigram for token in found.reference] == [True, False, True]


def test_marks_and_figures_agree_on_random_pairs() -> None:
    """The marks of 500 pairs are as many as the matches that rouge's figures come from, on both sides."""
    draw = random.Random(1)
    for _ in range(500):
        prediction, reference = (
            [f"말{draw.randrange(6)}" for _ in range(draw.randint(0, 20))] for _ in range(2)
        )
        for n in (1, 2, 3):
            pairs = common_ngrams(prediction, reference, n)
            for at, place in pairs:
                assert prediction[at : at + n] == reference[place : place + n]
            for side in zip(*pairs, strict=True):
                assert len(set(side)) == len(pairs)
            recall = rouge([prediction], [reference], variants=[f"rouge{n}"])[f"rouge{n}"].recall[0]
            assert len(pairs) == round(recall * max(len(reference) - n + 1, 0))
        common = common_subsequence(prediction, reference)[::-1]
        assert len(common) == lcs_length(prediction, reference)
        assert common == sorted(common)
        assert all(prediction[at] == reference[place] for at, place in common)


@pytest.mark.parametrize("preset", ["mecab", "eojeol", "syllable", "dacon"])
def test_every_preset_is_explained(preset: str) -> None:
    """The figures are those of ``rouge``, for each of several references, empty ones among them."""
    summary, references = (
        "물가가 오르고\n금리가 올랐다.",
        ["금리가 올랐다.\n물가도 올랐다.", "", "금리가 올랐다."],
    )
    for found, reference in zip(explain(summary, references, preset), references, strict=True):
        scores = rouge([summary], [reference], tokenizer=preset)
        for line in found.arithmetic:
            assert line.f1 == scores[line.variant].f1[0]
            assert line.precision == (line.matches / line.predicted if line.predicted else 0.0)
            assert line.recall == (line.matches / line.referenced if line.referenced else 0.0)
    assert [found.number for found in explain(summary, references, preset)] == [1, 2, 3]


def pitfalls(summaries: Mapping[str, str], rows: Sequence[Answer], metric: Metric) -> list[str]:
    """The notes on the scores of ``summaries``."""
    return pitfalls_of_card(summaries, rows, metric, score_summaries(summaries, rows, metric))


def answers(*references: str) -> list[Answer]:
    """Rows a, b, c … with one reference each."""
    return [Answer(chr(97 + number), (text,), "public") for number, text in enumerate(references)]


def test_references_without_tokens_are_told_of() -> None:
    """Korean under rouge-score's tokenizer scores 0 whatever is predicted; the note counts such rows."""
    rows = answers("물가가 올랐다.", "AI 연구소", "눈이 온다")
    (note,) = pitfalls({"a": "물가가 올랐다.", "b": "AI", "c": "눈"}, rows, Metric(preset="rouge_score"))
    assert note.startswith("2 of 3 references have no tokens")
    assert pitfalls({"a": "물가", "b": "AI", "c": "눈"}, rows, Metric(preset="mecab")) == []


@pytest.mark.parametrize(
    ("preset", "summary", "reference", "note"),
    [
        ("mecab", "ＡＩ 연구소", "AI 연구소", "1 row has full-width letters"),
        ("eojeol", "비가\u200b 온다", "비가 온다", "1 row has control or invisible characters"),
        ("rouge_score", "cafe\u0301 bar", "café bar", "1 row has decomposed letters"),
    ],
)
def test_odd_characters_are_told_of_where_they_cost_points(
    preset: str, summary: str, reference: str, note: str
) -> None:
    """The note has the mean F1 of these rows as they are, and as they would be."""
    metric = Metric(preset=preset)
    (found,) = [
        line for line in pitfalls({"a": summary}, answers(reference), metric) if not line.startswith("1 of 1")
    ]
    assert found.startswith(note)


def test_odd_characters_that_cost_nothing_are_not_told_of() -> None:
    """With the preset mecab, NFD and zero-width characters make no difference, so nothing is said."""
    summaries = {"a": "물가가 올랐다", "b": "눈이\u200b 온다"}
    assert pitfalls(summaries, answers("물가가 올랐다", "눈이 온다"), Metric()) == []
