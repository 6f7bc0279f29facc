"""Scores recorded submissions once more, as the contest is scored now: new figures beside the old ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from harness.contest import Contest
from harness.errors import InvalidSubmission
from harness.scoring import score, signature
from harness.submission import Predictions

if TYPE_CHECKING:
    from harness.board import Board


@dataclass(frozen=True)
class Rescored:
    """What came of it: the signature, the ids that were scored, and those that could not be, each with why."""

    signature: str
    scored: tuple[int, ...]
    left_out: tuple[tuple[int, str], ...]


def rescore(
    contest: Contest, board: Board, *, now: datetime, progress: Callable[[int, int], object] = lambda *_: None
) -> Rescored:
    """Score every recorded submission that has no score under the contest's present signature.

    The archived files are read, checked against their hashes and scored; nothing that was recorded
    changes. ``progress`` is called with how many of how many are done.

    Raises:
        ContestError: the folder holds no answers.
    """
    present = signature(contest.answers, contest.metric)
    pending = board.to_rescore(contest, present)
    scored: list[int] = []
    left_out: list[tuple[int, str]] = []
    for done, (submission_id, sha256) in enumerate(pending, 1):
        predictions = _archived(board, sha256, contest)
        if isinstance(predictions, str):
            left_out.append((submission_id, predictions))
        else:
            board.add_scores(contest, submission_id, score(predictions, contest), now)
            scored.append(submission_id)
        progress(done, len(pending))
    return Rescored(present, tuple(scored), tuple(left_out))


def _archived(board: Board, sha256: str, contest: Contest) -> Predictions | str:
    """The predictions that were handed in, or why they cannot be scored."""
    try:
        content = (board.archive / f"{sha256}.csv").read_bytes()
    except OSError as error:
        return f"its file {sha256[:12]}….csv is not in {board.archive.name}/ ({error.strerror})"
    if hashlib.sha256(content).hexdigest() != sha256:
        return f"its file {sha256[:12]}….csv has been altered"
    try:
        return Predictions.parse(content, contest.test_ids, contest.columns)
    except InvalidSubmission as fault:
        return f"its file does not fit the contest any more: {fault.problems[0].message}"
