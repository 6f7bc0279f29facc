r"""The client that answers from a file: for classes without keys, and for runs that must repeat.

``--record FILE`` writes such a file, one JSON object a line; the prompts themselves are not in it::

    {"conversation": "9c1f…", "id": "xAqIHdvEZG", "answer": "…", "model": "gpt-4.1-mini-2025-04-14", …}

A line without ``conversation`` answers whatever is asked about the document ``id``, the first line the
first question, the next line the question asked again: answers copied from a web page are put down so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.chat import ChatFailure, Reply, Request
from harness.errors import UsageError

if TYPE_CHECKING:
    from baselines.prompt import Config


class ReplayClient:
    """Recorded answers, found by the conversation or else by the document."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_conversation: dict[str, Reply] = {}
        self._by_document: dict[str, list[Reply]] = {}
        for conversation, document, reply in read_recording(path):
            if conversation:
                self._by_conversation[conversation] = reply
            else:
                self._by_document.setdefault(document, []).append(reply)

    @property
    def identity(self) -> dict[str, str]:
        """The recording; its answers cost nothing, so they are not kept anywhere else."""
        return {"client": "replay", "file": self.path.name}

    def complete(self, request: Request) -> Reply:
        """The recorded answer."""
        found = self._by_conversation.get(request.conversation)
        if found is None:
            answers, turn = self._by_document.get(request.document, []), int(request.is_second)
            found = answers[turn] if turn < len(answers) else None
        if found is None:
            raise ChatFailure("not-recorded")
        if not found.text.strip():
            raise ChatFailure("empty", reply=found)
        return found


def connect(config: Config) -> ReplayClient:
    """A client as ``config`` says."""
    if not config.recording:
        raise UsageError("The client 'replay' needs --recording FILE.", hint="--record FILE writes one.")
    return ReplayClient(Path(config.recording))


def read_recording(path: Path) -> list[tuple[str, str, Reply]]:
    """Conversation (or nothing), document and reply of every line.

    Raises:
        UsageError: the file cannot be read, or lines are not of the form; all of them are named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"The recording {path} cannot be read: {reason}.") from None
    # Not splitlines: an answer may hold a line separator that JSON leaves as it is.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    read = [(number, _read_line(line)) for number, line in lines]
    faults = [str(number) for number, entry in read if entry is None]
    if faults:
        raise UsageError(
            f"{path}: {len(faults)} lines are not JSON objects with answer and with id or conversation:"
            f" {', '.join(faults[:20])}.",
            hint='A line by hand: {"id": "xAqIHdvEZG", "answer": "…"}',
        )
    return [entry for _, entry in read if entry is not None]


def _read_line(line: str) -> tuple[str, str, Reply] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not isinstance(values.get("answer"), str):
        return None
    conversation, document = values.get("conversation", ""), values.get("id", "")
    if not isinstance(conversation, str) or not isinstance(document, str) or not (conversation or document):
        return None
    return conversation, document, _reply(values)


def _reply(values: dict[str, Any]) -> Reply:
    counts = [values.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) else None for count in counts)
    return Reply(
        values["answer"], str(values.get("model", "recorded")), prompt, completion,
        values.get("stopped_early") is True,
    )  # fmt: skip


def write_recording(path: Path, answered: Iterable[tuple[Request, Reply]]) -> None:
    """Write ``path`` so that ``ReplayClient`` gives the same answers to the same requests.

    Raises:
        UsageError: the file cannot be written.
    """
    lines = []
    for request, reply in answered:
        values = {name: value for name, value in asdict(reply).items() if name not in ("text", "seconds")}
        line = {"conversation": request.conversation, "id": request.document, "answer": reply.text, **values}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"The recording {path} cannot be written: {error.strerror}.") from None
