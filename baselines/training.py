"""Fine-tuning: packed batches, the loss over the summary alone, checkpoints that continue bit for bit.

Nothing random is carried from step to step: the order of the examples is a function of seed and epoch, the
dropout of seed and step. A checkpoint therefore holds weights, Adam's moments and the history, and a run
that was killed ends with the very bits of one that was not.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from baselines.gptj import GPTJ, Adapter, Dropout, LowRank, Packed, pack
from baselines.prompts import LabelledPrompt, order
from baselines.schedules import factor
from harness.errors import HarnessError, UsageError


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know; the names are those of transformers' ``TrainingArguments`` and of peft."""

    optimizer: str
    learning_rate: float
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    max_grad_norm: float
    lr_scheduler_type: str
    warmup_steps: int
    num_cycles: int
    t_0: int
    t_mult: int
    num_train_epochs: int
    max_steps: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    lora_dropout: float
    gradient_checkpointing: bool
    fp16: bool
    eval_steps: int
    early_stopping_patience: int
    seed: int


@dataclass
class History:
    """What happened: losses by step, dev scores by step, tokens seen."""

    step: int = 0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    dev: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = -1


Evaluate = Callable[[Adapter], float]
Report = Callable[[int, int, str], object]


def total_steps(count: int, settings: Settings) -> int:
    """Optimiser steps of the whole run over ``count`` examples."""
    if settings.max_steps > 0:
        return settings.max_steps
    size = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    return settings.num_train_epochs * math.ceil(count / size)


def batch_of(examples: Sequence[LabelledPrompt], device: torch.device) -> tuple[Packed, Tensor]:
    """Examples packed, and the tokens to be predicted: int64 [M], the summary and EOS of each and no more."""
    batch = pack(
        [example.ids[:-1] for example in examples],
        [example.prompt_length - 1 for example in examples],
        [len(example.ids) - example.prompt_length for example in examples],
    )
    wanted = [token for example in examples for token in example.ids[example.prompt_length :]]
    batch = Packed(
        batch.tokens.to(device), batch.lengths, batch.predicting.to(device), batch.wanted, batch.first_wanted
    )
    return batch, torch.tensor(wanted, device=device)


def loss_sum(
    model: GPTJ, examples: Sequence[LabelledPrompt], adapter: Adapter, dropout: Dropout, checkpointing: bool
) -> Tensor:
    """The summed cross-entropy of the summaries' tokens, in float32."""
    batch, wanted = batch_of(examples, model.embedding.device)
    logits = model.logits(model.hidden(batch, adapter, dropout, checkpointing))
    return functional.cross_entropy(logits.float(), wanted, reduction="sum")


class Training:
    """One run of fine-tuning; ``folder`` keeps its checkpoint and its best adapter."""

    def __init__(
        self,
        model: GPTJ,
        adapter: Adapter,
        examples: Sequence[LabelledPrompt],
        settings: Settings,
        folder: Path,
    ) -> None:
        self.model, self.adapter, self.examples, self.settings = model, adapter, examples, settings
        self.folder, self.history = folder, History()
        self.weights = [part for change in adapter.values() for part in (change.a, change.b)]
        for weight in self.weights:
            weight.requires_grad_(True)
        self.optimizer = _optimizer(self.weights, settings)
        self.scaler = torch.amp.GradScaler(model.embedding.device.type, enabled=settings.fp16)
        self.best: Adapter = {}

    def run(self, evaluate: Evaluate | None, report: Report) -> Adapter:
        """Train to the end; the adapter of the best dev score, or the last one where there is no dev split.

        Raises:
            HarnessError: the loss is not a number any more, or there is no memory left.
        """
        steps, started, seen = total_steps(len(self.examples), self.settings), time.monotonic(), 0
        while self.history.step < steps:
            try:
                loss, tokens = self._step(steps)
            except torch.OutOfMemoryError:
                raise HarnessError(
                    "There is no memory left for training.",
                    hint="Lower --per-device-train-batch-size and raise --gradient-accumulation-steps as much,"
                    " lower --max-input-tokens, or add --gradient-checkpointing.",
                ) from None
            seen += tokens
            rate = self.optimizer.param_groups[0]["lr"]
            speed = seen / max(1e-9, time.monotonic() - started)
            dev = f" dev {self.history.dev[-1][1]:.4f}" if self.history.dev else ""
            report(self.history.step, steps, f"loss {loss:.3f} lr {rate:.1e} {speed:,.0f} tokens/s{dev}")
            every = self.settings.eval_steps
            if self.history.step == steps or (every and self.history.step % every == 0):
                stop = self._evaluate(evaluate)
                if stop:
                    break
        return self.best or _copy(self.adapter)

    def _step(self, steps: int) -> tuple[float, int]:
        """One optimiser step: mean loss of a token, and tokens seen."""
        settings, step = self.settings, self.history.step
        chosen = self._examples(step)
        size = settings.per_device_train_batch_size
        labels = sum(len(example.ids) - example.prompt_length for example in chosen)
        share = factor(
            settings.lr_scheduler_type, step, steps, settings.warmup_steps, settings.num_cycles,
            settings.t_0, settings.t_mult,
        )  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * share
        total = 0.0
        self.optimizer.zero_grad(set_to_none=True)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            dropout = Dropout(settings.lora_dropout, (settings.seed, step, start))
            loss = loss_sum(self.model, part, self.adapter, dropout, settings.gradient_checkpointing) / labels
            self.scaler.scale(loss).backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise HarnessError(
                f"The loss is not a number any more (step {step + 1}).",
                hint="With fp16, use --precision bf16 or fp32: fp16 overflows. Else lower --learning-rate.",
            )
        self.scaler.unscale_(self.optimizer)
        if settings.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.weights, settings.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        tokens = sum(len(example.ids) for example in chosen)
        self.history.step, self.history.tokens = step + 1, self.history.tokens + tokens
        self.history.losses.append(total)
        return total, tokens

    def _examples(self, step: int) -> list[LabelledPrompt]:
        size = self.settings.per_device_train_batch_size * self.settings.gradient_accumulation_steps
        a_epoch = math.ceil(len(self.examples) / size)
        epoch, place = divmod(step, a_epoch)
        indices = order(len(self.examples), self.settings.seed, epoch)[place * size : (place + 1) * size]
        return [self.examples[index] for index in indices]

    def _evaluate(self, evaluate: Evaluate | None) -> bool:
        """Score the dev split, keep the best, write a checkpoint; whether to stop early."""
        history = self.history
        if evaluate is not None:
            score = evaluate(self.adapter)
            if not history.dev or score > max(past for _, past in history.dev):
                self.best, history.best_step = _copy(self.adapter), history.step
            history.dev.append((history.step, score))
        self.save()
        scores = [score for _, score in history.dev]
        patience = self.settings.early_stopping_patience
        return bool(patience) and len(scores) - 1 - (scores.index(max(scores)) if scores else 0) >= patience

    # --- checkpoints ---

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint lies."""
        return self.folder / "checkpoint"

    def save(self) -> None:
        """Write the checkpoint: a new folder first, then a rename, so that a crash leaves a whole one."""
        fresh = self.folder / "checkpoint.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        state: dict[str, Tensor] = {}
        for index, weight in enumerate(self.weights):
            state[f"weight.{index}"] = weight.detach()
            for name, value in self.optimizer.state[weight].items():
                state[f"{name}.{index}"] = value
        for index, weight in enumerate(part for change in self.best.values() for part in (change.a, change.b)):
            state[f"best.{index}"] = weight
        save_file(
            {name: value.cpu().contiguous() for name, value in state.items()}, fresh / "state.safetensors"
        )
        record = {
            "settings": vars(self.settings),
            "history": vars(self.history),
            "examples": len(self.examples),
        }
        record["scaler"] = self.scaler.state_dict()
        (fresh / "state.json").write_text(json.dumps(record), encoding="utf-8")
        for file in fresh.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        old = self.folder / "checkpoint.old"
        shutil.rmtree(old, ignore_errors=True)
        if self.checkpoint.exists():
            self.checkpoint.rename(old)
        fresh.rename(self.checkpoint)
        shutil.rmtree(old, ignore_errors=True)

    def resume(self) -> None:
        """Go on from the checkpoint in ``folder``.

        Raises:
            UsageError: there is none, or it is of a run with other settings or other data.
        """
        found = next(
            (path for path in (self.checkpoint, self.folder / "checkpoint.old") if path.is_dir()), None
        )
        if found is None:
            raise UsageError(f"There is no checkpoint in {self.folder}, so nothing can be resumed.")
        record: dict[str, Any] = json.loads((found / "state.json").read_text(encoding="utf-8"))
        changed = [name for name, value in vars(self.settings).items() if record["settings"].get(name) != value]
        if changed or record["examples"] != len(self.examples):
            raise UsageError(
                f"The checkpoint in {self.folder} is of another run:"
                f" {', '.join(changed) or 'the number of training examples'} differs.",
                hint="Resume with the settings it was begun with.",
            )
        state = load_file(found / "state.safetensors", device=str(self.model.embedding.device))
        for index, weight in enumerate(self.weights):
            weight.data.copy_(state[f"weight.{index}"])
            moments = ("step", "exp_avg", "exp_avg_sq")
            self.optimizer.state[weight] = {
                name: state[f"{name}.{index}"].cpu() if name == "step" else state[f"{name}.{index}"]
                for name in moments
                if f"{name}.{index}" in state
            }
        if "best.0" in state:
            pairs = {key: (2 * place, 2 * place + 1) for place, key in enumerate(self.adapter)}
            self.best = {
                key: LowRank(state[f"best.{a}"], state[f"best.{b}"], self.adapter[key].scaling)
                for key, (a, b) in pairs.items()
            }
        self.scaler.load_state_dict(record["scaler"])
        history = record["history"] | {"dev": [tuple(pair) for pair in record["history"]["dev"]]}
        self.history = History(**history)


def _optimizer(weights: list[Tensor], settings: Settings) -> torch.optim.Optimizer:
    kinds = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
    betas = (settings.adam_beta1, settings.adam_beta2)
    optimizer: torch.optim.Optimizer = kinds[settings.optimizer](
        weights, lr=settings.learning_rate, betas=betas, weight_decay=settings.weight_decay, foreach=True
    )
    return optimizer


def _copy(adapter: Adapter) -> Adapter:
    return {
        key: LowRank(change.a.detach().clone(), change.b.detach().clone(), change.scaling)
        for key, change in adapter.items()
    }
