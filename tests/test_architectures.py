"""Every architecture through transformers and peft: batching, decoding, adapters, training."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tiny_models import ARCHITECTURES, write_model

from baselines import Job, lora
from baselines.adapted import Update
from baselines.generation import Decoding, generate
from baselines.models import Source, open_model
from baselines.prompts import LabelledPrompt
from baselines.transformers_model import TransformersModel
from harness.contest import Example
from harness.errors import UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
CPU = torch.device("cpu")
DECODERS = [kind for kind in ARCHITECTURES if kind not in ("t5", "bart")]


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


class Folders(dict[str, Path]):
    """Models by architecture, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, kind: str) -> Path:
        self[kind] = write_model(kind, self.root / kind)
        return self[kind]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """One model of each architecture, made once."""
    return Folders(tmp_path_factory.mktemp("models"))


def config(folder: Path, **changes: Any) -> lora.Config:
    """Two steps on batches of two, with a rank of two."""
    values: dict[str, Any] = {
        "model": str(folder), "r": 2, "lora_dropout": 0.0, "max_steps": 2, "per_device_train_batch_size": 2,
        "max_new_tokens": 6, "dev_size": 2, "eval_steps": 2, "max_input_tokens": 60, "warmup_steps": 0,
        "learning_rate": 0.05,
        "target_modules": "all-linear",
    }  # fmt: skip
    return lora.Config(**(values | changes))


def opened(folder: Path, **changes: Any) -> TransformersModel:
    """The model through transformers with a fresh adapter; DoRA keeps our own GPT-J out."""
    update = cast(Update, config(folder, use_dora=True, **changes))
    model = open_model(Source(str(folder)), update, CPU)
    assert isinstance(model, TransformersModel)
    return model


EXAMPLES = [
    LabelledPrompt([9, 300, 301, 302, 303, 40, 41, 1], 5),
    LabelledPrompt([9, 310, 50, 51, 52, 1], 2),
    LabelledPrompt([9, *range(320, 350), 60, 1], 31),
]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_loss_of_a_batch_is_that_of_its_examples_one_by_one(kind: str, folders: dict[str, Path]) -> None:
    """Summed over the label positions, which are counted by hand: transformers' own loss is the reference."""
    model = opened(folders[kind])
    ours = model.loss_sum(EXAMPLES, (0,)).item()
    model.reader()
    expected = 0.0
    for example in EXAMPLES:
        prompt, wanted = example.ids[: example.prompt_length], example.ids[example.prompt_length :]
        if model.is_encoder_decoder:
            out = model.base(input_ids=torch.tensor([prompt]), labels=torch.tensor([wanted]))
        else:
            labels = [-100] * len(prompt) + wanted
            out = model.base(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels]))
        expected += out.loss.item() * len(wanted)
    assert ours == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", DECODERS)
def test_documents_are_packed_only_where_they_do_not_see_each_other(
    kind: str, folders: dict[str, Path]
) -> None:
    """Packed or padded, one document's loss does not depend on its neighbours."""
    model = opened(folders[kind])
    alone = model.loss_sum(EXAMPLES[1:2], (0,))
    beside = model.loss_sum(EXAMPLES[:2], (0,)) - model.loss_sum(EXAMPLES[:1], (0,))
    assert alone.item() == pytest.approx(beside.item(), rel=1e-4)
    model.packs = not model.packs
    if model.packs and "position_ids" in model._takes:
        together = model.loss_sum(EXAMPLES[:2], (0,)) - model.loss_sum(EXAMPLES[:1], (0,))
        assert together.item() != pytest.approx(alone.item(), rel=1e-4)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_written_is_what_generate_writes(kind: str, beams: int, folders: dict[str, Path]) -> None:
    """Prompts of unlike lengths in one batch against transformers, each prompt alone."""
    model = opened(folders[kind])
    prompts = [example.ids[: example.prompt_length] for example in EXAMPLES]
    ours = generate(model.reader(), prompts, Decoding(max_new_tokens=8, num_beams=beams), 1, batch_size=3)
    for prompt, tokens in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        whole = model.base.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, num_beams=beams,
            do_sample=False, eos_token_id=1, pad_token_id=3,
        )[0].tolist()  # fmt: skip
        written = whole[1:] if model.is_encoder_decoder else whole[len(prompt) :]
        expected = [token for token in written if token != 3]
        assert tokens == (expected[: expected.index(1)] if 1 in expected else expected)


def quiet(done: int, total: int, note: str = "") -> None:
    """Nobody is looking."""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Ten examples to learn, three documents to summarise, one of them empty and one long."""
    train = [Example(f"d{n}", f"비가 {n}mm 왔다. 우산이 필요하다.", f"비 {n}mm") for n in range(10)]
    test = [Example("a", "눈이 3cm 왔다."), Example("b", ""), Example("c", "바람이 분다. " * 200)]
    return Job(train, test, "syllable", tmp_path, quiet)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_trains_and_decodes(kind: str, folders: dict[str, Path], job: Job) -> None:
    """Two steps; the adapter loads again, here and in plain peft, and writes the same."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    outcome = lora.run(config(folders[kind]), job)
    assert len(outcome.summaries) == 3
    assert outcome.notes["steps"] == 2
    assert outcome.notes["truncated_test_documents"] == 1
    assert any("empty" in message for message in outcome.notes["messages"])
    again = lora.run(lora.Config(adapter=str(job.folder / "adapter"), max_new_tokens=6), job)
    assert again.summaries == outcome.summaries
    loader = AutoModelForSeq2SeqLM if kind in ("t5", "bart") else AutoModelForCausalLM
    plain = PeftModel.from_pretrained(loader.from_pretrained(folders[kind]), str(job.folder / "adapter"))
    adapted = [weight for name, weight in plain.named_parameters() if "lora_B" in name]
    assert any(bool(weight.any()) for weight in adapted)


def test_resuming_through_peft_ends_with_the_same_bits(folders: dict[str, Path], job: Job) -> None:
    """Dropout and all: cut off after the checkpoint of step 1, and gone on with."""
    settings = config(folders["llama"], lora_dropout=0.2, max_steps=3, dev_size=0, eval_steps=1)
    whole = lora.run(settings, dataclasses.replace(job, folder=job.folder / "whole"))

    def cut(done: int, total: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt

    broken = dataclasses.replace(job, folder=job.folder / "cut", progress=cut)
    with pytest.raises(KeyboardInterrupt):
        lora.run(settings, broken)
    resumed = dataclasses.replace(settings, resume=str(job.folder / "cut"))
    again = lora.run(resumed, dataclasses.replace(job, folder=job.folder / "resumed"))
    assert again.notes["loss"] == whole.notes["loss"]
    files = [job.folder / name / "adapter" / "adapter_model.safetensors" for name in ("whole", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_adapter_brings_its_own_prompt(folders: dict[str, Path], job: Job) -> None:
    """Template and base are the trained ones; other ones are refused by name."""
    trained = lora.run(config(folders["qwen3"], template="요약하라: {text} ->"), job)
    adapter = str(job.folder / "adapter")
    assert lora.run(lora.Config(adapter=adapter), job).summaries == trained.summaries
    with pytest.raises(UsageError, match=r"--template 'x \{text\}' where it was '요약하라"):
        lora.run(lora.Config(adapter=adapter, template="x {text}"), job)


def test_a_chat_template_holds_the_prompt(folders: dict[str, Path], job: Job, tmp_path: Path) -> None:
    """Rendered once by the model's own template, thinking switched off; a model without one says so."""
    import shutil

    folder = tmp_path / "chat"
    shutil.copytree(folders["llama"], folder)
    (folder / "chat_template.jinja").write_text(
        "[BOS]{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% if not enable_thinking %}!{% endif %}{% endif %}",
        encoding="utf-8",
    )
    model = open_model(Source(str(folder)), None, CPU)
    assert model.vocabulary.conversation("{text} 요약:") == "[BOS]<user>{text} 요약:<assistant>!"
    assert lora.run(config(folder, chat_template=True), job).summaries
    with pytest.raises(UsageError, match="no chat template"):
        lora.run(config(folders["llama"], chat_template=True), job)


def test_the_name_of_a_special_token_in_a_document_is_text(folders: dict[str, Path]) -> None:
    """``[EOS]`` in a document must not end it."""
    vocabulary = open_model(Source(str(folders["llama"])), None, CPU).vocabulary
    assert 1 not in vocabulary.encode("끝 [EOS] 아님")
    assert vocabulary.encode_markup("[EOS]") == [1]
    assert vocabulary.decode(vocabulary.encode("[EOS]")) == "[EOS]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_modules": "queries"}, "queries"),
        ({"init_lora_weights": "magic"}, "magic"),
        ({"load_in_4bit": True}, "bitsandbytes"),
        ({"max_new_tokens": 512}, "no room for a document"),
    ],
)
def test_what_a_model_cannot_do_is_said(
    changes: dict[str, Any], message: str, folders: dict[str, Path], job: Job
) -> None:
    """Unknown layers, starts and packages; a context that is too short."""
    with pytest.raises(UsageError, match=message):
        lora.run(config(folders["llama"], **changes), job)


def test_pickled_weights_are_read_only_when_asked_for(
    folders: dict[str, Path], tmp_path: Path, job: Job
) -> None:
    """Without the option they are refused; with it they become safetensors, equal to the last bit."""
    import shutil

    from safetensors.torch import load_file

    folder = tmp_path / "old"
    shutil.copytree(folders["gptj"], folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"no \*\.safetensors"):
        lora.run(config(folder), job)
    lora.run(config(folder, convert_weights=True), job)
    converted = load_file(folder / "converted-00000.safetensors")
    assert all(torch.equal(converted[name], value) for name, value in state.items())


def test_pickled_programs_are_not_run(folders: dict[str, Path], tmp_path: Path, job: Job) -> None:
    """A file that would write another when it is unpickled."""
    import pickle
    import shutil

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    folder = tmp_path / "trap"
    shutil.copytree(folders["gptj"], folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(UsageError):
        lora.run(config(folder, convert_weights=True), job)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_gradient_checkpointing_changes_no_gradient(kind: str, folders: dict[str, Path]) -> None:
    """The same loss and the same gradients."""
    found = []
    for checkpointing in (False, True):
        model = opened(folders[kind], gradient_checkpointing=checkpointing)
        with torch.no_grad():
            for place, weight in enumerate(model.weights):
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(place)) * 0.1)
        model.loss_sum(EXAMPLES, (1,)).backward()
        found.append([weight.grad for weight in model.weights])
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_as_one(folders: dict[str, Path], tmp_path: Path) -> None:
    """Two processes with batches of 1 against one with batches of 2: weights, losses, files.

    They are started by ``torch.distributed.run``, which is what ``accelerate launch`` does for several GPUs.
    """
    from safetensors.torch import load_file

    from harness.prepare import new_contest

    source = tmp_path / "rows.csv"
    lines = [f"비가 {n}mm 왔다. 우산이 필요하다.,비 {n}mm" for n in range(40)]
    source.write_text("text,summary\n" + "\n".join(lines) + "\n", encoding="utf-8")
    new_contest("rain", source, into=tmp_path / "contests", test_size=0.2)
    root = Path(__file__).parents[1]
    shared = [
        "baseline", "lora", "--model", str(folders["gptj"]), "--max-steps", "3", "--dev-size", "4",
        "--eval-steps", "3", "--max-new-tokens", "4", "--lora-dropout", "0", "--learning-rate", "0.05",
        "--warmup-steps", "0", "--contest", str(tmp_path / "contests" / "rain"),
    ]  # fmt: skip
    one = [sys.executable, "cli.py", *shared, "--per-device-train-batch-size", "2"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = [*launch, "cli.py", *shared, "--per-device-train-batch-size", "1"]
    for name, command in (("one", one), ("two", two)):
        done = subprocess.run(
            [*command, "-o", str(tmp_path / name / "preds.csv")], cwd=root, capture_output=True, text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stderr.count("summaries written") == 1
    cards = [json.loads((tmp_path / name / "preds.run.json").read_text("utf-8")) for name in ("one", "two")]
    assert [card["notes"]["processes"] for card in cards] == [1, 2]
    assert cards[1]["notes"]["loss"] == pytest.approx(cards[0]["notes"]["loss"], rel=1e-3)
    states = [load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("one", "two")]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-3), name
    assert (tmp_path / "one" / "preds.csv").read_text() == (tmp_path / "two" / "preds.csv").read_text()
