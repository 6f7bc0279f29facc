"""A small OpenAI-compatible server that misbehaves on request: ``python tests/chat_server.py LOG``.

It prints its port, then answers. The first part of the path says how: ``/ok/v1``, ``/500/v1``, … The answer
to a document is a function of the conversation, so that a test knows what it must be. Every request is a
line of LOG: path, conversation, what was done. Whether a Retry-After was honoured is not for the server to
say: a busy one reads a request after its client has given it up, and its 429 may have reached nobody.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NamedTuple

RETRY_AFTER = 0.15
SILENCE = 10.0
SLOWNESS = 0.1
"""Seconds that ``/slow`` takes for an answer."""
FAULTS = ("429", "500", "half", "garbage", "silence")
MODEL = "gpt-4.1-mini-2025-04-14"


def answer_to(messages: list[Any]) -> str:
    """What the server answers to a conversation."""
    digest = hashlib.sha256(json.dumps(messages, ensure_ascii=False).encode()).hexdigest()
    return f"요약: {digest[:12]}"


class Behaviour:
    """What to do with a request: its log, and the faults of ``/mixed`` from a seeded generator."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._draw = random.Random(7)

    def choose(self, way: str, conversation: str) -> str:
        """The way to answer this request; it is logged before it is done."""
        with self._lock:
            did = way
            if way == "mixed":
                did = self._draw.choice(FAULTS) if self._draw.random() < 0.3 else "ok"
            line = {"way": way, "conversation": conversation, "did": did, "at": time.time()}
            self._log.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._log.flush()
        return did


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # headers and body in one packet, or Nagle's algorithm adds 40 ms
    behaviour: Behaviour

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer as the path says."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages, way = body["messages"], self.path.split("/")[1]
        did = self.behaviour.choose(way, json.dumps(messages, ensure_ascii=False))
        self.answer(did, messages)

    def answer(self, did: str, messages: list[Any]) -> None:
        """Do what was chosen."""
        if did == "silence":
            time.sleep(SILENCE)
            self.close_connection = True
        elif did == "half":
            self.head(200, {"Content-Length": "4000", "Content-Type": "application/json"})
            self.wfile.write(b'{"id": "a", "choices": [{"mess')
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif did == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif did == "garbage":
            self.send(200, "<html>It works!</html>", kind="text/html")
        elif did == "nonsense":
            self.send(200, {"choices": [{"message": {"content": 7}}]})
        elif did == "broken":
            self.send(200, '{"choices": [', kind="application/json")
        elif did == "redirect":
            self.send(307, {}, Location="/elsewhere/v1/chat/completions")
        elif did == "429":
            error = {"error": {"message": "slow down\x1b[31m", "code": "rate_limit_exceeded"}}
            self.send(429, error, **{"Retry-After": str(RETRY_AFTER)})
        elif did == "quota":
            self.send(429, {"error": {"message": "no credit", "code": "insufficient_quota"}})
        elif did == "context":
            self.send(400, {"error": {"message": "too many tokens", "code": "context_length_exceeded"}})
        elif did.isdigit():
            key = self.headers.get("Authorization", "")
            self.send(int(did), {"error": {"message": f"status {did}, you sent {key}"}})
        else:
            self.complete(did, messages)

    def complete(self, did: str, messages: list[Any]) -> None:
        """A chat completion."""
        if did == "slow":
            time.sleep(SLOWNESS)
        text: str | None = answer_to(messages)
        if did == "long":  # as asked again, it obeys
            again = len(messages) > 2
            text = "짧은 요약이다." if again else "첫 문장이 여기에 있다. 둘째 문장은 아주 길고 길고 길다."
        if did == "echo":
            text = f"요약이다 {self.headers['Authorization']}"
        message = {"role": "assistant", "content": "" if did == "empty" else text}
        if did == "refused":
            message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "message": message, "finish_reason": "filter" if did == "filter" else "stop"}
        self.send(200, {"id": "a", "object": "chat.completion", "created": 1, "model": MODEL,
                        "choices": [choice], "usage": usage})  # fmt: skip

    def send(self, status: int, body: object, kind: str = "application/json", **headers: str) -> None:
        """A whole answer."""
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.head(status, {"Content-Type": kind, "Content-Length": str(len(content)), **headers})
        self.wfile.write(content)

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Status and headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class Server(NamedTuple):
    """A running server, and what it has been asked."""

    port: int
    log: Path

    def url(self, way: str) -> str:
        """The address at which it behaves in one way."""
        return f"http://127.0.0.1:{self.port}/{way}/v1"

    def requests(self, way: str = "") -> list[dict[str, Any]]:
        """What it has been asked, at one address or at all."""
        lines = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if not way or line["way"] == way]


@contextmanager
def running(log: Path) -> Iterator[Server]:
    """A server in a process of its own."""
    command = [sys.executable, __file__, str(log)]
    with Popen(command, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), log)
        finally:
            process.terminate()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error."""


def main() -> None:
    """Serve until ended."""
    Handler.behaviour = Behaviour(Path(sys.argv[1]))
    server = _Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
