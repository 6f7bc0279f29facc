"""Fine-tuning: the loss over the summary alone, checkpoints that continue bit for bit.

Nothing random is carried from step to step: the order of the examples is a function of seed and epoch, the
dropout of seed and step. A checkpoint therefore holds weights, Adam's moments and the history, and a run
that was killed ends with the very bits of one that was not. Which model is trained, and how its batches are
laid out, is behind ``baselines.adapted``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from baselines.adam import Adam
from baselines.adapted import AdaptedModel
from baselines.prompts import LabelledPrompt, order
from baselines.schedules import factor
from baselines.world import World
from harness.errors import HarnessError, Interrupted, UsageError


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
    num_train_epochs: float
    max_steps: int
    per_device_train_batch_size: int
    train_batch_tokens: int
    gradient_accumulation_steps: int
    fp16: bool
    eval_steps: int
    save_steps: int
    early_stopping_patience: int
    seed: int


@dataclass
class History:
    """What happened: losses by step, dev scores by step, tokens seen, seconds spent."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    dev: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = -1

    @property
    def best(self) -> float:
        """The best dev score so far; minus infinity before the first."""
        return max((score for _, score in self.dev), default=-math.inf)


Evaluate = Callable[[], float]
Report = Callable[[int, int, str], object]
Log = Callable[[int, Mapping[str, float]], object]


def steps_of(lengths: Sequence[int], settings: Settings, processes: int = 1) -> list[list[list[int]]]:
    """For every optimiser step its batches, each a list of places in ``lengths`` (tokens of the examples).

    A step has ``gradient_accumulation_steps`` batches for each process. A batch has
    ``per_device_train_batch_size`` examples, or as many as fit into ``train_batch_tokens`` tokens (at least
    one). The last step of an epoch may be smaller; no example is left out.
    """
    steps: list[list[list[int]]] = []
    epoch, wanted = 0, settings.max_steps
    while len(steps) < wanted if wanted > 0 else epoch < settings.num_train_epochs:
        batches = _batches(order(len(lengths), settings.seed, epoch), lengths, settings)
        size = settings.gradient_accumulation_steps * processes
        fresh = [batches[start : start + size] for start in range(0, len(batches), size)]
        part = settings.num_train_epochs - epoch
        steps += fresh if wanted > 0 or part >= 1 else fresh[: math.ceil(part * len(fresh))]
        epoch += 1
    return steps[:wanted] if wanted > 0 else steps


def _batches(places: Sequence[int], lengths: Sequence[int], settings: Settings) -> list[list[int]]:
    if not settings.train_batch_tokens:
        size = settings.per_device_train_batch_size
        return [list(places[start : start + size]) for start in range(0, len(places), size)]
    batches: list[list[int]] = []
    room = 0
    for place in places:
        if not batches or lengths[place] > room:
            batches.append([])
            room = settings.train_batch_tokens
        batches[-1].append(place)
        room -= lengths[place]
    return batches


class Training:
    """One run of fine-tuning; ``folder`` keeps its checkpoint.

    ``identity`` is whatever else a run must share with a checkpoint to go on from it: the base model, say.
    """

    def __init__(
        self,
        model: AdaptedModel,
        examples: Sequence[LabelledPrompt],
        settings: Settings,
        folder: Path,
        identity: Mapping[str, Any] | None = None,
        world: World | None = None,
    ) -> None:
        self.model, self.examples, self.settings, self.folder = model, examples, settings, folder
        self.identity, self.world = dict(identity or {}), world or World()
        self.steps = steps_of([len(example.ids) for example in examples], settings, self.world.size)
        self.history = History()
        self.weights = model.weights
        for weight in self.weights:
            weight.requires_grad_(True)
        self.optimizer = Adam(
            self.weights, settings.learning_rate, (settings.adam_beta1, settings.adam_beta2),
            settings.weight_decay, decoupled=settings.optimizer == "AdamW",
        )  # fmt: skip
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=settings.fp16)
        self.best: list[Tensor] = []

    def run(self, evaluate: Evaluate | None, report: Report, log: Log | None = None) -> None:
        """Train to the end. The model is left with the weights of the best dev score, or with the last ones.

        ``log`` gets the figures of every step and every dev score by name.

        Raises:
            HarnessError: the loss is not a number any more, or there is no memory left.
            Interrupted: the person at the keyboard asked to stop; a checkpoint was written.
        """
        log = log or (lambda step, values: None)
        try:
            with heeding_interrupts() as asked:
                self._run(evaluate, report, log, asked)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise HarnessError(
                "There is no memory left for training.",
                hint="Lower --per-device-train-batch-size and raise --gradient-accumulation-steps as much,"
                " lower --max-input-tokens, or add --gradient-checkpointing.",
            ) from None
        with torch.no_grad():
            for weight, best in zip(self.weights, self.best, strict=False):
                weight.copy_(best)

    def _run(self, evaluate: Evaluate | None, report: Report, log: Log, asked: list[int]) -> None:
        total, history = len(self.steps), self.history
        seen, spent = 0, 0.0
        while history.step < total and not self._has_stopped():
            started = time.perf_counter()
            loss, tokens = self._step()
            seconds = time.perf_counter() - started
            seen, spent, history.seconds = seen + tokens, spent + seconds, history.seconds + seconds
            rate = float(self.optimizer.param_groups[0]["lr"])
            values = {"loss": loss, "learning_rate": rate, "tokens_per_second": seen / max(1e-9, spent)}
            report(history.step, total, _note(values, history))
            log(history.step, values)
            last = history.step == total
            every, saves = self.settings.eval_steps, self.settings.save_steps
            if last or (every and history.step % every == 0):
                self._evaluate(evaluate, report, log)
            elif asked or (saves and history.step % saves == 0):
                self.save()
            if asked and not last:
                raise Interrupted(
                    f"Interrupted after step {history.step} of {total}; a checkpoint is written.",
                    settings={"resume": str(self.folder)},
                )

    def _step(self) -> tuple[float, int]:
        """One optimiser step: mean loss of a token, and tokens seen."""
        settings, step = self.settings, self.history.step
        batches = [[self.examples[place] for place in batch] for batch in self.steps[step]]
        labels = sum(len(each.ids) - each.prompt_length for batch in batches for each in batch)
        share = factor(
            settings.lr_scheduler_type, step, len(self.steps), settings.warmup_steps, settings.num_cycles,
            settings.t_0, settings.t_mult,
        )  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * share
        self.optimizer.zero_grad()
        total = self._accumulate(batches, labels)
        if not math.isfinite(total):
            raise HarnessError(
                f"The loss is not a number any more (step {step + 1}).",
                hint="With fp16, use --precision bf16 or fp32: fp16 overflows. Else lower --learning-rate.",
            )
        self.scaler.unscale_(self.optimizer)  # type: ignore[arg-type] # which asks for no more than there is
        if settings.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.weights, settings.max_grad_norm)
        self.scaler.step(self.optimizer)  # type: ignore[arg-type]
        self.scaler.update()
        tokens = sum(len(example.ids) for batch in batches for example in batch)
        self.history.step, self.history.tokens = step + 1, self.history.tokens + tokens
        self.history.losses.append(total)
        return total, tokens

    def _accumulate(self, batches: Sequence[Sequence[LabelledPrompt]], labels: int) -> float:
        """Add the gradients of this process's batches and of all others'; the mean loss of a label."""
        total = torch.zeros(1, device=self.model.device)
        for number, batch in self.world.share(list(enumerate(batches))):
            seed = (self.settings.seed, self.history.step, number)
            loss = self.model.loss_sum(batch, seed) / labels
            self.scaler.scale(loss).backward()
            total += loss.detach()
        if self.world.size > 1:
            for weight in self.weights:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            self.world.add_up([total, *(weight.grad for weight in self.weights if weight.grad is not None)])
        return float(total)

    def _evaluate(self, evaluate: Evaluate | None, report: Report, log: Log) -> None:
        """Score the dev split, keep the best, write a checkpoint."""
        history = self.history
        if evaluate is not None:
            report(history.step, len(self.steps), "scoring dev:")
            score = evaluate()
            if score > history.best:
                self.best = [weight.detach().clone() for weight in self.weights]
                history.best_step = history.step
            history.dev.append((history.step, score))
            log(history.step, {"dev_rouge": score})
        self.save()

    def _has_stopped(self) -> bool:
        """Whether the last dev scores ask for an early end."""
        patience, scores = self.settings.early_stopping_patience, [score for _, score in self.history.dev]
        return bool(patience and scores) and len(scores) - 1 - scores.index(max(scores)) >= patience

    # --- checkpoints ---

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint lies."""
        return self.folder / "checkpoint"

    def save(self) -> None:
        """Write the checkpoint: a new folder first, then a rename, so that a crash leaves a whole one."""
        if not self.world.is_first:
            return
        fresh = self.folder / "checkpoint.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(self._state(), fresh / "state.safetensors")
        record = {"history": vars(self.history), "scaler": self.scaler.state_dict(), **self._record()}
        (fresh / "state.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
        for file in fresh.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        old = self.folder / "checkpoint.old"
        shutil.rmtree(old, ignore_errors=True)
        if self.checkpoint.exists():
            self.checkpoint.rename(old)
        fresh.rename(self.checkpoint)
        shutil.rmtree(old, ignore_errors=True)

    def _state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {f"best.{place}": weight for place, weight in enumerate(self.best)}
        for place, weight in enumerate(self.weights):
            state[f"weight.{place}"] = weight.detach()
            for name, value in self.optimizer.state[weight].items():
                state[f"{name}.{place}"] = value
        return {name: value.cpu().contiguous() for name, value in state.items()}

    def _record(self) -> dict[str, Any]:
        """What a run must share with a checkpoint to go on from it."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(repr((example.ids, example.prompt_length)).encode())
        shapes = [list(weight.shape) for weight in self.weights]
        values = vars(self.settings) | self.identity | {"shapes_of_the_adapter": shapes}
        known: dict[str, Any] = json.loads(json.dumps(values))
        return {"settings": known, "examples": digest.hexdigest()}

    def resume(self) -> None:
        """Go on from the checkpoint in ``folder``.

        Raises:
            UsageError: there is none, or it is of a run with other settings or other data.
        """
        found = next(
            (path for path in (self.checkpoint, self.folder / "checkpoint.old") if path.is_dir()), None
        )
        if found is None:
            raise UsageError(
                f"There is no checkpoint in {self.folder}, so nothing can be resumed.",
                hint="Checkpoints are written at every dev score (--eval-steps) and every --save-steps.",
            )
        record: dict[str, Any] = json.loads((found / "state.json").read_text(encoding="utf-8"))
        self._refuse_another_run(record)
        state = load_file(found / "state.safetensors", device=str(self.model.device))
        with torch.no_grad():
            for place, weight in enumerate(self.weights):
                weight.copy_(state[f"weight.{place}"])
                self.optimizer.state[weight] = {
                    name: state[f"{name}.{place}"].cpu() if name == "step" else state[f"{name}.{place}"]
                    for name in ("step", "exp_avg", "exp_avg_sq")
                    if f"{name}.{place}" in state
                }
        self.best = [state[f"best.{place}"] for place in range(len(self.weights)) if f"best.{place}" in state]
        self.scaler.load_state_dict(record["scaler"])
        history = record["history"] | {"dev": [tuple(pair) for pair in record["history"]["dev"]]}
        self.history = History(**history)

    def _refuse_another_run(self, record: Mapping[str, Any]) -> None:
        ours = self._record()
        names = sorted({*ours["settings"], *record["settings"]})
        changed = [name for name in names if ours["settings"].get(name) != record["settings"].get(name)]
        if not changed and record["examples"] != ours["examples"]:
            changed = ["the training examples, or the prompt around them,"]
        if changed:
            raise UsageError(
                f"The checkpoint in {self.folder} is of another run: {', '.join(changed)} differ.",
                hint="Resume with the settings it was begun with.",
            )


@contextmanager
def heeding_interrupts() -> Iterator[list[int]]:
    """A list that Ctrl-C puts its signal into, so that a step is finished first; the second one is at once.

    Only the main thread can ask for signals; elsewhere the list stays empty.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def heed(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, heed)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _note(values: Mapping[str, float], history: History) -> str:
    """The figures of a step in a line, the last and the best dev score at its end."""
    note = f"training: loss {values['loss']:.3f}  lr {values['learning_rate']:.1e}"
    note += f"  {values['tokens_per_second']:,.0f} tokens/s"
    if history.dev:
        step, score = history.dev[-1]
        best = "the best" if step == history.best_step else f"best {history.best:.4f} at {history.best_step}"
        note += f"  dev {score:.4f} at {step}, {best}"
    return note


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out; on a CPU torch says so in a RuntimeError's words."""
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        word in str(error).lower() for word in words
    )
