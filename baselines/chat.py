"""Chat models behind one small protocol, and everything that can go wrong with them.

A client turns a ``Request`` into a ``Reply`` or raises a ``ChatFailure``; it neither retries, nor waits for
a rate limit, nor remembers: that is done once, in ``baselines.asking``. To add one: a function that makes a
client from the prompt baseline's ``Config`` and a line in ``CLIENTS``, or an entry point of the group
``matbogi.chat_clients`` in a package of one's own::

    def connect(config: Config) -> ChatClient: ...

A client never fetches an address that stands in a document: documents are text to it and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast, runtime_checkable

from harness.errors import HarnessError, NotAuthorised, ServiceUnavailable, UsageError
from harness.text import safe

if TYPE_CHECKING:
    from baselines.prompt import Config

ENTRY_POINT_GROUP = "matbogi.chat_clients"
"""Where other packages register clients: a name, and a function from ``Config`` to ``ChatClient``."""

MAX_SHOWN = 300
"""Characters of what a server or a program said that a message repeats."""


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model is to write. ``temperature`` is ``None`` where the server shall choose."""

    max_tokens: int
    temperature: float | None = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked: the conversation so far, and how to write.

    ``document`` is the id of the document it is about. It is for clients that look answers up; it is
    never sent, and no part of the request's key.
    """

    document: str
    messages: tuple[Message, ...]
    sampling: Sampling

    @property
    def conversation(self) -> str:
        """SHA-256 of the messages alone, in hexadecimal: what recorded answers are found by."""
        return _sha256([list(message) for message in self.messages])

    def key(self, client: ChatClient) -> str:
        """SHA-256 of all that decides the answer: who is asked, the messages, and how to write."""
        messages = [list(message) for message in self.messages]
        return _sha256([dict(client.identity), messages, asdict(self.sampling)])

    @property
    def is_second(self) -> bool:
        """Whether the model has answered already and is asked again."""
        return self.messages[-1].role == "user" and any(
            message.role == "assistant" for message in self.messages[-2:-1]
        )

    @property
    def text(self) -> str:
        """The conversation as one text, for models and programs that know of no turns."""
        return "\n\n".join(message.content for message in self.messages)


def _sha256(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what it took. ``model`` is the model's name as the server gave it.

    Token counts are ``None`` where nobody counted. ``stopped_early`` says that the model ran into
    ``max_tokens``, ``seconds`` is the time from request to answer.
    """

    text: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    stopped_early: bool = False
    seconds: float = 0.0


class ChatClient(Protocol):
    """A chat model, wherever it runs. ``complete`` may be called from several threads at once."""

    @property
    def identity(self) -> dict[str, str]:
        """What answers depend on besides the request: kind of client, address or program, model.

        It is stored; it must hold no secret. Reading it must cost nothing: no connection, no weights.
        """
        ...

    def complete(self, request: Request) -> Reply:
        """The model's answer.

        Raises:
            ChatFailure: there is none; ``kind`` says why.
        """
        ...


@runtime_checkable
class BatchClient(ChatClient, Protocol):
    """A client that answers many requests faster together than one by one, such as a model in process."""

    batch_size: int

    def complete_batch(self, requests: Sequence[Request]) -> list[Reply | ChatFailure]:
        """An answer, or why there is none, for each of ``requests``, in order."""
        ...


@runtime_checkable
class ClosingClient(ChatClient, Protocol):
    """A client that holds something open."""

    def close(self) -> None:
        """Let it go. The client may be used again after."""
        ...


@runtime_checkable
class CheckingClient(ChatClient, Protocol):
    """A client that can tell before the first request that none would succeed."""

    def check(self) -> None:
        """Look whether everything is here that a request needs; send nothing.

        Raises:
            HarnessError: something is not installed or cannot be used.
            ChatFailure: every request would fail in this way.
        """
        ...


@runtime_checkable
class CountingClient(ChatClient, Protocol):
    """A client that has the model's own tokenizer at hand."""

    def count_tokens(self, request: Request) -> int:
        """How many tokens the prompt of ``request`` has."""
        ...


# --- what can go wrong ----------------------------------------------------------------------------


class Kind(NamedTuple):
    """One way in which an answer fails to come.

    ``retry``: asking again may help. ``everywhere``: the next request would fail in the same way, so that
    the run stops at once. ``error`` is the class of message the run ends with.
    """

    title: str
    hint: str
    retry: bool = False
    everywhere: bool = False
    error: type[HarnessError] = ServiceUnavailable


KINDS: dict[str, Kind] = {
    "unauthorised": Kind(
        "the server does not accept the key (401 or 403)",
        "Set OPENAI_API_KEY, or name a file with --api-key-file; check that the key is for this server.",
        everywhere=True, error=NotAuthorised,
    ),
    "not-found": Kind(
        "the server has no such model or address (404)",
        "Check --model, and --base-url, which ends in /v1 for most servers.",
        everywhere=True, error=UsageError,
    ),
    "quota": Kind(
        "the account has no credit left (429, insufficient_quota)",
        "Add credit to the account. Answers so far are kept and will not be paid for again.",
        everywhere=True,
    ),
    "redirect": Kind(
        "the server points to another address, which is not followed with a key (3xx)",
        "Give the final address with --base-url.",
        everywhere=True, error=UsageError,
    ),
    "rate-limit": Kind(
        "the server asks to go slower (429)",
        "Set --requests-per-minute or --tokens-per-minute to the account's limits.",
        retry=True,
    ),
    "server-error": Kind("the server failed (5xx)", "Try again later; answers so far are kept.", retry=True),
    "cut": Kind(
        "the connection was refused or cut before the answer was whole",
        "Check the network and that the server at --base-url runs; answers so far are kept.",
        retry=True,
    ),
    "time-out": Kind("no answer came in time", "Raise --request-timeout or lower --concurrency.", retry=True),
    "garbage": Kind(
        "what came back is not a chat completion",
        "Check that --base-url leads to an OpenAI-compatible server; most end in /v1.",
        retry=True,
    ),
    "empty": Kind(
        "the answer is empty, or nothing is left of it after cleaning",
        "Raise --max-tokens (a model that thinks aloud needs more), or change the instruction.",
        retry=True,
    ),
    "refused": Kind(
        "the model or its filter refused to answer",
        "Change the instruction, or write these summaries with another model.",
    ),
    "too-long": Kind(
        "the prompt does not fit into the model's context",
        "Set --max-document-characters, or take fewer examples.",
    ),
    "bad-request": Kind(
        "the server does not accept the request (4xx)",
        "Its words are above. Some models take no temperature: --temperature -1 leaves it out.",
        error=UsageError,
    ),
    "program": Kind("the program failed", "Its words are above. Try the command by hand.", error=UsageError),
    "not-recorded": Kind(
        "the recorded file holds no answer to this request",
        "Use the settings of the recording; with answers by id alone, --on-long cut or keep.",
        error=UsageError,
    ),
    "not-asked": Kind("not asked, since too many before it failed", "Answers so far are kept."),
}  # fmt: skip
"""Code to what it means and what to do."""


class ChatFailure(Exception):
    """No answer. ``kind`` is one of ``KINDS``; ``detail`` is what the other side said, made safe.

    ``retry_after`` is in seconds, where the server named a time; ``reply`` is there where an answer was
    paid for that cannot be used.
    """

    def __init__(
        self, kind: str, detail: str = "", *, retry_after: float | None = None, reply: Reply | None = None
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = safe(detail, MAX_SHOWN)
        self.retry_after = retry_after
        self.reply = reply


# --- the clients ----------------------------------------------------------------------------------

CLIENTS: dict[str, tuple[str, str]] = {
    "openai": ("baselines.chat_openai:connect", "OpenAI, or any server that speaks its language."),
    "transformers": ("baselines.chat_transformers:connect", "A model on this machine, in this process."),
    "command": ("baselines.chat_command:connect", "Any program that reads a prompt and prints an answer."),
    "replay": ("baselines.chat_replay:connect", "Answers from a file that --record wrote."),
}
"""Name to ``module:function`` and one line of help. The modules are imported when they are used."""


def load_client(name: str, config: Config) -> ChatClient:
    """The client called ``name``, made from ``config``.

    Raises:
        UsageError: there is none of that name, or ``config`` lacks what it needs.
    """
    if name in CLIENTS:
        module, _, function = CLIENTS[name][0].partition(":")
        connect = cast(Callable[["Config"], ChatClient], getattr(import_module(module), function))
        return connect(config)
    plugins = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name in plugins:
        return cast(Callable[["Config"], ChatClient], plugins[name].load())(config)
    known = sorted({*CLIENTS, *plugins})
    near = get_close_matches(name, known, n=1)
    raise UsageError(
        f"There is no chat client {name!r}.",
        hint=(f"Did you mean {near[0]!r}? " if near else "") + f"There are: {', '.join(known)}.",
    )


def read_key(file: str, variable: str = "OPENAI_API_KEY") -> str:
    """The key in ``file``, else in the environment's ``variable``, else nothing.

    Raises:
        UsageError: the file cannot be read, is empty, or may be read by others.
    """
    if not file:
        return os.environ.get(variable, "").strip()
    path = Path(file)
    try:
        with path.open(encoding="utf-8") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            key = opened.read(10_000).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"The key file {file} cannot be read: {reason}.") from None
    if os.name == "posix" and mode & 0o077:
        raise UsageError(
            f"The key file {file} can be read by others (mode {mode:04o}), so the key is not used.",
            hint=f"chmod 600 {file}",
        )
    if not key or len(key.split()) != 1:
        raise UsageError(f"The key file {file} must hold the key, on one line, and nothing else.")
    return key
