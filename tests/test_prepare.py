"""Claims about making a contest folder from labelled data of every shape."""

from __future__ import annotations

import csv
import json
import os
import random
import stat
import sys
import tomllib
import unicodedata
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.contest import Contest, Dates, Metric, Rules
from harness.errors import ContestError, HarnessError, UsageError
from harness.inspection import inspect_contest, is_warning
from harness.prepare import Prepared, clean_text, draw_ids, new_contest
from harness.sources import read_labelled

SUBJECTS = ("도서관", "수영장", "시장", "공원", "학교", "역", "박물관", "항구", "온실", "체육관")


def _rows(count: int = 40) -> list[dict[str, Any]]:
    """``count`` labelled documents, with a newline and a comma inside each text."""
    return [
        {
            "id": f"doc-{number}",
            "text": f"{number}번 소식, {SUBJECTS[number % 10]}이 새로 열었다.\n주민 {number + 20}명이 찾았다.",
            "summary": f"{SUBJECTS[number % 10]} {number}호 개관",
        }
        for number in range(count)
    ]


def _write_jsonl(path: Path, records: list[Any]) -> Path:
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8"
    )
    return path


def _write_csv(
    path: Path, records: list[dict[str, Any]], encoding: str = "utf-8", delimiter: str = ","
) -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(records[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(records)
    return path


def _write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def _write_parquet(path: Path, records: list[dict[str, Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(records), path)
    return path


# AI Hub's shapes, with our own words in them.


def _dialogues(path: Path) -> Path:
    return _write_json(path, {"data": [_dialogue(row) for row in _rows()]})


def _dialogue(row: dict[str, Any]) -> dict[str, Any]:
    turns = [
        {"utteranceID": f"U{turn}", "turnID": f"T{turn}", "participantID": f"P0{turn}", "utterance": line}
        for turn, line in enumerate(row["text"].split("\n"), 1)
    ]
    return {
        "header": {"dialogueInfo": {"dialogueID": row["id"], "numberOfParticipants": 2, "topic": "행사"}},
        "body": {"dialogue": turns, "summary": row["summary"]},
    }


def _documents(path: Path) -> Path:
    return _write_json(path, {"name": "문서요약", "documents": [_document(row) for row in _rows()]})


def _document(row: dict[str, Any]) -> dict[str, Any]:
    first, second = row["text"].split("\n")
    return {
        "id": row["id"],
        "title": "제목",
        "text": [
            [{"index": 0, "sentence": first, "highlight_indices": ""}],
            [{"index": 1, "sentence": second, "highlight_indices": "0,2"}],
        ],
        "abstractive": [row["summary"]],
        "extractive": [0, None, 1],
    }


def _papers(path: Path) -> Path:
    records = [
        {
            "doc_id": row["id"],
            "title": "제목",
            "summary_entire": [{"orginal_text": row["text"], "summary_text": row["summary"]}],
            "summary_section": [],
        }
        for row in _rows()
    ]
    return _write_json(path, {"data": records})


def _reports(path: Path) -> Path:
    folder = path.with_suffix("")
    for number, row in enumerate(_rows()):
        report = {
            "Meta(Acqusition)": {"doc_id": "REPORT", "doc_type": "minute"},
            "Meta(Refine)": {"passage_id": row["id"], "passage": row["text"]},
            "Annotation": {"summary1": row["summary"], "summary2": "뽑은 문장", "summary3": None},
        }
        _write_json(folder / f"{number % 3}" / f"REPORT-{number:03}.json", report)
    return folder


FORMATS: dict[str, Callable[[Path], Path]] = {
    "csv": lambda path: _write_csv(path.with_suffix(".csv"), _rows()),
    "csv of Excel": lambda path: _write_csv(path.with_suffix(".csv"), _rows(), encoding="utf-8-sig"),
    "csv with semicolons": lambda path: _write_csv(path.with_suffix(".csv"), _rows(), delimiter=";"),
    "csv in CP949": lambda path: _write_csv(path.with_suffix(".csv"), _rows(), encoding="cp949"),
    "csv in UTF-16": lambda path: _write_csv(path.with_suffix(".csv"), _rows(), encoding="utf-16"),
    "tsv": lambda path: _write_csv(path.with_suffix(".tsv"), _rows(), delimiter="\t"),
    "jsonl": lambda path: _write_jsonl(path.with_suffix(".jsonl"), _rows()),
    "json": lambda path: _write_json(path.with_suffix(".json"), _rows()),
    "json under data": lambda path: _write_json(path.with_suffix(".json"), {"data": _rows()}),
    "parquet": lambda path: _write_parquet(path.with_suffix(".parquet"), _rows()),
    "AI Hub dialogues": lambda path: _dialogues(path.with_suffix(".json")),
    "AI Hub documents": lambda path: _documents(path.with_suffix(".json")),
    "AI Hub papers": lambda path: _papers(path.with_suffix(".json")),
    "AI Hub reports": lambda path: _reports(path.with_suffix(".json")),
}


def _make(tmp_path: Path, records: list[Any] | None = None, **options: Any) -> Prepared:
    source = _write_jsonl(tmp_path / "source.jsonl", _rows() if records is None else records)
    given_settings: dict[str, Any] = {"into": tmp_path / "contests", "seed": 7} | options
    return new_contest("ours", source, **given_settings)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_becomes_a_contest_without_fault(name: str, tmp_path: Path) -> None:
    """A contest made from any format loads, has no fault, and holds every document and summary."""
    source = FORMATS[name](tmp_path / "source")
    prepared = new_contest("ours", source, into=tmp_path / "contests", test_size=10, seed=1)
    contest = Contest.load(tmp_path / "contests" / "ours")
    assert [problem for problem in inspect_contest(contest.root) if not is_warning(problem)] == []
    assert (prepared.counts.train, prepared.counts.test) == (30, 10)
    speakers = ("P01: ", "P02: ") if name == "AI Hub dialogues" else ("", "")
    wanted = set()
    for row in _rows():
        first, second = row["text"].split("\n")
        wanted.add((f"{speakers[0]}{first}\n{speakers[1]}{second}", row["summary"]))
    texts = {example.id: example.text for example in contest.test}
    found = {(example.text, example.summary) for example in contest.train}
    assert found | {(texts[answer.id], answer.references[0]) for answer in contest.answers} == wanted


@pytest.mark.parametrize("name", FORMATS)
def test_the_ids_of_every_format_are_found(name: str, tmp_path: Path) -> None:
    """The source's own ids are read from every format, though none of them reaches a public file."""
    source = FORMATS[name](tmp_path / "source")
    assert {row.id for row in read_labelled(source).rows} == {row["id"] for row in _rows()}


def test_without_pyarrow_parquet_names_the_line_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pyarrow is not installed, the message is the command that installs it."""
    (tmp_path / "source.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as caught:
        read_labelled(tmp_path / "source.parquet")
    assert 'pip install "matbogi[frames]"' in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("data.zip", b"PK\x03\x04", "Unzip it first"),
        ("data.xlsx", b"PK\x03\x04", ".csv"),
        ("data", b"", "no ending"),
        ("data.json", b"[{]", "line 1, column 3"),
        ("data.json", b'{"id": 1}\n{"id": 2}\n', "called .jsonl"),
        ("data.json", b"[" * 100_000, "not JSON"),
        ("data.json", b"[]", "no rows"),
        ("data.json", b"[1, 2]", "row 1 of data.json: not an object"),
        ("data.jsonl", b'{"id": 1}\n\n[]\n{"id"\n', "line 3: not an object"),
        ("data.csv", b"", "no rows"),
        ("data.csv", b"id,text,summary\n1,a,b,c\n2,a\n", "line 2: 4 fields where the header has 3; line 3: 2"),
        ("data.csv", b'id,text,summary\n1,"a"b,c\n', "line 2"),
        ("data.csv", b"id,text,summary,text\n1,a,b,c\n", "stands twice"),
        ("data.csv", b"id,text,summary\n1,\x81\x20,b\n", "line 2 is the first that is not UTF-8"),
        ("data.csv", "id,text,summary\n1,글,요약\n2,글".encode() + b"\xb0\xa1,b\n", "line 3 is the first"),
        ("data.parquet", b"PAR1 is not enough", "Parquet"),
        ("data.jsonl", b'{"text": {"a": 1}, "summary": "b"}\n', "line 1: the column 'text' holds no text"),
        ("data.jsonl", b'{"text": "a", "summary": true}\n', "holds no text"),
    ],
)
def test_a_source_that_cannot_be_read_says_why_and_where(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    """Each broken source is an expected error that names the place or the way out."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(HarnessError) as caught:
        read_labelled(path)
    assert told in str(caught.value)


def test_all_faults_of_a_source_are_told_at_once(tmp_path: Path) -> None:
    """Five broken lines are five problems, each with its line and row; the message counts them."""
    lines = [json.dumps(row) for row in _rows(20)]
    for line in (3, 5, 8, 13, 20):
        lines[line - 1] = "{"
    path = tmp_path / "source.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ContestError) as caught:
        read_labelled(path)
    assert [problem.line for problem in caught.value.problems] == [3, 5, 8, 13, 20]
    assert [problem.row for problem in caught.value.problems] == [3, 5, 8, 13, 20]
    assert "and 2 more" in caught.value.message


def test_lines_are_counted_past_newlines_in_quotes(tmp_path: Path) -> None:
    """The line of a fault is the file's, although each of our texts spans two lines."""
    path = _write_csv(tmp_path / "source.csv", _rows(2))
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write("x,y\n")
    with pytest.raises(ContestError) as caught:
        read_labelled(path)
    assert [(problem.line, problem.row) for problem in caught.value.problems] == [(6, 3)]


# --- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["id", "text", "summary"], ("id", "text", ("summary",))),
        (["문서번호", "본문", "요약"], ("문서번호", "본문", ("요약",))),
        (["fname", "dialogue", "summary", "topic"], ("fname", "dialogue", ("summary",))),
        (["ID", "Document", "Summary_2", "Summary_1"], ("ID", "Document", ("Summary_1", "Summary_2"))),
        (["text", "summary", "summary10", "summary2"], (None, "text", ("summary", "summary2", "summary10"))),
        (["text", "content", "summary", "abstract"], (None, "text", ("summary",))),
        (["article", "title"], (None, "article", ("title",))),
        (["id", "text", "title", "summary"], ("id", "text", ("summary",))),
    ],
)
def test_columns_are_found_by_their_names(
    names: list[str], found: tuple[str | None, str, tuple[str, ...]], tmp_path: Path
) -> None:
    """The id, the document and all numbered summaries are found under their usual names."""
    path = _write_jsonl(tmp_path / "source.jsonl", [dict.fromkeys(names, "가")])
    columns = read_labelled(path).columns
    assert (columns.id, columns.text, columns.summaries) == found


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ["article", "content", "summary"],
            "'article', 'content' could each be the text (choose with --text-column)",
        ),
        (["text", "abstract", "highlights"], "could each be the summary (choose with --summary-column)"),
        (["doc_id", "uid", "text", "summary"], "could each be the id (choose with --id-column)"),
        (["a", "b"], "no column looks like the document (give it with --text-column)"),
        (["text", "b"], "no column looks like the summary (give it with --summary-column)"),
    ],
)
def test_an_ambiguous_or_absent_column_is_asked_for(names: list[str], told: str, tmp_path: Path) -> None:
    """What cannot be decided is asked, with the option to type and the columns there are."""
    path = _write_jsonl(tmp_path / "source.jsonl", [dict.fromkeys(names, "가")])
    with pytest.raises(ContestError) as caught:
        read_labelled(path)
    assert told in caught.value.message
    assert ", ".join(names) in caught.value.hint


def test_given_columns_win_and_must_exist(tmp_path: Path) -> None:
    """Columns that are named are taken, and all that do not exist are told together."""
    path = _write_jsonl(tmp_path / "source.jsonl", [{"a": "1", "b": "글", "c": "요약", "text": "아니다"}])
    source = read_labelled(path, id_column="a", text_column="b", summary_columns=["c"])
    assert (source.rows[0].id, source.rows[0].text, source.rows[0].references) == ("1", "글", ("요약",))
    with pytest.raises(ContestError, match=r"no column 'x'.*no column 'y'"):
        read_labelled(path, text_column="x", summary_columns=["y"])
    with pytest.raises(ContestError, match="two purposes"):
        read_labelled(path, text_column="b", summary_columns=["b"])


def test_a_title_is_taken_for_the_summary_with_a_notice(tmp_path: Path) -> None:
    """A title stands in where nothing is called a summary, and that is told."""
    path = _write_jsonl(tmp_path / "source.jsonl", [{"text": "글", "제목": "요약"}])
    assert [notice.code for notice in read_labelled(path).notices] == ["CN102"]


def test_null_and_na_are_told_apart(tmp_path: Path) -> None:
    """JSON's null is nothing; the words NA, None and null are text, in JSON and in CSV."""
    records: list[dict[str, Any]] = [{"text": word, "summary": word} for word in ("NA", "None", "null")]
    for path in (_write_csv(tmp_path / "a.csv", records), _write_jsonl(tmp_path / "a.jsonl", records)):
        assert [row.references for row in read_labelled(path).rows] == [("NA",), ("None",), ("null",)]
    path = _write_jsonl(tmp_path / "b.jsonl", [{"text": None, "summary": float("nan")}])
    assert (read_labelled(path).rows[0].text, read_labelled(path).rows[0].references) == ("", ())


# --- references -----------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [True, False])
def test_further_references_are_kept_in_the_answers_only(listed: bool, tmp_path: Path) -> None:
    """Several references a row reach answers.csv as summary, summary2, …; train.csv keeps the first."""
    records = _rows()
    for number, row in enumerate(records):
        others = [f"다른 요약 {number}-{other}" for other in range(number % 3)]
        if listed:
            row["summary"] = [row["summary"], *others]
        else:
            row |= {"summary2": "", "summary3": ""} | {f"summary{n}": text for n, text in enumerate(others, 2)}
    contest = _make(tmp_path, records, test_size=30).contest
    assert list(_table(contest.root / "private/answers.csv")[0]) == [
        "id",
        "summary",
        "summary2",
        "summary3",
        "split",
    ]
    assert list(_table(contest.root / "train.csv")[0]) == ["id", "text", "summary"]
    assert {len(answer.references) for answer in contest.answers} == {1, 2, 3}
    texts = {row["text"]: row for row in records}
    by_id = {example.id: texts[example.text] for example in contest.test}
    for answer in contest.answers:
        row = by_id[answer.id]
        wanted = row["summary"] if listed else [row["summary"], row["summary2"], row["summary3"]]
        assert list(answer.references) == [text for text in wanted if text]


# --- cleaning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("가\r\n나\r다\n", "가\n나\n다"),
        ("가\u2028나\x0b다\x85라", "가\n나\n다\n라"),
        (unicodedata.normalize("NFD", "한글"), "한글"),
        ("가\x00나\x1b[31m다\t라", "가나[31m다\t라"),
        ("가\ud800나", "가나"),
        ("  가 나  \n", "가 나"),
    ],
)
def test_texts_are_cleaned_and_keep_their_words(text: str, cleaned: str) -> None:
    r"""NFC, every line end as \n, no other control character, nothing else changed."""
    assert clean_text(text) == cleaned


def test_every_change_is_told_and_counted(tmp_path: Path) -> None:
    """Rows left out and repairs are notices with their counts, and the counts add up."""
    records = _rows()
    records[1]["text"] = ""
    records[2]["summary"] = " \n"
    records[3]["summary"] = None
    records[5]["text"] = records[4]["text"].replace(" ", "  ").replace("\n", "\r\n")
    records[6]["text"] = unicodedata.normalize("NFD", records[6]["text"])
    records[7]["text"] += "\x07\x07"
    prepared = _make(tmp_path, records)
    told = {notice.code: notice.message for notice in prepared.notices}
    assert told == {
        "CN201": "1 row not in NFC: composed.",
        "CN202": "2 control characters removed.",
        "CN203": "3 rows without a document or a summary: left out (line 2, line 3, line 4).",
        "CN204": "1 row with a document that stands above already: left out (line 6).",
        "CN205": "The test set has 7 rows, a fifth of 36, instead of 500.",
    }
    counts = prepared.counts
    assert (counts.read, counts.empty, counts.doubled) == (40, 3, 1)
    assert counts.read == counts.empty + counts.doubled + counts.train + counts.test
    assert counts.test == counts.public + counts.private


# --- ids and the split ----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """The same source and seed give the same folder to the byte, and another seed gives another one."""
    first = _make(tmp_path, into=tmp_path / "a")
    again = _make(tmp_path, into=tmp_path / "b")
    other = _make(tmp_path, into=tmp_path / "c", seed=8)
    assert _files(first.contest.root) == _files(again.contest.root)
    assert _files(first.contest.root)["test.csv"] != _files(other.contest.root)["test.csv"]


def test_a_drawn_seed_is_kept_and_gives_the_folder_again(tmp_path: Path) -> None:
    """Without a seed one is drawn; private/prepared.toml holds it, and no public file does."""
    first = _make(tmp_path, into=tmp_path / "a", seed=None)
    kept = tomllib.loads((first.contest.root / "private/prepared.toml").read_text(encoding="utf-8"))
    assert kept["seed"] == first.seed
    again = _make(tmp_path, into=tmp_path / "b", seed=kept["seed"])
    assert _files(first.contest.root) == _files(again.contest.root)
    assert "seed" not in (first.contest.root / "contest.toml").read_text(encoding="utf-8")


def test_the_draw_stays_the_same_in_every_version(tmp_path: Path) -> None:
    """Seed 7 draws these ids from these rows.

    Computed by this code on CPython 3.11. Python promises that random() keeps its sequence for a seed.
    """
    assert list(_make(tmp_path).contest.test_ids[:3]) == ["CsXRpJG2Tr", "dRO9YrxPbC", "khdVipy2eB"]


def test_neither_ids_nor_order_of_the_source_reach_a_public_file(tmp_path: Path) -> None:
    """Public files hold new ids in a new order; private/source_ids.csv leads back."""
    contest = _make(tmp_path).contest
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        assert b"doc-" not in (contest.root / name).read_bytes()
    texts = [example.text for example in contest.test + contest.train]
    assert texts != sorted(texts, key=[row["text"] for row in _rows()].index)
    origins = {row["id"]: row["source_id"] for row in _table(contest.root / "private/source_ids.csv")}
    by_text = {row["text"]: row["id"] for row in _rows()}
    assert {example.id: by_text[example.text] for example in contest.train + contest.test} == origins


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_no_drawn_id_is_a_number_or_has_a_double(seed: int) -> None:
    """Ids have ten letters and digits, begin with a letter, and differ in more than case."""
    ids = draw_ids(200, random.Random(seed))
    assert len({id.casefold() for id in ids}) == 200
    for id in ids:
        assert len(id) == 10
        assert id.isascii()
        assert id.isalnum()
        assert id[0].isalpha()
        with pytest.raises(ValueError, match="could not convert"):
            float(id)


def test_kept_ids_are_the_sources_own(tmp_path: Path) -> None:
    """keep_ids keeps them; missing and doubled ones are all refused together."""
    contest = _make(tmp_path, keep_ids=True).contest
    assert {example.id for example in contest.train + contest.test} == {row["id"] for row in _rows()}
    records = _rows()
    records[3]["id"] = "doc-1"
    records[5]["id"] = ""
    with pytest.raises(ContestError) as caught:
        _make(tmp_path, records, into=tmp_path / "other", keep_ids=True)
    assert [(problem.code, problem.message) for problem in caught.value.problems] == [
        ("C405", "line 4: the id 'doc-1' stands at line 2 too"),
        ("C404", "line 6: no id"),
    ]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("usable", "test_size", "test"),
    [
        (40, None, 8),
        (2600, None, 500),
        (40, 15, 15),
        (40, 15.0, 15),
        (40, 0.25, 10),
        (10, None, 2),
        (40, 39, 39),
    ],
)
def test_sizes_of_the_split(usable: int, test_size: float | None, test: int, tmp_path: Path) -> None:
    """A number is a number of rows, a fraction a share; without either it is 500 and at most a fifth."""
    counts = _make(tmp_path, _rows(usable), test_size=test_size).counts
    assert (counts.train, counts.test) == (usable - test, test)
    assert counts.public == round(test / 2)


@pytest.mark.parametrize("options", [
    {"test_size": 40}, {"test_size": 1}, {"test_size": 0}, {"test_size": -3}, {"test_size": 1.5},
    {"test_size": 0.01}, {"test_size": float("nan")}, {"test_size": float("inf")},
    {"public_fraction": 0}, {"public_fraction": 1}, {"public_fraction": float("nan")},
])  # fmt: skip
def test_impossible_sizes_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    """A size that leaves a table or a board without rows is refused, and nothing is written."""
    with pytest.raises(UsageError):
        _make(tmp_path, **options)
    assert not (tmp_path / "contests").exists()


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    """Nine usable rows make no contest."""
    with pytest.raises(UsageError, match="9 rows can be used"):
        _make(tmp_path, _rows(9))


@given(test_size=st.integers(2, 39), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_boards_always_have_rows(
    test_size: int, fraction: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However small the share, each board has at least one row, and together they are the test set."""
    prepared = _make(tmp_path_factory.mktemp("made"), test_size=test_size, public_fraction=fraction, seed=seed)
    splits = [answer.split for answer in prepared.contest.answers]
    assert min(splits.count("public"), splits.count("private")) >= 1
    assert len(splits) == test_size


# --- the folder -----------------------------------------------------------------------------------


def test_the_folder_is_whole(tmp_path: Path) -> None:
    """A new folder holds these files and no others, with empty sample summaries, and nothing beside it."""
    contest = _make(tmp_path).contest
    assert sorted(_files(contest.root)) == [
        "contest.toml", "private/.gitignore", "private/answers.csv", "private/prepared.toml",
        "private/source_ids.csv", "sample_submission.csv", "test.csv", "train.csv",
    ]  # fmt: skip
    assert os.listdir(tmp_path / "contests") == ["ours"]
    assert b"\r" not in b"".join(_files(contest.root).values())
    sample = _table(contest.root / "sample_submission.csv")
    assert [row["id"] for row in sample] == list(contest.test_ids)
    assert {row["summary"] for row in sample} == {""}
    assert list(_table(contest.root / "test.csv")[0]) == ["id", "text"]


def test_settings_are_written_and_read_back(tmp_path: Path) -> None:
    """Every setting that is given comes back from contest.toml, whatever its characters."""
    given_settings: dict[str, Any] = {
        "title": 'A "quoted" \\ 제목 # = \x7f',
        "description": "두 줄\n설명",
        "metric": Metric("eojeol", "rougeL", "max"),
        "rules": Rules(5, None),
        "dates": Dates(
            datetime.fromisoformat("2026-12-01T09:00:00+09:00"),
            datetime.fromisoformat("2026-12-24T23:59:00Z"),
            "UTC",
        ),
    }
    contest = _make(tmp_path, **given_settings).contest
    assert (contest.metric, contest.rules, contest.dates) == tuple(
        given_settings[key] for key in ("metric", "rules", "dates")
    )
    assert contest.title == 'A "quoted" \\ 제목 # ='
    assert contest.description == "두 줄\n설명"


@pytest.mark.parametrize(
    "options",
    [{"metric": Metric("no such preset")}, {"rules": Rules(-1)}, {"dates": Dates(timezone="Asia/Nowhere")}],
)
def test_a_setting_that_cannot_be_read_back_leaves_no_folder(options: dict[str, Any], tmp_path: Path) -> None:
    """An impossible setting is refused before the folder is in its place; no trace of it is left."""
    with pytest.raises(ContestError) as caught:
        _make(tmp_path, **options)
    assert str(tmp_path / "contests" / "ours") in caught.value.message
    assert os.listdir(tmp_path / "contests") == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such file names")
def test_file_names_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    """A JSON file whose name is not UTF-8 is read like any other."""
    _write_json(tmp_path / "source" / os.fsdecode(b"a\xff.json"), _rows())
    contest = new_contest("ours", tmp_path / "source", into=tmp_path / "contests", seed=1).contest
    origins = _table(contest.root / "private/source_ids.csv")
    assert {row["source_place"] for row in origins} == {f"row {row} of a.json" for row in range(1, 41)}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_only_the_owner_reads_the_answers(tmp_path: Path) -> None:
    """private/ is 0700 and its files 0600."""
    contest = _make(tmp_path).contest
    private = contest.root / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in private.iterdir()} == {0o600}


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    """A folder or file of the name stays as it is, even an empty one."""
    (tmp_path / "contests" / "ours").mkdir(parents=True)
    with pytest.raises(UsageError, match="not overwritten"):
        _make(tmp_path)
    assert _files(tmp_path / "contests") == {}


@pytest.mark.parametrize("name", [
    "", ".", "..", "../x", "a/b", "a\\b", "/x", "C:x", "-x", ".x", "a b", "x\n", "CON", "nul", "com1.txt",
    "LPT9", "x.", "가" * 65, "\ud55c\x00",
])  # fmt: skip
def test_names_that_no_system_takes_are_refused(name: str, tmp_path: Path) -> None:
    """Separators, dots in front or at the end, devices of Windows and the like are no names."""
    with pytest.raises(UsageError):
        new_contest(name, tmp_path / "none.csv", into=tmp_path)
    assert os.listdir(tmp_path) == []


NAMES = st.one_of(
    st.text(max_size=20),
    st.text("./\\:~CONaux ㅎ가..\0", max_size=12),
    st.from_regex(r"[\w.-]{1,64}", fullmatch=True),
)


@given(NAMES)
@settings(max_examples=60, deadline=None)
def test_no_name_leads_out_of_the_parent_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Whatever the name, the contest becomes a direct child of the parent, or there is none."""
    parent = tmp_path_factory.mktemp("around") / "contests"
    source = _write_jsonl(parent.parent / "source.jsonl", _rows(10))
    try:
        prepared = new_contest(name, source, into=parent, seed=1)
    except UsageError:
        assert not parent.exists()
    else:
        assert prepared.contest.root.resolve().parent == parent.resolve()
        assert os.listdir(parent) == [prepared.contest.name]
    assert sorted(set(os.listdir(parent.parent)) - {"contests"}) == ["source.jsonl"]
