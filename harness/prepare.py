r"""Makes a contest folder from one's own labelled data.

::

    new_contest("news", "articles.jsonl", seed=7)
      read     every format of harness/sources.py, its columns found by name
      clean    NFC, newlines, control characters; rows without a document or a summary; doubled documents
      draw     an order, new ids, the test rows, the public half: all from the seed
      write    contests/news/, built beside its place and renamed into it

The rows of ``test.csv`` are drawn at random and get new ids, because the source's ids and its order
would let anybody who has the source look the answers up without reading a text. The texts themselves
can still be found in it: a contest on published data cannot be secret, only honest.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import secrets
import string
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from harness.contest import NAME_PATTERN, Contest, Dates, Metric, Rules, Split
from harness.errors import ContestError, Problem, UsageError
from harness.sources import LabelledColumns, LabelledRow, LabelledSource, read_labelled
from harness.text import safe

TEST_ROWS = 500
"""The size of the test set where the source is large enough: the real contest's."""
LARGEST_SHARE = 5
"""Without a size, at most one row in this many is drawn for the test set."""
FEWEST_ROWS = 10
"""Usable rows below which no contest can be made."""
ID_LENGTH = 10
ID_CHARACTERS = string.ascii_letters + string.digits

_Item = TypeVar("_Item")

# Names that Windows gives to devices, with any ending, in any case.
# Source: Microsoft, "Naming Files, Paths, and Namespaces".
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
# What str.splitlines() takes for the end of a line, without the information separators.
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PRIVATE_IGNORE = "# The answers stay out of version control. Delete this file if yours may be public.\n*\n"


@dataclass(frozen=True, slots=True)
class PreparedCounts:
    """Rows of a new contest: of the source, left out, and of each table. ``references`` is the most a row has.

    ``read = empty + doubled + train + test`` and ``test = public + private``.
    """

    read: int
    empty: int
    doubled: int
    train: int
    test: int
    public: int
    private: int
    references: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A contest that has been made. ``seed`` draws the same one again; ``notices`` tell what was changed."""

    contest: Contest
    counts: PreparedCounts
    columns: LabelledColumns
    seed: int
    notices: tuple[Problem, ...]


def new_contest(
    name: str,
    source: str | Path,
    *,
    into: str | Path = "contests",
    id_column: str | None = None,
    text_column: str | None = None,
    summary_columns: Sequence[str] | None = None,
    test_size: float | None = None,
    public_fraction: float = 0.5,
    seed: int | None = None,
    keep_ids: bool = False,
    title: str = "",
    description: str = "",
    metric: Metric | None = None,
    rules: Rules | None = None,
    dates: Dates | None = None,
) -> Prepared:
    """Make the contest folder ``into/name`` from the labelled data in ``source``.

    ``test_size`` is a number of rows (an ``int``) or a share of them (a ``float`` below 1); without it,
    500 rows and at most a fifth. ``public_fraction`` of the test rows count for the public board.
    ``seed`` decides the order, the ids and both splits: the same seed and source give the same folder to
    the byte. Without one it is drawn, since a seed that teams can guess gives the split away to whoever
    has the source. It is kept in ``private/prepared.toml``. ``keep_ids`` keeps the source's own ids.

    Raises:
        UsageError: a name that cannot be a folder, a folder that is there already, a size that the
            source cannot give, a source that is not there.
        ContestError: the source or a setting cannot be used; ``problems`` lists every fault.
    """
    target = _target(name, Path(into))
    labelled = read_labelled(
        source, id_column=id_column, text_column=text_column, summary_columns=summary_columns
    )
    seed = secrets.randbelow(2**32) if seed is None else seed
    cleaned = _clean(labelled.rows)
    if keep_ids:
        _check_ids(Path(source), cleaned.rows)
    sizes = _sizes(len(cleaned.rows), test_size, public_fraction)
    drawn = _draw(cleaned.rows, sizes, seed, keep_ids)
    settings = _Settings(
        name=target.name,
        title=title,
        description=description,
        metric=metric or Metric(),
        rules=rules or Rules(),
        dates=dates or Dates(),
    )
    files = _files(settings, drawn)
    files["private/prepared.toml"] = _prepared_toml(Path(source), labelled.columns, sizes, seed, keep_ids)
    contest = _write(target, files)
    notices = (*labelled.notices, *cleaned.notices, *sizes.notices)
    return Prepared(contest, _counts(labelled, cleaned, drawn), labelled.columns, seed, notices)


# --- the name -------------------------------------------------------------------------------------


def _target(name: str, into: Path) -> Path:
    """The folder of the contest ``name``: always a direct child of ``into``, on every system."""
    name = unicodedata.normalize("NFC", name)
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{safe(name, 64)!r} cannot be a contest's name.",
            hint="Use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit.",
        )
    if _DEVICE.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"{name!r} cannot be a folder on Windows.",
            hint="Choose another name, so that every team can have it.",
        )
    target = into / name
    if os.path.lexists(target):
        raise UsageError(
            f"{target} is there already, and is not overwritten.", hint="Choose another name, or remove it."
        )
    return target


# --- cleaning -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cleaned:
    rows: tuple[LabelledRow, ...]
    empty: int
    doubled: int
    notices: tuple[Problem, ...]


def clean_text(text: str) -> str:
    r"""``text`` in NFC, every line end as ``\n``, without other control characters and outer white space."""
    return _UNWANTED.sub("", _LINE_END.sub("\n", unicodedata.normalize("NFC", text))).strip()


def same_text_key(text: str) -> str:
    """What two copies of one document share: its NFC with every white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _clean(rows: Sequence[LabelledRow]) -> _Cleaned:
    """Every usable row once, in the source's order."""
    kept: list[LabelledRow] = []
    empty: list[str] = []
    doubled: list[str] = []
    seen: set[str] = set()
    for row in rows:
        references = [clean_text(reference) for reference in row.references]
        clean = LabelledRow(
            place=row.place,
            id=clean_text(row.id),
            text=clean_text(row.text),
            references=tuple(reference for reference in references if reference),
        )
        key = same_text_key(clean.text)
        if not key or not clean.references:
            empty.append(row.place)
        elif key in seen:
            doubled.append(row.place)
        else:
            seen.add(key)
            kept.append(clean)
    notices = (*_changed(rows), *_left_out(empty, doubled))
    return _Cleaned(tuple(kept), len(empty), len(doubled), notices)


def _changed(rows: Sequence[LabelledRow]) -> Iterator[Problem]:
    decomposed = unwanted = 0
    for row in rows:
        texts = (row.text, *row.references)
        decomposed += any(not unicodedata.is_normalized("NFC", text) for text in texts)
        unwanted += sum(len(_UNWANTED.findall(_LINE_END.sub("\n", text))) for text in texts)
    if decomposed:
        yield Problem("CN201", f"{_rows(decomposed)} not in NFC: composed.")
    if unwanted:
        yield Problem("CN202", f"{unwanted:,} control character{'s' * (unwanted > 1)} removed.")


def _left_out(empty: Sequence[str], doubled: Sequence[str]) -> Iterator[Problem]:
    if empty:
        message = f"{_rows(len(empty))} without a document or a summary: left out ({_first(empty)})."
        yield Problem("CN203", message)
    if doubled:
        message = (
            f"{_rows(len(doubled))} with a document that stands above already: left out ({_first(doubled)})."
        )
        yield Problem("CN204", message, hint="A document in both train and test would give its answer away.")


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _first(places: Sequence[str]) -> str:
    return ", ".join(places[:3]) + (", …" if len(places) > 3 else "")


def _check_ids(source: Path, rows: Sequence[LabelledRow]) -> None:
    """Refuse to keep ids that are missing or doubled."""
    faults: list[Problem] = []
    seen: dict[str, str] = {}
    for row in rows:
        if not row.id:
            faults.append(Problem("C404", f"{row.place}: no id"))
        elif row.id in seen:
            faults.append(
                Problem("C405", f"{row.place}: the id {safe(row.id, 40)!r} stands at {seen[row.id]} too")
            )
        seen.setdefault(row.id, row.place)
    if faults:
        raise ContestError(
            f"The ids of {source} cannot be kept: {'; '.join(fault.message for fault in faults[:3])}"
            f"{f'; and {len(faults) - 3:,} more' if len(faults) > 3 else ''}.",
            hint="Leave --keep-ids out, and every row gets a new one.",
            problems=faults,
        )


# --- drawing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sizes:
    train: int
    public: int
    private: int
    notices: tuple[Problem, ...] = ()

    @property
    def test(self) -> int:
        return self.public + self.private


def _sizes(rows: int, test_size: float | None, public_fraction: float) -> _Sizes:
    """How many rows each table gets.

    Raises:
        UsageError: there are too few rows, or a size or a fraction is out of range.
    """
    if rows < FEWEST_ROWS:
        raise UsageError(
            f"{_rows(rows)} can be used; a contest needs at least {FEWEST_ROWS}.",
            hint="A usable row has a document of its own and a summary.",
        )
    if not 0 < public_fraction < 1:
        raise UsageError(f"The public fraction is {public_fraction}: it lies between 0 and 1, such as 0.5.")
    test = _test_rows(rows, test_size)
    public = min(max(round(test * public_fraction), 1), test - 1)
    notices: tuple[Problem, ...] = ()
    if test_size is None and test < TEST_ROWS:
        message = f"The test set has {_rows(test)}, a fifth of {rows:,}, instead of {TEST_ROWS}."
        notices = (Problem("CN205", message, hint="Another size: --test-size ROWS or a fraction."),)
    return _Sizes(rows - test, public, test - public, notices)


def _test_rows(rows: int, test_size: float | None) -> int:
    if test_size is None:
        return min(TEST_ROWS, rows // LARGEST_SHARE)
    if isinstance(test_size, float) and not test_size.is_integer():
        if not 0 < test_size < 1:
            raise UsageError(
                f"The test size is {test_size}.", hint="Give a number of rows, or a fraction between 0 and 1."
            )
        test_size = round(rows * test_size)
    if not 2 <= test_size < rows:
        raise UsageError(
            f"A test set of {_rows(int(test_size))} cannot be drawn from {rows:,}.",
            hint="It needs at least 2 rows, one for each board, and train needs the rest.",
        )
    return int(test_size)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The rows with their new ids, in the order of the files; ``splits`` is one per test row."""

    train: tuple[tuple[str, LabelledRow], ...]
    test: tuple[tuple[str, LabelledRow], ...]
    splits: tuple[Split, ...]


def _draw(rows: Sequence[LabelledRow], sizes: _Sizes, seed: int, keep_ids: bool) -> _Drawn:
    generator = random.Random(seed)  # noqa: S311 - drawn to be repeated, not to be secret
    shuffled = _shuffled(rows, generator)
    ids = [row.id for row in shuffled] if keep_ids else draw_ids(len(rows), generator)
    named = tuple(zip(ids, shuffled, strict=True))
    boards: list[Split] = ["public" if row < sizes.public else "private" for row in range(sizes.test)]
    return _Drawn(named[sizes.test :], named[: sizes.test], tuple(_shuffled(boards, generator)))


def _shuffled(items: Sequence[_Item], generator: random.Random) -> list[_Item]:
    # random() is the one method whose sequence Python promises to keep; shuffle() and sample() may change.
    keys = [generator.random() for _ in items]
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]


def draw_ids(count: int, generator: random.Random) -> list[str]:
    """``count`` different ids of 10 letters and digits.

    The first is a letter, so that no spreadsheet reads ``0012345678`` or ``12e4567890`` as a number, and
    no two differ only in case, which a spreadsheet's look-up would not tell apart.
    """
    ids: dict[str, str] = {}
    while len(ids) < count:
        drawn = "".join(ID_CHARACTERS[int(generator.random() * len(ID_CHARACTERS))] for _ in range(ID_LENGTH))
        if drawn[0].isalpha():
            ids.setdefault(drawn.casefold(), drawn)
    return list(ids.values())


def _counts(labelled: LabelledSource, cleaned: _Cleaned, drawn: _Drawn) -> PreparedCounts:
    return PreparedCounts(
        read=len(labelled.rows),
        empty=cleaned.empty,
        doubled=cleaned.doubled,
        train=len(drawn.train),
        test=len(drawn.test),
        public=drawn.splits.count("public"),
        private=drawn.splits.count("private"),
        references=max(len(row.references) for row in cleaned.rows),
    )


# --- the files ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Settings:
    name: str
    title: str
    description: str
    metric: Metric
    rules: Rules
    dates: Dates


def _files(settings: _Settings, drawn: _Drawn) -> dict[str, str]:
    """The contest's files by their path in its folder."""
    width = max(len(row.references) for _, row in drawn.test)
    summaries = ["summary", *(f"summary{number}" for number in range(2, width + 1))]
    answers = [
        (id, *row.references, *[""] * (width - len(row.references)), split)
        for (id, row), split in zip(drawn.test, drawn.splits, strict=True)
    ]
    train = [(id, row.text, row.references[0]) for id, row in drawn.train]
    # safe: a file name may hold what UTF-8 cannot.
    origins = [(id, row.id, safe(row.place)) for id, row in (*drawn.train, *drawn.test)]
    return {
        "contest.toml": contest_toml(
            settings.name,
            title=settings.title,
            description=settings.description,
            metric=settings.metric,
            rules=settings.rules,
            dates=settings.dates,
        ),
        "train.csv": _csv(("id", "text", "summary"), train),
        "test.csv": _csv(("id", "text"), [(id, row.text) for id, row in drawn.test]),
        "sample_submission.csv": _csv(("id", "summary"), [(id, "") for id, _ in drawn.test]),
        "private/.gitignore": _PRIVATE_IGNORE,
        "private/answers.csv": _csv(("id", *summaries, "split"), answers),
        "private/source_ids.csv": _csv(("id", "source_id", "source_place"), origins),
    }


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


def _toml(text: str) -> str:
    """``text`` as a TOML basic string. JSON's escapes are a part of TOML's."""
    return json.dumps(clean_text(text), ensure_ascii=False)


def contest_toml(name: str, *, title: str, description: str, metric: Metric, rules: Rules, dates: Dates) -> str:
    """The text of a ``contest.toml`` with every setting; those that are not set stand as comments."""
    lines = [
        "# A contest of matbogi. Every setting is described in docs/contest-folder.md.",
        f"name = {_toml(name)}",
        f"title = {_toml(safe(title))}",
        f"description = {_toml(description)}",
        "",
        "[columns]  # what the columns are called in the CSV files",
        'id = "id"',
        'text = "text"',
        _noted('summary = "summary"', "further references: summary2, summary3, …"),
        "",
        "[metric]",
        _noted(f"preset = {_toml(metric.preset)}", "the tokens that ROUGE counts"),
        _noted(f"rank_by = {_toml(metric.rank_by)}", "mean (of the three F1), rouge1, rouge2 or rougeL"),
        _noted(f"multiple_references = {_toml(metric.multiple_references)}", "mean or max"),
        "",
        "[rules]  # a number for each team and day, or false for no limit",
        _noted(_rule("daily_limit", rules.daily_limit), "scored submissions"),
        _noted(_rule("daily_invalid_limit", rules.daily_invalid_limit), "refused files, counted apart"),
        "",
        "[dates]",
        _noted(f"timezone = {_toml(dates.timezone)}", "days begin at midnight in this zone"),
        _date("opens", dates.opens, "2026-12-01T09:00:00+09:00"),
        _date("closes", dates.closes, "2026-12-24T23:59:00+09:00"),
    ]
    return "\n".join(lines) + "\n"


def _noted(setting: str, note: str) -> str:
    return f"{setting:<32}# {note}"


def _rule(key: str, limit: int | None) -> str:
    return f"{key} = {'false' if limit is None else limit}"


def _date(key: str, moment: datetime | None, example: str) -> str:
    return f"# {key} = {example}" if moment is None else f"{key} = {moment.isoformat()}"


def _prepared_toml(source: Path, columns: LabelledColumns, sizes: _Sizes, seed: int, keep_ids: bool) -> str:
    lines = [
        "# How this contest was drawn: the same source and settings give the same files again.",
        "# Whoever has the source and knows the seed knows the split, so it stays in private/.",
        f"source = {_toml(source.name)}",
        f"seed = {seed}",
        f"test_rows = {sizes.test}",
        f"public_rows = {sizes.public}",
        f"keep_ids = {str(keep_ids).lower()}",
        f"id_column = {_toml(columns.id or '')}",
        f"text_column = {_toml(columns.text)}",
        f"summary_columns = [{', '.join(_toml(name) for name in columns.summaries)}]",
    ]
    return "\n".join(lines) + "\n"


def _write(target: Path, files: dict[str, str]) -> Contest:
    """Build the folder beside its place, read it back, and rename it: it is there whole, or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            building = Path(temporary) / target.name
            (building / "private").mkdir(parents=True)
            (building / "private").chmod(0o700)
            for path, content in files.items():
                # Bytes, since text mode would write \r\n on Windows.
                (building / path).write_bytes(content.encode())
                if path.startswith("private/"):
                    (building / path).chmod(0o600)
            _check_settings(building, target)
            building.rename(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be made: {error.strerror or error}.") from None
    return Contest.load(target)


def _check_settings(building: Path, target: Path) -> None:
    try:
        Contest.load(building)
    except ContestError as error:
        # The temporary folder means nothing to the reader.
        message = error.message.replace(str(building), str(target))
        raise ContestError(message, hint=error.hint, problems=error.problems) from None
