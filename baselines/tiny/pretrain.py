"""Makes the embedded base model again: ``python -m baselines.tiny.pretrain``.

Draws documents, trains the tokenizer, trains the model on 2 cores for about half an hour, and writes
``config.json``, ``tokenizer.json`` and ``model.safetensors`` (bfloat16). Needs the extra ``lora``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional

from baselines.gptj import GPTJ, Packed, Shape, new_weights, pack
from baselines.tiny.reading import documents, pieces
from baselines.tiny.tokenizer import SPECIAL_TOKENS, train_tokenizer

SHAPE = Shape(
    vocab_size=6144, n_embd=256, n_layer=6, n_head=8, rotary_dim=32, n_inner=1024, n_positions=2048,
    layer_norm_epsilon=1e-5, tie_word_embeddings=True,
)  # fmt: skip
SEED = 20231120
DOCUMENTS = 16_000
PEAK = 2e-3
PEAK_MUON = 4e-3
WARM_UP = 60
TOKENS_A_STEP = 4_096


def batches(ids: list[list[int]]) -> Iterator[Packed]:
    """Documents end to end, about ``TOKENS_A_STEP`` tokens at a time; every position predicts but the last."""
    held: list[list[int]] = []
    for document in ids:
        held.append(document[:1024])
        if sum(map(len, held)) >= TOKENS_A_STEP:
            yield pack(held, [0] * len(held), [len(each) - 1 for each in held])
            held = []


def targets(batch: Packed) -> torch.Tensor:
    """Int64 [M]: the token after each predicting position."""
    return batch.tokens[batch.predicting + 1]


def train(model: GPTJ, ids: list[list[int]]) -> float:
    """Read all the text once; the last mean loss."""
    weights = model.tensors()
    for weight in weights:
        weight.requires_grad_(True)
    optimizers = _optimizers(model)
    started, done, mean = time.monotonic(), 0, 0.0
    steps = sum(1 for _ in batches(ids))
    for step, batch in enumerate(batches(ids)):
        share = step / steps
        now = min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = now * group["peak"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(model.logits(model.hidden(batch)).float(), targets(batch))
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
    """Muon for the matrices inside the blocks (Jordan et al., 2024), AdamW for all the rest."""
    inside = [tensor for block in model.blocks for tensor in vars(block).values() if tensor.dim() == 2]
    ours = {id(tensor) for tensor in inside}
    rest = [tensor for tensor in model.tensors() if id(tensor) not in ours]
    muon = {"params": inside, "peak": PEAK_MUON}
    adam = {"params": rest, "peak": PEAK}
    return [
        torch.optim.Muon([muon], lr=PEAK_MUON, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([adam], lr=PEAK, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


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


def main(arguments: list[str]) -> None:
    """Make the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    options = parser.parse_args(arguments)
    texts = documents(SEED, options.documents)
    read = list(pieces(texts, SEED))
    tokenizer = train_tokenizer(texts, SHAPE.vocab_size)
    tokenizer.save(str(options.into / "tokenizer.json"))
    ids = [[0, *encoded.ids, 1] for encoded in tokenizer.encode_batch(read, add_special_tokens=False)]
    print(f"{len(ids)} pieces, {sum(map(len, ids)) / 1e6:.2f}M tokens", flush=True)
    model = new_weights(SHAPE, torch.Generator().manual_seed(SEED))
    loss = train(model, ids)
    save(model, options.into)
    print(f"loss {loss:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
