"""KoGPT's recipe: fine-tune a language model with LoRA, then let it write the summaries.

Without --model it is the embedded model, which a laptop trains in minutes. The loss runs over the summary
and the end token only; the best checkpoint is the one with the best ROUGE on a dev split of train.csv, by
the contest's own metric. The adapter is written in PEFT's format beside the predictions.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from baselines import Job, Outcome, Progress, setting
from baselines.prompts import DEFAULT_TEMPLATE, Template
from baselines.schedules import SCHEDULES
from harness.contest import Example
from harness.errors import UsageError

if TYPE_CHECKING:
    from baselines.sweep import Trial

NO_ADAPTER = "none"
"""The value of ``adapter`` that stands for the base model alone."""

LEFT_TO_THE_MODEL = {"r": 0, "learning_rate": 0.0, "target_modules": "auto", "max_new_tokens": 0}
"""Values that stand for the model's own; the run card has what they became."""
EMBEDDED = {"r": 16, "learning_rate": 4e-3, "target_modules": "all-linear", "max_new_tokens": 56}
"""What suits the embedded model: small models learn faster, and with more of themselves; labels have 46 tokens
at most."""
USUAL = {"r": 8, "learning_rate": 2e-4, "target_modules": "auto", "max_new_tokens": 100}
"""The contest author's, for billions of parameters; ``auto`` is then peft's choice."""


@dataclass(frozen=True)
class Config:
    """Hyperparameters of ``lora``, by their names in transformers and peft."""

    model: str = setting(
        "tiny", "Base model: tiny (embedded), kogpt, polyglot, ..., a folder, a name on the hub."
    )
    revision: str = setting("", "Revision of a model on the hub.")
    trust_remote_code: bool = setting(False, "Run the program that a model brings along.", recipe=False)
    convert_weights: bool = setting(False, "Read pickled weights where there are no others.", recipe=False)
    load_in_4bit: bool = setting(False, "Hold the base in 4 bits (needs bitsandbytes and a GPU).")
    adapter: str = setting("", "Use this adapter (a folder in PEFT's format) and do not train; none: the base.")
    resume: str = setting("", "Go on with the run in this folder after an interruption.", recipe=False)
    template: str = setting(DEFAULT_TEMPLATE, "Prompt, with {text} where the document goes.")
    chat_template: bool = setting(False, "Ask in the model's chat template, --template being the question.")
    max_input_tokens: int = setting(1024, "Cut documents so that the prompt has at most so many tokens.")
    r: int = setting(0, "Rank of the update; 0: 16 for tiny, 8 for others.")
    lora_alpha: float = setting(32.0, "The update is scaled by lora_alpha / r.")
    lora_dropout: float = setting(0.0, "Dropout of the update's input.")
    target_modules: str = setting(
        "auto", "Layers to adapt, with commas; all-linear; auto: all of tiny, peft's choice."
    )
    use_rslora: bool = setting(False, "Scale by lora_alpha / sqrt(r) instead.")
    use_dora: bool = setting(False, "Learn the weights' sizes apart from their directions (through peft).")
    init_lora_weights: str = setting("true", "Start of A and B: true, or gaussian, pissa, olora, ... (peft's).")
    optimizer: str = setting("AdamW", "Adam or AdamW.")
    learning_rate: float = setting(0.0, "Peak learning rate; 0: 4e-3 for tiny, 2e-4 for others.")
    weight_decay: float = setting(0.01, "Weight decay.")
    adam_beta1: float = setting(0.9, "Adam's first beta.")
    adam_beta2: float = setting(0.999, "Adam's second beta.")
    max_grad_norm: float = setting(1.0, "Clip the gradient to this norm; 0 does not clip.")
    lr_scheduler_type: str = setting("cosine", f"One of {', '.join(SCHEDULES)}.")
    warmup_steps: int = setting(20, "Steps over which the learning rate rises from 0.")
    num_cycles: int = setting(1, "Cycles of cosine_with_restarts.")
    t_0: int = setting(202, "First cycle of cosine_annealing_warm_restarts, in steps.")
    t_mult: int = setting(2, "Each of its cycles is so many times longer.")
    num_train_epochs: float = setting(1.0, "Times the training data is seen; may be a part.")
    max_steps: int = setting(0, "Stop after so many steps; 0 goes by epochs.")
    per_device_train_batch_size: int = setting(8, "Examples in a batch.")
    train_batch_tokens: int = setting(0, "Fill batches up to so many tokens instead; 0 counts examples.")
    gradient_accumulation_steps: int = setting(1, "Batches to an optimiser step.")
    precision: str = setting("fp32", "Of the base model: fp32, bf16 or fp16 (adapters stay fp32).")
    gradient_checkpointing: bool = setting(False, "Compute each block twice, to save memory.")
    dev_size: int = setting(100, "Training examples held back to choose the checkpoint.")
    eval_steps: int = setting(200, "Score the dev split every so many steps, and at the end.")
    save_steps: int = setting(0, "Write a checkpoint every so many steps too; 0 at dev scores alone.")
    early_stopping_patience: int = setting(0, "Stop after so many dev scores without a better one; 0 never.")
    max_new_tokens: int = setting(0, "Longest summary, in tokens; 0: 56 for tiny, 100 for others.")
    min_new_tokens: int = setting(0, "Shortest summary, in tokens.")
    max_characters: int = setting(0, "Cut summaries to so many characters, at a word; 0 does not.")
    min_characters: int = setting(0, "Shortest summary, in characters.")
    stop_strings: str = setting("", "Stop at any of these texts, separated by |; \\n is a line break.")
    num_beams: int = setting(1, "Beams; 1 is greedy.")
    length_penalty: float = setting(1.0, "Beams: above 0 prefers longer summaries.")
    do_sample: bool = setting(False, "Draw tokens instead of taking the likeliest.")
    temperature: float = setting(1.0, "Sampling: flattens (above 1) or sharpens.")
    top_k: int = setting(0, "Sampling: only the k likeliest tokens; 0 takes all.")
    top_p: float = setting(1.0, "Sampling: only the likeliest tokens that hold this share.")
    repetition_penalty: float = setting(1.0, "Makes tokens the summary already has less likely.")
    no_repeat_ngram_size: int = setting(0, "No n-gram of this size twice in a summary; 0 allows all.")
    decode_batch_size: int = setting(0, "Documents decoded at once; 0: as many as are quick and fit.")
    seed: int = setting(0, "Of the dev split, the order, the adapter's start, dropout and sampling.")
    grid: str = setting("", "Try ways of decoding on the dev split: num_beams=1,2,4 top_p=.9,.95", words=True)
    report_to: str = setting("", "Send figures to tensorboard, mlflow, wandb or trackio too.", recipe=False)

    def __post_init__(self) -> None:
        """Fill in what is left to the model, and refuse what cannot be used, all of it at once."""
        for name, unset in LEFT_TO_THE_MODEL.items():
            if getattr(self, name) == unset:
                object.__setattr__(self, name, (EMBEDDED if self.model == "tiny" else USUAL)[name])
        faults = list(_faults(self))
        if faults:
            raise UsageError(f"The settings cannot be used: {'; '.join(faults)}.")
        Template(self.template)


def _faults(config: Config) -> Sequence[str]:
    choices = {
        "optimizer": ("Adam", "AdamW"),
        "lr_scheduler_type": SCHEDULES,
        "precision": ("fp32", "bf16", "fp16"),
    }
    positive = (
        "max_input_tokens", "r", "learning_rate", "num_train_epochs", "per_device_train_batch_size",
        "gradient_accumulation_steps", "max_new_tokens", "num_beams", "temperature",
        "t_0", "t_mult", "num_cycles", "top_p", "repetition_penalty",
    )  # fmt: skip
    values = {item.name: getattr(config, item.name) for item in fields(config)}
    faults = [
        f"{name} must be one of {', '.join(known)}"
        for name, known in choices.items()
        if values[name] not in known
    ]
    faults += [f"{name} must be above 0" for name in positive if values[name] <= 0]
    faults += [
        f"{name} must not be negative"
        for name, value in values.items()
        if isinstance(value, int | float) and value < 0 and name not in {*positive, "length_penalty"}
    ]
    faults += ["top_p must be at most 1"] if config.top_p > 1 else []
    faults += ["lora_dropout must be below 1"] if config.lora_dropout >= 1 else []
    faults += ["do_sample needs num_beams 1"] if config.do_sample and config.num_beams > 1 else []
    return faults


def summarize(
    config: Config, train: Sequence[Example], test: Sequence[Example], progress: Progress
) -> list[str]:
    """The summaries alone; the adapter is thrown away."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return run(config, Job(train, test, "mecab", Path(folder), progress)).summaries


def run(config: Config, job: Job) -> Outcome:
    """Train (unless an adapter is given), write the adapter into ``job.folder``, and summarise.

    Raises:
        UsageError: a model, an adapter or settings that cannot be used; nothing to train on.
        HarnessError: no memory left, or a loss that is not a number any more.
        Interrupted: Ctrl-C while training.
    """
    _need_torch()
    from baselines.finetuning import Finetuning

    return Finetuning(config, job).run()


def sweep(config: Config, job: Job) -> list[Trial]:
    """Train (unless an adapter is given), then decode the dev split in every way that ``config.grid`` names.

    Raises:
        UsageError: as ``run``; there is no dev split; a setting of the grid that is none of decoding.
    """
    _need_torch()
    from baselines.finetuning import Finetuning

    return Finetuning(config, job).sweep()


def _need_torch() -> None:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise UsageError(
            "The LoRA baseline needs torch, which is not installed.",
            hint="python -m pip install -c constraints.txt torch"
            " && python -m pip install -c constraints.txt -e '.[lora]'",
        )
