"""Claims about contest folders: reading them, finding what is wrong with them, and describing them."""

from __future__ import annotations

import csv
import re
import shutil
import statistics
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.contest import Contest, Dates, Example, reference_columns
from harness.errors import ContestError, Problem
from harness.inspection import CODES, describe_contest, inspect_contest, is_warning
from harness.prepare import new_contest

ROOT = Path(__file__).parents[1]
HIDDEN = "감춰진"
"""Stands in every hidden reference and nowhere else, so that a leak shows."""

Rows = list[list[str]]

SETTINGS = """\
name = "ours"
title = "우리 대회"

[rules]
daily_limit = 3

[dates]
opens = 2026-12-01T09:00:00+09:00
closes = "2026-12-24"
"""


def _word(number: int) -> str:
    return "".join(chr(ord("가") + 588 * int(digit)) for digit in str(number))


def _tables(test: int = 80) -> dict[str, Rows]:
    """The tables of a good contest: 40 train rows, and ``test`` test rows on two boards."""
    asked = [f"t{_word(number)}" for number in range(test)]
    texts = [f"{_word(number)} 동네에 다리가\n놓였다. {number}명이 건넜다." for number in range(40 + test)]
    return {
        "train.csv": [
            ["id", "text", "summary"],
            *([f"r{_word(number)}", texts[number], f"{_word(number)} 다리 개통"] for number in range(40)),
        ],
        "test.csv": [["id", "text"], *([id, texts[40 + row]] for row, id in enumerate(asked))],
        "sample_submission.csv": [["id", "summary"], *([id, ""] for id in asked)],
        "private/answers.csv": [
            ["id", "summary", "split"],
            *(
                [id, f"{HIDDEN} {_word(row)} 개통", ("public", "private")[row % 2]]
                for row, id in enumerate(asked)
            ),
        ],
    }


def _write(path: Path, rows: Iterable[Iterable[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _folder(root: Path, *, settings: str = SETTINGS, test: int = 80) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "contest.toml").write_text(settings, encoding="utf-8")
    for name, rows in _tables(test).items():
        _write(root / name, rows)
    return root


def _codes(folder: Path) -> set[str]:
    return {problem.code for problem in inspect_contest(folder)}


# --- faults, one of each kind -----------------------------------------------------------------------


def _edit(name: str, change: Callable[[Rows], Any]) -> Callable[[Path], None]:
    """Breaks the table ``name`` by ``change``, which alters its rows in place (row 0 is the header)."""

    def spoil(folder: Path) -> None:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        change(rows)
        _write(folder / name, rows)

    return spoil


def _cell(name: str, row: int, column: int, value: str) -> Callable[[Path], None]:
    return _edit(name, lambda rows: rows[row].__setitem__(column, value))


def _set(old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "contest.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return spoil


def _bytes(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def _widen(value: str) -> Callable[[Rows], None]:
    """Gives every row a further cell; the header's is ``value`` too."""

    def change(rows: Rows) -> None:
        for row in rows:
            row.append(value)

    return change


def _all_private(rows: Rows) -> None:
    for row in rows[1:]:
        row[2] = "private"


def _copy_document(rows: Rows) -> None:
    rows[5][1] = f" {_tables()['train.csv'][8][1]}  "


def _long_start(folder: Path) -> None:
    start = "같은 앞부분 " * 20
    _cell("train.csv", 3, 1, start + "가")(folder)
    _cell("test.csv", 4, 1, start + "나")(folder)


def _rename_id(folder: Path, old: str, new: str) -> None:
    for name in ("test.csv", "sample_submission.csv", "private/answers.csv"):
        path = folder / name
        path.write_text(path.read_text(encoding="utf-8").replace(f"{old},", f"{new},"), encoding="utf-8")


Spoil = Callable[[Path], Any]
ONE_FAULT: list[tuple[str, str, Spoil]] = [
    ("C101", "contest.toml is gone", lambda folder: (folder / "contest.toml").unlink()),
    ("C102", "not TOML", _set('name = "ours"', "name = ours")),
    ("C102", "not UTF-8", _bytes("contest.toml", 'title = "한글"'.encode("cp949"))),
    ("C102", "nested too deeply", _bytes("contest.toml", b"x = " + b"[" * 20_000)),
    ("C103", "an unknown setting", _set("daily_limit", "dayly_limit")),
    ("C103", "a limit of nothing", _set("daily_limit = 3", "daily_limit = 0")),
    ("C103", "a limit that is true", _set("daily_limit = 3", "daily_limit = true")),
    ("C103", "a name that is no folder", _set('"ours"', '"../ours"')),
    ("C103", "two columns of one name", _set("[rules]", '[columns]\ntext = "id"\n[rules]')),
    ("C104", "an unreadable date", _set('"2026-12-24"', '"24 Dec"')),
    ("C104", "before the calendar begins", _set("2026-12-01T09", "0001-01-01T00")),
    ("C104", "after it ends", _set('"2026-12-24"', '"9999-12-31T23:00:00Z"')),
    ("C104", "a date that is a number", _set('"2026-12-24"', "20261224")),
    ("C105", "closes before it opens", _set('"2026-12-24"', '"2026-11-24"')),
    ("C106", "no such zone", _set("[dates]", '[dates]\ntimezone = "Asia/Pusan"')),
    ("C106", "a zone that leads elsewhere", _set("[dates]", '[dates]\ntimezone = "../../etc/passwd"')),
    ("C107", "no such preset", _set("[rules]", '[metric]\npreset = "mekab"\n[rules]')),
    ("C107", "no such ranking", _set("[rules]", '[metric]\nrank_by = "bleu"\n[rules]')),
    ("C201", "no train", lambda folder: (folder / "train.csv").unlink()),
    ("C201", "no test", lambda folder: (folder / "test.csv").unlink()),
    ("C201", "no sample", lambda folder: (folder / "sample_submission.csv").unlink()),
    ("C201", "private without answers", lambda folder: (folder / "private/answers.csv").unlink()),
    ("C202", "CP949", _bytes("test.csv", "id,text\n1,한글\n".encode("cp949"))),
    ("C203", "too many fields", _edit("train.csv", lambda rows: rows[3].append("more"))),
    ("C203", "too few fields", _edit("private/answers.csv", lambda rows: rows[3].pop())),
    ("C203", "a quote inside", _bytes("test.csv", b'id,text\n1,"a"b\n')),
    ("C203", "a quote that never ends", _bytes("test.csv", b'id,text\n1,"a\n2,b\n')),
    ("C204", "a misnamed column", _cell("test.csv", 0, 1, "document")),
    ("C204", "no split", _cell("private/answers.csv", 0, 2, "board")),
    ("C204", "nothing at all", _bytes("sample_submission.csv", b"")),
    ("C205", "a header only", _edit("test.csv", lambda rows: rows.__delitem__(slice(1, None)))),
    ("C206", "a doubled column", _edit("train.csv", _widen("text"))),
    ("C301", "an empty id", _cell("train.csv", 3, 0, " ")),
    ("C302", "a doubled id in train", _cell("train.csv", 3, 0, _tables()["train.csv"][1][0])),
    ("C303", "an id in both", _cell("train.csv", 3, 0, _tables()["test.csv"][1][0])),
    ("C304", "an empty document", _cell("test.csv", 3, 1, "\n ")),
    ("C305", "an empty label", _cell("train.csv", 3, 2, "")),
    ("C305", "an empty reference", _cell("private/answers.csv", 3, 1, " ")),
    ("C306", "a document in both", _edit("test.csv", _copy_document)),
    ("C501", "a missing answer", _edit("private/answers.csv", lambda rows: rows.pop())),
    (
        "C502",
        "an answer too many",
        _edit("private/answers.csv", lambda rows: rows.append(["x", HIDDEN, "public"])),
    ),
    ("C503", "an unknown split", _cell("private/answers.csv", 3, 2, "Public")),
    ("C504", "one board only", _edit("private/answers.csv", _all_private)),
    ("C505", "a sample row missing", _edit("sample_submission.csv", lambda rows: rows.pop())),
    ("C505", "a sample row too many", _edit("sample_submission.csv", lambda rows: rows.append(["x", ""]))),
    ("C601", "summaries in test", _edit("test.csv", _widen("summary"))),
    ("C601", "a filled sample", _cell("sample_submission.csv", 3, 1, _tables()["private/answers.csv"][3][1])),
    ("CW201", "a team's copy", lambda folder: shutil.rmtree(folder / "private")),
    ("CW302", "a space after the id", lambda folder: _rename_id(folder, _tables()["test.csv"][3][0], "t ")),
    ("CW303", "NFD", _cell("train.csv", 3, 2, unicodedata.normalize("NFD", "다리 개통"))),
    ("CW304", "an escape", _cell("train.csv", 3, 1, "다리 \x1b[31m")),
    ("CW305", "a document twice", _cell("train.csv", 3, 1, _tables()["train.csv"][1][1])),
    ("CW306", "a long common start", _long_start),
    ("CW501", "a small board", lambda folder: _folder(folder, test=58)),
    ("CW502", "a reference of dots", _cell("private/answers.csv", 3, 1, "... !!!")),
    ("CW502", "Korean under the English preset", _set("[rules]", '[metric]\npreset = "rouge_score"\n[rules]')),
]


def _strange_id(id: str) -> Spoil:
    return lambda folder: _rename_id(folder, _tables()["test.csv"][3][0], id)


SPREADSHEET_IDS = (
    *("0012345678", "12e4567890", "1E5", "123456789012", "1.10"),
    *("3-1", "2026-12-24", "TRUE", "=A1", "@x"),
)
ONE_FAULT += [("CW301", id, _strange_id(id)) for id in SPREADSHEET_IDS]


@pytest.mark.parametrize(("code", "spoil"), [pytest.param(c, s, id=f"{c}-{d}") for c, d, s in ONE_FAULT])
def test_each_fault_is_told_by_its_code_alone(code: str, spoil: Spoil, tmp_path: Path) -> None:
    """A good folder with one thing spoilt has that code, every problem says what to do, and nothing leaks."""
    folder = _folder(tmp_path / "ours")
    spoil(folder)
    problems = inspect_contest(folder)
    assert {problem.code for problem in problems} == {code}
    for problem in problems:
        assert problem.hint
        assert HIDDEN not in f"{problem.message} {problem.hint} {problem.id}"


def test_a_good_folder_has_no_problem(tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong."""
    assert inspect_contest(_folder(tmp_path / "ours")) == []


def test_the_sample_contest_has_no_problem() -> None:
    """contests/mini is a good folder."""
    assert inspect_contest(ROOT / "contests" / "mini") == []


def test_a_tokenizer_that_is_not_installed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the preset cannot be loaded, the references are not judged, and that is told (CW503)."""
    from harness import tokenizers
    from harness.errors import UsageError

    def missing(preset: str) -> Any:
        raise UsageError(f"{preset} needs a package.", hint="pip install it")

    monkeypatch.setattr(tokenizers, "load_tokenizer", missing)
    (problem,) = inspect_contest(_folder(tmp_path / "ours"))
    assert problem.code == "CW503"
    assert "pip install it" in problem.message


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    """Faults of the settings, of three tables and of their agreement come together, faults before warnings."""
    folder = _folder(tmp_path / "ours", test=20)
    _set('"2026-12-24"', '"24 Dec"')(folder)
    _cell("train.csv", 3, 2, "")(folder)
    _cell("test.csv", 3, 1, "")(folder)
    _edit("private/answers.csv", lambda rows: rows.pop())(folder)
    assert [problem.code for problem in inspect_contest(folder)] == [
        "C104", "C304", "C305", "C501", "CW501", "CW501",
    ]  # fmt: skip


def test_columns_keep_their_names_when_another_setting_is_faulty(tmp_path: Path) -> None:
    """A bad date does not make renamed columns look missing."""
    folder = _folder(tmp_path / "ours", settings=SETTINGS + '[columns]\ntext = "본문"\n')
    for name in ("train.csv", "test.csv"):
        _cell(name, 0, 1, "본문")(folder)
    assert _codes(folder) == set()
    _set('"2026-12-24"', '"24 Dec"')(folder)
    assert _codes(folder) == {"C104"}


def test_rows_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    """The third data row begins on line 6, since each of our documents spans two lines."""
    folder = _folder(tmp_path / "ours")
    _cell("train.csv", 3, 2, "")(folder)
    (problem,) = inspect_contest(folder)
    wanted = ("C305", 3, 6, _tables()["train.csv"][3][0])
    assert (problem.code, problem.row, problem.line, problem.id) == wanted
    assert problem.message == "train.csv: empty summary."


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.__delitem__(0),
        lambda rows: [row.__setitem__(slice(0, 2), [row[1], row[0]]) for row in rows[1:]],
        lambda rows: [row.__setitem__(slice(1, 3), [row[2], row[1]]) for row in rows[1:]],
        lambda rows: rows.__setitem__(slice(1, None), [[*row, HIDDEN] for row in rows[1:]]),
        lambda rows: rows.append([HIDDEN, HIDDEN, HIDDEN]),
        lambda rows: rows.extend([[HIDDEN, HIDDEN, "public"]] * 2),
    ],
    ids=[
        "no header",
        "id and summary swapped",
        "summary and split swapped",
        "further column",
        "odd row",
        "doubled",
    ],
)
def test_no_hidden_reference_is_ever_shown(change: Callable[[Rows], Any], tmp_path: Path) -> None:
    """However the answers are spoilt, neither the inspection nor the loader quotes a reference."""
    folder = _folder(tmp_path / "ours")
    _edit("private/answers.csv", change)(folder)
    problems = inspect_contest(folder)
    assert any(not is_warning(problem) for problem in problems)
    assert not [problem for problem in problems if HIDDEN in repr(problem)]
    assert HIDDEN not in _refusal(folder)


def _refusal(folder: Path) -> str:
    """What the loader says of the answers, or nothing where it can read them."""
    try:
        Contest.load(folder).answers  # noqa: B018 - read for its errors
    except ContestError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("content", [
    b"", b"\x00" * 100, b"\xff\xfe\x00", b"PK\x03\x04", b",,,\n,,,\n", b'"', b"id\n" * 5, b"\n\n\n",
    b"id,text,summary,split\n" + b"\x1b]52;c;x\x07,a,b,c\n", b"[dates]\nopens = 1\n[[columns]]\n",
    b"columns = 3\nmetric = []\nrules = 'x'\ndates = 1\nname = []\ntitle = 1\n",
    b"[dates]\ntimezone = 5\nopens = 00:00:00\n", b"[metric]\npreset = []\nrank_by = {}\n",
], ids=range(13))  # fmt: skip
@pytest.mark.parametrize("name", ["contest.toml", "train.csv", "test.csv", "private/answers.csv"])
def test_no_content_gives_a_traceback(name: str, content: bytes, tmp_path: Path) -> None:
    """Whatever stands in a file, the inspection ends with a list of problems that have known codes."""
    folder = _folder(tmp_path / "ours")
    (folder / name).write_bytes(content)
    problems = inspect_contest(folder)
    assert problems or name == "contest.toml"
    assert {problem.code for problem in problems} <= set(CODES)
    assert not any("\x1b" in problem.message for problem in problems)


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    """A folder called test.csv is an unreadable file, not a crash; a missing contest folder has C101."""
    folder = _folder(tmp_path / "ours")
    (folder / "test.csv").unlink()
    (folder / "test.csv").mkdir()
    assert _codes(folder) == {"C202"}
    assert _codes(tmp_path / "nowhere") == {"C101"}


# --- codes and their documentation ------------------------------------------------------------------

_GOOD = "id,text,summary\n" + "".join(f"{n},{_word(n)} 다리가 놓였다,다리 {n}\n" for n in range(12))
FROM_SOURCES: list[tuple[str, bytes, dict[str, Any]]] = [
    ("C401", _GOOD.encode() + b"1,2\n", {}),
    ("C402", _GOOD.replace("summary", "summary,text", 1).encode(), {}),
    ("C403", b'[{"text": {}, "summary": "a"}]', {"suffix": ".json"}),
    ("C404", _GOOD.replace("\n3,", "\n,").encode(), {"keep_ids": True}),
    ("C405", _GOOD.replace("\n3,", "\n4,").encode(), {"keep_ids": True}),
    ("CN101", _GOOD.encode("cp949"), {}),
    ("CN102", _GOOD.replace("summary", "title").encode(), {}),
    ("CN201", unicodedata.normalize("NFD", _GOOD).encode(), {}),
    ("CN202", _GOOD.replace("다리가", "다리\x07가").encode(), {}),
    ("CN203", (_GOOD + "x,,\n").encode(), {}),
    ("CN204", (_GOOD + f"x,{_word(3)} 다리가  놓였다,또\n").encode(), {}),
    ("CN205", _GOOD.encode(), {}),
]


def _told(problems: Iterable[Problem]) -> set[str]:
    return {problem.code for problem in problems}


@pytest.mark.parametrize(("code", "content", "options"), FROM_SOURCES, ids=[case[0] for case in FROM_SOURCES])
def test_each_code_of_a_source_is_told(
    code: str, content: bytes, options: dict[str, Any], tmp_path: Path
) -> None:
    """Making a contest tells each of its codes, as a fault of the source or as a notice."""
    options = dict(options)
    source = (tmp_path / "source").with_suffix(options.pop("suffix", ".csv"))
    source.write_bytes(content)
    try:
        told = _told(new_contest("ours", source, into=tmp_path, seed=1, **options).notices)
    except ContestError as error:
        told = _told(error.problems)
    assert code in told


def test_every_code_is_told_by_a_test() -> None:
    """Every code in the table is produced by some folder or source here, and no other code is."""
    tested = {case[0] for case in ONE_FAULT} | {case[0] for case in FROM_SOURCES} | {"CW503"}
    assert tested == set(CODES)


def test_the_documentation_has_every_code_with_its_meaning_and_fix() -> None:
    """docs/contest-folder.md has one line a code, in the words of the program."""
    text = (ROOT / "docs" / "contest-folder.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(C[WN]?[0-9]+)` \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert lines == [(code, entry.title, entry.fix) for code, entry in CODES.items()]
    assert all(entry.fix for entry in CODES.values())


def test_the_documented_settings_are_the_defaults(tmp_path: Path) -> None:
    """The contest.toml in docs/contest-folder.md is what a contest has that sets nothing."""
    text = (ROOT / "docs" / "contest-folder.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    documented = Contest.load(_folder(tmp_path / "documented", settings=example))
    bare = Contest.load(_folder(tmp_path / "bare", settings=""))
    for part in ("columns", "metric", "rules", "dates"):
        assert getattr(documented, part) == getattr(bare, part)


# --- reading ----------------------------------------------------------------------------------------


def test_a_contest_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Documents, labels, answers and settings come back as they stand in the files."""
    contest, tables = Contest.load(_folder(tmp_path / "ours")), _tables()
    assert contest.train == tuple(Example(*row) for row in tables["train.csv"][1:])
    assert contest.test == tuple(Example(*row) for row in tables["test.csv"][1:])
    assert contest.test_ids == tuple(row[0] for row in tables["test.csv"][1:])
    rows = [[answer.id, *answer.references, answer.split] for answer in contest.answers]
    assert rows == tables["private/answers.csv"][1:]
    assert (contest.name, contest.title, contest.rules.daily_limit) == ("ours", "우리 대회", 3)


def test_dates_without_an_offset_are_in_the_contests_zone(tmp_path: Path) -> None:
    """2026-12-24 in Seoul begins at 15:00 UTC of the day before."""
    dates = Contest.load(_folder(tmp_path / "ours")).dates
    assert dates.opens == datetime(2026, 12, 1, 0, 0, tzinfo=UTC)
    assert dates.closes == datetime(2026, 12, 23, 15, 0, tzinfo=UTC)


def test_limits_have_a_default_and_can_be_lifted(tmp_path: Path) -> None:
    """A limit left out has its default, and false is no limit."""
    rules = Contest.load(_folder(tmp_path / "a", settings="")).rules
    assert (rules.daily_limit, rules.daily_invalid_limit) == (None, 100)
    lifted = "[rules]\ndaily_limit = false\ndaily_invalid_limit = false\n"
    rules = Contest.load(_folder(tmp_path / "b", settings=lifted)).rules
    assert (rules.daily_limit, rules.daily_invalid_limit) == (None, None)


def test_the_loader_names_every_faulty_setting_at_once(tmp_path: Path) -> None:
    """Four faulty settings are one message with four parts."""
    settings = "nam = 1\n[metric]\npreset = 'x'\n[rules]\ndaily_limit = 1.5\n[dates]\nopens = 'soon'\n"
    with pytest.raises(ContestError) as caught:
        Contest.load(_folder(tmp_path / "ours", settings=settings))
    for part in ("'nam'", "metric.preset", "rules.daily_limit", "dates.opens"):
        assert part in caught.value.message


def test_a_teams_copy_loads_and_cannot_score(tmp_path: Path) -> None:
    """Without private/ all but the answers is read, and asking for these says what to do."""
    folder = _folder(tmp_path / "ours")
    shutil.rmtree(folder / "private")
    contest = Contest.load(folder)
    assert len(contest.test_ids) == 80
    with pytest.raises(ContestError, match="nothing can be scored"):
        _ = contest.answers


def test_the_hash_of_the_references_changes_with_every_answer(tmp_path: Path) -> None:
    """Another summary, another split and another order each give another hash; reading again does not."""
    folder = _folder(tmp_path / "ours")
    seen = {Contest.load(folder).references_sha256}
    assert {Contest.load(folder).references_sha256} == seen
    for spoil in (
        _cell("private/answers.csv", 3, 1, "다른 요약"),
        _cell("private/answers.csv", 3, 2, "private"),
        _cell("private/answers.csv", 4, 2, "public"),
        _edit("private/answers.csv", lambda rows: rows.append(rows.pop(1))),
    ):
        spoil(folder)
        digest = Contest.load(folder).references_sha256
        if digest in seen:
            raise AssertionError("two different tables of answers share a hash")
        seen.add(digest)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (["id", "summary", "split"], ["summary"]),
        (["summary10", "summary2", "summary", "id"], ["summary", "summary2", "summary10"]),
        (["summary_2", "my summary", "summary²", "summaries"], []),
    ],
)
def test_references_are_taken_in_the_order_of_their_numbers(header: list[str], found: list[str]) -> None:
    """The column ``summary`` comes first wherever it stands, then summary2, summary3, …"""
    assert reference_columns(header, "summary") == found


# --- describing -------------------------------------------------------------------------------------


def test_a_description_counts_and_measures(tmp_path: Path) -> None:
    """Counts and lengths equal those worked out here, for train and test, in a fixed order."""
    contest = Contest.load(_folder(tmp_path / "ours"))
    found = describe_contest(contest)
    assert (found.train, found.test, found.public, found.private) == (40, 80, 40, 40)
    assert found.references == ((1, 80),)
    assert [(row.table, row.column, row.unit) for row in found.lengths] == [
        ("train", "text", "characters"), ("train", "text", "eojeol"),
        ("train", "summary", "characters"), ("train", "summary", "eojeol"),
        ("test", "text", "characters"), ("test", "text", "eojeol"),
    ]  # fmt: skip
    characters = sorted(len(example.text) for example in contest.train)
    row = found.lengths[0]
    assert (row.minimum, row.maximum) == (characters[0], characters[-1])
    assert (row.median, row.mean) == (statistics.median(characters), statistics.fmean(characters))
    assert row.p95 == characters[37]  # the 38th of 40: 38/40 = .95


def test_a_teams_copy_is_described_without_answers(tmp_path: Path) -> None:
    """Without private/ there are no counts of the boards, and no error."""
    folder = _folder(tmp_path / "ours")
    shutil.rmtree(folder / "private")
    found = describe_contest(Contest.load(folder))
    assert (found.public, found.private, found.references, found.test) == (None, None, None, 80)


def test_dates_are_described_in_the_contests_zone(tmp_path: Path) -> None:
    """Seoul's dates show Seoul's clock; a contest without dates has none."""
    dates = describe_contest(Contest.load(_folder(tmp_path / "a"))).dates
    assert dates.opens is not None
    assert dates.opens.isoformat() == "2026-12-01T09:00:00+09:00"
    assert describe_contest(Contest.load(_folder(tmp_path / "b", settings=""))).dates == Dates()
