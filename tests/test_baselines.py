"""The floors, and what holds for every baseline."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines import BASELINES, lead, load_baseline, textrank
from baselines.running import make_config, run_baseline
from baselines.sentences import cut, split_sentences
from harness.contest import Contest, Example
from harness.errors import UsageError
from harness.run import read_card
from harness.submission import Predictions


def no_progress(done: int, total: int, note: str = "") -> None:
    """Nobody is looking."""


QUICK: dict[str, dict[str, Any]] = {
    "lora": {"max_steps": 2, "dev_size": 4, "max_new_tokens": 6, "warmup_steps": 0},
    "prompt": {"client": "transformers", "template": "{text}\n\n", "instruction": "", "max_tokens": 6,
               "cache": False, "allow_missing": True},
}  # fmt: skip
"""Settings under which a baseline that trains, or asks a model, takes seconds and needs nobody else."""


# --- what holds for every one of them ---


@pytest.mark.parametrize("name", BASELINES)
def test_every_setting_is_described_and_frozen(name: str) -> None:
    """Each field of a Config has help, a default, and cannot be changed after."""
    config = load_baseline(name).Config
    assert all(item.metadata["help"] for item in fields(config))
    made = make_config(load_baseline(name), QUICK.get(name, {}), "test")
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(config)[0].name, 0)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_makes_a_valid_submission_with_its_card(
    name: str, ours: Contest, tmp_path: Path
) -> None:
    """One summary for each test document, read without a fault, and a card that says how it was made."""
    path = tmp_path / "out" / "preds.csv"
    config = make_config(load_baseline(name), QUICK.get(name, {}), "test")
    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int, note: str = "") -> None:
        seen.append((done, total))

    run_baseline(name, config, ours, path, watch)
    predictions = Predictions.read(path, ours.test_ids, ours.columns)
    assert list(predictions.summaries) == list(ours.test_ids)
    assert any(predictions.summaries.values())
    assert seen[-1] == (len(ours.test), len(ours.test))
    card = read_card(path)
    assert card is not None
    assert card.baseline == name
    assert set(card.hyperparameters) == {item.name for item in fields(load_baseline(name).Config)}
    assert card.seconds is not None


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_the_same_twice(name: str, ours: Contest) -> None:
    """Nothing but the documents and the settings decides."""
    baseline = load_baseline(name)
    config = make_config(baseline, QUICK.get(name, {}), "test")
    once = baseline.summarize(config, ours.train, ours.test, no_progress)
    assert baseline.summarize(config, ours.train, ours.test, no_progress) == once


@pytest.mark.parametrize("name", ["lead", "textrank"])
@pytest.mark.parametrize(
    "text", ["", " ", "...", "가", "\n\n", "a" * 5_000, "그렇다. " * 300, "\u200b", "ㅋㅋㅋ!!"]
)
def test_no_document_makes_a_baseline_fail(name: str, text: str) -> None:
    """Empty, tiny, huge, without a noun: a text comes back for each."""
    baseline = load_baseline(name)
    made = baseline.summarize(make_config(baseline, {}, "test"), [], [Example("a", text)], no_progress)
    assert len(made) == 1
    assert isinstance(made[0], str)


def test_an_unknown_baseline_or_setting_is_answered_with_what_there_is() -> None:
    """Near matches first."""
    with pytest.raises(UsageError, match="Did you mean 'lead'"):
        load_baseline("leed")
    with pytest.raises(UsageError, match="sentences, max_characters"):
        make_config(load_baseline("lead"), {"sentense": 1}, "recipe.toml")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lead", {"sentences": -1}),
        ("lead", {"max_characters": -1}),
        ("textrank", {"sentences": 0}),
        ("textrank", {"damping": 1.0}),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, float]) -> None:
    """With the range in the message."""
    baseline = load_baseline(name)
    with pytest.raises(UsageError, match="must"):
        baseline.summarize(make_config(baseline, settings, "test"), [], [Example("a", "가.")], no_progress)


# --- sentences ---


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("비가 왔다. 눈도 왔다.", ["비가 왔다.", "눈도 왔다."]),
        ("3.5mm였다. 끝.", ["3.5mm였다.", "끝."]),
        ("지수: 우산 있어?\n민호: 응!", ["지수: 우산 있어?", "민호: 응!"]),
        ('그는 "간다." 하고 갔다.', ['그는 "간다."', "하고 갔다."]),
        ("마침표가 없다", ["마침표가 없다"]),
        ("정말?! 그래…  좋아", ["정말?!", "그래…", "좋아"]),
        ("\n\n하나\r\n둘\n", ["하나", "둘"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    """At . ? ! … before white space, and at the end of a line."""
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "characters", "expected"),
    [
        ("하나 둘 셋", 0, "하나 둘 셋"),
        ("하나 둘 셋", 6, "하나 둘 셋"),
        ("하나 둘 셋", 5, "하나 둘"),
        ("하나 둘 셋", 4, "하나 둘"),
        ("하나 둘셋넷", 5, "하나 둘셋"),
        ("하나둘 셋넷", 5, "하나둘"),
        ("띄어쓰기없음", 3, "띄어쓰"),
        ("가 나다라마바사아자", 8, "가 나다라마바사"),
    ],
)
def test_a_cut_falls_between_words_if_that_keeps_half(text: str, characters: int, expected: str) -> None:
    """Otherwise within the word; never longer than asked."""
    assert cut(text, characters) == expected
    assert characters == 0 or len(cut(text, characters)) <= characters


def test_lead_takes_sentences_and_cuts_them() -> None:
    """Sentences first, then characters."""
    examples = [Example("a", "첫 문장이다. 둘째 문장이다.\n셋째.")]

    def made(**settings: int) -> str:
        return lead.summarize(lead.Config(**settings), [], examples, no_progress)[0]

    assert made() == "첫 문장이다."
    assert made(sentences=2) == "첫 문장이다. 둘째 문장이다."
    assert made(sentences=0) == "첫 문장이다. 둘째 문장이다. 셋째."
    assert made(sentences=0, max_characters=10) == "첫 문장이다. 둘째"


# --- textrank ---


def test_similarity_is_the_paper_s() -> None:
    """Mihalcea and Tarau, section 4.1: |shared| / (log|Si| + log|Sj|). By hand for 4 and 2 words."""
    found = textrank.similarities([["a", "b", "c", "d"], ["a", "b"], ["x", "y"]])
    assert found[0, 1] == pytest.approx(2 / (np.log(4) + np.log(2)))
    assert found[0, 1] == found[1, 0]
    assert found[0, 2] == found[0, 0] == 0


def test_page_rank_solves_its_equation() -> None:
    """S = (1 - d) + d W S: the fixed point found by iteration is that of the linear system."""
    weights = np.array([[0, 2, 1, 0], [2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=np.float64)
    shares = np.divide(weights, weights.sum(axis=0), out=np.zeros_like(weights), where=weights.sum(axis=0) > 0)
    expected = np.linalg.solve(np.eye(4) - 0.85 * shares, np.full(4, 0.15))
    assert textrank.page_rank(weights, 0.85) == pytest.approx(expected, abs=1e-4)


def test_the_sentence_that_shares_most_is_first() -> None:
    """The middle one of three shares nouns with both others."""
    assert textrank.rank_sentences([["사과", "배"], ["사과", "배", "감", "귤"], ["감", "귤"]], 0.85)[0] == 1
    assert textrank.rank_sentences([[], []], 0.85) == [0, 1]


def test_chosen_sentences_keep_the_document_s_order() -> None:
    """Two sentences are given as they stand in the text, not as they rank."""
    text = "사과와 배를 샀다. 날이 맑았다. 사과와 배와 감과 귤을 시장에서 샀다. 감과 귤은 시장에서 비쌌다."
    made = textrank.summarize(textrank.Config(sentences=2), [], [Example("a", text)], no_progress)[0]
    parts = split_sentences(made)
    assert len(parts) == 2
    assert text.index(parts[0]) < text.index(parts[1])


def test_nouns_are_mecab_s() -> None:
    """Common and proper nouns; particles, verbs and endings are left out."""
    assert textrank.nouns("철수는 학교에서 사과를 먹었다.") == ["철수", "학교", "사과"]
