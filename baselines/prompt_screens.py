"""What the prompt baseline says before a run and after it, and what its row on the board is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from baselines.lengths import histogram_lines
from baselines.prices import dollars
from harness.text import safe

if TYPE_CHECKING:
    from baselines.prompt import Preview


class Announcement(NamedTuple):
    """What a run is going to do. ``asks``: it may cost money, so a person is asked before it begins."""

    lines: list[str]
    asks: bool


ANSWERS = {
    "new": "new",
    "recorded": "recorded",
    "kept": "kept or equal to another",
    "missing": "missing",
    "stopped_at_max_tokens": "stopped by --max-tokens",
}
"""Counts of a run card's ``answers``, and how they are called."""
TREATMENT = {"asked_again": "asked again", "cut": "cut"}
"""Counts of what was done with answers that were too long."""

NOTHING_TO_SAY = Announcement([], asks=False)
"""For a model in this process and for recorded answers: they are sent nowhere and cost nothing."""


def announcement(found: Preview, *, asked_again: bool) -> Announcement:
    """Counts, tokens and price of the run that ``found`` is the preview of."""
    count, kept, client = len(found.requests), found.kept, found.client
    if kept == count:
        line = f"All {count:,} prompts are answered already: nothing is sent or paid."
        return Announcement([line], asks=False)
    where = client.get("base_url") or client.get("command") or client["client"]
    model = f", model {safe(client['model'])}" if client.get("model") else ""
    lines = [
        f"{count - kept:,} of {count:,} prompts go to {safe(where)}{model};"
        f" {kept:,} are answered already or equal to another.",
        f"About {found.prompt_tokens:,} tokens to read and {found.answer_tokens:,} to write"
        f" ({found.counter}): {dollars(found.cost)}.",
    ]
    if asked_again:
        lines.append("Answers that are too long are asked for once more, which may double that.")
    return Announcement(lines, asks=found.cost != 0.0)


def closing_lines(notes: Mapping[str, Any], *, bars: bool) -> Iterator[str]:
    """What became of a run, from the ``notes`` of its card: answers, tokens, price, lengths."""
    yield _answer_line(notes)
    if "recorded" not in notes["answers"]:
        yield _token_line(notes)
    if latency := notes["latency_seconds"]:
        yield f"Half of the new answers took up to {latency['p50']:.2f} s, 95% up to {latency['p95']:.2f} s."
    yield from histogram_lines(notes["length_histogram"], bars=bars)


def _answer_line(notes: Mapping[str, Any]) -> str:
    answers = notes["answers"]
    parts = [f"{answers[name]:,} {words}" for name, words in ANSWERS.items() if answers.get(name)]
    done = [f", {answers[name]:,} {words}" for name, words in TREATMENT.items() if answers.get(name)]
    long = f"{answers['too_long']:,} were longer than {notes['length_asked_for']:,} characters"
    who = safe(", ".join(map(str, notes["models"])) or "nobody")
    return f"Answers of {who}: {', '.join(parts)}; {long}{''.join(done)}."


def _token_line(notes: Mapping[str, Any]) -> str:
    tokens = notes["tokens"]
    tries = ", ".join(f"{count:,} {safe(kind)}" for kind, count in notes["failed_tries"].items())
    paid = f"{tokens['paid_prompt']:,} read and {tokens['paid_completion']:,} written in this run"
    return f"Tokens: {paid}, {dollars(notes['cost_usd'])}." + (f" Failed tries: {tries}." if tries else "")


def board_name(notes: Mapping[str, Any]) -> str:
    """What a run is called on the board: who answered, and whether that was a chat model at all.

    >>> board_name({"client": {"client": "transformers", "model": "tiny"}, "models": ["tiny"]})
    'prompt (tiny, no chat model)'
    """
    client, models = notes["client"], [str(model) for model in notes["models"]]
    who = [str(client["model"])] if client.get("model") else models
    words = [", ".join(PurePath(name).name or name for name in who) or str(client["client"])]
    words += ["recorded"] if client["client"] == "replay" else []
    words += ["no chat model"] if client["client"] in ("transformers", "replay") and who == ["tiny"] else []
    return f"prompt ({safe(', '.join(words), 80)})"
