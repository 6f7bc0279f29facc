"""How fast LoRA training is, beside transformers' Trainer with peft and TRL's SFTTrainer.

    PYTHONPATH=. python benchmarks/training.py [--rounds 3] [--quick]
    PYTHONPATH=. python benchmarks/training.py --device cuda --model-size 6b

Every contender trains the same adapter (r 8 on q_proj and v_proj, dropout 0.1) on the same documents, eight
to a step, in a process of its own, so that each has its own peak of memory. Rounds are interleaved: all
contenders once, then all again. The first steps do not count.

First the losses are compared, without dropout, step by step while the adapter learns: with the Trainer in its
own order of batches, with TRL over its own packs. TRL packs with its best-fit strategy, the only one that
keeps documents apart; its settings are tried, and its best one is the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402

from baselines.models import PRECISIONS, new_adapter  # noqa: E402
from baselines.prompts import LabelledPrompt, order  # noqa: E402
from benchmarks import measuring  # noqa: E402

R, ALPHA, DROPOUT, MODULES = 8, 32.0, 0.1, ["q_proj", "v_proj"]
BATCH = 8
RATE = 3e-3
UNTIMED = 3
"""Steps before the clock starts: memory is being claimed, and kernels chosen."""

OURS, OURS_IN_FOUR = "matbogi", "matbogi, four batches of 2"
"""All eight examples of a step at once; and two at a time, as small as TRL's smallest packs, for the memory."""
TRAINERS = {"Trainer, dynamic padding": "random", "Trainer, grouped by length": "grouped"}
PACKS = {
    "SFTTrainer, packs of 512 x 4": (512, 1, 4),
    "SFTTrainer, packs of 1024 x 2": (1024, 1, 2),
    "SFTTrainer, packs of 2048": (2048, 1, 1),
    "SFTTrainer, four packs of 512 at once": (512, 4, 1),
}
"""TRL's settings: length of a pack, packs in a batch, batches in a step; 2,048 tokens to a step in each."""


@dataclass(frozen=True)
class Task:
    """What one process does; its fields are the options of the command line it is started with."""

    contender: str
    steps: int
    size: str = "20m"
    device: str = "cpu"
    precision: str = "fp32"
    dropout: float = DROPOUT
    order: str = "random"
    checkpointing: bool = False
    learning_rate: float = RATE


@dataclass
class Measured:
    """What a process found: by step, clock and processor time at its end, its examples, its loss."""

    ended: list[float]
    spent: list[float]
    examples: list[list[int]]
    losses: list[float]
    peak: float = 0.0
    before: float = 0.0
    checkpointing: bool = False

    def mark(self, device: torch.device) -> None:
        """A step is over."""
        self.ended.append(measuring.computed(device))
        self.spent.append(time.process_time())

    def timed(self, examples: Sequence[LabelledPrompt]) -> list[LabelledPrompt]:
        """The examples of the steps that count."""
        return [examples[index] for step in self.examples[UNTIMED:] for index in step]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the steps that count."""
        return self.ended[-1] - self.ended[UNTIMED - 1]

    @property
    def processor_seconds(self) -> float:
        """Processor seconds of the steps that count, of all threads."""
        return self.spent[-1] - self.spent[UNTIMED - 1]


# --- in the process of a contender ----------------------------------------------------------------


def batches(task: Task, examples: Sequence[LabelledPrompt]) -> list[list[int]]:
    """The examples of each step, by their places: shuffled, or shuffled and grouped by length."""
    shuffled = order(len(examples), 0, 0)
    if task.order == "grouped":
        from transformers.trainer_pt_utils import get_length_grouped_indices

        lengths, generator = [len(example.ids) for example in examples], torch.Generator().manual_seed(0)
        shuffled = list(get_length_grouped_indices(lengths, BATCH, generator=generator))
    return [shuffled[start : start + BATCH] for start in range(0, len(shuffled), BATCH)][: task.steps]


def peak_memory(device: torch.device) -> float:
    """MB that this process has held at once: of the card's memory, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def our_adapted(task: Task) -> Any:
    """The model in this project's hands, with its adapter."""
    from baselines.packed_model import PackedModel

    model = measuring.our_model(task.size, torch.device(task.device), PRECISIONS[task.precision])
    adapter = new_adapter(model, MODULES, R, ALPHA, False, torch.Generator().manual_seed(1))
    return PackedModel(model, adapter, measuring.vocabulary(), {}, task.dropout, task.checkpointing)


def run_ours(task: Task, examples: Sequence[LabelledPrompt]) -> Measured:
    """Our loop, as the LoRA baseline runs it, over ``batches``."""
    from baselines.training import Settings, Training

    device, parts = torch.device(task.device), 4 if task.contender == OURS_IN_FOUR else 1
    settings = Settings(
        optimizer="AdamW", learning_rate=task.learning_rate, weight_decay=0.0, adam_beta1=0.9,
        adam_beta2=0.999, max_grad_norm=1.0, lr_scheduler_type="constant", warmup_steps=0, num_cycles=1,
        t_0=1, t_mult=1, num_train_epochs=1, max_steps=task.steps,
        per_device_train_batch_size=BATCH // parts, train_batch_tokens=0, gradient_accumulation_steps=parts,
        fp16=False, eval_steps=0, save_steps=0, early_stopping_patience=0, seed=0,
    )  # fmt: skip
    chosen = batches(task, examples)
    # The loop shuffles by its seed: laid out by the inverse, the examples come in the order that is wanted.
    flat = [index for step in chosen for index in step]
    laid = [examples[0]] * len(flat)
    for place, index in zip(order(len(flat), 0, 0), flat, strict=True):
        laid[place] = examples[index]
    found = Measured([], [], chosen, [])
    with tempfile.TemporaryDirectory() as folder:
        training = Training(our_adapted(task), laid, settings, Path(folder))
        found.before = peak_memory(device)
        training.run(None, lambda done, total, note: found.mark(device))
    found.losses, found.peak = training.history.losses, peak_memory(device)
    return found


def our_losses(task: Task, examples: Sequence[LabelledPrompt], chosen: list[list[int]]) -> list[float]:
    """The mean loss of a token of each of ``chosen``, before anything is learnt."""
    model, found = our_adapted(task), []
    with torch.no_grad():
        for step in chosen:
            part = [examples[index] for index in step]
            labels = sum(len(each.ids) - each.prompt_length for each in part)
            found.append(float(model.loss_sum(part, (0,))) / labels)
    return found


def their_adapted(task: Task) -> Any:
    """The model of transformers with peft's adapter, which starts as ours does."""
    from peft import LoraConfig, get_peft_model

    device = torch.device(task.device)
    base = measuring.their_model(task.size, device, PRECISIONS[task.precision])
    config = LoraConfig(
        r=R, lora_alpha=ALPHA, lora_dropout=task.dropout, target_modules=MODULES, task_type="CAUSAL_LM"
    )
    model = get_peft_model(base, config)
    shape = measuring.shape_of(task.size)
    ours = new_adapter(
        measuring.empty_model(shape, device), MODULES, R, ALPHA, False, torch.Generator().manual_seed(1)
    )
    weights = dict(model.named_parameters())
    for (layer, name), change in ours.items():
        at = f"base_model.model.transformer.h.{layer}.attn.{name}.lora_A.default.weight"
        weights[at].data.copy_(change.a)
    return model


def arguments_for(task: Task, folder: str, packs: int, accumulation: int) -> dict[str, Any]:
    """What Trainer and SFTTrainer are told alike."""
    return {
        "output_dir": folder, "per_device_train_batch_size": packs, "max_steps": task.steps,
        "gradient_accumulation_steps": accumulation, "learning_rate": task.learning_rate,
        "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1.0, "optim": "adamw_torch",
        "gradient_checkpointing": task.checkpointing, "logging_steps": 1, "save_strategy": "no",
        "report_to": "none", "disable_tqdm": True, "use_cpu": task.device == "cpu",
        "bf16": False, "fp16": False, "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": task.device != "cpu", "log_level": "error",
    }  # fmt: skip


def watched(found: Measured, device: torch.device) -> Any:
    """A callback that writes down when each step ended, and its loss."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **others: Any) -> None:
            found.mark(device)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            if logs and "loss" in logs:
                found.losses.append(float(logs["loss"]))

    return Watch()


def rows_of(examples: Iterable[LabelledPrompt]) -> list[dict[str, list[int]]]:
    """Examples as both trainers take them: labels over the summary and the end token alone."""
    return [
        {
            "input_ids": each.ids,
            "labels": [-100] * each.prompt_length + each.ids[each.prompt_length :],
        }
        for each in examples
    ]


def run_trainer(task: Task, examples: Sequence[LabelledPrompt]) -> Measured:
    """Transformers' Trainer with peft; every batch is padded to its longest."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    device = torch.device(task.device)
    model, chosen = their_adapted(task), batches(task, examples)
    found = Measured([], [], chosen, [])
    rows = rows_of(examples[index] for step in chosen for index in step)
    for row in rows:
        row["attention_mask"] = [1] * len(row["input_ids"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(**arguments_for(task, folder, BATCH, 1)),
            train_dataset=rows,
            data_collator=DataCollatorForSeq2Seq(measuring.their_tokenizer()),
            callbacks=[watched(found, device)],
        )
        found.before = peak_memory(device)
        trainer.train()
    found.peak = peak_memory(device)
    return found


def run_trl(task: Task, examples: Sequence[LabelledPrompt]) -> Measured:
    """TRL's SFTTrainer, packing."""
    from datasets import Dataset, disable_progress_bars
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    device = torch.device(task.device)
    length, packs, accumulation = PACKS[task.contender]
    model = their_adapted(task)
    found = Measured([], [], [], [])
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            **arguments_for(task, folder, packs, accumulation), packing=True, packing_strategy="bfd",
            max_length=length,
        )  # fmt: skip
        trainer = SFTTrainer(
            model=model,
            args=settings,
            train_dataset=Dataset.from_list(rows_of(examples[index] for index in order(len(examples), 0, 0))),
            processing_class=measuring.their_tokenizer(),
            callbacks=[watched(found, device)],
        )
        packed = trainer.train_dataset
        places = {tuple(example.ids): place for place, example in enumerate(examples)}
        for start in range(0, task.steps * packs * accumulation, packs * accumulation):
            step = []
            for pack in packed.select(range(start, start + packs * accumulation)):
                ids, at = pack["input_ids"], 0
                for size in pack["seq_lengths"]:
                    step.append(places[tuple(ids[at : at + size])])
                    at += size
            found.examples.append(step)
        found.before = peak_memory(device)
        trainer.train()
    found.peak = peak_memory(device)
    return found


def work(task: Task) -> Measured:
    """Run ``task`` here."""
    examples = measuring.labelled_prompts(needed(task.steps))
    if task.contender in (OURS, OURS_IN_FOUR):
        return run_ours(task, examples)
    return run_trl(task, examples) if task.contender in PACKS else run_trainer(task, examples)


# --- in the process that compares -----------------------------------------------------------------


def needed(steps: int) -> int:
    """Examples for ``steps`` of any contender: a pack holds up to half as many again as a batch."""
    return min(2000, steps * BATCH * 2)


def started(task: Task) -> Measured:
    """Run ``task`` in a process of its own; with less memory, if the card has not enough.

    Raises:
        SystemExit: it failed; what it said is printed.
    """
    command = [sys.executable, __file__, "--task", json.dumps(vars(task))]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ended.returncode and "OutOfMemoryError" in ended.stderr and not task.checkpointing:
        return started(replace(task, checkpointing=True))
    if ended.returncode:
        raise SystemExit(f"{task.contender} failed:\n{ended.stderr[-3000:]}")
    return Measured(**json.loads(ended.stdout.splitlines()[-1]) | {"checkpointing": task.checkpointing})


def compare_losses(task: Task, packs: str | None) -> None:
    """Print how far our losses are from those of the Trainer while both learn, and from TRL's before."""
    plain = replace(task, dropout=0.0, steps=12)
    for kind in TRAINERS.values():
        theirs = started(replace(plain, contender=next(iter(TRAINERS)), order=kind))
        ours = started(replace(plain, contender=OURS, order=kind))
        farthest = max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))
        fell = f"{theirs.losses[0]:.4f} to {theirs.losses[-1]:.4f}"
        print(
            f"losses of 12 steps, Trainer ({kind}): {fell}; ours differ by at most {farthest:.1e}", flush=True
        )
    if packs is not None:
        theirs = started(replace(plain, contender=packs, steps=6, learning_rate=0.0))
        ours_now = our_losses(plain, measuring.labelled_prompts(needed(6)), theirs.examples)
        farthest = max(abs(a - b) for a, b in zip(ours_now, theirs.losses, strict=True))
        print(f"losses of 6 steps of TRL's packs, before learning: ours differ by at most {farthest:.1e}")


def report(task: Task, contenders: Sequence[str], rounds: Sequence[dict[str, Measured]]) -> None:
    """Print the table: medians over rounds, and ratios taken within each round."""
    examples, shape = measuring.labelled_prompts(needed(task.steps)), measuring.shape_of(task.size)
    share = measuring.matrix_rate(torch.device(task.device), PRECISIONS[task.precision])
    timed = {name: rounds[0][name].timed(examples) for name in contenders}

    def middle(name: str, of: Callable[[Measured], float]) -> float:
        return statistics.median(of(each[name]) for each in rounds)

    def ratios(name: str, of: Callable[[Measured], float]) -> list[float]:
        """Theirs by ours for each round, of what an example takes."""
        fair = len(timed[OURS]) / len(timed[name])
        return [of(each[name]) / of(each[OURS]) * fair for each in rounds]

    head = ("contender", "examples/s", "tokens/s", "matrix rate", "peak MB", "ours is faster by",
            "by processor time", "ours needs of its memory")  # fmt: skip
    lines: list[Sequence[str]] = [head]
    for name in contenders:
        seconds, peak = middle(name, lambda each: each.seconds), middle(name, lambda each: each.peak)
        tokens = sum(len(example.ids) for example in timed[name])
        used = measuring.training_work(shape, timed[name]) / seconds / share
        line = [
            name,
            f"{len(timed[name]) / seconds:.1f}",
            f"{tokens / seconds:,.0f}",
            f"{used:.0%}",
            f"{peak:,.0f}",
        ]
        line[0] += " (checkpointing)" if rounds[0][name].checkpointing else ""
        if name == OURS:
            lines.append((*line, "", "", ""))
            continue
        clock = statistics.median(ratios(name, lambda each: each.seconds))
        processor = statistics.median(ratios(name, lambda each: each.processor_seconds))
        needs = middle(OURS, lambda each: each.peak) / peak
        lines.append((*line, f"{clock:.2f}", f"{processor:.2f}", f"{needs:.0%}"))
    print(measuring.table(lines))
    print(f"matrix rate measured: {share / 1e9:,.0f} GFLOP/s; the share counts needed operations only")
    for kind, names in (("Trainer", list(TRAINERS)), ("SFTTrainer", list(PACKS))):
        own = [name for name in contenders if name in names]
        if own:
            best = min(own, key=lambda name: middle(name, lambda each: each.seconds) / len(timed[name]))
            by = ", ".join(f"{each:.2f}" for each in ratios(best, lambda each: each.seconds))
            print(f"best {kind}: {best}; by round, ours is faster by {by}")
            peaks = [middle(name, lambda each: each.peak) for name in (OURS_IN_FOUR, best)]
            print(f"its peak is {peaks[1]:,.0f} MB; of ours in four batches {peaks[0] / peaks[1]:.0%}")


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="Steps in a round; 0 chooses.")
    parser.add_argument("--quick", action="store_true", help="One round of few steps, one setting of TRL.")
    parser.add_argument("--device", default="cpu", help="cpu or cuda.")
    parser.add_argument("--model-size", default="20m", choices=measuring.SIZES)
    parser.add_argument("--precision", default="", choices=["", "fp32", "bf16"], help="Default: by device.")
    parser.add_argument("--only", default="", help="Only peers with this in their name.")
    parser.add_argument("--skip-losses", action="store_true", help="Do not compare losses first.")
    parser.add_argument("--task", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(vars(work(Task(**json.loads(options.task))))))
        return
    steps = options.steps or (8 if options.quick else 30)
    precision = options.precision or ("bf16" if options.device == "cuda" else "fp32")
    task = Task(OURS, steps, options.model_size, options.device, precision)
    packs = list(PACKS)[1:2] if options.quick else list(PACKS)
    if find_spec("trl") is None:
        print("trl is not installed, so its rows are left out: pip install -e '.[benchmarks]'")
        packs = []
    print(measuring.machine(torch.device(options.device)))
    shape = measuring.shape_of(options.model_size)
    print(f"model {options.model_size}: {shape}; {precision}; {BATCH} examples a step")
    if not options.skip_losses:
        compare_losses(task, packs[0] if packs else None)
    contenders = [OURS, OURS_IN_FOUR, *(name for name in (*TRAINERS, *packs) if options.only in name)]
    rounds = []
    for number in range(1 if options.quick else options.rounds):
        found = {}
        for name in contenders:
            found[name] = started(replace(task, contender=name, order=TRAINERS.get(name, "random")))
            print(f"round {number + 1}: {name} done", file=sys.stderr, flush=True)
        rounds.append(found)
    report(task, contenders, rounds)


if __name__ == "__main__":
    main()
