"""The LoRA baseline: its arithmetic against transformers and peft, its training, its decoding."""

from __future__ import annotations

import contextlib
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines import Job, lora
from baselines.generation import Decoding, generate
from baselines.gptj import GPTJ, AdaptedLinear, Adapter, Dropout, Shape, new_weights, pack
from baselines.models import load_adapter, load_model, merged, new_adapter, save_adapter
from baselines.packed_model import PackedModel, batch_of
from baselines.prompts import LabelledPrompt, Template, order, split_dev
from baselines.schedules import factor
from baselines.training import Settings, Training
from harness.contest import Example
from harness.errors import Interrupted, UsageError

SHAPE = Shape(
    vocab_size=97, n_embd=32, n_layer=3, n_head=4, rotary_dim=4, n_inner=64, n_positions=64,
    layer_norm_epsilon=1e-5, tie_word_embeddings=False,
)  # fmt: skip
MODULES = ["q_proj", "v_proj", "out_proj", "fc_in"]


VOCABULARY = load_model("tiny", "", "fp32").vocabulary


def model() -> GPTJ:
    """Random weights, large enough that rankings are no accident of rounding."""
    return new_weights(SHAPE, torch.Generator().manual_seed(1), spread=0.3)


def adapter(base: GPTJ, seed: int = 2) -> Adapter:
    """An adapter whose ``B`` is not zero."""
    generator = torch.Generator().manual_seed(seed)
    made = new_adapter(base, MODULES, 4, 8.0, False, generator)
    for change in made.values():
        change.b.normal_(0.0, 0.1, generator=generator)
    return made


def reference(base: GPTJ) -> Any:
    """The same weights in transformers' GPT-J."""
    from transformers import GPTJConfig, GPTJForCausalLM

    sizes = dict(vars(base.shape))
    config = GPTJConfig(
        **sizes, resid_pdrop=0.0, attn_pdrop=0.0, embd_pdrop=0.0, bos_token_id=0, eos_token_id=1
    )
    theirs = GPTJForCausalLM(config)
    theirs.load_state_dict(base.to_state(), strict=False)
    return theirs.eval()


def documents(count: int = 5) -> list[list[int]]:
    """Token lists of unlike lengths."""
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(2, 97, (5 + 4 * n,), generator=generator).tolist() for n in range(count)]


def test_packed_logits_are_those_of_transformers_one_by_one() -> None:
    """Every document of a packed batch reads itself alone; transformers 5's GPT-J is the reference."""
    base = model()
    theirs, texts = reference(base), documents()
    batch = pack(texts, [1] * len(texts), [len(text) - 1 for text in texts])
    ours = base.logits(base.hidden(batch)).split(batch.wanted)
    for text, logits in zip(texts, ours, strict=True):
        expected = theirs(torch.tensor([text])).logits[0, 1:]
        assert torch.allclose(logits, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_gradients_of_the_adapter_are_peft_s(tmp_path: Path) -> None:
    """The saved adapter loads in plain peft; logits and gradients are equal there."""
    from peft import PeftModel

    base = model()
    made = adapter(base)
    save_adapter(made, tmp_path, {"r": 4, "lora_alpha": 8.0, "lora_dropout": 0.0, "target_modules": MODULES})
    theirs = PeftModel.from_pretrained(reference(base), str(tmp_path), is_trainable=True)
    text = documents()[3]
    for change in made.values():
        change.a.requires_grad_(True)
        change.b.requires_grad_(True)
    ours = base.logits(base.hidden(pack([text], [4], [len(text) - 4]), made))
    expected = theirs(torch.tensor([text])).logits[0, 4:]
    assert torch.allclose(ours, expected, atol=2e-4, rtol=1e-4)
    ours.square().mean().backward()
    expected.square().mean().backward()
    found = dict(theirs.named_parameters())
    for (layer, name), change in made.items():
        place = "attn" if name.endswith(("q_proj", "v_proj", "out_proj")) else "mlp"
        at = f"base_model.model.transformer.h.{layer}.{place}.{name}.lora_B.default.weight"
        assert change.b.grad is not None
        assert torch.allclose(change.b.grad, found[at].grad, atol=1e-3, rtol=1e-3)


def test_merged_equals_unmerged_and_the_adapter_survives_its_folder(tmp_path: Path) -> None:
    """W + scaling B A once, or at every step: the same logits."""
    base = model()
    made = adapter(base)
    settings = {"r": 4, "lora_alpha": 8.0, "target_modules": MODULES}
    save_adapter(made, tmp_path, settings)
    again = load_adapter(tmp_path, base)
    batch = pack(documents(), [0] * 5, [2] * 5)
    expected = base.hidden(batch, made)
    assert torch.equal(base.hidden(batch, again), expected)
    assert torch.allclose(merged(base, made).hidden(batch), expected, atol=1e-4)
    assert not torch.allclose(base.hidden(batch), expected, atol=1e-2)


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_tokens_are_those_of_transformers_generate(beams: int) -> None:
    """Greedy and beam search, float32, each document alone in transformers and all together here."""
    base, texts = model(), documents()
    theirs = reference(base)
    ours = generate(base, texts, Decoding(max_new_tokens=12, num_beams=beams), 1, batch_size=3)
    for text, tokens in zip(texts, ours, strict=True):
        ids = torch.tensor([text])
        expected = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, num_beams=beams, do_sample=False,
            eos_token_id=1, pad_token_id=1,
        )[0, len(text) :].tolist()  # fmt: skip
        assert tokens == (expected[: expected.index(1)] if 1 in expected else expected)


def test_a_sampled_summary_depends_on_its_seed_and_not_on_its_batch() -> None:
    """Batches of 1 and of 5 draw the same; another seed draws otherwise."""
    base, texts = model(), documents()
    drawn = Decoding(max_new_tokens=10, do_sample=True, top_p=0.9, temperature=2.0)
    once = generate(base, texts, drawn, 1, batch_size=5)
    assert generate(base, texts, drawn, 1, batch_size=1) == once
    other = Decoding(max_new_tokens=10, do_sample=True, top_p=0.9, temperature=2.0, seed=1)
    assert generate(base, texts, other, 1) != once


def test_no_ngram_twice_and_no_early_end() -> None:
    """``no_repeat_ngram_size`` and ``min_new_tokens`` hold for what is written."""
    base = model()
    rules = Decoding(max_new_tokens=30, min_new_tokens=30, no_repeat_ngram_size=2)
    for tokens in generate(base, documents(), rules, 1):
        assert len(tokens) == 30
        assert len(set(itertools.pairwise(tokens))) == 29


def test_the_loss_is_over_the_summary_and_the_end_alone() -> None:
    """Each label position, for two examples packed: by hand."""
    examples = [LabelledPrompt([5, 6, 7, 8, 1], 3), LabelledPrompt([9, 10, 11, 1], 1)]
    batch, wanted = batch_of(examples, torch.device("cpu"))
    assert batch.tokens.tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert batch.predicting.tolist() == [2, 3, 4, 5, 6]
    assert wanted.tolist() == [8, 1, 10, 11, 1]


def settings(**changes: Any) -> Settings:
    """Six steps of Adam on batches of two."""
    values: dict[str, Any] = {
        "optimizer": "AdamW", "learning_rate": 0.01, "weight_decay": 0.01, "adam_beta1": 0.9,
        "adam_beta2": 0.999, "max_grad_norm": 1.0, "lr_scheduler_type": "cosine", "warmup_steps": 0,
        "num_cycles": 1, "t_0": 3, "t_mult": 2, "num_train_epochs": 1, "max_steps": 6,
        "per_device_train_batch_size": 2, "train_batch_tokens": 0, "gradient_accumulation_steps": 1,
        "fp16": False, "eval_steps": 3, "save_steps": 0, "early_stopping_patience": 0, "seed": 0,
    }  # fmt: skip
    return Settings(**(values | changes))


def trained(
    folder: Path, stop_after: int = 0, resume: bool = False, checkpointing: bool = False, **changes: Any
) -> tuple[Adapter, Training]:
    """A run; ``stop_after`` steps it is cut off, as by a kill."""
    base = model()
    examples = [LabelledPrompt([*text, 1], len(text) - 3) for text in documents(6)]
    generator = torch.Generator().manual_seed(4)
    made = new_adapter(base, MODULES, 4, 8.0, False, generator)
    tuned = PackedModel(base, made, VOCABULARY, {}, 0.1, checkpointing)
    run = Training(tuned, examples, settings(**changes), folder)
    if resume:
        run.resume()

    def report(done: int, total: int, note: str) -> None:
        if stop_after and done == stop_after:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        run.run(None, report)
    return made, run


def weights(made: Adapter) -> list[torch.Tensor]:
    """Its tensors in order."""
    return [part for change in made.values() for part in (change.a, change.b)]


def same(one: Adapter, other: Adapter) -> bool:
    """Equal in every bit."""
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_a_run_that_was_cut_off_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Interrupted after step 4, its checkpoint being of step 3: weights and losses are those of no cut."""
    whole, run = trained(tmp_path / "whole")
    trained(tmp_path / "cut", stop_after=4)
    resumed, again = trained(tmp_path / "cut", resume=True)
    assert same(whole, resumed)
    assert run.history.losses == again.history.losses


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    """By the name of the setting that differs."""
    trained(tmp_path, stop_after=4)
    with pytest.raises(UsageError, match="learning_rate"):
        trained(tmp_path, resume=True, learning_rate=0.5)
    with pytest.raises(UsageError, match="no checkpoint"):
        trained(tmp_path / "nowhere", resume=True)


def test_checkpointing_changes_memory_and_no_figure(tmp_path: Path) -> None:
    """With dropout: the second computation of a block draws what the first drew."""
    plain, _ = trained(tmp_path / "a")
    checkpointed, _ = trained(tmp_path / "b", checkpointing=True)
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(weights(plain), weights(checkpointed), strict=True)
    )


def test_the_loss_falls_and_one_seed_gives_one_result(tmp_path: Path) -> None:
    """Thirty steps on six examples."""
    once, run = trained(tmp_path / "a", max_steps=30, learning_rate=0.03)
    twice, _ = trained(tmp_path / "b", max_steps=30, learning_rate=0.03)
    assert same(once, twice)
    assert sum(run.history.losses[-5:]) < 0.7 * sum(run.history.losses[:5])
    other, _ = trained(tmp_path / "c", max_steps=30, learning_rate=0.03, seed=1)
    assert not same(once, other)


def test_dropout_drops_a_tenth_and_keeps_the_mean() -> None:
    """Over 400 masks the mean update is the one without dropout."""
    assert Dropout(0.0).mask(0, 0, torch.ones(3)) is None
    dropped = Dropout(0.1, (0,)).mask(0, 0, torch.ones(100, 1000))
    assert dropped is not None
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert not torch.equal(dropped, Dropout(0.1, (0,)).mask(0, 1, torch.ones(100, 1000)))  # type: ignore[arg-type]
    x, a, b = torch.ones(1, 8), torch.rand(2, 8), torch.rand(4, 2)
    nothing = torch.zeros(4, 8)
    plan = ((True,),)
    means = torch.stack(
        [
            AdaptedLinear.apply(x, Dropout(0.1, (n,)).mask(0, 0, x), (2.0 / 0.9,), plan, nothing, None, a, b)[0]
            for n in range(2000)
        ]
    ).mean(0)
    assert torch.allclose(means, 2.0 * x @ a.T @ b.T, rtol=0.02)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "cosine_with_restarts"])
def test_schedules_are_transformers(name: str) -> None:
    """Every step of 40, with 5 of warm-up, against ``get_scheduler``."""
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = "constant_with_warmup" if name == "constant" else name
    special = {"num_cycles": 3} if name == "cosine_with_restarts" else None
    scheduler = get_scheduler(theirs, optimizer, 5, 40, scheduler_specific_kwargs=special)
    for step in range(40):
        assert factor(name, step, 40, 5, 3, 10, 2) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_warm_restarts_are_torch_s() -> None:
    """T_0 7, T_mult 2, stepped every iteration."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 7, 2)
    for step in range(60):
        expected = optimizer.param_groups[0]["lr"]
        assert factor("cosine_annealing_warm_restarts", step, 60, 0, 1, 7, 2) == pytest.approx(
            expected, abs=1e-9
        )
        optimizer.step()
        scheduler.step()


class Characters:
    """A token a character; 7 before an input and 8 after it."""

    before, after = (7,), (8,)

    def encode(self, text: str) -> list[int]:
        """A token a character."""
        return [ord(character) for character in text]

    encode_markup = encode


def test_the_prompt_is_the_same_however_the_document_ends() -> None:
    """A long document loses its end, never the template's."""
    template = Template("<{text}> 요약:")
    letters = Characters()
    short, long = template.encode("가나", letters, 22), template.encode("가" * 100, letters, 22)
    assert "".join(map(chr, short.ids)) == "\x07<가나> 요약:\x08"
    assert "".join(map(chr, long.ids)) == "\x07<" + "가" * 14 + "> 요약:\x08"
    assert (short.left_out, long.left_out) == (0, 86)
    labelled = template.label(short, "비", letters, 1, 10)
    assert labelled.ids[labelled.prompt_length :] == [ord(" "), ord("비"), 1]


@pytest.mark.parametrize("text", ["요약:", "{text} {text}", ""])
def test_a_template_without_a_place_for_the_document_is_refused(text: str) -> None:
    """With an example of one that has it."""
    with pytest.raises(UsageError, match="must hold"):
        Template(text)
    with pytest.raises(UsageError, match="room"):
        Template("{text}" + "요" * 30).encode("가", Characters(), 20)


def test_the_dev_split_is_drawn_by_its_seed_and_leaves_enough_to_train_on() -> None:
    """A fifth at most; disjoint; whole."""
    chosen, held = split_dev(100, 50, 0)
    assert len(held) == 20
    assert sorted([*chosen, *held]) == list(range(100))
    assert split_dev(100, 50, 0)[1] == held != split_dev(100, 50, 1)[1]
    assert sorted(order(10, 0, 0)) == list(range(10))
    assert order(10, 0, 0) != order(10, 0, 1)


def test_the_embedded_model_is_small_and_reads_any_text() -> None:
    """At most 15 MB, 3 to 8 million parameters; text goes in and comes out unchanged."""
    base = load_model("tiny", "", "fp32")
    folder = Path(lora.__file__).parent / "tiny"
    assert sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) < 15e6
    assert 3e6 <= sum(tensor.numel() for tensor in base.model.tensors()) <= 8e6
    for text in ("비가 3.5mm 왔다.\n끝!", "뷁 😀 漢字", "a  b"):
        assert base.decode(base.encode(text)) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "SGD"}, "Adam, AdamW"),
        ({"r": -1, "top_p": 1.5}, "r must be above 0; top_p must be at most 1"),
        ({"num_beams": 4, "do_sample": True}, "num_beams 1"),
        ({"lora_dropout": 1.0}, "below 1"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_settings_that_cannot_be_used_are_named(changes: dict[str, Any], message: str) -> None:
    """All of them at once."""
    with pytest.raises(UsageError, match=message):
        lora.Config(**changes)


def quiet(done: int, total: int, note: str = "") -> None:
    """Nobody is looking."""


@pytest.mark.parametrize(
    ("changes", "train", "message"),
    [
        ({"target_modules": "queries"}, 3, "queries"),
        ({"model": "/nowhere/at all"}, 3, "no model"),
        ({}, 0, "no training example"),
        ({"adapter": "/nowhere"}, 3, "adapter_config.json"),
    ],
)
def test_what_is_missing_is_said(
    changes: dict[str, Any], train: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown layer, model or adapter; nothing to learn from."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    examples = [Example(f"d{n}", "비가 왔다.", "비") for n in range(train)]
    job = Job(examples, examples, "mecab", tmp_path, quiet)
    with pytest.raises(UsageError, match=message):
        lora.run(lora.Config(**changes), job)


def test_a_tracker_that_is_not_installed_is_told_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the model could not be loaded: what takes no time to find comes first."""
    monkeypatch.setitem(sys.modules, "trackio", None)
    job = Job([], [], "mecab", tmp_path, quiet)
    with pytest.raises(UsageError, match="trackio needs a package"):
        lora.run(lora.Config(model="/nowhere/at all", report_to="trackio", adapter="none"), job)


@pytest.mark.parametrize("grid", ["", "num_beams=1,2"])
def test_ctrl_c_while_decoding_keeps_what_was_trained(tmp_path: Path, grid: str) -> None:
    """In a run and in a sweep: the command that goes on is the same, with the adapter that was trained."""

    def stopped(done: int, total: int, note: str = "") -> None:
        if note.startswith("decoding"):
            raise KeyboardInterrupt

    examples = [Example(f"d{n}", f"{n}일에 비가 왔다.", "비") for n in range(8)]
    config = lora.Config(max_steps=1, dev_size=2, eval_steps=0, grid=grid)
    job = Job(examples, examples, "mecab", tmp_path, stopped)
    with pytest.raises(Interrupted, match="the adapter is kept") as caught:
        lora.sweep(config, job) if grid else lora.run(config, job)
    adapter = caught.value.settings["adapter"]
    assert adapter is not None
    assert caught.value.settings == {"adapter": str(tmp_path / "adapter"), "resume": None}
    again = lora.Config(max_steps=1, dev_size=2, eval_steps=0, adapter=adapter)
    assert len(lora.run(again, Job(examples, examples, "mecab", tmp_path, quiet)).summaries) == 8
    with pytest.raises(KeyboardInterrupt):  # this run has trained nothing
        lora.run(again, job)


def test_empty_and_endless_documents_are_summarised_all_the_same(tmp_path: Path) -> None:
    """An empty one, one longer than the context, one of symbols; the card counts what was cut."""
    train = [Example(f"d{n}", f"비가 {n}mm 왔다.", f"비 {n}mm") for n in range(6)]
    test = [Example("a", ""), Example("b", "가나다라 " * 5_000), Example("c", "\u200b😀")]
    config = lora.Config(max_steps=1, max_new_tokens=4)
    outcome = lora.run(config, Job(train, test, "mecab", tmp_path, quiet))
    assert len(outcome.summaries) == 3
    assert outcome.notes["truncated_test_documents"] == 1
    again = lora.Config(adapter=str(tmp_path / "adapter"), max_new_tokens=4)
    assert lora.run(again, Job(train, test, "mecab", tmp_path, quiet)).summaries == outcome.summaries


def test_what_is_left_to_the_model_stands_in_the_settings() -> None:
    """The embedded model learns faster than large ones; what a person sets is kept."""
    small, large = lora.Config(), lora.Config(model="kogpt")
    assert (small.r, small.learning_rate, small.target_modules) == (16, 4e-3, "all-linear")
    assert (large.r, large.learning_rate, large.target_modules) == (8, 2e-4, "auto")
    assert (small.max_new_tokens, large.max_new_tokens) == (56, 100)
    assert lora.Config(r=4, learning_rate=1e-3).r == 4
    assert lora.Config(learning_rate=1e-3).learning_rate == 1e-3
