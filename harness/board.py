"""The board: teams, submissions and scores in a database, and the standings that follow from them.

::

    with Board.open("leaderboard.db") as board:
        board.record(contest, "우리팀", …)      one transaction that takes the lock first, decides, inserts
        board.standings(contest)                each team's best, in order
        board.frame(contest)                    a pandas DataFrame for notebooks

No row is ever deleted. Every score can be computed again from the archive ``submissions/`` and the
contest folder; scores under another signature stand beside the old ones and are never ranked with them.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias, cast

import sqlalchemy as sa

from harness.contest import SPLITS, Contest, Split
from harness.database import Database, comparison_table, score_table, submission_table, team_table
from harness.errors import HarnessError, Problem, Refused, UsageError
from harness.run import JSON, Run, flatten, plain_values
from harness.scoring import METRICS, ScoreCard
from harness.significance import Comparison

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Kind: TypeAlias = Literal["team", "baseline"]
State: TypeAlias = Literal["scored", "invalid"]

PROGRESS_LENGTH = 50
"""How many of a team's last submissions a standing's progress covers."""

COMPARED_AT_ONCE = 100
"""Submissions compared with the leader in one piece, so that a long board needs no more memory."""

# --- what the board gives back ----------------------------------------------------------------------


class BoardScore(NamedTuple):
    """One recorded figure. The rows behind it stay in the database."""

    signature: str
    split: Split
    metric: str
    precision: float
    recall: float
    f1: float
    low: float
    high: float


class Recorded(NamedTuple):
    """What ``record`` did. ``duplicate``: the file was there already, and nothing was counted."""

    submission_id: int
    created_at: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Quota:
    """A team's day: how many submissions are left, and when the count begins anew."""

    limit: int | None
    used: int
    resets_at: datetime  # in the contest's time zone

    @property
    def left(self) -> int | None:
        """Submissions left today; ``None`` without a limit."""
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def resets_at_utc(self) -> datetime:
        """The same moment in UTC."""
        return self.resets_at.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of the board.

    ``rank`` is ``None`` for a baseline that is only shown. ``scores`` maps a metric to its figure,
    ``entries`` counts the team's scored submissions, ``progress`` holds the ranking figure of its last
    ones in the order of time. ``versus_leader`` compares this row with the first, the leader's row being
    ``None``.
    """

    rank: int | None
    team: str
    kind: Kind
    submission_id: int
    created_at: str
    message: str
    scores: Mapping[str, BoardScore]
    hyperparameters: Mapping[str, JSON]
    entries: int
    progress: tuple[float, ...] = ()
    versus_leader: Comparison | None = None

    @property
    def tied_with_leader(self) -> bool:
        """Whether the row cannot be told apart from the first; the first itself counts as tied."""
        return self.rank == 1 or (self.versus_leader is not None and not self.versus_leader.told_apart)


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """One line of the history. ``f1`` maps a metric to its figure; a refused file has none."""

    submission_id: int
    created_at: str
    team: str
    kind: Kind
    state: State
    message: str
    file_name: str
    f1: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SubmissionDetail:
    """Everything the board knows of one submission, but for its rows' figures."""

    submission_id: int
    contest: str
    created_at: str
    team: str
    kind: Kind
    state: State
    message: str
    file_name: str
    sha256: str
    rows: int
    scores: tuple[BoardScore, ...]
    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]
    hyperparameters: Mapping[str, JSON]
    run: Mapping[str, Any] = field(default_factory=dict)


def name_key(name: str) -> str:
    """What makes two team names one: compatibility forms, case, white space and invisibles are ignored.

    It is the ``toNFKC_Casefold`` of the Unicode Standard (section 3.13), with white space collapsed and
    control, format and surrogate characters left out.
    """
    key = " ".join(name.split())
    # Taking a character out lets its neighbours compose, so once is not enough.
    while (folded := _folded(key)) != key:
        key = folded
    return key


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(letter for letter in folded if not _is_invisible(letter)).split())


def _is_invisible(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs") or letter in _BLANKS


_BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800"  # grapheme joiner, Hangul fillers, Khmer vowels, empty Braille
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""What shows nothing though its category is that of a letter, a mark or a symbol (variation selectors last)."""


# --- the board --------------------------------------------------------------------------------------


class Board:
    """A database of submissions. Open it with ``Board.open``, and close it, or use it in a ``with``."""

    def __init__(self, database: Database, archive: Path) -> None:
        self._database = database
        self.archive = archive

    @classmethod
    def open(cls, location: str | Path = "leaderboard.db") -> Self:
        """Open the board at ``location``, a path or an SQLAlchemy URL; make it if it is not there.

        The archive of a board in a file is the folder ``submissions`` beside it.

        Raises:
            HarnessError: it cannot be opened, is no board, or was made by a newer matbogi.
            ServiceUnavailable: it is locked, or the server does not answer.
        """
        database = Database.open(location)
        return cls(database, database.folder / "submissions")

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- recording ---

    def record(
        self,
        contest: Contest,
        team: str,
        *,
        kind: Kind,
        sha256: str,
        file_name: str,
        message: str,
        rows: int,
        notices: Sequence[Problem],
        card: ScoreCard,
        run: Run,
        now: datetime,
    ) -> Recorded:
        """Decide by the contest's rules and record a scored submission, in one transaction.

        The same file from the same team is recorded once: the first submission is given back, and costs
        nothing; scores under a signature it does not have yet are added to it.

        Raises:
            Refused: the contest is not open, or the team has used up its day.
            HarnessError: a score is not a finite number.
        """
        _refuse_non_finite(card)
        with self._database.write() as connection:
            team_id = _team_id(connection, contest, team, kind, now)
            found = _same_file(connection, team_id, "scored", sha256)
            if found is None:
                _refuse_by_rules(connection, contest, team_id, kind, now)
                values = _submission_values(contest, team_id, "scored", sha256, file_name, message, now)
                values |= {"rows": rows, "notices": _problems_json(notices), **_run_values(run)}
                found = _insert(connection, values)
            _add_scores(connection, card, found.submission_id, contest, team_id, now)
            return found

    def record_invalid(
        self,
        contest: Contest,
        team: str,
        *,
        kind: Kind,
        sha256: str,
        file_name: str,
        message: str,
        problems: Sequence[Problem],
        notices: Sequence[Problem],
        run: Run,
        now: datetime,
    ) -> Recorded:
        """Record a refused file with its faults. It counts against the limit of refused files only.

        Raises:
            Refused: the team has handed in too many faulty files today.
        """
        with self._database.write() as connection:
            team_id = _team_id(connection, contest, team, kind, now)
            found = _same_file(connection, team_id, "invalid", sha256)
            if found is not None:
                return found
            limit = contest.rules.daily_invalid_limit
            if limit is not None and _used(connection, contest, team_id, "invalid", now) >= limit:
                raise Refused(
                    f"{limit} faulty files were handed in today, and this one has faults as well. "
                    "Nothing was scored.",
                    hint="Find its faults with: python cli.py check FILE\n"
                    f"The count resets at {_reset_text(contest, now)}.",
                )
            values = _submission_values(contest, team_id, "invalid", sha256, file_name, message, now)
            values |= {"rows": 0, "notices": _problems_json(notices), **_run_values(run)}
            return _insert(connection, values | {"problems": _problems_json(problems)})

    def check_rules(self, contest: Contest, team: str, *, kind: Kind, sha256: str, now: datetime) -> None:
        """Refuse what ``record`` would refuse, before time is spent on scoring. ``record`` decides again.

        Raises:
            Refused: the contest is not open, or the team has used up its day.
        """
        with self._database.read() as connection:
            team_id = _known_team(connection, contest, team, kind)
            if team_id is None or _same_file(connection, team_id, "scored", sha256) is None:
                _refuse_by_rules(connection, contest, team_id, kind, now)

    def quota(self, contest: Contest, team: str, *, now: datetime) -> Quota:
        """What is left of the team's day."""
        with self._database.read() as connection:
            team_id = _known_team(connection, contest, team, "team")
            used = 0 if team_id is None else _used(connection, contest, team_id, "scored", now)
        return Quota(contest.rules.daily_limit, used, _reset(contest, now))

    # --- standings ---

    def current_signature(self, contest: Contest) -> str | None:
        """The signature of the newest scores of ``contest``; ``None`` while there are none."""
        with self._database.read() as connection:
            return _current_signature(connection, contest)

    def standings(
        self,
        contest: Contest,
        signature: str | None = None,
        *,
        metric: str | None = None,
        split: Split = "public",
        all_submissions: bool = False,
        where: Mapping[str, JSON] | None = None,
        rank_baselines: bool = False,
    ) -> list[Standing]:
        """The board of ``contest``: each team's best submission, ordered by ``metric``, then by time.

        Without a signature it is the newest one's, without a metric the contest's own. With ``where``,
        only submissions made with those hyperparameters (dotted names) take part; with
        ``all_submissions`` every one has a row of its own. Baselines have no rank unless
        ``rank_baselines``. Comparisons with the first that were not made before are made and kept.
        """
        metric = metric or contest.metric.rank_by
        with self._database.read() as connection:
            signature = signature or _current_signature(connection, contest)
            if signature is None:
                return []
            if where or all_submissions:
                ids = _matching(connection, contest, signature, split, metric, where or {}, all_submissions)
            else:
                ids = _best_of_each_team(connection, contest, signature, split, metric)
            ranked = _ranked(
                _standings(connection, contest, ids, signature, split, metric), metric, rank_baselines
            )
            leader = next((item.submission_id for item in ranked if item.rank == 1), None)
            if leader is None:
                return ranked
            key = {"signature": signature, "split": split, "metric": metric, "first_id": leader}
            known = _known_comparisons(connection, key)
        others = [item.submission_id for item in ranked if item.submission_id not in (leader, *known)]
        if others:
            known |= self._compare(key, others)
        return [replace(item, versus_leader=known.get(item.submission_id)) for item in ranked]

    def _compare(self, key: Mapping[str, Any], others: Sequence[int]) -> dict[int, Comparison]:
        """Compare submission ``key["first_id"]`` with each of ``others``, and keep the outcome."""
        import numpy as np

        from harness.significance import compare_all

        figure = (key["signature"], key["split"], key["metric"])
        first = self.per_row(key["first_id"], *figure)
        found: dict[int, Comparison] = {}
        for start in range(0, len(others), COMPARED_AT_ONCE):
            some = others[start : start + COMPARED_AT_ONCE]
            with self._database.read() as connection:
                rows = _per_row(connection, some, *figure)
            columns = np.stack([rows[number] for number in some], axis=1)  # float64 [rows, submissions]
            found |= dict(zip(some, compare_all(first, columns), strict=True))
        # A board that is read-only or busy can be read all the same; the next reader compares again.
        with suppress(HarnessError), self._database.write() as connection:
            already = _known_comparisons(connection, key)
            values = [
                {**key, "second_id": other, **_comparison_values(item)}
                for other, item in found.items()
                if other not in already
            ]
            if values:
                connection.execute(sa.insert(comparison_table), values)
        return found

    def per_row(self, submission_id: int, signature: str, split: Split, metric: str) -> NDArray[np.float64]:
        """The F1 of every row of one score, float64 [rows], order of the answers. Never shown for hidden rows.

        Raises:
            UsageError: there is no such score.
        """
        with self._database.read() as connection:
            rows = _per_row(connection, [submission_id], signature, split, metric)
        if submission_id not in rows:
            raise UsageError(f"Submission {submission_id} has no {metric} score on the {split} rows.")
        return rows[submission_id]

    def scored_otherwise(self, contest: Contest, signature: str) -> int:
        """How many scored submissions have no score under ``signature``, and so are not on its board."""
        query = sa.select(sa.func.count()).select_from(submission_table)
        with self._database.read() as connection:
            return connection.scalar(query.where(*_scored_otherwise(contest, signature))) or 0

    def to_rescore(self, contest: Contest, signature: str) -> list[tuple[int, str]]:
        """Id and SHA-256 of every scored submission without a score under ``signature``, oldest first."""
        query = sa.select(submission_table.c.id, submission_table.c.sha256).order_by(submission_table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query.where(*_scored_otherwise(contest, signature)))
            return [(row.id, row.sha256) for row in rows]

    def add_scores(self, contest: Contest, submission_id: int, card: ScoreCard, now: datetime) -> None:
        """Put the scores of ``card`` beside those that the submission has; none is ever replaced.

        Raises:
            UsageError: there is no such submission.
            HarnessError: a score is not a finite number.
        """
        _refuse_non_finite(card)
        team = sa.select(submission_table.c.team_id).where(submission_table.c.id == submission_id)
        with self._database.write() as connection:
            team_id = connection.scalar(team)
            if team_id is None:
                raise UsageError(f"There is no submission {submission_id}.")
            _add_scores(connection, card, submission_id, contest, team_id, now)

    # --- history ---

    def submissions(
        self, contest: Contest, *, team: str | None = None, limit: int | None = None, split: Split = "public"
    ) -> list[SubmissionRow]:
        """The submissions of ``contest``, newest first, refused files included.

        Scores are those of each submission's newest signature.

        Raises:
            UsageError: there is no such team.
        """
        columns = submission_table.c
        query = (
            sa.select(
                columns.id, columns.created_at, columns.state, columns.message, columns.file_name,
                team_table.c.name, team_table.c.kind,
            )
            .join_from(submission_table, team_table)
            .where(columns.contest == contest.name)
            .order_by(columns.id.desc())
            .limit(limit)
        )  # fmt: skip
        with self._database.read() as connection:
            if team is not None:
                query = query.where(team_table.c.id.in_(_teams_called(connection, contest, team)))
            rows = connection.execute(query).all()
            figures = _newest_figures(connection, [row.id for row in rows], split)
        return [
            SubmissionRow(
                row.id,
                row.created_at,
                row.name,
                row.kind,
                row.state,
                row.message,
                row.file_name,
                figures.get(row.id, {}),
            )
            for row in rows
        ]

    def get(self, submission_id: int) -> SubmissionDetail:
        """Everything about one submission.

        Raises:
            UsageError: there is none of that number; the message says which there are.
        """
        query = (
            sa.select(submission_table, team_table.c.name, team_table.c.kind)
            .join(team_table)
            .where(submission_table.c.id == submission_id)
        )
        with self._database.read() as connection:
            # SQLite keeps 64 bits; a larger number names no submission.
            row = connection.execute(query).one_or_none() if abs(submission_id) < 2**63 else None
            if row is None:
                raise _no_such_submission(connection, submission_id)
            scores = connection.execute(_figures().where(score_table.c.submission_id == submission_id)).all()
        return SubmissionDetail(
            submission_id=row.id,
            contest=row.contest,
            created_at=row.created_at,
            team=row.name,
            kind=row.kind,
            state=row.state,
            message=row.message,
            file_name=row.file_name,
            sha256=row.sha256 or "",
            rows=row.rows,
            scores=tuple(sorted((_board_score(item) for item in scores), key=_score_order)),
            problems=_problems(row.problems),
            notices=_problems(row.notices),
            hyperparameters=json.loads(row.hyperparameters),
            run=json.loads(row.run),
        )

    def frame(self, contest: Contest, *, private: bool = False) -> pd.DataFrame:
        """A pandas DataFrame, one row a scored submission in the order of time, for notebooks.

        Columns: ``id``, ``team``, ``kind``, ``time`` (UTC), ``message``, ``sha256``, ``signature`` (the
        submission's newest), ``public_rouge1_precision``, ``…_recall``, ``…_f1`` for every metric, with
        ``private`` the same for the private rows, and one column for each hyperparameter, nested ones
        with dots. A hyperparameter named like one of the others is called ``hyperparameters.NAME``.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise UsageError(
                "board.frame() needs pandas.", hint="Install it with: python -m pip install 'matbogi[frames]'"
            ) from None
        query = (
            sa.select(submission_table, team_table.c.name, team_table.c.kind)
            .join(team_table)
            .where(submission_table.c.contest == contest.name, submission_table.c.state == "scored")
            .order_by(submission_table.c.id)
        )
        splits: Sequence[Split] = SPLITS if private else ("public",)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            figures = _newest_scores(connection, [row.id for row in rows])
        records = [_record(row, figures.get(row.id, []), splits) for row in rows]
        figure_names = [
            f"{s}_{m}_{part}" for s in splits for m in METRICS for part in ("precision", "recall", "f1")
        ]
        base = ["id", "team", "kind", "time", "message", "sha256", "signature", *figure_names]
        settings = dict.fromkeys(name for _, leaves in records for name in leaves)
        names = _column_names(settings, base)
        frame = pd.DataFrame(
            [values | {names[name]: value for name, value in leaves.items()} for values, leaves in records],
            columns=[*base, *names.values()],
        )
        frame["time"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601")
        return frame


# --- deciding and recording -------------------------------------------------------------------------


def _known_team(connection: sa.Connection, contest: Contest, team: str, kind: Kind) -> int | None:
    return connection.scalar(
        sa.select(team_table.c.id).where(
            team_table.c.contest == contest.name,
            team_table.c.kind == kind,
            team_table.c.name_key == name_key(team),
        )
    )


def _team_id(connection: sa.Connection, contest: Contest, team: str, kind: Kind, now: datetime) -> int:
    known = _known_team(connection, contest, team, kind)
    if known is not None:
        return known
    if not name_key(team):
        raise UsageError("The team's name has no visible character.", hint="Give one: --team NAME")
    values = {
        "contest": contest.name,
        "kind": kind,
        "name": _storable(team),
        "name_key": name_key(team),
        "created_at": _utc(now),
    }
    key = connection.execute(sa.insert(team_table).values(values)).inserted_primary_key
    return int(cast("Sequence[int]", key)[0])


def _same_file(connection: sa.Connection, team_id: int, state: State, sha256: str) -> Recorded | None:
    row = connection.execute(
        sa.select(submission_table.c.id, submission_table.c.created_at).where(
            submission_table.c.team_id == team_id,
            submission_table.c.state == state,
            submission_table.c.sha256 == sha256,
        )
    ).one_or_none()
    return None if row is None else Recorded(row.id, row.created_at, duplicate=True)


def _refuse_by_rules(
    connection: sa.Connection, contest: Contest, team_id: int | None, kind: Kind, now: datetime
) -> None:
    """Raise ``Refused`` where the contest's dates or its daily limit say no. Baselines are free of both."""
    if kind == "baseline":
        return
    opens, closes = contest.dates.opens, contest.dates.closes
    if opens is not None and now < opens:
        raise Refused(f"The contest opens at {_moment(opens, contest)}. Nothing was scored.")
    if closes is not None and now >= closes:
        raise Refused(f"The contest closed at {_moment(closes, contest)}. Nothing was scored.")
    limit = contest.rules.daily_limit
    used = 0 if team_id is None else _used(connection, contest, team_id, "scored", now)
    if limit is not None and used >= limit:
        raise Refused(
            f"No submissions are left today: {used} of {limit} are used. Nothing was scored.",
            hint=f"The count resets at {_reset_text(contest, now)}. "
            "Until then: python cli.py score FILE --references REFS",
        )


def _used(connection: sa.Connection, contest: Contest, team_id: int, state: State, now: datetime) -> int:
    count = connection.scalar(
        sa.select(sa.func.count())
        .select_from(submission_table)
        .where(
            submission_table.c.team_id == team_id,
            submission_table.c.state == state,
            submission_table.c.day == _day(contest, now),
        )
    )
    return count or 0


def _day(contest: Contest, now: datetime) -> str:
    return now.astimezone(contest.dates.zone).date().isoformat()


def _reset(contest: Contest, now: datetime) -> datetime:
    zone = contest.dates.zone
    return datetime.combine(now.astimezone(zone).date() + timedelta(days=1), time.min, zone)


def _reset_text(contest: Contest, now: datetime) -> str:
    return _moment(_reset(contest, now), contest)


def _moment(moment: datetime, contest: Contest) -> str:
    local, utc = moment.astimezone(contest.dates.zone), moment.astimezone(UTC)
    return f"{local:%Y-%m-%d %H:%M %Z} ({utc:%Y-%m-%d %H:%M} UTC)"


def _utc(now: datetime) -> str:
    """UTC as ISO text of one width, so that texts sort as times do."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")


def _submission_values(
    contest: Contest, team_id: int, state: State, sha256: str, file_name: str, message: str, now: datetime
) -> dict[str, Any]:
    return {
        "contest": contest.name,
        "team_id": team_id,
        "state": state,
        "sha256": sha256 or None,
        "file_name": _storable(file_name),
        "message": _storable(message),
        "created_at": _utc(now),
        "day": _day(contest, now),
        "problems": "[]",
    }


def _storable(text: str) -> str:
    """``text`` as every database takes it: no half surrogate pairs, no NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _run_values(run: Run) -> dict[str, str]:
    """The two JSON columns of a run card. NaN and infinities become text, as in a card that is read."""
    card = run.to_json()
    hyperparameters = plain_values(run.hyperparameters, "The table of hyperparameters")
    del card["hyperparameters"]
    try:
        # ASCII, so that half surrogate pairs survive.
        return {
            "hyperparameters": json.dumps(hyperparameters),
            "run": json.dumps(plain_values(card, "The run card")),
        }
    except ValueError as error:  # a whole number of more than 4,300 digits
        raise UsageError(f"The run card cannot be stored: {error}.") from None


def _insert(connection: sa.Connection, values: Mapping[str, Any]) -> Recorded:
    key = connection.execute(sa.insert(submission_table).values(values)).inserted_primary_key
    return Recorded(int(cast("Sequence[int]", key)[0]), str(values["created_at"]), duplicate=False)


def _scored_otherwise(contest: Contest, signature: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Conditions on a submission: it has been scored, but not under ``signature``."""
    has_score = sa.exists().where(
        score_table.c.submission_id == submission_table.c.id, score_table.c.signature == signature
    )
    return submission_table.c.contest == contest.name, submission_table.c.state == "scored", ~has_score


def _add_scores(
    connection: sa.Connection,
    card: ScoreCard,
    submission_id: int,
    contest: Contest,
    team_id: int,
    now: datetime,
) -> None:
    """Add the scores of ``card``, unless the submission has some under its signature."""
    query = sa.select(score_table.c.metric).where(
        score_table.c.submission_id == submission_id, score_table.c.signature == card.signature
    )
    if connection.execute(query.limit(1)).first() is None:
        values = list(_score_values(card, submission_id, contest, team_id, now))
        connection.execute(sa.insert(score_table), values)


def _score_values(
    card: ScoreCard, submission_id: int, contest: Contest, team_id: int, now: datetime
) -> Iterator[dict[str, Any]]:
    for item in card.scores:
        yield {
            "submission_id": submission_id,
            "signature": card.signature,
            "split": item.split,
            "metric": item.metric,
            "contest": contest.name,
            "team_id": team_id,
            "precision": item.precision,
            "recall": item.recall,
            "f1": item.f1,
            "low": item.low,
            "high": item.high,
            "per_row": item.per_row.astype("<f8").tobytes(),
            "created_at": _utc(now),
        }


def _refuse_non_finite(card: ScoreCard) -> None:
    for item in card.scores:
        figures = (item.precision, item.recall, item.f1, item.low, item.high, *item.per_row)
        if not all(map(math.isfinite, figures)):
            raise HarnessError(f"The {item.metric} score on the {item.split} rows is not a finite number.")


def _problems_json(problems: Sequence[Problem]) -> str:
    return json.dumps([[item.code, item.message, item.line, item.row, item.id, item.hint] for item in problems])


def _problems(content: str) -> tuple[Problem, ...]:
    return tuple(Problem(*values) for values in json.loads(content))


# --- reading ----------------------------------------------------------------------------------------


def _current_signature(connection: sa.Connection, contest: Contest) -> str | None:
    return connection.scalar(
        sa.select(score_table.c.signature)
        .where(score_table.c.contest == contest.name)
        .order_by(score_table.c.created_at.desc(), score_table.c.submission_id.desc())
        .limit(1)
    )


def _per_row(
    connection: sa.Connection, ids: Sequence[int], signature: str, split: Split, metric: str
) -> dict[int, NDArray[np.float64]]:
    """The F1 of every row, by submission; those without such a score are left out."""
    import numpy as np

    query = sa.select(score_table.c.submission_id, score_table.c.per_row).where(
        score_table.c.submission_id.in_(ids),
        score_table.c.signature == signature,
        score_table.c.split == split,
        score_table.c.metric == metric,
    )
    return {
        number: np.frombuffer(content, dtype="<f8").astype(np.float64)
        for number, content in connection.execute(query)
    }


def _best_of_each_team(
    connection: sa.Connection, contest: Contest, signature: str, split: Split, metric: str
) -> list[int]:
    """One probe of ``ix_score_best`` a team, which stays fast at a million submissions."""
    best = (
        sa.select(score_table.c.submission_id)
        .where(
            score_table.c.team_id == team_table.c.id,
            score_table.c.signature == signature,
            score_table.c.split == split,
            score_table.c.metric == metric,
        )
        .order_by(score_table.c.f1.desc(), score_table.c.submission_id)
        .limit(1)
        .scalar_subquery()
    )
    found = connection.scalars(sa.select(best).where(team_table.c.contest == contest.name))
    return [number for number in found if number is not None]


def _matching(
    connection: sa.Connection,
    contest: Contest,
    signature: str,
    split: Split,
    metric: str,
    where: Mapping[str, JSON],
    all_submissions: bool,
) -> list[int]:
    """The submissions made as ``where`` says; of each team the best, or all."""
    query = (
        sa.select(submission_table.c.id, submission_table.c.team_id, submission_table.c.hyperparameters)
        .join(score_table, score_table.c.submission_id == submission_table.c.id)
        .where(
            submission_table.c.contest == contest.name,
            score_table.c.signature == signature,
            score_table.c.split == split,
            score_table.c.metric == metric,
        )
        .order_by(score_table.c.f1.desc(), submission_table.c.id)
    )
    found: list[int] = []
    seen: set[int] = set()
    for row in connection.execute(query):
        if not all_submissions and row.team_id in seen:
            continue
        if _made_so(row.hyperparameters, where):
            seen.add(row.team_id)
            found.append(row.id)
    return found


def _made_so(hyperparameters: str, where: Mapping[str, JSON]) -> bool:
    if not where:
        return True
    values: dict[str, JSON] = json.loads(hyperparameters)
    leaves = {**values, **dict(flatten(values))}
    return all(name in leaves and _same_value(leaves[name], value) for name, value in where.items())


def _same_value(stored: JSON, asked: JSON) -> bool:
    """Numbers compare as numbers (8 is 8.0), everything else as it is written (``"8"`` is 8)."""
    if _is_number(stored) and _is_number(asked):
        return stored == asked
    return _written(stored) == _written(asked)


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _written(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _figures() -> sa.Select[Any]:
    """Every column of a score but its rows."""
    columns = score_table.c
    return sa.select(
        columns.submission_id, columns.signature, columns.split, columns.metric, columns.precision,
        columns.recall, columns.f1, columns.low, columns.high, columns.created_at,
    )  # fmt: skip


def _board_score(row: Any) -> BoardScore:
    return BoardScore(
        row.signature, row.split, row.metric, row.precision, row.recall, row.f1, row.low, row.high
    )


def _score_order(score: BoardScore) -> tuple[str, int, int]:
    return score.signature, SPLITS.index(score.split), METRICS.index(score.metric)


_CHUNK = 500  # ids in one IN (…)


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _standings(
    connection: sa.Connection,
    contest: Contest,
    ids: Sequence[int],
    signature: str,
    split: Split,
    metric: str,
) -> list[Standing]:
    """The rows of a board for the submissions ``ids``, without ranks and in no order."""
    scores: dict[int, dict[str, BoardScore]] = {}
    rows: list[Any] = []
    for some in _chunks(ids):
        figures = _figures().where(
            score_table.c.submission_id.in_(some),
            score_table.c.signature == signature,
            score_table.c.split == split,
        )
        for row in connection.execute(figures):
            scores.setdefault(row.submission_id, {})[row.metric] = _board_score(row)
        columns = submission_table.c
        submissions = sa.select(
            columns.id, columns.team_id, columns.created_at, columns.message, columns.hyperparameters,
            team_table.c.name, team_table.c.kind,
        ).join_from(submission_table, team_table)  # fmt: skip
        rows += connection.execute(submissions.where(columns.id.in_(some))).all()
    entries = _entries(connection, contest)
    progress = _progress(connection, contest, signature, split, metric)
    return [
        Standing(
            rank=None,
            team=row.name,
            kind=row.kind,
            submission_id=row.id,
            created_at=row.created_at,
            message=row.message,
            scores=scores[row.id],
            hyperparameters=json.loads(row.hyperparameters),
            entries=entries[row.team_id],
            progress=tuple(progress.get(row.team_id, ())),
        )
        for row in rows
    ]


def _entries(connection: sa.Connection, contest: Contest) -> dict[int, int]:
    """How many scored submissions each team has."""
    query = (
        sa.select(submission_table.c.team_id, sa.func.count().label("entries"))
        .join_from(submission_table, team_table)
        .where(team_table.c.contest == contest.name, submission_table.c.state == "scored")
        .group_by(submission_table.c.team_id)
    )
    return {row.team_id: row.entries for row in connection.execute(query)}


def _progress(
    connection: sa.Connection, contest: Contest, signature: str, split: Split, metric: str
) -> dict[int, list[float]]:
    """The figures of each team's last submissions, in the order of time."""
    one = submission_table.alias("one")
    # The team's PROGRESS_LENGTH-th last submission, by a probe of ix_submission_history; 0 where it has fewer.
    oldest_shown = (
        sa.select(one.c.id)
        .where(one.c.team_id == team_table.c.id, one.c.state == "scored")
        .order_by(one.c.id.desc())
        .limit(1)
        .offset(PROGRESS_LENGTH - 1)
        .scalar_subquery()
    )
    query = (
        sa.select(submission_table.c.team_id, score_table.c.f1)
        .select_from(team_table)
        .join(
            submission_table,
            sa.and_(
                submission_table.c.team_id == team_table.c.id,
                submission_table.c.state == "scored",
                submission_table.c.id >= sa.func.coalesce(oldest_shown, 0),
            ),
        )
        .join(score_table, score_table.c.submission_id == submission_table.c.id)
        .where(
            team_table.c.contest == contest.name,
            score_table.c.signature == signature,
            score_table.c.split == split,
            score_table.c.metric == metric,
        )
        .order_by(submission_table.c.id)
    )
    found: dict[int, list[float]] = {}
    for team_id, f1 in connection.execute(query):
        found.setdefault(team_id, []).append(f1)
    return found


def _ranked(standings: Sequence[Standing], metric: str, rank_baselines: bool) -> list[Standing]:
    """In the order of the figure, then of time; teams are ranked from 1, baselines only if asked."""
    ordered = sorted(standings, key=lambda item: (-item.scores[metric].f1, item.submission_id))
    rank = 0
    result = []
    for item in ordered:
        counts = item.kind == "team" or rank_baselines
        rank += counts
        result.append(replace(item, rank=rank if counts else None))
    return result


def _known_comparisons(connection: sa.Connection, key: Mapping[str, Any]) -> dict[int, Comparison]:
    query = sa.select(comparison_table).where(
        *(comparison_table.c[name] == value for name, value in key.items())
    )
    return {
        row.second_id: Comparison(row.difference, row.low, row.high, row.p_value)
        for row in connection.execute(query)
    }


def _comparison_values(item: Comparison) -> dict[str, float]:
    return {"difference": item.difference, "low": item.low, "high": item.high, "p_value": item.p_value}


def _newest_scores(connection: sa.Connection, ids: Sequence[int]) -> dict[int, list[BoardScore]]:
    """Each submission's scores under its newest signature."""
    newest: dict[int, tuple[str, str]] = {}
    found: dict[int, list[BoardScore]] = {}
    for some in _chunks(ids):
        query = _figures().where(score_table.c.submission_id.in_(some)).order_by(score_table.c.created_at)
        for row in connection.execute(query):
            if newest.get(row.submission_id) != (row.created_at, row.signature):
                newest[row.submission_id] = (row.created_at, row.signature)
                found[row.submission_id] = []
            found[row.submission_id].append(_board_score(row))
    return found


def _newest_figures(connection: sa.Connection, ids: Sequence[int], split: Split) -> dict[int, dict[str, float]]:
    return {
        number: {score.metric: score.f1 for score in scores if score.split == split}
        for number, scores in _newest_scores(connection, ids).items()
    }


def _teams_called(connection: sa.Connection, contest: Contest, team: str) -> list[int]:
    query = sa.select(team_table.c.id, team_table.c.name, team_table.c.name_key)
    teams = connection.execute(query.where(team_table.c.contest == contest.name)).all()
    found = [row.id for row in teams if row.name_key == name_key(team)]
    if not found:
        known = ", ".join(sorted(row.name for row in teams)[:20]) or "none yet"
        raise UsageError(f"There is no team {team!r} on this board. There are: {known}.")
    return found


def _no_such_submission(connection: sa.Connection, submission_id: int) -> UsageError:
    first, last = connection.execute(
        sa.select(sa.func.min(submission_table.c.id), sa.func.max(submission_table.c.id))
    ).one()
    known = "The board is empty." if first is None else f"The board has {first} to {last}."
    return UsageError(
        f"There is no submission {submission_id}. {known}", hint="python cli.py submissions lists them."
    )


def _record(
    row: Any, scores: Sequence[BoardScore], splits: Sequence[Split]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One row of ``frame``: its own columns, and the leaves of its hyperparameters."""
    values: dict[str, Any] = {
        "id": row.id,
        "team": row.name,
        "kind": row.kind,
        "time": row.created_at,
        "message": row.message,
        "sha256": row.sha256,
        "signature": scores[0].signature if scores else None,
    }
    for item in scores:
        if item.split in splits:
            prefix = f"{item.split}_{item.metric}"
            values[f"{prefix}_precision"] = item.precision
            values[f"{prefix}_recall"] = item.recall
            values[f"{prefix}_f1"] = item.f1
    leaves = flatten(json.loads(row.hyperparameters))
    return values, {
        _storable(name): _storable(value) if isinstance(value, str) else value for name, value in leaves
    }


def _column_names(settings: Collection[str], taken: Sequence[str]) -> dict[str, str]:
    """What the hyperparameters ``settings`` are called as columns beside the columns ``taken``."""
    names: dict[str, str] = {}
    used = {*taken, *settings}
    for name in settings:
        column = name
        while column in taken or (column != name and column in used):
            column = f"hyperparameters.{column}"
        names[name] = column
    return names
