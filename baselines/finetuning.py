"""One run of the LoRA baseline, from settings to summaries: load, train, keep, decode."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from baselines import Job, Outcome
from baselines.adapted import AdaptedModel, Update
from baselines.generation import Decoding, generate, generate_each
from baselines.lora import NO_ADAPTER, Config
from baselines.models import Source, open_model
from baselines.prompts import LabelledPrompt, Prompt, Template, split_dev
from baselines.search import finish
from baselines.tracking import check_trackers, open_tracker
from baselines.training import History, Settings, Training, is_out_of_memory
from baselines.world import World
from harness.contest import Example
from harness.errors import HarnessError, Interrupted, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from baselines.sweep import Trial

RECORD = "matbogi.json"
"""Beside an adapter: what must be the same when it is used as when it was trained."""
RECORDED = (
    "model", "revision", "template", "chat_template", "max_input_tokens", "max_new_tokens", "dev_size", "seed",
)  # fmt: skip
OWN_TO_A_RUN = (
    *(item.name for item in fields(Decoding)),
    "adapter", "resume", "grid", "report_to", "decode_batch_size", "trust_remote_code", "convert_weights",
)  # fmt: skip
"""Settings that may differ between a checkpoint and the run that goes on from it."""
METRICS = ("rouge1", "rouge2", "rougeL")


def decoding_of(config: Config) -> Decoding:
    """The part of ``config`` that decoding needs."""
    return Decoding(**{item.name: getattr(config, item.name) for item in fields(Decoding)})


def read_record(config: Config) -> dict[str, Any]:
    """What is written beside the adapter of ``config``: of ``RECORDED`` what there is, maybe nothing.

    Raises:
        UsageError: the adapter's record cannot be read.
    """
    path = Path(config.adapter) / RECORD
    if not config.adapter or config.adapter == NO_ADAPTER or not path.is_file():
        return {}
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: type(getattr(config, name))(record[name]) for name in RECORDED if name in record}
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{path} cannot be read.", hint="Delete it to use the settings given here.") from None


def as_trained(config: Config, kept: Mapping[str, Any]) -> Config:
    """``config`` with what its adapter was trained with: base model, prompt, longest summary.

    Raises:
        UsageError: ``config`` says otherwise than the record ``kept`` beside the adapter.
    """
    free = ("dev_size", "seed", "revision", "max_new_tokens")
    said = {name: getattr(config, name) for name in kept if name not in free}
    wrong = [
        f"--{name.replace('_', '-')} {said[name]!r} where it was {kept[name]!r}"
        for name in said
        if said[name] != kept[name] and said[name] != _default(name)
    ]
    if wrong:
        raise UsageError(
            f"The adapter in {config.adapter} was trained with other settings: {'; '.join(wrong)}.",
            hint="Leave these options out: the adapter's own are used.",
        )
    own = ["dev_size", "seed"]
    own += ["max_new_tokens"] if config.max_new_tokens != Config(model=config.model).max_new_tokens else []
    return replace(config, **{name: value for name, value in kept.items() if name not in own})


def _default(name: str) -> Any:
    return next(item.default for item in fields(Config) if item.name == name)


@dataclass
class DevSet:
    """The training examples held back, ready to be decoded and scored by the contest's tokens."""

    prompts: list[list[int]]
    references: list[tuple[str, ...]]
    preset: str

    def rows(self, texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """F1 of every row, float64 [n], by metric."""
        from harness.rouge import rouge_multiple
        from harness.tokenizers import load_tokenizer

        scored = rouge_multiple(texts, self.references, tokenizer=load_tokenizer(self.preset))
        return {name: scored[name].f1 for name in METRICS}

    def mean(self, texts: Sequence[str]) -> float:
        """The mean F1 of ROUGE-1, 2 and L."""
        rows = self.rows(texts)
        return float(sum(rows[name].mean() for name in METRICS) / len(METRICS))


class Finetuning:
    """One run: its model is loaded at once, so that what cannot be used is said before anything else."""

    def __init__(self, config: Config, job: Job) -> None:
        self.job, self.world = job, World.join()
        check_trackers(config.report_to)
        self.record = read_record(config)
        self.config = as_trained(config, self.record)
        self.messages: list[str] = []
        self.labelled = [example for example in job.train if example.summary and example.summary.strip()]
        if not config.adapter and not self.labelled:
            raise UsageError("There is no training example with a summary, so nothing can be learnt.")
        with explained("loading the model", "Use --precision bf16, --load-in-4bit, or a smaller --model."):
            self.model = self._open()
        self.template = self._template()

    def _open(self) -> AdaptedModel:
        config = self.config
        source = Source(
            config.model, config.revision, config.precision, config.load_in_4bit, config.trust_remote_code,
            config.convert_weights,
        )  # fmt: skip
        if config.adapter == NO_ADAPTER:
            return open_model(source, None, self.world.device)
        update = Path(config.adapter) if config.adapter else cast(Update, config)
        return open_model(source, update, self.world.device)

    def _template(self) -> Template:
        if self.config.chat_template:
            text = self.model.vocabulary.conversation(self.config.template)
            return Template(text, is_conversation=True, gap="")
        return Template(self.config.template, gap="" if self.model.is_encoder_decoder else " ")

    # --- what is asked for ---

    def run(self) -> Outcome:
        """As ``baselines.lora.run``."""
        notes = self._trained()
        prompts = [self._prompt(example) for example in self.job.test]
        notes["truncated_test_documents"] = self._tell_of_documents(prompts)
        started = time.perf_counter()
        with self._keeping_the_adapter():
            summaries = self._summaries([prompt.ids for prompt in prompts], self.job.progress)
        notes["decoding_seconds"] = round(time.perf_counter() - started, 1)
        self._leave_to_the_first()
        return Outcome(summaries, notes | {"messages": self.messages})

    def sweep(self) -> list[Trial]:
        """As ``baselines.lora.sweep``."""
        from baselines.sweep import Trial, variants

        chosen = variants(self.config.grid, self.config)
        self._trained()
        dev = self._dev_set()
        if dev is None:
            raise UsageError(
                "There is no dev split to try ways of decoding on.",
                hint="Give --dev-size, and a contest whose train.csv has summaries.",
            )
        decodings = [decoding_of(variant.config) for variant in chosen]
        mine = self.world.share(range(len(dev.prompts)))
        hint = "Give a smaller --decode-batch-size, such as 8, or try fewer ways at once."
        with self._keeping_the_adapter(), explained("decoding", hint):
            written = generate_each(
                self.model.reader(), [dev.prompts[number] for number in mine], decodings,
                self.model.vocabulary.end, -(-self.config.decode_batch_size // len(decodings)),
                lambda done: self.job.progress(done, len(mine), "decoding dev:"), self.model.vocabulary.decode,
                mine,
            )  # fmt: skip
        trials = []
        for variant, decoding, ids in zip(chosen, decodings, written, strict=True):
            texts = self.world.gather([self._text(each, decoding) for each in ids])
            characters = sum(map(len, texts)) / max(1, len(texts))
            trials.append(Trial(variant, dev.rows(texts), None, characters))
        self._leave_to_the_first()
        return trials

    @contextmanager
    def _keeping_the_adapter(self) -> Iterator[None]:
        """After Ctrl-C: the adapter that was trained before is kept, and the command that goes on uses it."""
        try:
            yield
        except KeyboardInterrupt:
            if self.config.adapter:  # it was there before this run
                raise
            raise Interrupted(
                "Interrupted while decoding; the adapter is kept.",
                settings={"adapter": str(self.job.folder / "adapter"), "resume": None},
            ) from None

    # --- training ---

    def _trained(self) -> dict[str, Any]:
        """Train, if that is asked for; notes for the run card."""
        notes: dict[str, Any] = {
            "device": device_name(self.world.device), "processes": self.world.size,
            "machine": platform.machine(), "threads": torch.get_num_threads(),
        }  # fmt: skip
        if self.config.adapter:
            return notes
        history = self._train()
        return notes | {
            "loss": [round(value, 4) for value in history.losses], "dev": history.dev,
            "steps": history.step, "best_step": history.best_step, "training_tokens": history.tokens,
            "training_seconds": round(history.seconds, 1),
        }  # fmt: skip

    def _train(self) -> History:
        config, job = self.config, self.job
        chosen, _ = split_dev(len(self.labelled), config.dev_size, config.seed)
        examples = [self._example(self.labelled[index]) for index in chosen]
        names = [item.name for item in fields(Settings) if item.name != "fp16"]
        settings = Settings(**{name: getattr(config, name) for name in names}, fp16=config.precision == "fp16")
        identity = {
            item.name: getattr(config, item.name) for item in fields(Config) if item.name not in OWN_TO_A_RUN
        }
        folder = Path(config.resume) if config.resume else job.folder
        training = Training(self.model, examples, settings, folder, identity, self.world)
        if config.resume:
            training.resume()
        dev = self._dev_set()
        evaluate = None if dev is None else self._scorer(dev)
        with self._log(training.history.step) as log:
            training.run(evaluate, self._report(), log)
        if self.world.is_first:
            self.model.save(job.folder / "adapter")
            record = {name: getattr(config, name) for name in RECORDED}
            text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
            (job.folder / "adapter" / RECORD).write_text(text, encoding="utf-8")
        return training.history

    def _report(self) -> Callable[[int, int, str], object]:
        return self.job.progress if self.world.is_first else (lambda done, total, note: None)

    @contextmanager
    def _log(self, begun: int) -> Iterator[Callable[[int, Mapping[str, float]], object] | None]:
        """Where the figures of every step after ``begun`` go besides, if anywhere."""
        if not self.config.report_to or not self.world.is_first:
            yield None
            return
        folder = self.job.folder
        tracker = open_tracker(self.config.report_to, folder, folder.name, asdict(self.config), begun)
        try:
            yield tracker.log
        finally:
            tracker.close()

    def _scorer(self, dev: DevSet) -> Callable[[], float]:
        """The dev score of the model as it is, decoded greedily."""
        greedy = Decoding(max_new_tokens=self.config.max_new_tokens)
        return lambda: dev.mean(self._decoded(dev.prompts, greedy, lambda done: None))

    # --- prompts ---

    def _room(self) -> int:
        """Tokens a prompt may have."""
        limit, config = self.model.limit, self.config
        if limit is None:
            return config.max_input_tokens
        room = limit if self.model.is_encoder_decoder else limit - config.max_new_tokens
        if room < 1:
            raise UsageError(
                f"--max-new-tokens {config.max_new_tokens} leaves no room for a document: {config.model} has"
                f" {limit} positions.",
                hint="Lower --max-new-tokens.",
            )
        return min(config.max_input_tokens, room)

    def _prompt(self, example: Example) -> Prompt:
        return self.template.encode(example.text, self.model.vocabulary, self._room())

    def _example(self, example: Example) -> LabelledPrompt:
        vocabulary = self.model.vocabulary
        return self.template.label(
            self._prompt(example), example.summary or "", vocabulary, vocabulary.end, self.config.max_new_tokens
        )

    def _dev_set(self) -> DevSet | None:
        """The examples that training held back, by the adapter's own split where it has a record of it."""
        size = self.record.get("dev_size", self.config.dev_size)
        _, held = split_dev(len(self.labelled), size, self.record.get("seed", self.config.seed))
        if not held:
            return None
        dev = [self.labelled[index] for index in held]
        prompts = [self._prompt(example).ids for example in dev]
        return DevSet(prompts, [(example.summary or "",) for example in dev], self.job.preset)

    def _tell_of_documents(self, prompts: Sequence[Prompt]) -> int:
        """How many test documents were cut; says so, and which are empty."""
        cut = sum(prompt.left_out > 0 for prompt in prompts)
        if cut:
            most = max(prompt.left_out for prompt in prompts)
            self.messages.append(
                f"{cut} of {len(prompts)} test documents were cut at the end to {self._room()} tokens"
                f" (at most {most} were left out): --max-input-tokens"
            )
        empty = sum(not example.text.strip() for example in self.job.test)
        if empty:
            self.messages.append(f"{empty} test documents are empty: their summaries are made up")
        return cut

    # --- decoding ---

    def _summaries(self, prompts: Sequence[list[int]], progress: Callable[..., object]) -> list[str]:
        shown = progress if self.world.is_first else (lambda *values: None)
        with explained("decoding", "Give a smaller --decode-batch-size, such as 8."):
            return self._decoded(
                prompts, decoding_of(self.config), lambda done: shown(done, len(prompts), "decoding:")
            )

    def _decoded(
        self, prompts: Sequence[list[int]], decoding: Decoding, progress: Callable[[int], object]
    ) -> list[str]:
        """A text for every prompt, each process writing its share."""
        numbers = self.world.share(range(len(prompts)))
        written = generate(
            self.model.reader(), [prompts[number] for number in numbers], decoding, self.model.vocabulary.end,
            self.config.decode_batch_size, lambda done: progress(done * self.world.size),
            self.model.vocabulary.decode, numbers,
        )  # fmt: skip
        return self.world.gather([self._text(ids, decoding) for ids in written])

    def _text(self, ids: list[int], decoding: Decoding) -> str:
        return finish(self.model.vocabulary.decode(ids), decoding)

    def _leave_to_the_first(self) -> None:
        """End every process but the first, which alone writes, prints and hands in."""
        self.world.leave()
        if not self.world.is_first:
            raise SystemExit(0)


@contextmanager
def explained(doing: str, hint: str) -> Iterator[None]:
    """Turn an exhausted memory into a message that says what to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise HarnessError(f"There is no memory left for {doing}.", hint=hint) from None


def device_name(device: torch.device) -> str:
    """``cpu``, or the name of the card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
