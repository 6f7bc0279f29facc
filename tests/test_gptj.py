"""The hand-written parts of GPT-J's forward and backward pass, each against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from baselines.gptj import GPTJ, Dropout, Packed, Shape, SummedCrossEntropy, gelu, gelu_, new_weights, pack
from baselines.models import new_adapter
from baselines.search import Decoding, _sample, largest

SHAPE = Shape(
    vocab_size=700, n_embd=32, n_layer=3, n_head=4, rotary_dim=4, n_inner=64, n_positions=64,
    layer_norm_epsilon=1e-5, tie_word_embeddings=True,
)  # fmt: skip


def model() -> GPTJ:
    """Random weights, large enough that nothing is nearly zero."""
    return new_weights(SHAPE, torch.Generator().manual_seed(1), spread=0.3)


def drawn(*size: int, seed: int = 2) -> torch.Tensor:
    """Normal draws that a gradient is asked for."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).requires_grad_(True)


def batch() -> Packed:
    """Four documents of unlike lengths; of each the last three outputs are wanted."""
    texts = [torch.randint(0, 700, (length,), generator=torch.Generator().manual_seed(length)).tolist()
             for length in (5, 17, 9, 30)]  # fmt: skip
    return pack(texts, [len(text) - 3 for text in texts], [3] * len(texts))


@pytest.mark.parametrize("count", [1, 37, 5_000])
def test_cross_entropy_without_all_logits_is_torch_s(count: int) -> None:
    """Value and gradient, in one range of the vocabulary (37 rows) and in three (5,000)."""
    base, hidden, again = model(), drawn(count, 32), drawn(count, 32)
    wanted = torch.randint(0, 700, (count,), generator=torch.Generator().manual_seed(3))
    ours = base.cross_entropy_sum(hidden, wanted)
    expected = functional.cross_entropy(base.logits(again), wanted, reduction="sum")
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    (ours * 0.5).backward()
    (expected * 0.5).backward()
    assert hidden.grad is not None
    assert again.grad is not None
    assert torch.allclose(hidden.grad, again.grad, atol=1e-5)


def test_cross_entropy_survives_logits_that_would_overflow() -> None:
    """Logits of tens of thousands: the maximum is taken out before the exponential."""
    head = torch.tensor([[300.0], [-300.0], [299.9]])
    hidden = torch.tensor([[100.0]], requires_grad=True)
    loss = SummedCrossEntropy.apply(hidden, torch.tensor([2]), head, torch.zeros(3))
    loss.backward()
    assert loss.item() == pytest.approx(10.0, abs=0.01)
    assert hidden.grad is not None
    assert hidden.grad.item() == pytest.approx(0.1, abs=0.01)


def test_an_output_layer_that_is_to_learn_is_refused() -> None:
    """It would silently get no gradient."""
    head = torch.ones(3, 1, requires_grad=True)
    with pytest.raises(ValueError, match="frozen"):
        SummedCrossEntropy.apply(torch.ones(1, 1), torch.tensor([0]), head, torch.zeros(3))


def test_gelu_and_its_derivative_are_torch_s() -> None:
    """Over several pieces, with values far out on both sides, and in place."""
    ours, expected = drawn(400, 700), drawn(400, 700)
    with torch.no_grad():
        ours *= 4
        expected *= 4
    assert torch.allclose(gelu(ours), functional.gelu(expected, approximate="tanh"), atol=1e-6)
    assert torch.allclose(gelu_(ours.detach().clone()), gelu(ours), atol=1e-6)
    (gelu(ours) * 3).sum().backward()
    (functional.gelu(expected, approximate="tanh") * 3).sum().backward()
    assert ours.grad is not None
    assert expected.grad is not None
    assert torch.allclose(ours.grad, expected.grad, atol=1e-5)


def test_documents_in_one_pack_have_the_gradients_they_have_alone() -> None:
    """The adapter's gradients of four documents together are the sum of those of each by itself."""
    base, whole = model(), batch()
    made = new_adapter(base, ["q_proj", "v_proj"], 4, 8.0, False, torch.Generator().manual_seed(4))
    weights = [part for change in made.values() for part in (change.a, change.b)]
    for weight in weights:
        weight.normal_(0.0, 0.2, generator=torch.Generator().manual_seed(5)).requires_grad_(True)
    together = torch.autograd.grad(base.hidden(whole, made).square().sum(), weights)
    alone = [torch.zeros_like(weight) for weight in weights]
    for text in whole.tokens.split(whole.lengths):
        one = pack([text.tolist()], [len(text) - 3], [3])
        for total, part in zip(
            alone, torch.autograd.grad(base.hidden(one, made).square().sum(), weights), strict=True
        ):
            total += part
    for ours, expected in zip(together, alone, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-3)


def test_reading_for_decoding_gives_the_logits_of_training() -> None:
    """Prompts read into a cache, and the same documents in one pack: two ways through the model, one result."""
    base = model()
    texts = [list(range(5, 5 + length)) for length in (5, 17, 9, 30)]
    packed = pack(texts, [len(text) - 1 for text in texts], [1] * len(texts))
    with torch.no_grad():
        rows = base.rows(texts, 4, 1)
        assert torch.allclose(rows.first_logits, base.logits(base.hidden(packed)), atol=1e-4)


def test_rows_of_a_dropout_mask_are_unlike() -> None:
    """A share p of each is dropped, and two rows agree as often as chance has it."""
    mask = Dropout(0.3, (1,)).mask(2, 0, torch.ones(400, 64))
    assert mask is not None
    assert mask.shape == (400, 64)
    assert mask.float().mean().item() == pytest.approx(0.3, abs=0.01)
    same = (mask[:200] == mask[200:]).float().mean().item()
    assert same == pytest.approx(0.3**2 + 0.7**2, abs=0.02)


def test_the_largest_of_a_row_are_found_without_sorting_it() -> None:
    """Values and places are topk's: 5,011 columns, the largest of one row in the last, ungrouped ones."""
    scores = torch.randn(6, 5_011, generator=torch.Generator().manual_seed(7))
    scores[2, 5_009] = 9.0
    scores[3, 40:48] = torch.arange(8) + 10.0
    values, places = largest(scores, 8)
    expected = scores.topk(8, dim=-1)
    assert torch.equal(values, expected.values)
    assert torch.equal(places, expected.indices)


@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, 0), (0.9, 0), (0.95, 700), (1.0, 50)])
def test_a_draw_far_down_the_ranking_is_the_one_that_sorting_finds(top_p: float, top_k: int) -> None:
    """Nearly even shares of 20,000 tokens: most draws lie beyond the tokens that are looked at first."""
    logits = torch.randn(40, 20_000, generator=torch.Generator().manual_seed(8)) * 0.3
    draws = [(place + 0.5) / 40 for place in range(40)]
    drawn = _sample(logits, Decoding(do_sample=True, top_p=top_p, top_k=top_k, temperature=0.8), draws)
    ranked, tokens = (logits.double() / 0.8).sort(dim=-1, descending=True)
    shares = ranked.masked_fill(torch.arange(20_000) >= (top_k or 20_000), -torch.inf).softmax(dim=-1)
    shares = shares.masked_fill(shares.cumsum(dim=-1) - shares >= top_p, 0.0)
    sums = (shares / shares.sum(dim=-1, keepdim=True)).cumsum(dim=-1)
    for row, draw in enumerate(draws):
        place = int((sums[row] <= draw).sum())
        assert drawn[row] in tokens[row, max(0, place - 1) : place + 2]  # a neighbour, for sums in float32
