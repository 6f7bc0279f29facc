"""KoGPT's recipe: fine-tune a language model with LoRA, then let it write the summaries.

Without --model it is the embedded model, which a laptop trains in minutes. The loss runs over the summary
and the end token only; the best checkpoint is the one with the best ROUGE on a dev split of train.csv, by
the contest's own metric. The adapter is written in PEFT's format beside the predictions.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines import Job, Outcome, Progress, setting
from baselines.prompts import DEFAULT_TEMPLATE, LabelledPrompt, Template, label, split_dev
from baselines.schedules import SCHEDULES
from harness.contest import Example
from harness.errors import UsageError

if TYPE_CHECKING:
    from baselines.generation import Decoding
    from baselines.gptj import Adapter
    from baselines.models import BaseModel


@dataclass(frozen=True)
class Config:
    """Hyperparameters of ``lora``, by their names in transformers and peft."""

    model: str = setting("tiny", "Base model: tiny (the embedded one), a folder, or a name on the hub.")
    revision: str = setting("", "Revision of a model on the hub.")
    adapter: str = setting("", "Use this adapter (a folder in PEFT's format) and do not train.")
    resume: str = setting("", "Go on with the run in this folder after an interruption.")
    template: str = setting(DEFAULT_TEMPLATE, "Prompt, with {text} where the document goes.")
    max_input_tokens: int = setting(1024, "Cut documents so that the prompt has at most so many tokens.")
    r: int = setting(8, "Rank of the update.")
    lora_alpha: float = setting(32.0, "The update is scaled by lora_alpha / r.")
    lora_dropout: float = setting(0.1, "Dropout of the update's input.")
    target_modules: str = setting("q_proj,v_proj", "Layers to adapt, with commas; all-linear for all.")
    use_rslora: bool = setting(False, "Scale by lora_alpha / sqrt(r) instead.")
    optimizer: str = setting("AdamW", "Adam or AdamW.")
    learning_rate: float = setting(3e-3, "Peak learning rate; 2e-4 is usual for billions of parameters.")
    weight_decay: float = setting(0.01, "Weight decay.")
    adam_beta1: float = setting(0.9, "Adam's first beta.")
    adam_beta2: float = setting(0.999, "Adam's second beta.")
    max_grad_norm: float = setting(1.0, "Clip the gradient to this norm; 0 does not clip.")
    lr_scheduler_type: str = setting("cosine", f"One of {', '.join(SCHEDULES)}.")
    warmup_steps: int = setting(20, "Steps over which the learning rate rises from 0.")
    num_cycles: int = setting(1, "Cycles of cosine_with_restarts.")
    t_0: int = setting(202, "First cycle of cosine_annealing_warm_restarts, in steps.")
    t_mult: int = setting(2, "Each of its cycles is so many times longer.")
    num_train_epochs: int = setting(3, "Times the training data is seen.")
    max_steps: int = setting(0, "Stop after so many steps; 0 goes by epochs.")
    per_device_train_batch_size: int = setting(8, "Examples in a batch.")
    gradient_accumulation_steps: int = setting(1, "Batches to an optimiser step.")
    precision: str = setting("fp32", "Of the base model: fp32, bf16 or fp16 (adapters stay fp32).")
    gradient_checkpointing: bool = setting(False, "Compute each block twice, to save memory.")
    dev_size: int = setting(100, "Training examples held back to choose the checkpoint.")
    eval_steps: int = setting(200, "Score the dev split every so many steps, and at the end.")
    early_stopping_patience: int = setting(0, "Stop after so many dev scores without a better one; 0 never.")
    max_new_tokens: int = setting(96, "Longest summary, in tokens.")
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
    decode_batch_size: int = setting(32, "Documents decoded at once.")
    seed: int = setting(0, "Of the dev split, the order, the adapter's start, dropout and sampling.")

    def __post_init__(self) -> None:
        """Refuse what cannot be used, all of it at once."""
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
        "gradient_accumulation_steps", "max_new_tokens", "num_beams", "temperature", "decode_batch_size",
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
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise UsageError(
            "The LoRA baseline needs torch, which is not installed.",
            hint="python -m pip install -c constraints.txt torch"
            " && python -m pip install -c constraints.txt -e '.[lora]'",
        ) from None
    from baselines.models import load_adapter, load_model, merged

    base = load_model(config.model, config.revision, config.precision)
    notes: dict[str, Any] = {"device": str(base.model.embedding.device), "machine": platform.machine()}
    notes["torch"] = torch.__version__
    if config.adapter:
        adapter = load_adapter(Path(config.adapter), base.model)
    else:
        adapter, history = _train(config, job, base)
        notes |= history
    room = _room(config, base)
    prompts = [Template(config.template).encode(example.text, base.encode, room) for example in job.test]
    notes["truncated_test_documents"] = sum(prompt.left_out > 0 for prompt in prompts)
    from baselines.generation import generate
    from baselines.search import finish

    chosen = decoding(config)
    written = generate(
        merged(base.model, adapter), [prompt.ids for prompt in prompts], chosen, base.end,
        config.decode_batch_size, lambda done: job.progress(done, len(prompts)), base.decode,
    )  # fmt: skip
    return Outcome([finish(base.decode(ids), chosen) for ids in written], notes)


def decoding(config: Config) -> Decoding:
    """The part of ``config`` that decoding needs."""
    from baselines.generation import Decoding

    return Decoding(**{item.name: getattr(config, item.name) for item in fields(Decoding)})


def _room(config: Config, base: BaseModel) -> int:
    return min(config.max_input_tokens, base.model.shape.n_positions - config.max_new_tokens)


def _train(config: Config, job: Job, base: BaseModel) -> tuple[Adapter, dict[str, Any]]:
    import torch

    from baselines.gptj import MODULES
    from baselines.models import new_adapter, save_adapter
    from baselines.training import Settings, Training

    labelled = [example for example in job.train if example.summary and example.summary.strip()]
    if not labelled:
        raise UsageError("There is no training example with a summary, so nothing can be learnt.")
    chosen, held = split_dev(len(labelled), config.dev_size, config.seed)
    examples = [_labelled(config, base, labelled[index]) for index in chosen]
    modules = list(MODULES) if config.target_modules == "all-linear" else config.target_modules.split(",")
    modules = [name.strip() for name in modules]
    generator = torch.Generator().manual_seed(config.seed)
    adapter = new_adapter(base.model, modules, config.r, config.lora_alpha, config.use_rslora, generator)
    own = {item.name: getattr(config, item.name) for item in fields(Settings) if item.name != "fp16"}
    settings = Settings(**own, fp16=config.precision == "fp16")
    folder = Path(config.resume) if config.resume else job.folder
    training = Training(base.model, adapter, examples, settings, folder)
    if config.resume:
        training.resume()
    dev = [labelled[index] for index in held]
    best = training.run(_scorer(config, job, base, dev) if dev else None, job.progress)
    peft = {"r": config.r, "lora_alpha": config.lora_alpha, "lora_dropout": config.lora_dropout,
            "use_rslora": config.use_rslora, "target_modules": modules,
            "base_model_name_or_path": config.model}  # fmt: skip
    save_adapter(best, job.folder / "adapter", peft | {"template": config.template})
    history = training.history
    notes = {"loss": [round(value, 4) for value in history.losses], "dev": history.dev, "steps": history.step,
             "best_step": history.best_step, "training_tokens": history.tokens}  # fmt: skip
    return best, notes


def _labelled(config: Config, base: BaseModel, example: Example) -> LabelledPrompt:
    prompt = Template(config.template).encode(example.text, base.encode, _room(config, base))
    return label(prompt, example.summary or "", base.encode, base.end, config.max_new_tokens)


def _scorer(config: Config, job: Job, base: BaseModel, dev: Sequence[Example]) -> Any:
    """The mean F1 of ROUGE-1, 2 and L on the dev split, by the contest's tokens; decoded greedily."""
    from baselines.generation import Decoding, generate
    from baselines.models import merged
    from baselines.search import finish
    from harness.rouge import rouge_multiple
    from harness.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(job.preset)
    template = Template(config.template)
    prompts = [template.encode(example.text, base.encode, _room(config, base)).ids for example in dev]
    references = [(example.summary or "",) for example in dev]
    greedy = Decoding(max_new_tokens=config.max_new_tokens)

    def evaluate(adapter: Adapter) -> float:
        written = generate(merged(base.model, adapter), prompts, greedy, base.end, config.decode_batch_size)
        texts = [finish(base.decode(ids), greedy) for ids in written]
        rows = rouge_multiple(texts, references, tokenizer=tokenizer)
        return float(sum(rows[name].f1.mean() for name in ("rouge1", "rouge2", "rougeL")) / 3)

    return evaluate
