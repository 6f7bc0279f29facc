"""What the benchmarks of training and of decoding share: one model, one set of documents, one machine.

The model, six blocks 256 wide, is the embedded one (``baselines/tiny``) with blocks on top that add next to
nothing, and its vocabulary padded to 50,400 entries, the size of GPT-J's and near KoGPT's: most of a small
model's work is then its output layer, as it is for anybody who shrinks a real one. It writes what the embedded
model writes, so outputs end where outputs end. ``6b`` is GPT-J's own shape with random weights, for a GPU. The
documents are the sample contest's ``train.csv``, read by the embedded tokenizer.
"""

from __future__ import annotations

import csv
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from baselines.gptj import GPTJ, Shape
from baselines.prompts import DEFAULT_TEMPLATE, LabelledPrompt, Template
from baselines.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "baselines" / "tiny"
VOCABULARY = 50_400
END = 1
NEVER_SAID = -30.0
"""Bias of the entries that pad the vocabulary: they cost what any entry costs, and are never said."""

LAYERS = 6
"""Blocks of ``20m``, however few the embedded model has."""

SIZES = ("20m", "6b", "toy")
"""``20m``: the embedded model, padded. ``6b``: GPT-J's shape. ``toy``: two narrow blocks, to try a script."""


def shape_of(size: str) -> Shape:
    """The shape called ``size``.

    Raises:
        KeyError: there is none of that name.
    """
    if size == "20m":
        config = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
        layers = max(LAYERS, int(config["n_layer"]))
        return Shape.from_config(config | {"vocab_size": VOCABULARY, "n_layer": layers})
    sizes = {
        "6b": {"n_embd": 4096, "n_layer": 28, "n_head": 16, "rotary_dim": 64},
        "toy": {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "vocab_size": 7_000},
    }
    return Shape.from_config({"vocab_size": VOCABULARY} | sizes[size])


def weights(size: str, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of ``size`` by transformers' names, the same at every call."""
    shape, generator = shape_of(size), torch.Generator(device).manual_seed(0)
    if size == "20m":
        return _embedded(shape, device, dtype)
    state: dict[str, Tensor] = {}
    for layer in range(shape.n_layer):
        state |= _random_block(shape, layer, 0.02, generator, dtype)
    for name in ("transformer.wte.weight", "lm_head.weight"):
        state[name] = _normal((shape.vocab_size, shape.n_embd), 0.02, generator, dtype)
    state["lm_head.bias"] = torch.zeros(shape.vocab_size, dtype=dtype, device=device)
    return state | _norm("transformer.ln_f", shape.n_embd, device, dtype)


def _embedded(shape: Shape, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """The embedded model's weights, with more blocks and a larger vocabulary."""
    state = {name: tensor.float() for name, tensor in load_file(TINY / "model.safetensors").items()}
    generator = torch.Generator().manual_seed(0)
    table = state["transformer.wte.weight"]
    spare = shape.vocab_size - len(table)
    rows = _normal((spare, shape.n_embd), 0.02, generator, torch.float32)
    state["transformer.wte.weight"] = torch.cat([table, rows])
    state["lm_head.bias"] = torch.cat([state["lm_head.bias"], torch.full((spare,), NEVER_SAID)])
    for layer in range(shape.n_layer):
        if f"transformer.h.{layer}.ln_1.weight" not in state:
            state |= _random_block(shape, layer, 0.002, generator, torch.float32)
    return {name: tensor.to(device, dtype) for name, tensor in state.items()}


def _random_block(
    shape: Shape, layer: int, written: float, generator: torch.Generator, dtype: torch.dtype
) -> dict[str, Tensor]:
    """A block of normal weights; those that write into the residual stream have deviation ``written``."""
    d, inner, at = shape.n_embd, shape.n_inner, f"transformer.h.{layer}"
    state = {
        f"{at}.attn.{name}.weight": _normal((d, d), 0.02, generator, dtype)
        for name in ("q_proj", "k_proj", "v_proj")
    }
    state[f"{at}.attn.out_proj.weight"] = _normal((d, d), written, generator, dtype)
    state[f"{at}.mlp.fc_in.weight"] = _normal((inner, d), 0.02, generator, dtype)
    state[f"{at}.mlp.fc_out.weight"] = _normal((d, inner), written, generator, dtype)
    state[f"{at}.mlp.fc_in.bias"] = torch.zeros(inner, dtype=dtype, device=generator.device)
    state[f"{at}.mlp.fc_out.bias"] = torch.zeros(d, dtype=dtype, device=generator.device)
    return state | _norm(f"{at}.ln_1", d, generator.device, dtype)


def _norm(name: str, width: int, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        f"{name}.weight": torch.ones(width, dtype=dtype, device=device),
        f"{name}.bias": torch.zeros(width, dtype=dtype, device=device),
    }


def _normal(sizes: tuple[int, ...], spread: float, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    empty = torch.empty(sizes, dtype=dtype, device=generator.device)
    return empty.normal_(0.0, spread, generator=generator)


def our_model(size: str, device: torch.device, dtype: torch.dtype) -> GPTJ:
    """The model in this project's own forward pass."""
    return GPTJ.from_state(shape_of(size), weights(size, device, dtype))


def empty_model(shape: Shape, device: torch.device) -> GPTJ:
    """A model of this shape without weights, for what asks for sizes and device alone."""
    nothing = torch.empty(0, device=device)
    return GPTJ(shape, nothing, [], nothing, nothing, nothing, nothing)


def their_model(size: str, device: torch.device, dtype: torch.dtype) -> Any:
    """The model in transformers, without dropout of its own."""
    from transformers import GPTJConfig, GPTJForCausalLM

    config = GPTJConfig(
        **vars(shape_of(size)), resid_pdrop=0.0, attn_pdrop=0.0, embd_pdrop=0.0, bos_token_id=0,
        eos_token_id=END, dtype=dtype,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = GPTJForCausalLM(config)
    torch.set_default_dtype(before)
    model.load_state_dict(weights(size, device, dtype), strict=False)
    model.tie_weights()
    return model


def their_tokenizer() -> Any:
    """The embedded tokenizer in transformers, with what a collator asks of it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(TINY / "tokenizer.json")),
        eos_token="[EOS]", pad_token="[PAD]",  # noqa: S106 (a token of text)
    )  # fmt: skip


def vocabulary() -> Vocabulary:
    """The embedded tokenizer, as this project reads it."""
    return Vocabulary(Tokenizer.from_file(str(TINY / "tokenizer.json")), END)


def labelled_prompts(count: int) -> list[LabelledPrompt]:
    """The first ``count`` training examples of the sample contest, with the default template."""
    encoder, template = vocabulary(), Template(DEFAULT_TEMPLATE)
    with (ROOT / "contests" / "mini" / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:count]
    prompts = [template.encode(row["text"], encoder, 1024) for row in rows]
    return [
        template.label(prompt, row["summary"], encoder, END, 96)
        for prompt, row in zip(prompts, rows, strict=True)
    ]


def computed(device: torch.device) -> float:
    """The clock, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """The median time of ``work``, after one call that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        begin = computed(device)
        work()
        taken.append(computed(device) - begin)
    return statistics.median(taken)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second in a large product of matrices."""
    side = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: left @ right, device)


def memory_rate(device: torch.device) -> float:
    """Bytes a second, read and written, in a large copy."""
    size = 2**31 if device.type == "cuda" else 2**28
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds_of(lambda: target.copy_(source), device)


def training_work(shape: Shape, examples: Sequence[LabelledPrompt]) -> float:
    """Floating-point operations that training on ``examples`` needs: no padding, the head at labels alone.

    Forwards and, for the inputs, backwards: four for each weight and token. Attention counts half of its
    square, once forwards and twice backwards. The adapters, a thousandth, are left out.
    """
    d, inner = shape.n_embd, shape.n_inner
    tokens = sum(len(example.ids) - 1 for example in examples)
    labels = sum(len(example.ids) - example.prompt_length for example in examples)
    squares = sum((len(example.ids) - 1) ** 2 for example in examples)
    blocks = 4.0 * tokens * shape.n_layer * (4 * d * d + 2 * d * inner)
    return blocks + 3 * 2.0 * squares * d * shape.n_layer + 4.0 * labels * shape.vocab_size * d


def machine(device: torch.device) -> str:
    """One line: processor, threads, operating system, and the versions that matter."""
    names = ("torch", "transformers", "peft", "accelerate", "trl")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return (
        f"{chip}, {torch.get_num_threads()} threads, {platform.system()},"
        f" Python {platform.python_version()}; {', '.join(found)}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def table(rows: Sequence[Sequence[str]]) -> str:
    """``rows``, the first being the head, as a table in Markdown."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in padded]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
