"""Decoding many documents at once: who shares a batch, a row or a slot changes nothing of what is written."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.attention_kernel import exponentials
from baselines.compiled_cache import CompiledCache
from baselines.generation import Decoding, generate, generate_each
from baselines.gptj import GPTJ, LARGEST_BATCH, Shape, new_weights
from baselines.gptj_cache import TorchCache
from baselines.gptj_rows import GPTJRows, Products
from baselines.search import RANGE, _best

END = 1
ROOM = 12
SHAPE = Shape(
    vocab_size=300, n_embd=32, n_layer=3, n_head=4, rotary_dim=4, n_inner=64, n_positions=64,
    layer_norm_epsilon=1e-5, tie_word_embeddings=True,
)  # fmt: skip
WAYS = (
    Decoding(max_new_tokens=ROOM),
    Decoding(max_new_tokens=ROOM, num_beams=2),
    Decoding(max_new_tokens=ROOM, num_beams=3),
    Decoding(max_new_tokens=ROOM, num_beams=3, length_penalty=0.2),
    Decoding(max_new_tokens=ROOM, do_sample=True, top_p=0.9, seed=3),
    Decoding(max_new_tokens=ROOM, repetition_penalty=1.3),
    Decoding(max_new_tokens=4),
)


@pytest.fixture(scope="module")
def model() -> GPTJ:
    """Random weights that end a text after anything from no token to all of them."""
    made = new_weights(SHAPE, torch.Generator().manual_seed(1), spread=0.3)
    made.head_bias[END] = 4.0
    return made


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    """30 prompts of 2 to 40 tokens."""
    draw = torch.Generator().manual_seed(2)
    lengths = torch.randint(2, 41, (30,), generator=draw).tolist()
    return [torch.randint(3, 300, (length,), generator=draw).tolist() for length in lengths]


@pytest.fixture(scope="module")
def alone(model: GPTJ, prompts: list[list[int]]) -> list[list[list[int]]]:
    """What each prompt gives by itself, for each way of decoding by itself."""
    return [
        [generate(model, [prompt], way, END, 1, numbers=[number])[0] for number, prompt in enumerate(prompts)]
        for way in WAYS
    ]


def test_the_fixture_has_outputs_of_many_lengths(alone: list[list[list[int]]]) -> None:
    """Else the tests below would show nothing: some end at once, some in the middle, some at the limit."""
    assert {0, ROOM} < {len(each) for each in alone[0]}
    assert len({len(each) for each in alone[0]}) > 4


@pytest.fixture(params=[CompiledCache, TorchCache])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """The cache that is used: with numba, and where it cannot be imported."""
    if request.param is TorchCache:
        monkeypatch.setitem(sys.modules, "baselines.compiled_cache", None)
    chosen: type[Any] = request.param
    return chosen


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_prompts_that_take_each_other_s_places_give_what_they_give_alone(
    model: GPTJ, prompts: list[list[int]], alone: list[list[list[int]]], batch_size: int, cache: type[Any]
) -> None:
    """All ways at once in batches that are refilled, and greedy decoding by itself, with one row a prompt."""
    assert isinstance(model.rows(prompts[:1], 1, 1).cache, cache)
    assert generate_each(model, prompts, WAYS, END, batch_size) == alone
    assert generate(model, prompts, WAYS[0], END, batch_size) == alone[0]


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch has three threads, and a row is enough for one of them."""
    monkeypatch.setattr("baselines.generation.ROWS_OF_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("batch_size", [4, 20, 64])
def test_prompts_dealt_out_to_threads_give_what_they_give_alone(
    model: GPTJ, prompts: list[list[int]], alone: list[list[list[int]]], batch_size: int, cache: type[Any]
) -> None:
    """In batches that three threads share unequally; the last one is larger than all prompts."""
    assert isinstance(model.rows(prompts[:1], 1, 1).cache, cache)
    watched, seen = Watched(model), list[int]()
    assert generate_each(watched, prompts, WAYS, END, batch_size, seen.append) == alone
    assert sum(watched.read) == 30
    assert watched.threads == {"job 0", "job 1", "job 2"}
    assert seen == sorted(seen)
    assert seen[-1] == 30


@pytest.mark.usefixtures("three_threads")
def test_what_stands_in_a_batch_together_does_not_depend_on_who_is_quicker(
    model: GPTJ, prompts: list[list[int]]
) -> None:
    """Two runs read the same prompts in the same batches, and write the same."""
    runs = [Watched(model), Watched(model)]
    first, second = (generate(each, prompts, WAYS[0], END, 9) for each in runs)
    assert first == second
    assert sorted(runs[0].batches) == sorted(runs[1].batches)


@pytest.mark.usefixtures("three_threads")
def test_few_rows_are_not_dealt_out(
    model: GPTJ, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each thread would have fewer than are worth it, all of torch's threads work on one batch."""
    monkeypatch.setattr("baselines.generation.ROWS_OF_A_THREAD", 6)
    alone, dealt_out = Watched(model), Watched(model)
    generate(alone, prompts, WAYS[0], END, 11)
    generate(dealt_out, prompts, WAYS[0], END, 12)
    assert alone.threads == {threading.current_thread().name}
    assert dealt_out.threads == {"job 0", "job 1"}


def test_the_model_says_how_many_prompts_its_cache_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 blocks, 32 wide, in float32: 768 bytes a token, so 10 prompts of 100 tokens fit into 768,000 bytes."""
    model = new_weights(SHAPE, torch.Generator().manual_seed(1))
    monkeypatch.setattr("baselines.gptj.CACHE_ON_A_CPU", 768_000)
    assert model.batch_size(100, 1) == 10
    assert model.to(torch.device("cpu"), torch.bfloat16).batch_size(100, 1) == 20
    assert model.batch_size(10_000, 1) == 1
    monkeypatch.setattr("baselines.gptj.CACHE_ON_A_CPU", 0)  # a large model: a quarter of its weights
    assert model.batch_size(1, 1) == sum(tensor.nbytes for tensor in model.tensors()) // 4 // 768
    monkeypatch.undo()
    assert model.batch_size(1, 1) == LARGEST_BATCH


def test_a_batch_size_of_nothing_asks_the_model(
    model: GPTJ, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the 40 tokens of the longest and 12 in each of 3 beams, as many as fit: 5 of them."""
    longest = max(map(len, prompts))
    monkeypatch.setattr("baselines.gptj.CACHE_ON_A_CPU", 5 * 768 * (longest + 3 * ROOM))
    watched = Watched(model)
    generate(watched, prompts, WAYS[2], END)
    assert watched.read[0] == 5


class Watched:
    """The model, with the rows of every step and the prompts of every reading noted."""

    def __init__(self, model: GPTJ) -> None:
        self.model, self.steps, self.read = model, list[tuple[int, int]](), list[int]()
        self.threads, self.batches = set[str](), list[list[int]]()  # tokens read together
        self.full = list[bool]()  # at each step, whether more than three quarters of 8 places are taken

    longest_prompt = SHAPE.n_positions

    def batch_size(self, tokens: int, width: int) -> int:
        """As the model."""
        return self.model.batch_size(tokens, width)

    def ready_for_threads(self) -> bool:
        """As the model."""
        return self.model.ready_for_threads()

    def rows(self, prompts: Sequence[Sequence[int]], room: int, width: int) -> GPTJRows:
        """Rows that tell."""
        made, steps, read, full = self.model.rows(prompts, room, width), self.steps, self.read, self.full
        self._note(prompts)
        step, refill = made.step, made.refill

        def told(tokens: Tensor) -> Tensor:
            steps.append((tokens.shape[0], tokens.shape[1]))
            full.append(len(tokens) > 0.75 * 8 or sum(read) == 30)
            return step(tokens)

        def told_too(places: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
            self._note(prompts)
            return refill(places, prompts)

        made.step, made.refill = told, told_too  # type: ignore[method-assign]
        return made

    def _note(self, prompts: Sequence[Sequence[int]]) -> None:
        self.read.append(len(prompts))
        self.batches.append([token for prompt in prompts for token in prompt])
        self.threads.add(threading.current_thread().name)


def test_a_batch_stays_full_while_prompts_wait(model: GPTJ, prompts: list[list[int]]) -> None:
    """Eight at a time: no step computes an ended prompt, and places are filled as soon as two are free."""
    watched = Watched(model)
    written = generate(watched, prompts, WAYS[0], END, 8)
    # The end token costs no step: a text of n tokens takes n steps, the full ones one less.
    assert sum(count for count, _ in watched.steps) == sum(min(len(each), ROOM - 1) for each in written)
    assert sum(watched.read) == 30
    assert watched.read[0] == 8
    assert min(watched.read[:-1]) > 1  # a prompt alone is not worth reading
    assert all(watched.full)


def test_ways_of_decoding_that_have_written_the_same_share_a_row(model: GPTJ, prompts: list[list[int]]) -> None:
    """Beams differ by their penalty only in when they stop: twice the same search costs one search's rows."""
    twins = [WAYS[2], WAYS[3], WAYS[2]]
    one, three = Watched(model), Watched(model)
    generate_each(one, prompts, [WAYS[2]], END, 8)
    generate_each(three, prompts, twins, END, 8)
    assert max(width for _, width in three.steps) == max(width for _, width in one.steps) == 3


def test_progress_counts_up_to_all_prompts(model: GPTJ, prompts: list[list[int]]) -> None:
    """The numbers never fall, and the last is the number of prompts."""
    seen: list[int] = []
    generate_each(model, prompts, WAYS[:2], END, 8, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 30


def test_a_longer_prompt_than_the_first_ones_finds_no_room(model: GPTJ) -> None:
    """It is refused, not cut."""
    rows = model.rows([[5, 6, 7], [5, 6]], 4, 1)
    with pytest.raises(ValueError, match="longer than any of the first, 2 tokens"):
        rows.refill([1], [[5, 6, 7, 8]])


@pytest.mark.parametrize("blocks", [1, 3])
def test_weights_laid_out_for_the_processor_give_the_logits_of_plain_ones(
    blocks: int, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch, cache: type[Any]
) -> None:
    """Prompts and a step, with one row and with two; beside float64, which has no such kernel."""
    made = new_weights(replace(SHAPE, n_layer=blocks), torch.Generator().manual_seed(1), spread=0.3)
    exact = logits_of(made.to(torch.device("cpu"), torch.float64), prompts)
    laid_out = logits_of(made, prompts)
    monkeypatch.setattr("baselines.gptj_rows.LAID_OUT_AT_MOST", 0)
    plain = logits_of(made, prompts)
    for ours, others, expected in zip(laid_out, plain, exact, strict=True):
        assert (ours - expected).abs().max() < 1e-4
        assert (others - expected).abs().max() < 1e-4


def test_threads_that_share_the_prompts_of_a_step_give_what_one_gives(
    model: GPTJ, prompts: list[list[int]]
) -> None:
    """29 prompts do not divide by 2: none is left out."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = logits_of(model, prompts[:29])
        torch.set_num_threads(2)
        found = logits_of(model, prompts[:29])
    finally:
        torch.set_num_threads(before)
    for ours, others in zip(found, expected, strict=True):
        assert torch.allclose(ours, others, atol=1e-5)


def test_the_kernel_s_exponential_is_that_of_float64() -> None:
    """Within 2 x 2^-23, from e^0 down to the least it gives; what is no number stays none."""
    x = np.concatenate([np.linspace(-86, 0, 100_001), [-1e30, -np.inf]]).astype(np.float32)
    found = np.append(x, np.float32(np.nan)) + np.float32(3)
    shifted = found.astype(np.float64)[:-1] - 3  # what adding 3 left of x
    expected = np.exp(np.maximum(shifted, -86))
    exponentials(found, np.float32(3), np.empty(len(found), np.int32))
    assert np.isnan(found[-1])
    assert np.abs(found[:-1] / expected - 1).max() < 2 * 2**-23


@torch.no_grad()
def logits_of(model: GPTJ, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
    """Logits after the prompts and after one more token, for one row to a prompt and for two."""
    count, found = len(prompts), []
    for width in (1, 2):
        rows = GPTJRows(model, Products(model), prompts, 2, width)
        found.append(rows.first_logits)
        rows.select(range(count), torch.zeros(count, width, dtype=torch.int64))
        found.append(rows.step(torch.arange(5, 5 + width).expand(count, width)))
    return found


def test_the_best_of_a_row_is_the_first_largest() -> None:
    """As torch's argmax: within ranges, across them, behind the last whole one, and where all are equal."""
    draw = torch.Generator().manual_seed(3)
    scores: Any = torch.randint(0, 40, (50, 3 * RANGE + 17), generator=draw).float()  # ties in plenty
    scores[0] = 2.0
    scores[1, 3 * RANGE + 5] = 99.0
    scores[2] = -torch.inf
    scores[3, [RANGE - 1, RANGE, 3 * RANGE]] = 50.0
    assert torch.equal(_best(scores), torch.tensor([int((row == row.max()).nonzero()[0]) for row in scores]))
