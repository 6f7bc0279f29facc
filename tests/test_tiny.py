"""The embedded base model: what it has read, that it can be made again, that it copies, what its card says."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import torch

from baselines import tiny
from baselines.gptj import Shape, new_weights
from baselines.models import load_model
from baselines.tiny import pretrain
from baselines.tiny.reading import Piece, Stage, contest_texts, documents, pieces, repeated_list, syllables
from baselines.tiny.tokenizer import SPECIAL_TOKENS, train_tokenizer
from contests.mini.generator.corpus import Corpus

FOLDER = Path(tiny.__file__).parent
SMALL = Stage(seed=5, documents=60, sentences=0, lists=0.5, lines=4, plain=0.1)


@pytest.fixture(scope="module")
def read() -> list[Piece]:
    """A small stage, read."""
    return list(pieces(SMALL, documents(SMALL.seed, SMALL.documents)))


def test_it_reads_documents_that_are_not_in_the_contest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that the contest holds is left out, and what its folder holds is known: 4,500 texts."""
    theirs = contest_texts()
    assert len(theirs) == 2_000 + 2_000 + 500
    drawn = documents(5, 40)
    monkeypatch.setattr("baselines.tiny.reading.contest_texts", lambda: {drawn[3], drawn[7]})
    left = documents(5, 40)
    assert len(left) == 40
    assert left[:38] == [text for text in drawn if text not in (drawn[3], drawn[7])]


def test_it_reads_no_summary(read: list[Piece]) -> None:
    """Neither those of its own documents, which are drawn with them, nor those of the contest."""
    lines = {line for piece in read for line in re.split(r"\n+", piece.source + piece.copied)}
    own = {document.summary for document in Corpus(SMALL.seed).documents(SMALL.documents + 3)}
    assert len(own) == SMALL.documents + 3
    assert not own & lines
    assert not contest_texts() & lines


def test_what_stands_behind_a_document_is_made_of_its_words(read: list[Piece]) -> None:
    """Word by word: a colon or comma more is all that a line may add."""
    behind = [piece for piece in read if piece.copied and piece.learn_source]
    assert len(behind) > SMALL.documents / 2
    for piece in behind:
        known = {word.rstrip(",:") for word in piece.source.split()}
        assert {word.rstrip(",:") for word in piece.copied.split()} <= known


def test_a_list_is_said_twice_and_only_the_second_time_is_learnt() -> None:
    """What comes at random cannot be learnt."""
    piece = repeated_list(random.Random(1), syllables(), ["말", "글"])
    assert piece.copied.strip() == piece.source
    text = [piece.source, piece.copied]
    tokenizer = train_tokenizer(text, 3_000)
    reading = next(pretrain.tokens_of([piece], tokenizer))
    assert tokenizer.decode(reading.ids[reading.first :]) == piece.copied


def test_a_name_has_the_same_tokens_wherever_it_stands() -> None:
    """At the start of a line, after a space, before one particle or another; digits stand alone."""
    base = load_model("tiny", "", "fp32")
    space, name = base.encode(" "), base.encode(" 나비생태원")
    for text in ("\n나비생태원은", "가 나비생태원에서", ", 나비생태원으로", "\n나비생태원: "):
        ids = base.encode(text)
        assert any(ids[at : at + len(name)] == name for at in range(len(ids))), text
    assert base.encode("1302")[1:] == base.encode("302")
    assert space


def test_the_same_seed_gives_the_same_weights() -> None:
    """A few steps, twice, to the last bit; another start gives others."""
    texts = documents(6, 24)
    stage = Stage(seed=6, documents=24, sentences=2, lists=1.0, lines=2, plain=0.0)
    tokenizer = train_tokenizer(texts, 3_000)
    readings = list(pretrain.tokens_of(pieces(stage, texts), tokenizer))
    shape = Shape(
        vocab_size=3_000, n_embd=32, n_layer=2, n_head=2, rotary_dim=8, n_inner=64, n_positions=2048,
        layer_norm_epsilon=1e-5, tie_word_embeddings=True,
    )  # fmt: skip

    def weights(seed: int) -> list[torch.Tensor]:
        model = new_weights(shape, torch.Generator().manual_seed(seed))
        pretrain.train(model, readings, peak=1.0, cool_down=0.5, tokens_a_step=1_024)
        return [weight.detach() for weight in model.tensors()]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("rows", "columns"), [(96, 32), (32, 32), (64, 32), (32, 64)])
def test_steps_inside_the_blocks_are_orthogonal(rows: int, columns: int) -> None:
    """Singular values within the band of Jordan et al., for each square of a stack and for long matrices."""
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1))
    made = pretrain.orthogonal(drawn) / max(1.0, rows / columns) ** 0.5
    if rows == 3 * columns:
        made = pretrain.orthogonal(drawn).view(3, columns, columns)
    values = torch.linalg.svdvals(made)
    assert values.max() < 1.3
    assert values.median() > 0.6


def _likeliest(pieces_read: list[Piece]) -> float:
    """The share of the learnt tokens that are the base's likeliest, given all before them."""
    base = load_model("tiny", "", "fp32")
    readings = list(pretrain.tokens_of(pieces_read, base.vocabulary.tokenizer))
    hits = total = 0
    with torch.no_grad():
        for batch, wanted in pretrain.batches(readings, 2_048):
            guessed = base.model.logits(base.model.hidden(batch)).argmax(dim=-1)
            hits, total = hits + int((guessed == wanted).sum()), total + len(wanted)
    return hits / total


def test_the_base_copies_a_list_that_it_has_never_seen() -> None:
    """Random syllables, numbers and words: known the second time, and not when another list came before.

    Measured when the model was made: .75 after the same list, .16 after another.
    """
    draw, letters = random.Random(1), syllables()
    words = sorted({word for text in documents(98, 30) for word in text.split()})
    lists = [repeated_list(draw, letters, words) for _ in range(60)]
    others = [
        Piece(other.source, each.copied, False)
        for each, other in zip(lists, lists[1:] + lists[:1], strict=True)
    ]
    assert _likeliest(lists) > 0.65
    assert _likeliest(others) < 0.25


def test_the_model_card_tells_the_model_s_size() -> None:
    """Parameters, vocabulary and bytes, as the card gives them, are those of the files."""
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    base = load_model("tiny", "", "fp32")
    parameters = sum(weight.numel() for weight in base.model.tensors())
    size = sum((FOLDER / name).stat().st_size for name in ("model.safetensors", "tokenizer.json"))
    assert 3e6 <= parameters <= 8e6
    assert size < 15e6
    assert f"{parameters:,} parameters" in card
    assert f"{size / 1e6:.1f} MB" in card
    assert f"{base.model.shape.vocab_size:,} entries" in card
    assert base.vocabulary.tokenizer.get_vocab_size() == base.model.shape.vocab_size
    assert [base.vocabulary.tokenizer.token_to_id(name) for name in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("text", ["비가 3.5mm 왔다.\n끝!", "뷁 😀 漢字", "a  b", "\n\n 두 줄 \n", ""])
def test_text_goes_in_and_comes_out_unchanged(text: str) -> None:
    """Unknown characters as bytes, line breaks and runs of spaces too."""
    base = load_model("tiny", "", "fp32")
    assert base.decode(base.encode(text)) == text
