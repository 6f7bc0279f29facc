"""Everything that can go wrong and is not a bug.

::

    HarnessError                 exit code  who can do what about it
    ├── UsageError               2          the caller: mend the command, the option, the settings
    │   └── ContestError         2          the organiser: mend the contest folder
    ├── InvalidSubmission        3          the team: mend the file; every fault is listed
    ├── Refused                  4          the team: the contest's rules say no (limit, deadline, secret)
    ├── NotAuthorised            5          the team or the organiser: show who you are
    ├── ServiceUnavailable       6          anybody: try again later
    └── Interrupted              130        the caller: type the command that goes on

A ``HarnessError`` is caught in one place (the click group of ``cli.py``) and printed as one message.
Anything else is a bug, keeps its traceback and exits with 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault, or one notice, about a file that came from outside.

    ``code`` is stable and documented (``docs/submission-format.md``): ``E…`` refuses the file, ``W…``
    warns about something that will cost points, ``N…`` tells of a repair that changed no summary.
    ``line`` is the physical line of the file and ``row`` the data row (the header is not counted);
    both count from 1, and they differ once a quoted field holds a newline. ``hint`` is the next thing
    to do. ``message`` and ``hint`` never hold a hidden reference.
    """

    code: str
    message: str
    line: int | None = None
    row: int | None = None
    id: str | None = None
    hint: str = ""

    @property
    def is_error(self) -> bool:
        """Whether this fault refuses the file."""
        return self.code.startswith("E")


class HarnessError(Exception):
    """An expected failure: one sentence that says what is wrong, and a hint that says what to do."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(HarnessError):
    """A command, an option or a settings file that cannot be understood."""


class ContestError(UsageError):
    """A contest folder that cannot be used as it is. ``problems`` lists everything that was found."""

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class InvalidSubmission(HarnessError):
    """A predictions file that cannot be scored. ``problems`` lists every fault, not only the first."""

    exit_code: ClassVar[int] = 3

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem],
        notices: Sequence[Problem] = (),
        sha256: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)
        self.notices = tuple(notices)
        self.sha256 = sha256


class Refused(HarnessError):
    """The file is well formed, but the contest's rules do not let it in. Nothing was stored."""

    exit_code: ClassVar[int] = 4


class NotAuthorised(HarnessError):
    """The caller may not do this."""

    exit_code: ClassVar[int] = 5


class ServiceUnavailable(HarnessError):
    """Something outside this program (a server, a locked database) did not answer in time."""

    exit_code: ClassVar[int] = 6


class Interrupted(HarnessError):
    """A run that Ctrl-C has stopped, with everything saved.

    ``settings`` turn the command that was typed into the one that goes on: ``{"resume": "runs/…"}``, say. One
    that is None is left out.

    The exit code is the shells' own for it: 128 and the number of the signal, SIGINT.
    """

    exit_code: ClassVar[int] = 130

    def __init__(self, message: str, *, settings: Mapping[str, str | None], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.settings = dict(settings)
