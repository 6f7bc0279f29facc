"""The client for any program that reads a prompt on standard input and prints an answer.

``--client command --command "llm -m some-model"``: no shell reads the command, and the document reaches the
program on its standard input only.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from baselines.chat import ChatFailure, Reply, Request
from harness.errors import UsageError

if TYPE_CHECKING:
    from baselines.prompt import Config


class CommandClient:
    """One run of the program for each request."""

    def __init__(self, command: str, timeout: float) -> None:
        self.arguments = split_command(command)
        self._timeout = timeout

    @property
    def identity(self) -> dict[str, str]:
        """The command as it was given."""
        return {"client": "command", "command": shlex.join(self.arguments)}

    def complete(self, request: Request) -> Reply:
        """What the program prints; a non-zero exit or silence beyond the time-out is a failure."""
        begin = time.perf_counter()
        try:
            process = subprocess.Popen(  # noqa: S603 - the person's own command; no shell reads it
                self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ChatFailure("program", f"{self.arguments[0]}: {error.strerror}") from None
        try:
            out, said = process.communicate(request.text.encode("utf-8", "replace"), timeout=self._timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            raise ChatFailure("time-out", self.arguments[0]) from None
        if process.returncode != 0:
            words = said.decode("utf-8", "replace")
            raise ChatFailure("program", f"exit code {process.returncode}: {words}")
        reply = Reply(out.decode("utf-8", "replace"), self.arguments[0], seconds=time.perf_counter() - begin)
        if not reply.text.strip():
            raise ChatFailure("empty", reply=reply)
        return reply


def connect(config: Config) -> CommandClient:
    """A client as ``config`` says.

    Raises:
        UsageError: there is no command, or it holds a secret, which the run card would show.
    """
    from harness.run import find_secrets

    client = CommandClient(config.command, config.request_timeout)
    if find_secrets({"command": list(client.arguments)}):
        raise UsageError(
            "--command seems to hold a secret, and it is written into the run card.",
            hint="Put the key where the program finds it by itself: its environment, or a file of its own.",
        )
    return client


def split_command(command: str) -> list[str]:
    """The program and its arguments.

    Raises:
        UsageError: there is none, or a quote is open.
    """
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command {command!r} cannot be read: {error}.") from None
    if not arguments:
        raise UsageError(
            "The client 'command' needs --command.", hint="For example: --command 'llm -m some-model'"
        )
    return arguments


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and, where the system has process groups, whatever it started."""
    with suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.communicate()
