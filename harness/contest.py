r"""A contest is a folder. This module reads it; ``prepare.py`` makes and examines one.

::

    contests/mini/
      contest.toml            name, columns, metric, rules, dates
      train.csv               id,text,summary            what teams learn from
      test.csv                id,text                    what they summarise
      sample_submission.csv   id,summary                 the shape of what they hand in
      private/answers.csv     id,summary[,summary2…],split   what they may not see

Teams need everything but ``private/``; a copy of the folder without it loads as well, and only scoring
on the board then fails, saying so. One row of the sample contest's ``train.csv``::

    id          text                                              summary
    xAqIHdvEZG  해솔시는 14일 노후 상수도관을 …\n…               해솔시, 2028년까지 노후 상수도관 42km 교체
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harness.errors import ContestError

Split = Literal["public", "private"]
Variant = Literal["rouge1", "rouge2", "rougeL"]
RankBy = Literal["mean", "rouge1", "rouge2", "rougeL"]
MultipleReferences = Literal["mean", "max"]

SPLITS: tuple[Split, ...] = get_args(Split)
VARIANTS: tuple[Variant, ...] = get_args(Variant)

NAME_PATTERN = re.compile(r"[0-9A-Za-z가-힣][0-9A-Za-z가-힣._-]{0,63}")
"""What a contest may be called: it is also the name of its folder."""


@dataclass(frozen=True, slots=True)
class Example:
    """One document; ``summary`` is ``None`` where it is to be written."""

    id: str
    text: str
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The hidden side of one test row: at least one reference summary, and the board it counts for."""

    id: str
    references: tuple[str, ...]
    split: Split


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns in the contest's files."""

    id: str = "id"
    text: str = "text"
    summary: str = "summary"


@dataclass(frozen=True, slots=True)
class Metric:
    """How predictions are scored.

    ``preset`` names an entry of ``harness.tokenizers.TOKENIZERS``. ``rank_by`` is the figure the board
    is ordered by: the F1 of one variant, or the mean of the three F1.
    """

    preset: str = "mecab"
    rank_by: RankBy = "mean"
    multiple_references: MultipleReferences = "mean"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a team may do. ``None`` means without limit.

    ``daily_limit`` counts scored submissions a team and day; ``daily_invalid_limit`` counts refused
    files separately, so that a typing error never eats a slot.
    """

    daily_limit: int | None = None
    daily_invalid_limit: int | None = 100


@dataclass(frozen=True, slots=True)
class Dates:
    """When the contest takes submissions, and the time zone in which its days begin."""

    opens: datetime | None = None
    closes: datetime | None = None
    timezone: str = "Asia/Seoul"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the daily limit."""
        return ZoneInfo(self.timezone)


@dataclass(frozen=True)
class Contest:
    """A contest folder that has been read. Its tables are read when they are first asked for."""

    root: Path
    name: str
    title: str = ""
    description: str = ""
    columns: Columns = field(default_factory=Columns)
    metric: Metric = field(default_factory=Metric)
    rules: Rules = field(default_factory=Rules)
    dates: Dates = field(default_factory=Dates)

    @classmethod
    def load(cls, folder: str | Path) -> Contest:
        """Read ``contest.toml`` of ``folder``.

        Raises:
            ContestError: there is no such folder, or the file cannot be read or understood; the message
                names every faulty setting at once.
        """
        contest, faults = cls.read(folder)
        if faults:
            raise ContestError(
                f"{contest.root / 'contest.toml'}: " + "; ".join(faults),
                hint="The settings are described in docs/contest-folder.md.",
            )
        return contest

    @classmethod
    def read(cls, folder: str | Path) -> tuple[Contest, tuple[str, ...]]:
        """``load`` for whoever wants to go on: the contest with defaults in place of what is faulty.

        The second value names every faulty setting, each beginning with its name where it has one.

        Raises:
            ContestError: there is no such folder, or ``contest.toml`` is not TOML.
        """
        root = Path(folder)
        settings = _read_settings(root)
        faults: list[str] = []
        contest = cls(
            root=root,
            name=_name(settings, root, faults),
            title=_text(settings, "title", faults),
            description=_text(settings, "description", faults),
            columns=_columns(settings, faults),
            metric=_metric(settings, faults),
            rules=_rules(settings, faults),
            dates=_dates(settings, faults),
        )
        faults.extend(_unknown_settings(settings))
        return contest, tuple(faults)

    @cached_property
    def train(self) -> tuple[Example, ...]:
        """The labelled documents of ``train.csv``, in the file's order."""
        names = [self.columns.id, self.columns.text, self.columns.summary]
        rows = read_table(self.root / "train.csv", names)
        return tuple(Example(*(row[name] for name in names)) for row in rows)

    @cached_property
    def test(self) -> tuple[Example, ...]:
        """The documents of ``test.csv``, in the file's order."""
        names = [self.columns.id, self.columns.text]
        rows = read_table(self.root / "test.csv", names)
        return tuple(Example(row[names[0]], row[names[1]]) for row in rows)

    @cached_property
    def test_ids(self) -> tuple[str, ...]:
        """The ids a submission must hold: public knowledge, and all that the checker is given."""
        return tuple(example.id for example in self.test)

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """The hidden references, in the order of ``private/answers.csv``.

        Raises:
            ContestError: the folder is a team's copy, without ``private/``.
        """
        path = self.root / "private" / "answers.csv"
        if not path.exists():
            raise ContestError(
                f"The contest '{self.name}' has no answers here ({path} is missing), so nothing can be scored.",
                hint="A team's copy leaves them out. Hand in where the board is kept, or score against your "
                "own labelled rows: python cli.py score preds.csv --references dev.csv",
            )
        return read_answers(path, self.columns)

    @cached_property
    def references_sha256(self) -> str:
        """SHA-256 over the answers as they are scored: ids, splits and references, in order."""
        return hash_answers(self.answers)


def hash_answers(answers: Sequence[Answer]) -> str:
    """SHA-256, in hex, of ``answers``: every field, length-prefixed, so that no two tables collide."""
    digest = hashlib.sha256()
    for answer in answers:
        for value in (answer.id, answer.split, str(len(answer.references)), *answer.references):
            encoded = value.encode("utf-8", "surrogatepass")
            digest.update(f"{len(encoded)}:".encode())
            digest.update(encoded)
    return digest.hexdigest()


def reference_columns(header: Sequence[str], summary: str) -> list[str]:
    """The reference columns of ``header``, in this order: ``summary``, ``summary2``, ``summary3``, …"""
    pattern = re.compile(re.escape(summary) + r"([0-9]*)")
    found = [(int(match[1] or 0), name) for name in header if (match := pattern.fullmatch(name))]
    return [name for _, name in sorted(found)]


def read_answers(path: Path, columns: Columns) -> tuple[Answer, ...]:
    """Read a table of answers: an id, one or more reference columns, and ``split``.

    Empty second and further references are left out; a row always keeps its first one.
    """
    rows = read_table(path, [columns.id, columns.summary, "split"], hidden=True)
    names = reference_columns(list(rows[0]), columns.summary) if rows else []
    return tuple(_answer(path, number, row, columns.id, names) for number, row in enumerate(rows, 1))


def _answer(path: Path, number: int, row: Mapping[str, str], id_column: str, names: Sequence[str]) -> Answer:
    # Neither the cell nor the id is shown: where columns were swapped, each could be a reference.
    if row["split"] not in SPLITS:
        raise ContestError(
            f"{path}, data row {number}: the split is neither 'public' nor 'private'.",
            hint="python cli.py contest check lists every such row.",
        )
    first, *others = (row[name] for name in names)
    references = (first, *(other for other in others if other.strip()))
    return Answer(row[id_column], references, row["split"])


def read_table(path: Path, required: Sequence[str], *, hidden: bool = False) -> list[dict[str, str]]:
    """Read one of the contest's own CSV files: UTF-8, comma, a header with the ``required`` columns.

    This is the organiser's side. What teams hand in is read by ``submission.py``, which trusts nothing.
    ``hidden`` keeps the header out of messages: in a file without one, the first row is a reference.

    Raises:
        ContestError: the file is missing, is not UTF-8 or not well-formed CSV, lacks a column, or a row
            has too few or too many fields; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ContestError(
            f"{path} is missing.", hint="python cli.py contest check tells what a folder lacks."
        ) from None
    except UnicodeDecodeError as error:
        raise ContestError(f"{path} is not UTF-8 (byte {error.start}).", hint="Save it as UTF-8.") from None
    except OSError as error:
        raise ContestError(f"{path} cannot be read: {error.strerror}.") from None
    return list(_rows(path, text, required, hidden))


def _rows(path: Path, text: str, required: Sequence[str], hidden: bool) -> Iterator[dict[str, str]]:
    csv.field_size_limit(100_000_000)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        missing = [name for name in required if name not in header]
        if missing:
            found = "" if hidden else f"; it has {', '.join(map(repr, header)) or 'none'}"
            raise ContestError(
                f"{path} has no column {', '.join(map(repr, missing))}{found}.",
                hint="The names are set under [columns] in contest.toml.",
            )
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ContestError(
                    f"{path}, line {reader.line_num}: {len(cells)} fields where the header has {len(header)}.",
                    hint="Quote fields that hold commas or newlines.",
                )
            yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ContestError(
            f"{path}, line {reader.line_num}: {error}.", hint="Write it with a CSV library."
        ) from None


# --- contest.toml ---------------------------------------------------------------------------------

_SECTIONS: dict[str, type[Any]] = {"columns": Columns, "metric": Metric, "rules": Rules, "dates": Dates}
_TOP_LEVEL = {"name", "title", "description", *_SECTIONS}


def _read_settings(root: Path) -> dict[str, Any]:
    path = root / "contest.toml"
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ContestError(
            f"There is no contest in {root} (contest.toml is missing).",
            hint="Make one with: python cli.py contest new NAME --from FILE",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContestError(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ContestError(f"{path} is not valid TOML: it is nested too deeply.") from None
    except OSError as error:
        raise ContestError(f"{path} cannot be read: {error.strerror}.") from None


def _section(settings: Mapping[str, Any], name: str, faults: list[str]) -> Mapping[str, Any]:
    section = settings.get(name, {})
    if isinstance(section, dict):
        return section
    faults.append(f"[{name}] must be a table")
    return {}


def _name(settings: Mapping[str, Any], root: Path, faults: list[str]) -> str:
    name = settings.get("name", root.resolve().name)
    if isinstance(name, str) and NAME_PATTERN.fullmatch(name):
        return name
    faults.append(
        f"name = {name!r} (letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit)"
    )
    return ""


def _text(settings: Mapping[str, Any], key: str, faults: list[str]) -> str:
    value = settings.get(key, "")
    if isinstance(value, str):
        return value
    faults.append(f"{key} = {value!r} (must be text)")
    return ""


def _columns(settings: Mapping[str, Any], faults: list[str]) -> Columns:
    section = _section(settings, "columns", faults)
    values = {key: _text(section, key, faults) for key in ("id", "text", "summary") if key in section}
    faults.extend(f"columns.{key} is empty" for key, value in values.items() if not value)
    columns = Columns(**values)
    if len({columns.id, columns.text, columns.summary}) < 3:
        faults.append("[columns] gives one name to two columns")
    return columns


def _choice(
    section: Mapping[str, Any], key: str, default: str, allowed: Sequence[str], faults: list[str]
) -> str:
    value = section.get(key, default)
    if value in allowed:
        return str(value)
    faults.append(f"metric.{key} = {value!r} (one of {', '.join(allowed)})")
    return default


def _metric(settings: Mapping[str, Any], faults: list[str]) -> Metric:
    section = _section(settings, "metric", faults)
    default = Metric()
    multiple = _choice(
        section, "multiple_references", default.multiple_references, get_args(MultipleReferences), faults
    )
    return Metric(
        preset=_preset(section, default.preset, faults),
        rank_by=cast(RankBy, _choice(section, "rank_by", default.rank_by, get_args(RankBy), faults)),
        multiple_references=cast(MultipleReferences, multiple),
    )


def _preset(section: Mapping[str, Any], default: str, faults: list[str]) -> str:
    # Imported here because tokenizers.py is the one place that knows the presets.
    from harness.tokenizers import TOKENIZERS, preset_exists

    value = section.get("preset", default)
    if isinstance(value, str) and preset_exists(value):
        return value
    faults.append(
        f"metric.preset = {value!r} (one of {', '.join(TOKENIZERS)}, or one that a package registers)"
    )
    return default


def _limit(section: Mapping[str, Any], key: str, default: int | None, faults: list[str]) -> int | None:
    """A number, or ``false`` for no limit: TOML has no ``None``, and a setting left out has its default."""
    value = section.get(key, default)
    if value is None or value is False:
        return None
    if isinstance(value, int) and value is not True and value > 0:
        return value
    faults.append(f"rules.{key} = {value!r} (a whole number above 0, or false for no limit)")
    return default


def _rules(settings: Mapping[str, Any], faults: list[str]) -> Rules:
    section = _section(settings, "rules", faults)
    default = Rules()
    return Rules(
        daily_limit=_limit(section, "daily_limit", default.daily_limit, faults),
        daily_invalid_limit=_limit(section, "daily_invalid_limit", default.daily_invalid_limit, faults),
    )


def _moment(section: Mapping[str, Any], key: str, zone: ZoneInfo, faults: list[str]) -> datetime | None:
    """A TOML date, date-time or ISO 8601 text as UTC; one without an offset is in the contest's zone."""
    value = section.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    try:
        if isinstance(value, datetime):
            moment = value if value.tzinfo else value.replace(tzinfo=zone)
            return moment.astimezone(zone).astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar, in one of the zones
        pass
    faults.append(f"dates.{key} = {section.get(key)!r} (write it as 2026-12-24T23:59:00+09:00)")
    return None


def _dates(settings: Mapping[str, Any], faults: list[str]) -> Dates:
    section = _section(settings, "dates", faults)
    name = section.get("timezone", Dates().timezone)
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        faults.append(f"dates.timezone = {name!r} (a name such as Asia/Seoul or UTC)")
        name, zone = "UTC", ZoneInfo("UTC")
    opens = _moment(section, "opens", zone, faults)
    closes = _moment(section, "closes", zone, faults)
    if opens and closes and closes <= opens:
        faults.append("dates.closes is not after dates.opens")
    return Dates(opens, closes, name)


def _unknown_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if key not in _TOP_LEVEL:
            yield f"unknown setting {key!r}"
        elif key in _SECTIONS and isinstance(value, dict):
            known = {item.name for item in fields(_SECTIONS[key])}
            yield from (f"unknown setting {key}.{name}" for name in value if name not in known)
