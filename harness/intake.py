"""The one way in: check, score, archive, record. For the terminal, for Python, and for a server.

A crash at any point leaves nothing false: the file is archived before it is recorded, and recording is
one transaction.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contest import Contest, Split
from harness.errors import HarnessError, InvalidSubmission, Problem, UsageError
from harness.run import JSON, Run, merge_hyperparameters, read_card, read_parameters, refuse_secrets
from harness.scoring import ScoreCard, score
from harness.submission import Predictions
from harness.text import safe

if TYPE_CHECKING:
    from harness.board import Board, Kind, Quota, Standing
    from harness.significance import Comparison

MAX_MESSAGE = 2_000
MAX_TEAM = 64


@dataclass(frozen=True, slots=True)
class Best:
    """The team's best submission before this one, and how this one compares with it."""

    submission_id: int
    f1: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a team is told about its submission. It holds public scores only, and no per-row figure.

    ``rank`` and ``tied_with_leader`` are those of the team's best submission on the public board, ``None``
    for baselines. ``duplicate`` says that the same file was recorded before: this is its receipt, and
    nothing was counted.
    """

    submission_id: int
    team: str
    created_at: str
    sha256: str
    card: ScoreCard
    notices: tuple[Problem, ...]
    duplicate: bool
    rank: int | None
    teams: int
    tied_with_leader: bool
    best_before: Best | None
    quota: Quota


def submit(
    path: str | Path,
    contest: Contest,
    board: Board,
    *,
    team: str,
    message: str = "",
    kind: Kind = "team",
    parameters: Mapping[str, JSON] | None = None,
    parameter_files: Sequence[Path] = (),
    run: Run | None = None,
    now: datetime | None = None,
) -> Receipt:
    """Hand in the file at ``path`` for ``team``.

    ``run`` is the card of how the file was made; without it the card beside the file is read, if there is
    one. ``parameters`` and ``parameter_files`` add hyperparameters of work done elsewhere. ``now`` is the
    clock (aware; the present by default).

    Raises:
        UsageError: settings that contradict one another, or a team without a name.
        InvalidSubmission: the file has faults; it was recorded with them, and nothing was scored.
        Refused: the contest's rules, or something that looks like a secret; nothing was stored.
    """
    path, now = Path(path), now or datetime.now(UTC)
    team, message = clean_team(team), clean_message(message)
    run = complete_run(path, run, parameters or {}, parameter_files)
    refuse_secrets({"message": message, "team": team, **_outside_text(run)})

    try:
        predictions = Predictions.read(path, contest.test_ids, contest.columns)
    except InvalidSubmission as fault:
        board.record_invalid(
            contest, team, kind=kind, sha256=fault.sha256, file_name=safe(path.name), message=message,
            problems=fault.problems, notices=fault.notices, run=run, now=now,
        )  # fmt: skip
        raise
    board.check_rules(contest, team, kind=kind, sha256=predictions.sha256, now=now)
    card = score(predictions, contest)
    archive(predictions.content, predictions.sha256, board.archive)
    best_before = _best_before(contest, board, team, kind, card)
    recorded = board.record(
        contest, team, kind=kind, sha256=predictions.sha256, file_name=safe(path.name), message=message,
        rows=len(predictions.summaries), notices=predictions.notices, card=card, run=run, now=now,
    )  # fmt: skip
    standings = board.standings(contest, card.signature)
    standing = _own(standings, team, kind)
    return Receipt(
        submission_id=recorded.submission_id,
        team=team,
        created_at=recorded.created_at,
        sha256=predictions.sha256,
        card=card,
        notices=predictions.notices,
        duplicate=recorded.duplicate,
        rank=standing.rank if standing else None,
        teams=sum(item.rank is not None for item in standings),
        tied_with_leader=bool(standing and standing.tied_with_leader),
        best_before=None if recorded.duplicate else best_before,
        quota=board.quota(contest, team, now=now),
    )


def clean_team(team: str) -> str:
    """The team's name as it is kept: printable, on one line, in NFC.

    Raises:
        UsageError: nothing is left of it, or it is too long.
    """
    name = safe(team)
    if not name:
        raise UsageError("The team has no name.", hint="Give one: --team NAME, or set MATBOGI_TEAM.")
    if len(name) > MAX_TEAM:
        raise UsageError(f"The team's name has {len(name)} characters; at most {MAX_TEAM} fit on the board.")
    return name


def clean_message(message: str) -> str:
    """The message as it is kept: lone surrogates replaced, so that it can be stored.

    Raises:
        UsageError: it is too long.
    """
    if len(message) > MAX_MESSAGE:
        raise UsageError(f"The message has {len(message):,} characters; at most {MAX_MESSAGE:,} are kept.")
    return message.encode("utf-8", "replace").decode("utf-8")


def complete_run(
    path: Path, run: Run | None, parameters: Mapping[str, JSON], parameter_files: Sequence[Path]
) -> Run:
    """The run card of ``path``, with the hyperparameters of all sources.

    Raises:
        UsageError: two sources give one hyperparameter different values, or a source cannot be read.
    """
    card = run or read_card(path) or Run()
    sources: list[tuple[str, Mapping[str, JSON]]] = [("the run card", card.hyperparameters)]
    sources += [(str(file), read_parameters(file)) for file in parameter_files]
    sources.append(("-p", parameters))
    return replace(card, hyperparameters=merge_hyperparameters(sources))


def _outside_text(run: Run) -> dict[str, JSON]:
    """The parts of a card that people write; the rest is made by programs but comes from a file too."""
    return {name: value for name, value in run.to_json().items() if value}


def archive(content: bytes, sha256: str, folder: Path) -> Path:
    """Keep ``content`` as ``folder/<sha256>.csv``: written aside, synced, then renamed.

    Raises:
        HarnessError: the folder cannot be written.
    """
    target = folder / f"{sha256}.csv"
    try:
        if target.exists() and target.read_bytes() == content:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".incoming-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise HarnessError(
            f"The submission could not be archived in {folder}: {error.strerror}. Nothing was recorded.",
            hint="Make room or mend the folder's permissions, then submit again.",
        ) from None
    return target


def _best_before(
    contest: Contest, board: Board, team: str, kind: Kind, card: ScoreCard, split: Split = "public"
) -> Best | None:
    """The team's best submission so far under the card's signature, compared with ``card``."""
    from harness.significance import compare

    standing = _own(board.standings(contest, card.signature), team, kind)
    if standing is None:
        return None
    metric = contest.metric.rank_by
    before = board.per_row(standing.submission_id, card.signature, split, metric)
    comparison = compare(before, card.get(metric, split).per_row)
    return Best(standing.submission_id, standing.scores[metric].f1, comparison)


def _own(standings: Sequence[Standing], team: str, kind: Kind) -> Standing | None:
    """The team's row among ``standings``."""
    from harness.board import name_key

    own = (name_key(team), kind)
    return next((item for item in standings if (name_key(item.team), item.kind) == own), None)
