"""The client for OpenAI and for every server that speaks its language: vLLM, Ollama, llama.cpp, LM Studio.

The address comes from ``--base-url`` or the environment's OPENAI_BASE_URL and from nowhere else, redirects
are not followed, and a key goes over plain HTTP to this machine only.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from baselines.chat import ChatFailure, Reply, Request, read_key
from harness.errors import UsageError

if TYPE_CHECKING:
    import openai

    from baselines.prompt import Config

OPENAI = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4.1-mini"
_LOCAL = {"localhost", "127.0.0.1", "::1"}


class OpenAIClient:
    """Chat completions over HTTP, with OpenAI's own package; its retries are switched off."""

    def __init__(self, model: str, base_url: str, api_key_file: str, timeout: float, connections: int) -> None:
        self.model = model
        self.base_url = check_address(base_url)
        self._api_key_file, self._timeout, self._connections = api_key_file, timeout, connections
        self._lock = threading.Lock()
        self._opened: openai.OpenAI | None = None
        self._key = ""

    @property
    def identity(self) -> dict[str, str]:
        """The address and the model asked for."""
        return {"client": "openai", "base_url": self.base_url, "model": self.model}

    def complete(self, request: Request) -> Reply:
        """One request, one answer; every failure under its name."""
        client = self._client()
        import openai  # after the client, which says what to install where it is missing

        begin = time.perf_counter()
        try:
            # The path by its name: the package's typed call checks what we built ourselves and models what
            # we read ourselves, which is a third of a request's processor time.
            answer: object = client.post("/chat/completions", body=self._body(request), cast_to=object)
        except openai.APITimeoutError:
            raise ChatFailure("time-out") from None
        except openai.APIConnectionError as error:
            raise ChatFailure("cut", self._hide(_reason(error))) from None
        except openai.APIStatusError as error:
            raise _failure(error, self._hide) from None
        except (openai.APIError, ValueError, RecursionError) as error:
            raise ChatFailure("garbage", self._hide(str(error))) from None
        return read_answer(answer, time.perf_counter() - begin, self._hide)

    def check(self) -> None:
        """Look whether the package and, where one is needed, a key are here; send nothing."""
        self._client()

    def _hide(self, text: str) -> str:
        """``text`` without the key: a server may repeat what it was sent, wherever it likes."""
        return text.replace(self._key, "[key]") if self._key else text

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        # OpenAI's newer models know only the new name, other servers often only the old one.
        limit = "max_completion_tokens" if self.base_url == OPENAI else "max_tokens"
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [message._asdict() for message in request.messages],
            limit: sampling.max_tokens,
        }
        if sampling.temperature is not None:
            body["temperature"] = sampling.temperature
            if sampling.temperature > 0:
                body |= {"top_p": sampling.top_p, "seed": sampling.seed}
        return body

    def _client(self) -> openai.OpenAI:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> openai.OpenAI:
        try:
            import openai
        except ModuleNotFoundError:
            raise UsageError(
                "This client needs the package openai, which is not installed.",
                hint="python -m pip install -c constraints.txt -e '.[prompt]'",
            ) from None
        import httpx2

        key = read_key(self._api_key_file)
        refuse_open_key(self.base_url, key)
        if not key and self.base_url == OPENAI:
            raise ChatFailure("unauthorised", "there is no key")
        self._key = key
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self._connections)
        http = openai.DefaultHttpxClient(follow_redirects=False, timeout=self._timeout, limits=limits)
        return openai.OpenAI(
            api_key=key or "none",
            base_url=self.base_url,
            max_retries=0,
            timeout=self._timeout,
            http_client=http,
        )


def connect(config: Config) -> OpenAIClient:
    """A client as ``config`` says."""
    base_url = config.base_url or os.environ.get("OPENAI_BASE_URL", "") or OPENAI
    return OpenAIClient(
        config.model or DEFAULT_MODEL, base_url, config.api_key_file, config.request_timeout, config.concurrency
    )


def check_address(address: str) -> str:
    """``address`` without a slash at its end.

    Raises:
        UsageError: it is no http address, or holds a user, a password or a query.
    """
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"--base-url {address!r} is not an address such as http://localhost:8000/v1.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "--base-url must hold no user, password or query: it is written into the run card.",
            hint="Give a key with --api-key-file or OPENAI_API_KEY.",
        )
    return address.rstrip("/")


def refuse_open_key(address: str, key: str) -> None:
    """Refuse to send a key where others on the way can read it.

    Raises:
        UsageError: ``address`` is plain HTTP to another machine, and there is a key.
    """
    parts = urlsplit(address)
    if key and parts.scheme == "http" and parts.hostname not in _LOCAL:
        raise UsageError(
            f"The key would go to {parts.hostname} unencrypted, so nothing was sent.",
            hint="Use https, or unset OPENAI_API_KEY for a server that needs no key.",
        )


def read_answer(answer: object, seconds: float, hide: Callable[[str], str] = str) -> Reply:
    """The reply in a chat completion, parsed JSON; nothing in it is taken on trust.

    ``hide`` takes secrets out of every text.

    Raises:
        ChatFailure: it is no chat completion, holds a refusal, or nothing.
    """
    whole = _fields(answer)
    choices = whole.get("choices")
    choice = _fields(choices[0]) if isinstance(choices, list) and choices else {}
    message, finish = _fields(choice.get("message")), choice.get("finish_reason")
    text = message.get("content")
    if not message or not isinstance(text, str | None):
        raise ChatFailure("garbage", hide(str(answer)))
    usage, model = _fields(whole.get("usage")), whole.get("model")
    reply = Reply(
        hide(text or ""),
        hide(model) if isinstance(model, str) else "",
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        finish == "length",
        seconds,
    )
    refusal = message.get("refusal")
    if refusal or finish == "content_filter":
        raise ChatFailure("refused", hide(str(refusal or "content filter")), reply=reply)
    if not reply.text.strip():
        detail = "it stopped at max_tokens before the first word" if reply.stopped_early else ""
        raise ChatFailure("empty", detail, reply=reply)
    return reply


def _fields(value: object) -> dict[str, object]:
    """``value`` if it is a JSON object, else one without fields."""
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _failure(error: openai.APIStatusError, hide: Callable[[str], str]) -> ChatFailure:
    """A status that is no answer, under its name."""
    status, said = error.status_code, hide(_said(error))
    code = str(getattr(error, "code", None) or "")
    wait = _seconds(error.response.headers.get("retry-after"))
    if status in (401, 403):
        # OpenAI repeats the key with stars in its middle; its words stay where they are.
        return ChatFailure("unauthorised", f"status {status}")
    if status == 429:
        return ChatFailure("quota" if code == "insufficient_quota" else "rate-limit", said, retry_after=wait)
    if status >= 500 or status in (408, 409):
        return ChatFailure("server-error", f"status {status}: {said}", retry_after=wait)
    if 300 <= status < 400:
        return ChatFailure("redirect", f"status {status}")
    if code == "context_length_exceeded" or status == 413:
        return ChatFailure("too-long", said)
    if code == "content_filter":
        return ChatFailure("refused", said)
    return ChatFailure("not-found" if status == 404 else "bad-request", f"status {status}: {said}")


def _said(error: openai.APIStatusError) -> str:
    """The server's own words, out of whatever form it has put them into."""
    body = error.body
    for name in ("error", "message", "detail"):
        if isinstance(body, dict) and name in body:
            body = body[name]
    return str(body or error.response.reason_phrase)


def _seconds(header: str | None) -> float | None:
    """Retry-After as seconds from now: a number, or an HTTP date (RFC 9110, section 10.2.3)."""
    from email.utils import parsedate_to_datetime

    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """What lay under a connection error."""
    cause = error.__cause__
    return f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
