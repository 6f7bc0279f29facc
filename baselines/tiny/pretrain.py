"""Makes the embedded base model again: ``python -m baselines.tiny.pretrain``.

Draws documents, trains the tokenizer, trains the model on 2 cores for about an hour, and writes
``config.json``, ``tokenizer.json`` and ``model.safetensors`` (bfloat16). Needs the extra ``lora``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from baselines.gptj import GPTJ, Packed, Shape, new_weights, pack
from baselines.tiny.reading import Piece, Stage, documents, pieces
from baselines.tiny.tokenizer import SPECIAL_TOKENS, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHAPE = Shape(
    vocab_size=6144, n_embd=256, n_layer=4, n_head=4, rotary_dim=16, n_inner=1024, n_positions=2048,
    layer_norm_epsilon=1e-5, tie_word_embeddings=True,
)  # fmt: skip
SEED = 20231120
PEAK = 3e-3
PEAK_MUON = 0.02
WARM_UP = 30
TOKENS_A_STEP = 4_096


@dataclass(frozen=True)
class Course:
    """Stages read one after another under one learning rate: it rises, stays at ``peak``, and falls to 0.

    ``peak`` is a share of ``PEAK`` and ``PEAK_MUON``; ``cool_down`` the share of the steps it falls in.
    """

    stages: tuple[Stage, ...]
    peak: float
    cool_down: float


COURSES = (
    Course(
        (
            Stage(seed=20231121, documents=2_500, sentences=2, lists=4.0, lines=2, plain=0.0),
            Stage(seed=20231122, documents=11_000, sentences=0, lists=0.3, lines=8, plain=0.05),
        ),
        peak=1.0,
        cool_down=0.6,
    ),
    Course(
        (Stage(seed=20231123, documents=4_500, sentences=0, lists=0.3, lines=8, plain=0.05),),
        peak=0.5,
        cool_down=1.0,
    ),
)
"""All that is read: lists and scraps first, where copying is learnt soonest, then whole documents."""


class Reading(NamedTuple):
    """A piece in tokens: learnt is what comes from place ``first`` on, given all before it."""

    ids: list[int]
    first: int


def tokens_of(found: Iterable[Piece], tokenizer: Tokenizer) -> Iterator[Reading]:
    """``[BOS]``, the piece, ``[EOS]``; of a list only the second saying can be learnt."""
    for piece in found:
        source = tokenizer.encode(piece.source, add_special_tokens=False).ids
        copied = tokenizer.encode(piece.copied, add_special_tokens=False).ids
        yield Reading([0, *source, *copied, 1], 1 if piece.learn_source else 1 + len(source))


def batches(readings: Iterable[Reading], tokens_a_step: int) -> Iterator[tuple[Packed, Tensor]]:
    """Pieces end to end, about ``tokens_a_step`` tokens at a time, and int64 [M]: the tokens to be learnt.

    Pieces at the end that do not fill a step are left out.
    """
    held: list[Reading] = []
    for reading in readings:
        held.append(reading)
        if sum(len(each.ids) for each in held) >= tokens_a_step:
            yield _batch(held)
            held = []


def _batch(held: list[Reading]) -> tuple[Packed, Tensor]:
    batch = pack(
        [each.ids[:-1] for each in held],
        [each.first - 1 for each in held],
        [len(each.ids) - each.first for each in held],
    )
    return batch, torch.tensor([token for each in held for token in each.ids[each.first :]])


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal by Newton and Schulz (Jordan et al., "Muon", 2024), in float32.

    A stack of square matrices, as query, key and value are, is made orthogonal one by one.
    """

    def __init__(self, weights: list[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.0) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight against the orthogonal direction of its momentum."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                momentum = state.setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                direction = orthogonal(weight.grad.lerp(momentum, group["momentum"]))
                weight.mul_(1 - group["lr"] * group["decay"]).add_(direction, alpha=-group["lr"])


def orthogonal(direction: Tensor) -> Tensor:
    """[out, in] with singular values near 1, by five steps of the quintic iteration; longer sides scale up."""
    rows, columns = direction.shape
    square = rows == 3 * columns  # query, key and value
    x = direction.view(3, columns, columns) if square else direction.unsqueeze(0)
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    x = x.transpose(1, 2) if tall else x
    scaled: Tensor = x.reshape(rows, columns) * max(1.0, x.shape[1] / x.shape[2]) ** 0.5
    return scaled


def train(
    model: GPTJ, readings: list[Reading], peak: float, cool_down: float, tokens_a_step: int = TOKENS_A_STEP
) -> float:
    """Read everything once, under the learning rate of a ``Course``; the last mean loss."""
    weights = model.tensors()
    for weight in weights:
        weight.requires_grad_(True)
    optimizers = _optimizers(model)
    started, done, mean = time.monotonic(), 0, 0.0
    steps = sum(1 for _ in batches(readings, tokens_a_step))
    for step, (batch, wanted) in enumerate(batches(readings, tokens_a_step)):
        now = peak * min(1.0, (step + 1) / WARM_UP, (1 - step / steps) / cool_down)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = now * group["peak"]
        loss = functional.cross_entropy(model.logits(model.hidden(batch)), wanted)
        for weight in weights:
            weight.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        done += len(batch.tokens)
        mean = loss.item() if step == 0 else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 0:
            seconds = time.monotonic() - started
            print(f"{step}/{steps} loss {mean:.3f} {done / 1e6:.2f}M {done / seconds:.0f}/s", flush=True)
    return mean


def _optimizers(model: GPTJ) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for all the rest."""
    inside = [tensor for block in model.blocks for tensor in vars(block).values() if tensor.dim() == 2]
    ours = {id(tensor) for tensor in inside}
    rest = [tensor for tensor in model.tensors() if id(tensor) not in ours]
    muon = Muon(inside, lr=PEAK_MUON, decay=0.01)
    adam = torch.optim.AdamW(rest, lr=PEAK, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    muon.param_groups[0]["peak"], adam.param_groups[0]["peak"] = PEAK_MUON, PEAK
    return [muon, adam]


def save(model: GPTJ, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` as transformers reads them."""
    from safetensors.torch import save_file

    shape = {name: value for name, value in vars(model.shape).items() if not name.startswith("_")}
    config = {
        "architectures": ["GPTJForCausalLM"], "model_type": "gptj", **shape, "torch_dtype": "bfloat16",
        "activation_function": "gelu_new", "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
        **{f"{name}_token_id": SPECIAL_TOKENS.index(f"[{name.upper()}]") for name in ("bos", "eos", "pad")},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    state = {name: weight.to(torch.bfloat16) for name, weight in model.to_state().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _written(folder: Path) -> GPTJ:
    """The model that ``save`` wrote into ``folder``, in float32 again."""
    from safetensors.torch import load_file

    state = load_file(folder / "model.safetensors")
    return GPTJ.from_state(SHAPE, state).to(torch.device("cpu"), torch.float32)


def read(course: Course, texts: Sequence[Sequence[str]], tokenizer: Tokenizer) -> list[Reading]:
    """What ``course`` reads, given the documents of each of its stages."""
    return [
        reading
        for stage, each in zip(course.stages, texts, strict=True)
        for reading in tokens_of(pieces(stage, each), tokenizer)
    ]


def main(arguments: list[str]) -> None:
    """Make the model; it is written after every course, and the next one begins with what was written."""
    from tokenizers import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    parser.add_argument("--share", type=float, default=1.0, help="Read this share of the documents.")
    parser.add_argument("--go-on", type=int, default=0, metavar="N", help="The first N courses are done.")
    options = parser.parse_args(arguments)
    for number, course in list(enumerate(COURSES))[options.go_on :]:
        texts = [documents(stage.seed, int(options.share * stage.documents)) for stage in course.stages]
        if number == 0:
            tokenizer = train_tokenizer([text for each in texts for text in each], SHAPE.vocab_size)
            tokenizer.save(str(options.into / "tokenizer.json"))
        tokenizer = Tokenizer.from_file(str(options.into / "tokenizer.json"))
        readings = read(course, texts, tokenizer)
        tokens = sum(len(each.ids) for each in readings)
        print(f"course {number + 1}: {len(readings)} pieces, {tokens / 1e6:.2f}M tokens", flush=True)
        if number == 0:
            model = new_weights(SHAPE, torch.Generator().manual_seed(SEED))
        else:
            model = _written(options.into)
        loss = train(model, readings, course.peak, course.cool_down)
        save(model, options.into)
        print(f"course {number + 1}: loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
