"""The strict reader: every hostile file refused or read right, nothing altered in silence, no bomb goes off."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hostile_files import BOMBS, GOOD, HOSTILE, IDS, SUMMARIES, Bomb, HostileFile, write
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.errors import InvalidSubmission, Problem
from harness.faults import CODES, MAX_EXCERPT, MAX_KEPT, Findings, excerpt
from harness.submission import Predictions

ROOT = Path(__file__).parents[1]
REPAIRS = {code for code in CODES if code.startswith("N")}


def faults(content: bytes, ids: tuple[str, ...] = IDS) -> tuple[Problem, ...]:
    """What refuses ``content``."""
    with pytest.raises(InvalidSubmission) as refusal:
        Predictions.parse(content, ids)
    return refusal.value.problems


def codes(problems: tuple[Problem, ...]) -> set[str]:
    """The codes of ``problems``."""
    return {problem.code for problem in problems}


# --- hostile files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", HOSTILE, ids=lambda file: file.name)
def test_hostile_files(file: HostileFile) -> None:
    """Each is refused with its codes, or read with exactly its notices and summaries."""
    if file.refused:
        assert file.refused <= codes(faults(file.make()))
        return
    predictions = Predictions.parse(file.make(), IDS)
    assert codes(predictions.notices) == file.notices
    assert predictions.summaries == dict(file.summaries)
    assert list(predictions.summaries) == list(IDS)


def test_there_are_enough_of_them() -> None:
    """At least 60 hostile files and 10 bombs, no two of one name."""
    assert len(HOSTILE) >= 60
    assert len(BOMBS) >= 10
    names = [*(file.name for file in HOSTILE), *(bomb.name for bomb in BOMBS)]
    assert len(set(names)) == len(names)


def test_every_code_has_its_file() -> None:
    """Each code of the page is met by a hostile file or a bomb, but for those of paths."""
    met = {code for file in HOSTILE for code in file.refused | file.notices}
    met |= {code for bomb in BOMBS for code in bomb.refused}
    assert set(CODES) - met == {"E101", "E102"}


CHECK = """
import json, sys, time
from harness.errors import InvalidSubmission
from harness.submission import Predictions
path, ids = sys.argv[1], tuple(json.loads(sys.argv[2]))
begin = time.process_time()
try:
    found = Predictions.read(path, ids).notices
except InvalidSubmission as fault:
    found = fault.problems
seconds = time.process_time() - begin
peak = 0
if sys.platform == "linux":  # getrusage would count what the process was before it became this one
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) * 1024
elif sys.platform == "darwin":
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"codes": sorted({problem.code for problem in found}), "peak": peak, "seconds": seconds}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_bombs(bomb: Bomb, tmp_path: Path) -> None:
    """Each is refused in a process that never holds more than 300 MB. benchmarks/checking.py has the times."""
    path = tmp_path / "preds.csv"
    with path.open("wb") as file:
        file.writelines(bomb.chunks())
    result = subprocess.run(
        [sys.executable, "-c", CHECK, str(path), json.dumps(IDS)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = json.loads(result.stdout)
    assert bomb.refused & set(found["codes"]), found
    assert not any(code.startswith(("N", "W")) for code in found["codes"])
    assert found["peak"] < 300 * 2**20


# --- nothing is altered in silence ---------------------------------------------------------------------

# Everything that UTF-8 can say but NUL, a lone surrogate and piled-up marks, which are refused.
texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Mn", "Me", "Mc")), max_size=40
)


@settings(max_examples=400)
@given(
    st.lists(texts, min_size=len(IDS), max_size=len(IDS)),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([",", ";", "\t"]),
)
def test_what_a_csv_library_writes_comes_back(
    summaries: list[str], quoting: int, end: str, delimiter: str
) -> None:
    """Whatever the texts, each comes back as it was, in NFC."""
    rows = dict(zip(IDS, summaries, strict=True))
    content = write(rows, quoting=quoting, end=end, delimiter=delimiter).encode()
    # Before Python 3.13 the csv module writes a lone CR without quotes, and no reader can tell what it was.
    assume(quoting != csv.QUOTE_MINIMAL or not any("\r" in text for text in summaries))
    assume(any(character.isalnum() for text in summaries for character in text))  # else: all are empty
    read = Predictions.parse(content, IDS)
    assert read.summaries == {id: unicodedata.normalize("NFC", text) for id, text in rows.items()}
    altered = any(unicodedata.normalize("NFC", text) != text for text in summaries)
    assert ("N301" in codes(read.notices)) == altered


def python_reads(content: bytes) -> dict[str, str] | None:
    """What ``csv`` itself makes of UTF-8 or UTF-16 ``content`` with the two columns; ``None`` if it cannot."""
    for encoding in ("utf-8-sig", "utf-16"):
        try:
            rows = list(csv.reader(io.StringIO(content.decode(encoding), newline=""), strict=True))
        except (UnicodeError, csv.Error):
            continue
        if rows and rows[0] == ["id", "summary"] and all(len(row) == 2 for row in rows if row):
            return dict(row for row in rows[1:] if row)
    return None


def test_random_damage_is_noticed_or_harmless() -> None:
    """4,000 good files with random bytes changed, lost, doubled or inserted: never a crash, never a summary
    that is not in the file, as the csv module reads it.
    """
    draw = random.Random(7)
    content = GOOD.encode()
    read = 0
    for _ in range(4_000):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(damaged))
            kind = draw.randrange(4)
            if kind == 0:
                damaged[at] = draw.choice(b'",\n\r\\ \xff\xc0\xed09azAZ\x00')
            elif kind == 1:
                del damaged[at]
            elif kind == 2:
                damaged[at:at] = damaged[at : at + draw.randint(1, 30)]
            else:
                damaged[at:at] = bytes([draw.choice(b'"\n,;\t\x1b')])
        try:
            predictions = Predictions.parse(bytes(damaged), IDS)
        except InvalidSubmission:
            continue
        expected = python_reads(bytes(damaged))
        if codes(predictions.notices) & (REPAIRS - {"N104", "N206"}) or expected is None:
            continue  # repaired, and said so
        read += 1
        assert predictions.summaries == {id: unicodedata.normalize("NFC", expected[id]) for id in IDS}
    assert read > 200


# --- what is told -------------------------------------------------------------------------------------


def test_all_faults_are_told_at_once() -> None:
    """A file with six kinds of faults is refused once, with all six, each at its line and row."""
    content = (
        "id,summary\nxAqIHdvEZG,하나\nxAqIHdvEZG,둘\n7,셋\nTb3mRk91Qw,넷, 다섯\nnobody,여섯\n,일곱\n"
        "12,여덟\nZZ9,아홉\n1E5,열\n"
    )
    found = faults(content.encode())
    places = {(problem.code, problem.line, problem.row, problem.id) for problem in found}
    assert places == {
        ("E211", 3, 2, "xAqIHdvEZG"),
        ("E214", 4, 3, "7"),
        ("E116", 5, 4, "Tb3mRk91Qw"),
        ("E213", 6, 5, "nobody"),
        ("E216", 7, 6, None),
        ("E215", 9, 8, "ZZ9"),
        ("E212", None, None, "3-4"),
        ("E212", None, None, "k2"),
    }


def test_lines_and_rows_are_counted_apart() -> None:
    """After a summary of two lines, the line is one more than the row says."""
    found = faults((GOOD + "nobody,하나\n").encode())
    assert [(problem.line, problem.row) for problem in found] == [(11, 9)]


@pytest.mark.parametrize("file", HOSTILE, ids=lambda file: file.name)
def test_messages_are_plain(file: HostileFile) -> None:
    """No message holds a control character or more of the file than an excerpt, and each says what to do."""
    try:
        found = Predictions.parse(file.make(), IDS).notices
    except InvalidSubmission as refusal:
        found = (*refusal.problems, *refusal.notices)
    for problem in found:
        for text in (problem.message, problem.hint):
            assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in text)
            assert len(text) < 400
        assert problem.hint or problem.code.startswith("N")


def test_findings_are_bounded_and_counted() -> None:
    """Of a kind of fault, so many are kept, and the last line says how many more there are."""
    findings = Findings()
    for row in range(MAX_KEPT + 5):
        findings.add("E213", "unknown", row=row)
    problems = findings.problems
    assert len(problems) == MAX_KEPT + 1
    assert problems[-1].message.startswith("5 more of this kind")


def test_excerpts_show_what_cannot_be_seen() -> None:
    """Escape sequences and direction marks are written out, and long texts cut."""
    assert excerpt("\x1b[31m\u202e") == "'\\x1b[31m\\u202e'"
    assert len(excerpt("가" * 1_000)) <= MAX_EXCERPT + 3


# --- the file itself ------------------------------------------------------------------------------------


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A symbolic link to a good file is refused, so that no one is made to hand in what they cannot read."""
    target, link = tmp_path / "good.csv", tmp_path / "link.csv"
    target.write_text(GOOD, encoding="utf-8")
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("this system lets users make no links")
    with pytest.raises(InvalidSubmission) as refusal:
        Predictions.read(link, IDS)
    assert codes(refusal.value.problems) == {"E102"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    """A named pipe without a writer is refused instead of waited for."""
    import os

    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with pytest.raises(InvalidSubmission) as refusal:
        Predictions.read(pipe, IDS)
    assert codes(refusal.value.problems) == {"E102"}


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a Unix device")
def test_a_device_is_not_read() -> None:
    """/dev/zero has no end."""
    with pytest.raises(InvalidSubmission) as refusal:
        Predictions.read("/dev/zero", IDS)
    assert codes(refusal.value.problems) == {"E102"}


def test_the_bytes_that_were_checked_are_kept(tmp_path: Path) -> None:
    """``content`` and ``sha256`` are those of the file, whatever was repaired."""
    import hashlib

    path = tmp_path / "preds.csv"
    content = GOOD.encode("cp949")
    path.write_bytes(content)
    predictions = Predictions.read(path, IDS)
    assert predictions.content == content
    assert predictions.sha256 == hashlib.sha256(content).hexdigest()
    assert predictions.summaries == dict(SUMMARIES)
