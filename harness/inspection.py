"""Says everything that is wrong with a contest folder, and what is in it.

``inspect_contest`` never stops at the first fault and never shows a hidden reference: of
``private/answers.csv`` it names rows and lines, and an id only where ``test.csv`` has the same one.
``C…`` are faults, which have to be mended; ``CW…`` are warnings. docs/contest-folder.md tells of each
code what mends it. ``describe_contest`` counts and measures what teams may see.
"""

from __future__ import annotations

import csv
import io
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.contest import SPLITS, Contest, Dates, Example, Metric, Rules, reference_columns
from harness.errors import ContestError, HarnessError, Problem
from harness.prepare import same_text_key
from harness.text import safe


@dataclass(frozen=True, slots=True)
class ContestCode:
    """What a code means, in a few words, and what mends it."""

    title: str
    fix: str


_SETTINGS = "The settings are described in docs/contest-folder.md."
_QUOTING = "Write the file with a CSV library: it quotes fields that hold commas, quotes or newlines."
_REPLACE = "Put the file back, or make the contest anew: python cli.py contest new NAME --from FILE"
_OVERLAP = "Take it out of train.csv: a row that teams can learn by heart measures nothing."
_SAMPLE = "sample_submission.csv has one row for each row of test.csv, with the same ids."

CODES: Mapping[str, ContestCode] = {
    "C101": ContestCode("no contest here", "Make one with: python cli.py contest new NAME --from FILE"),
    "C102": ContestCode("contest.toml cannot be read", "Mend the line that is named. " + _SETTINGS),
    "C103": ContestCode("setting not understood", _SETTINGS),
    "C104": ContestCode("unreadable date", "Write dates as 2026-12-24T23:59:00+09:00, with or without quotes."),
    "C105": ContestCode("closes before it opens", "dates.closes is a moment after dates.opens."),
    "C106": ContestCode(
        "unknown time zone",
        "Name it as in Asia/Seoul or UTC. On Windows the names come with: pip install tzdata",
    ),
    "C107": ContestCode("unknown metric", "Take one of the values in the message."),
    "C201": ContestCode("missing file", _REPLACE),
    "C202": ContestCode("unreadable file", "It must be a file that you may read, saved as UTF-8."),
    "C203": ContestCode("malformed CSV", _QUOTING),
    "C204": ContestCode("missing column", "The names are set under [columns] in contest.toml."),
    "C205": ContestCode("no rows", _REPLACE),
    "C206": ContestCode("doubled column", "Keep one of them."),
    "C301": ContestCode("empty id", "Give every row an id of its own, the same in every file."),
    "C302": ContestCode("doubled id", "Give one of the rows another id, or take it out."),
    "C303": ContestCode("id in both train and test", "Give one of the rows another id."),
    "C304": ContestCode("empty document", "Write it, or take the row out of every file."),
    "C305": ContestCode("empty summary", "Write it, or take the row out of every file."),
    "C306": ContestCode("document in both train and test", _OVERLAP),
    "C401": ContestCode("source: unreadable row", _QUOTING + " JSON comes from a JSON library."),
    "C402": ContestCode("source: doubled column", "Give every column a name of its own."),
    "C403": ContestCode("source: no text", "A document is a text; summaries are a text or a list of texts."),
    "C404": ContestCode("source: no id", "Leave --keep-ids out, and every row gets a new one."),
    "C405": ContestCode("source: doubled id", "Leave --keep-ids out, and every row gets a new one."),
    "C501": ContestCode(
        "test row without an answer", "Add the row to private/answers.csv, or take it out of the other files."
    ),
    "C502": ContestCode("answer without a test row", "Take it out, or add the document to test.csv."),
    "C503": ContestCode("unknown split", "The split is 'public' or 'private'."),
    "C504": ContestCode("split without rows", "Both boards need rows: set some rows' split to it."),
    "C505": ContestCode("sample submission does not match test", _SAMPLE),
    "C601": ContestCode(
        "answers in a public file", "Empty the column; hidden summaries stand in private/ only."
    ),
    "CW201": ContestCode(
        "no answers here", "A team's copy is like this. Where scores are made, private/answers.csv is needed."
    ),
    "CW301": ContestCode(
        "id that a spreadsheet changes",
        "A file that was opened in a spreadsheet will not match. Use ids that begin with a letter.",
    ),
    "CW302": ContestCode(
        "id with white space around it", "Take the space out: many programs do, and fail to match."
    ),
    "CW303": ContestCode(
        "text not in NFC", "macOS writes syllables in parts (NFD). Normalise the file to NFC."
    ),
    "CW304": ContestCode("control character", "Take it out: no program shows it."),
    "CW305": ContestCode("document twice in one table", "Keep one of the rows."),
    "CW306": ContestCode(
        "nearly the same document in train and test", "If both tell the same story, take one out of train.csv."
    ),
    "CW501": ContestCode(
        "few rows in a split", "Its 95 % intervals will be wide, and few systems are told apart. Use more rows."
    ),
    "CW502": ContestCode(
        "reference without tokens",
        "Choose a preset for the language of the references, or write a reference with words.",
    ),
    "CW503": ContestCode("tokens cannot be looked at", "Install what the preset needs, then check again."),
    "CN101": ContestCode(
        "decoded from another encoding", "If the contest's Hangul is wrong, save the source as UTF-8."
    ),
    "CN102": ContestCode("a title taken for the summary", "Name another column with --summary-column."),
    "CN201": ContestCode("composed", "Nothing to do: the same words, in NFC."),
    "CN202": ContestCode("control characters removed", "Nothing to do."),
    "CN203": ContestCode("rows left out: empty", "Nothing to do, unless there are many: see --text-column."),
    "CN204": ContestCode(
        "rows left out: doubled", "Nothing to do: a document in both train and test would give its answer away."
    ),
    "CN205": ContestCode("small test set", "For another size: --test-size N."),
}
"""Every code of a contest folder (``C``, ``CW``) and of making one (``C4``, ``CN``)."""

FEW_ROWS = 30
"""A split with fewer rows is warned about: its 95 % intervals will be wide."""
NEAR_CHARACTERS = 100
"""Two documents that begin with this many equal characters are nearly the same."""

_CHANGED_BY_SPREADSHEETS = re.compile(
    r"""[+-]?0[0-9]+                          # 0012: the zeros go
      | [+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+ # 1e5: 100000
      | [+-]?[0-9]{12,}                       # shown as 1.23E+11, and cut after 15 digits
      | [+-]?[0-9]+\.[0-9]*0                  # 1.10: 1.1
      | [0-9]{1,4}([-/][0-9]{1,2}){1,2}       # 3-1: the first of March
      | (?i:true|false)
      | [=+@-].*                              # a formula""",
    re.VERBOSE | re.DOTALL,
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def is_warning(problem: Problem) -> bool:
    """Whether the contest can be run in spite of ``problem``."""
    return problem.code.startswith("CW")


def inspect_contest(folder: str | Path) -> list[Problem]:
    """Everything wrong with the contest in ``folder``: faults first, then warnings, in the order of codes.

    A copy without ``private/``, as teams have it, is no fault. An empty list means that nothing was found.
    """
    root = Path(folder)
    if not (root / "contest.toml").is_file():
        return [_problem("C101", f"{root} holds no contest.toml.")]
    contest, problems = _settings(root)
    tables = _read_tables(contest, problems)
    for look in _LOOKS:
        problems.extend(look(contest, tables))
    return sorted(problems, key=lambda problem: (is_warning(problem), problem.code))


# --- settings -------------------------------------------------------------------------------------

# How a fault of contest.toml begins, and its code. The first that fits counts.
_SETTING_CODES = (
    ("dates.closes is not after", "C105"),
    ("dates.timezone", "C106"),
    ("dates.", "C104"),
    ("metric.", "C107"),
    ("", "C103"),
)


def _settings(root: Path) -> tuple[Contest, list[Problem]]:
    """The contest, with defaults where a setting is faulty, and the faults."""
    try:
        contest, faults = Contest.read(root)
    except ContestError as error:
        return Contest(root, root.name), [_problem("C102", safe(error.message))]
    return contest, [_problem(_setting_code(fault), f"contest.toml: {safe(fault)}") for fault in faults]


def _setting_code(fault: str) -> str:
    return next(code for beginning, code in _SETTING_CODES if fault.startswith(beginning))


def _problem(code: str, message: str, *, line: int | None = None, row: int | None = None) -> Problem:
    return Problem(code, message, line=line, row=row, hint=CODES[code].fix)


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One data row: ``number`` without the header, ``line`` the physical line it begins on.

    ``shown_id`` is ``None`` where the id must not be shown: in a file of answers whose columns were
    swapped, it is a reference.
    """

    number: int
    line: int
    id: str
    shown_id: str | None
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Table:
    """One of the contest's files, as far as it could be read; ``complete`` when nothing was lost."""

    file: str
    header: tuple[str, ...]
    rows: tuple[_Row, ...]
    complete: bool

    @property
    def ids(self) -> set[str]:
        return {row.id for row in self.rows}

    def problem(self, code: str, row: _Row, message: str) -> Problem:
        return Problem(
            code,
            f"{self.file}: {message}",
            line=row.line,
            row=row.number,
            id=row.shown_id,
            hint=CODES[code].fix,
        )


@dataclass(frozen=True, slots=True)
class _Tables:
    """The files that could be read."""

    train: _Table | None
    test: _Table | None
    sample: _Table | None
    answers: _Table | None

    @property
    def documents(self) -> list[_Table]:
        return [table for table in (self.train, self.test) if table]

    @property
    def all(self) -> list[_Table]:
        return [table for table in (self.train, self.test, self.sample, self.answers) if table]


def _read_tables(contest: Contest, problems: list[Problem]) -> _Tables:
    id, text, summary = contest.columns.id, contest.columns.text, contest.columns.summary
    read = partial(_read_table, contest.root, problems)
    train = read("train.csv", [id, text, summary])
    test = read("test.csv", [id, text])
    sample = read("sample_submission.csv", [id, summary])
    known = {row.id for table in (train, test, sample) if table for row in table.rows}
    answers = None
    if (contest.root / "private").is_dir():
        answers = read("private/answers.csv", [id, summary, "split"], known)
    else:
        problems.append(_problem("CW201", "There is no folder private/, so nothing can be scored here."))
    return _Tables(train, test, sample, answers)


def _read_table(
    root: Path, problems: list[Problem], file: str, required: Sequence[str], known: set[str] | None = None
) -> _Table | None:
    """The file's rows, its id column first in ``required``; only ids in ``known`` are shown, if it is given."""
    text = _read_text(root, file, problems)
    if text is None:
        return None
    faults: list[Problem] = []
    header, lines = _parse(file, text, faults)
    unclear = list(_header_faults(file, header, required))
    if not (lines or faults or unclear):
        faults.append(_problem("C205", f"{file}: no rows."))
    problems += [*unclear, *faults]
    if unclear:
        return None
    rows = [
        _row(number, line, dict(zip(header, cells, strict=True)), required[0], known)
        for number, line, cells in lines
    ]
    return _Table(file, tuple(header), tuple(rows), complete=not faults)


def _row(number: int, line: int, cells: Mapping[str, str], id_column: str, known: set[str] | None) -> _Row:
    id = cells[id_column]
    return _Row(number, line, id, id if known is None or id in known else None, cells)


def _read_text(root: Path, file: str, problems: list[Problem]) -> str | None:
    try:
        return (root / file).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        problems.append(_problem("C201", f"{file} is missing."))
    except UnicodeDecodeError as error:
        problems.append(_problem("C202", f"{file} is not UTF-8 (byte {error.start})."))
    except OSError as error:
        problems.append(_problem("C202", f"{file} cannot be read: {error.strerror}."))
    return None


def _parse(file: str, text: str, faults: list[Problem]) -> tuple[list[str], list[tuple[int, int, list[str]]]]:
    """The header, and of every well-formed row its number, the line it begins on, and its cells."""
    csv.field_size_limit(100_000_000)
    # newline="" keeps the line ends inside fields as they are.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    rows: list[tuple[int, int, list[str]]] = []
    number, line = 0, 1
    try:
        header = next(reader, [])
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                number += 1
                if len(cells) == len(header):
                    rows.append((number, line, cells))
                else:
                    message = f"{file}: {len(cells)} fields where the header has {len(header)}."
                    faults.append(_problem("C203", message, line=line, row=number))
            line = reader.line_num + 1
    except csv.Error as error:
        # Where a quote is wrong nobody knows where the next row begins, so the reading ends here.
        message = f"{file}: {error} in the row that begins here. The rest was not read."
        faults.append(_problem("C203", message, line=line, row=number + 1))
    return header, rows


def _header_faults(file: str, header: Sequence[str], required: Sequence[str]) -> Iterator[Problem]:
    # The header is not shown: in an answers.csv without one, the first row is a reference.
    missing = [name for name in required if name not in header]
    if missing:
        names = ", ".join(repr(safe(name, 40)) for name in missing)
        yield _problem("C204", f"{file}: no column {names}.", line=1)
    for name in required:
        if list(header).count(name) > 1:
            yield _problem("C206", f"{file}: the column {safe(name, 40)!r} stands twice.", line=1)


# --- ids and documents ----------------------------------------------------------------------------


def _look_at_ids(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    for table in tables.all:
        first: dict[str, _Row] = {}
        for row in table.rows:
            if not row.id.strip():
                yield table.problem("C301", row, "empty id.")
            elif row.id in first:
                message = f"the id stands in row {first[row.id].number} (line {first[row.id].line}) already."
                yield table.problem("C302", row, message)
            first.setdefault(row.id, row)


def _look_at_id_shapes(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    for table in tables.documents:
        for row in table.rows:
            if _CHANGED_BY_SPREADSHEETS.fullmatch(row.id):
                yield table.problem("CW301", row, "a spreadsheet changes this id.")
            if row.id.strip() and row.id != row.id.strip():
                yield table.problem("CW302", row, "white space around the id.")


def _look_at_texts(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    columns = contest.columns
    for table in tables.all:
        holds_summaries = table is tables.train or table is tables.answers
        for row in table.rows:
            if not row.cells.get(columns.text, "-").strip():
                yield table.problem("C304", row, "empty document.")
            if holds_summaries and not row.cells[columns.summary].strip():
                yield table.problem("C305", row, "empty summary.")
            if not all(unicodedata.is_normalized("NFC", cell) for cell in row.cells.values()):
                yield table.problem("CW303", row, "text not in NFC.")
            if any(_CONTROL.search(cell.replace("\r\n", "\n")) for cell in row.cells.values()):
                yield table.problem("CW304", row, "a control character.")


def _look_at_overlap(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    """Ids and documents that stand in both train and test."""
    train, test, column = tables.train, tables.test, contest.columns.text
    if train is None or test is None:
        return
    ids = {row.id: row.number for row in train.rows}
    keys = {same_text_key(row.cells[column]): row.number for row in train.rows}
    near = {key[:NEAR_CHARACTERS]: number for key, number in keys.items() if len(key) >= NEAR_CHARACTERS}
    for row in test.rows:
        key = same_text_key(row.cells[column])
        if row.id.strip() and row.id in ids:
            yield test.problem("C303", row, f"the id stands in row {ids[row.id]} of train.csv too.")
        if key and key in keys:
            yield test.problem("C306", row, f"the document stands in row {keys[key]} of train.csv too.")
        elif key[:NEAR_CHARACTERS] in near:
            number = near[key[:NEAR_CHARACTERS]]
            yield test.problem("CW306", row, f"the document begins like row {number} of train.csv.")


def _look_at_doubles(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    for table in tables.documents:
        first: dict[str, int] = {}
        for row in table.rows:
            key = same_text_key(row.cells[contest.columns.text])
            if key and key in first:
                yield table.problem("CW305", row, f"the document stands in row {first[key]} already.")
            first.setdefault(key, row.number)


# --- answers and the sample -----------------------------------------------------------------------


def _look_at_splits(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    answers = tables.answers
    if answers is None or not answers.rows:
        return
    for row in answers.rows:
        if row.cells["split"] not in SPLITS:
            yield answers.problem("C503", row, "unknown split.")
    counts = Counter(row.cells["split"] for row in answers.rows)
    for split in SPLITS:
        if not counts[split]:
            yield _problem("C504", f"{answers.file}: no row has the split '{split}'.")
        elif counts[split] < FEW_ROWS:
            message = f"{answers.file}: {counts[split]} rows have the split '{split}', fewer than {FEW_ROWS}."
            yield _problem("CW501", message)


def _look_at_matches(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    """Whether answers and sample hold the ids of test: all of them, and no others."""
    test, answers, sample = tables.test, tables.answers, tables.sample
    # Where rows of a file were lost, each would be reported a second time, as missing.
    if test is None or not test.complete:
        return
    if answers and answers.complete:
        yield from _missing(test, answers, "C501", "private/answers.csv has no row with this id.")
        yield from _missing(answers, test, "C502", "test.csv has no row with this id.")
    if sample and sample.complete:
        yield from _missing(test, sample, "C505", "sample_submission.csv has no row with this id.")
        yield from _missing(sample, test, "C505", "test.csv has no row with this id.")


def _missing(table: _Table, other: _Table, code: str, message: str) -> Iterator[Problem]:
    ids = other.ids
    return (table.problem(code, row, message) for row in table.rows if row.id not in ids)


def _look_for_leaks(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    """Answers that stand where teams can read them."""
    test, sample, answers = tables.test, tables.sample, tables.answers
    column = contest.columns.summary
    if test:
        names = reference_columns(test.header, column)
        for row in test.rows:
            if any(row.cells[name].strip() for name in names):
                yield test.problem("C601", row, "a summary in the test set.")
    if sample and answers:
        names = reference_columns(answers.header, column)
        hidden = {(row.id, same_text_key(row.cells[name])) for row in answers.rows for name in names}
        for row in sample.rows:
            key = same_text_key(row.cells[column])
            if key and (row.id, key) in hidden:
                yield sample.problem("C601", row, "the summary is the hidden one.")


def _look_at_tokens(contest: Contest, tables: _Tables) -> Iterator[Problem]:
    """References in which the metric finds no tokens: every summary scores 0 there."""
    answers, preset = tables.answers, contest.metric.preset
    if answers is None or not answers.rows:
        return
    # Imported late: some tokenizers load a dictionary.
    from harness.tokenizers import load_tokenizer

    try:
        tokenizer = load_tokenizer(preset)
    except HarnessError as error:
        yield _problem("CW503", f"The preset '{preset}' cannot be tried: {safe(str(error))}")
        return
    names = reference_columns(answers.header, contest.columns.summary)
    places = [(row, row.cells[name]) for row in answers.rows for name in names if row.cells[name].strip()]
    for (row, _), tokens in zip(places, tokenizer([text for _, text in places]), strict=True):
        if not tokens:
            yield answers.problem("CW502", row, f"a reference without a token of the preset '{preset}'.")


_LOOKS: tuple[Callable[[Contest, _Tables], Iterable[Problem]], ...] = (
    _look_at_ids,
    _look_at_id_shapes,
    _look_at_texts,
    _look_at_overlap,
    _look_at_doubles,
    _look_at_splits,
    _look_at_matches,
    _look_for_leaks,
    _look_at_tokens,
)


# --- description ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LengthDistribution:
    """How long the texts of one column are, in ``characters`` or in ``eojeol`` (split at white space).

    ``p95`` is the smallest length that at least 95 % of the texts do not exceed (nearest rank).
    """

    table: str
    column: str
    unit: str
    minimum: int
    median: float
    mean: float
    p95: int
    maximum: int


@dataclass(frozen=True, slots=True)
class ContestDescription:
    """What a contest holds. Nothing is measured on the hidden references; they are only counted.

    ``public`` and ``private`` are rows of the answers and ``references`` is how many rows have how many
    references; all three are ``None`` in a team's copy. ``dates`` are in the contest's own time zone.
    """

    name: str
    title: str
    description: str
    train: int
    test: int
    public: int | None
    private: int | None
    references: tuple[tuple[int, int], ...] | None
    lengths: tuple[LengthDistribution, ...]
    metric: Metric
    rules: Rules
    dates: Dates


def describe_contest(contest: Contest) -> ContestDescription:
    """Count and measure ``contest``: train, then test, always in the same order.

    Raises:
        ContestError: a table cannot be read; ``inspect_contest`` tells everything that is wrong.
    """
    answers = contest.answers if (contest.root / "private" / "answers.csv").exists() else None
    splits = Counter(answer.split for answer in answers or ())
    references = Counter(len(answer.references) for answer in answers or ())
    return ContestDescription(
        name=contest.name,
        title=contest.title,
        description=contest.description,
        train=len(contest.train),
        test=len(contest.test),
        public=None if answers is None else splits["public"],
        private=None if answers is None else splits["private"],
        references=None if answers is None else tuple(sorted(references.items())),
        lengths=(*_lengths("train", contest.train), *_lengths("test", contest.test)),
        metric=contest.metric,
        rules=contest.rules,
        dates=_local(contest.dates),
    )


def _local(dates: Dates) -> Dates:
    opens, closes = (moment and moment.astimezone(dates.zone) for moment in (dates.opens, dates.closes))
    return Dates(opens, closes, dates.timezone)


def _lengths(table: str, examples: Sequence[Example]) -> Iterator[LengthDistribution]:
    columns = {
        "text": [example.text for example in examples],
        "summary": [example.summary for example in examples if example.summary is not None],
    }
    for column, texts in columns.items():
        if texts:
            yield _distribution(table, column, "characters", [len(text) for text in texts])
            yield _distribution(table, column, "eojeol", [len(text.split()) for text in texts])


def _distribution(table: str, column: str, unit: str, lengths: Sequence[int]) -> LengthDistribution:
    ordered = sorted(lengths)
    return LengthDistribution(
        table=table,
        column=column,
        unit=unit,
        minimum=ordered[0],
        median=statistics.median(ordered),
        mean=statistics.fmean(ordered),
        p95=ordered[-(-len(ordered) * 95 // 100) - 1],
        maximum=ordered[-1],
    )
