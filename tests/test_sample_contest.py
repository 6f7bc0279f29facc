"""The sample contest: written by its generator to the byte, in the real contest's shape, and no giveaway."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from baselines.sentences import split_sentences
from contests.mini.generator.__main__ import write_contest
from contests.mini.generator.corpus import GENRES, Corpus, row_ids, topics
from contests.mini.generator.drawing import Draw
from contests.mini.generator.particles import fill, final_consonant, slots, with_particle
from contests.mini.generator.topic import korean_amount
from harness.contest import Contest
from harness.rouge import rouge

MINI = Path("contests/mini")
TABLES = ("train.csv", "test.csv", "sample_submission.csv", "private/answers.csv")


@pytest.fixture(scope="module")
def mini() -> Contest:
    """The sample contest as it is committed."""
    return Contest.load(MINI)


def test_the_generator_writes_the_committed_files_to_the_byte(tmp_path: Path) -> None:
    """Whoever doubts a row can make it again."""
    write_contest(tmp_path)
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (MINI / name).read_bytes(), name


def test_the_contest_has_the_real_one_s_shape(mini: Contest) -> None:
    """2,000 rows to learn from, 500 to summarise, half of them public; ids of ten letters and digits."""
    assert (len(mini.train), len(mini.test)) == (2_000, 500)
    assert [answer.id for answer in mini.answers] == list(mini.test_ids)
    assert sum(answer.split == "public" for answer in mini.answers) == 250
    ids = [example.id for example in (*mini.train, *mini.test)]
    assert len(set(ids)) == 2_500
    assert all(re.fullmatch(r"[A-Za-z0-9]{10}", name) for name in ids)
    assert sum("\n" in example.text for example in mini.test) > 100


def test_summaries_are_one_line_of_20_to_60_characters(mini: Contest) -> None:
    """Each is one sentence that ends in a period."""
    summaries = [example.summary or "" for example in mini.train]
    summaries += [answer.references[0] for answer in mini.answers]
    assert all(
        20 <= len(summary) <= 60 and "\n" not in summary and summary.endswith(".") for summary in summaries
    )
    assert len(set(summaries)) == 2_500


def test_train_and_test_share_no_document_and_hardly_a_sentence(mini: Contest) -> None:
    """Of the test documents' sentences of 25 characters and more, fewer than 1 in 40 stand in train."""
    assert not {example.text for example in mini.train} & {example.text for example in mini.test}
    known = {sentence for example in mini.train for sentence in split_sentences(example.text)}
    asked = [
        sentence for example in mini.test for sentence in split_sentences(example.text) if len(sentence) >= 25
    ]
    assert sum(sentence in known for sentence in asked) / len(asked) < 1 / 40


def test_numbers_in_a_summary_stand_in_its_document(mini: Contest) -> None:
    """A summary invents no figure: every number in it is in the text."""
    for example in mini.train:
        numbers = re.findall(r"\d+", example.summary or "")
        missing = [number for number in numbers if number not in example.text]
        assert not missing, (example.id, missing)


def test_no_single_sentence_is_the_summary(mini: Contest) -> None:
    """The first sentence scores below .35 and the best sentence, chosen with the answer in hand, below .60.

    Mean ROUGE-1 F1 over syllables, which flatters copying; a full summary scores 1.
    """
    references = [answer.references[0] for answer in mini.answers]
    sentences = [split_sentences(example.text) for example in mini.test]
    first = rouge([parts[0] for parts in sentences], references, tokenizer="syllable")["rouge1"].mean().f1
    pairs = [(number, part) for number, parts in enumerate(sentences) for part in parts]
    scores = rouge(
        [part for _, part in pairs], [references[number] for number, _ in pairs], tokenizer="syllable"
    )["rouge1"].f1
    best = [0.0] * len(references)
    for (number, _), score in zip(pairs, scores, strict=True):
        best[number] = max(best[number], float(score))
    assert first < 0.35
    assert sum(best) / len(best) < 0.60


def test_there_are_several_hundred_patterns_on_many_subjects() -> None:
    """At least 45 topics and 900 hand-written patterns, none of them twice."""
    everything = [topic for genre in GENRES for topic in topics(genre)]
    patterns = [pattern for topic in everything for pattern in topic.patterns if len(pattern) >= 20]
    assert len(everything) >= 45
    assert len(patterns) >= 900
    assert len(set(patterns)) == len(patterns)


def test_every_slot_a_pattern_names_is_drawn() -> None:
    """No pattern can fail on a missing word, however seldom it is drawn."""
    for genre in GENRES:
        for topic in topics(genre):
            for pattern in topic.patterns:
                assert set(slots(pattern)) <= set(topic.slots), (topic.name, pattern)


# A slot is followed by a particle that would have to change with the word: it must be written inside the
# braces. ("로" and "가" may begin a word, so only clear cases are looked for.)
BARE_PARTICLE = re.compile(r"\{[^{}|]+\}(?:은|는|을|를|와|과|으로)(?=[\s,.])")


def test_particles_that_change_are_written_in_the_slot() -> None:
    """``{도시|은}``, never ``{도시}은``."""
    for genre in GENRES:
        for topic in topics(genre):
            for pattern in topic.patterns:
                assert not BARE_PARTICLE.search(pattern), (topic.name, pattern)


def test_another_seed_writes_other_documents() -> None:
    """There is more where these came from: 3,000 documents of another seed share none with the contest."""
    ours = {example.text for example in (*Contest.load(MINI).train, *Contest.load(MINI).test)}
    others = {document.text for document in Corpus(7).documents(3_000)}
    assert len(others) == 3_000
    assert not ours & others


# --- the parts of the generator ---


@pytest.mark.parametrize(
    ("word", "particle", "expected"),
    [
        ("서울", "은", "서울은"),
        ("대구", "은", "대구는"),
        ("서울", "으로", "서울로"),
        ("부산", "으로", "부산으로"),
        ("대구", "으로", "대구로"),
        ("지민", "이라고", "지민이라고"),
        ("지수", "이라고", "지수라고"),
        ("지수", "아", "지수야"),
        ("지민", "아", "지민아"),
        ("교사", "이었다", "교사였다"),
        ("30%", "을", "30%를"),
        ("42km", "은", "42km는"),
        ("3kg", "은", "3kg은"),
        ("10", "이", "10이"),
        ("2", "이", "2가"),
        ("7", "으로", "7로"),
        ("100", "으로", "100으로"),
        ("1만", "을", "1만을"),
        ("'봄'", "과", "'봄'과"),
        ("나무(느티)", "은", "나무(느티)는"),
        ("AI", "을", "AI를"),
        ("URL", "으로", "URL로"),
        ("집", "에서", "집에서"),
    ],
)
def test_the_particle_fits_the_sound_before_it(word: str, particle: str, expected: str) -> None:
    """Hangul by its final consonant; digits, units and letters as they are read aloud (국립국어원 standard)."""
    assert with_particle(word, particle) == expected


def test_the_final_consonant_follows_from_unicode_s_composition() -> None:
    """Every syllable decomposed (NFD) has three letters if and only if it ends in a consonant."""
    import unicodedata

    for code in range(ord("가"), ord("힣") + 1):
        letters = unicodedata.normalize("NFD", chr(code))
        assert final_consonant(chr(code)) == (len(letters) == 3, letters[2:] == "\u11af")


def test_filling_leaves_no_brace() -> None:
    """All slots are filled, with and without particles; an unknown one is an error."""
    assert fill("{도시|은} {수} 명을", {"도시": "해솔시", "수": "3"}) == "해솔시는 3 명을"
    with pytest.raises(KeyError):
        fill("{없음}", {})


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (350_000_000, "3억 5000만 원"),
        (120_000, "12만 원"),
        (8_500, "8500원"),
        (100_000_000, "1억 원"),
        (12_500, "1만 2500원"),
    ],
)
def test_sums_are_written_in_korean_groups(amount: int, text: str) -> None:
    """억 and 만, as newspapers write them."""
    assert korean_amount(amount, "원") == text


def test_one_seed_draws_one_sequence() -> None:
    """Figures drawn by CPython 3.11; Random.random is promised to give them on every version."""
    draw = Draw(1)
    assert [draw.below(100) for _ in range(5)] == [13, 84, 76, 25, 49]
    assert Draw(1).shuffled(list(range(5))) == Draw(1).shuffled(list(range(5)))


def test_no_id_looks_like_a_number() -> None:
    """A spreadsheet must not make 1e5 of an id."""
    for name in row_ids(Draw(3), 5_000):
        with pytest.raises(ValueError, match="could not convert"):
            float(name)
