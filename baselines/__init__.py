"""A baseline turns test documents into summaries; this package holds them.

A baseline is a module with a frozen dataclass ``Config``, whose fields are its hyperparameters, and a
function ``summarize``; one that leaves more behind than summaries (an adapter, a loss curve) also has
``run(config, job) -> Outcome``, and one whose decoding can be tried in several ways, ``sweep(config, job)``
(``baselines.sweep``). It sees the training examples and the test documents, never the answers.
A field
is written once::

    @dataclass(frozen=True)
    class Config:
        sentences: int = setting(1, "How many sentences to take.")

and so becomes the option ``--sentences``, an entry of a recipe's TOML, a line of the run card, and
``leaderboard --columns sentences --where sentences=1``. To add one: a module here and a line in
``BASELINES``, or an entry point of the group ``matbogi.baselines`` in a package of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, cast

from harness.contest import Example
from harness.errors import UsageError


class Progress(Protocol):
    """Called with how much is done, of how much, and, where there is more to say, a short note.

    A note may begin with the stage and a colon (``training: loss 1.234  lr 3.0e-03``): every stage has a
    bar and a speed of its own. Two spaces part the figures.
    """

    def __call__(self, done: int, total: int, note: str = "", /) -> object:
        """Show it."""
        ...


@dataclass(frozen=True)
class Job:
    """What a baseline that trains is given: documents, the metric's preset, and a folder to write into."""

    train: Sequence[Example]
    test: Sequence[Example]
    preset: str
    folder: Path
    progress: Progress


class Outcome(NamedTuple):
    """Summaries in the order of the test documents, and notes for the run card."""

    summaries: list[str]
    notes: dict[str, Any]


class Config(Protocol):
    """A frozen dataclass of hyperparameters."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Baseline(Protocol):
    """What a baseline's module offers."""

    Config: type[Config]

    def summarize(
        self, config: Any, train: Sequence[Example], test: Sequence[Example], progress: Progress
    ) -> list[str]:
        """One summary for each document of ``test``, in order."""
        ...


BASELINES: dict[str, tuple[str, str]] = {
    "lead": ("baselines.lead", "The first sentences, or the first characters, of each document."),
    "lora": ("baselines.lora", "A language model, fine-tuned with LoRA on this machine."),
    "prompt": ("baselines.prompt", "A chat model, asked: OpenAI's, one's own server's, one in this process."),
    "textrank": ("baselines.textrank", "The sentences that share the most nouns with the others."),
}
"""Name to module and one line of help. The modules are imported when they are run."""


def setting(default: Any, description: str, *, recipe: bool = True, words: bool = False) -> Any:
    """A field of a ``Config``: its default, and the help a person reads.

    ``recipe=False`` is for what only the person at the keyboard may decide: which address is talked to,
    which program is started, which file is read for a key. A recipe that somebody else wrote may not.
    ``words=True`` is for text of several NAME=VALUES, which may be typed one after another without
    quotation marks: ``--grid num_beams=1,2 top_p=.9``.
    """
    return field(default=default, metadata={"help": description, "recipe": recipe, "words": words})


def load_baseline(name: str) -> Baseline:
    """The baseline called ``name``.

    Raises:
        UsageError: there is none of that name; near matches are named.
    """
    if name in BASELINES:
        return cast(Baseline, import_module(BASELINES[name][0]))
    plugins = {entry.name: entry for entry in entry_points(group="matbogi.baselines")}
    if name in plugins:
        return cast(Baseline, plugins[name].load())
    known = sorted({*BASELINES, *plugins})
    near = get_close_matches(name, known, n=1)
    raise UsageError(
        f"There is no baseline {name!r}.",
        hint=(f"Did you mean {near[0]!r}? " if near else "") + f"There are: {', '.join(known)}.",
    )
