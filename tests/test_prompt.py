"""The prompt baseline: prompts, cleaning, clients, a server that misbehaves, and what is paid for."""

from __future__ import annotations

import json
import os
import random
import signal
import string
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import chat_server
import pytest
from chat_server import Server, answer_to
from conftest import labelled_rows
from test_cli import matbogi

from baselines import Job, load_baseline
from baselines.answers import Answers
from baselines.asking import FAILURES_IN_A_ROW, Pace, RateLimit, Tally, ask
from baselines.chat import (
    CLIENTS,
    KINDS,
    ChatClient,
    ChatFailure,
    Message,
    Reply,
    Request,
    Sampling,
    load_client,
)
from baselines.chat_openai import OPENAI, OpenAIClient, check_address
from baselines.chat_replay import ReplayClient, read_recording, write_recording
from baselines.cleaning import STEPS, clean, shorten
from baselines.examples import choose_examples
from baselines.lengths import LINES, histogram, histogram_lines
from baselines.prices import Prices
from baselines.prompt import (
    Config,
    announce,
    board_name,
    closing_lines,
    length_asked_for,
    make_requests,
    preview,
    preview_lines,
    run,
)
from baselines.running import make_config, read_recipe, run_baseline
from baselines.token_counts import choose_counter
from harness.contest import Contest, Example
from harness.errors import HarnessError, NotAuthorised, ServiceUnavailable, UsageError
from harness.run import read_card
from harness.submission import check

ROOT = Path(__file__).parents[1]
KEY = "sk-test-Zq81xVf0aTn4"


def no_progress(done: int, total: int, note: str = "", /) -> None:
    """Nobody is looking."""


def config(**settings: Any) -> Config:
    """Settings of which nothing is kept unless told so."""
    return Config(**({"cache": False, "max_characters": 60, "retry_wait": 0.01} | settings))


def job(contest: Contest, progress: Any = no_progress) -> Job:
    """A job on ``contest``."""
    return Job(contest.train, contest.test, "mecab", contest.root, progress)


def request(number: int = 0, **sampling: Any) -> Request:
    """A question about a document."""
    settings: dict[str, Any] = {"max_tokens": 20, **sampling}
    return Request(f"d{number}", (Message("user", f"글 {number}"),), Sampling(**settings))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of ``chat_server.py``."""
    with chat_server.running(tmp_path_factory.mktemp("server") / "log.jsonl") as found:
        yield found


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings reaches a test."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TIKTOKEN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def openai_at(server: Server) -> Iterator[Any]:
    """Makes clients of the server's addresses, and closes them."""
    made: list[OpenAIClient] = []

    def connect(way: str, timeout: float = 5.0, connections: int = 16) -> OpenAIClient:
        made.append(OpenAIClient("gpt-4.1-mini", server.url(way), "", timeout, connections))
        return made[-1]

    yield connect
    for client in made:
        client.close()


# --- from answer to summary ---


@pytest.mark.parametrize(
    ("answer", "summary"),
    [
        ("시장에서 음악회가 열린다.", "시장에서 음악회가 열린다."),
        ("  요약: 음악회가 열린다.\n", "음악회가 열린다."),
        ("**요약:** 음악회가 열린다.", "음악회가 열린다."),
        ("**요약**: 음악회가 열린다.", "음악회가 열린다."),
        ("[요약] 음악회가 열린다.", "음악회가 열린다."),
        ("한 줄 요약：음악회", "음악회"),
        ("한줄 요약 (60자 이내): 음악회", "음악회"),
        ("Summary: 음악회", "음악회"),
        ('"음악회가 열린다."', "음악회가 열린다."),
        ("“요약: ‘음악회’가 열린다.”", "‘음악회’가 열린다."),
        ('요약: "음악회가 열린다."', "음악회가 열린다."),
        ('"가"와 "나"', '"가"와 "나"'),
        ("다음은 글의 요약입니다:\n\n음악회가 열린다.", "음악회가 열린다."),
        ("요약문입니다.\n음악회가 열린다.", "음악회가 열린다."),
        ("# 제목\n- 하나\n- 둘", "제목 하나 둘"),
        ("1. 하나\n2. 둘", "하나 둘"),
        ("10. 29 참사를 추모한다.", "10. 29 참사를 추모한다."),
        ("```\n음악회\n```", "음악회"),
        ("**음악회**가 `시장`에서 *열린다*. [표](http://a.b)", "음악회가 시장에서 열린다. 표"),
        ("3*4*5는 60이다", "3*4*5는 60이다"),
        ("<think>60자니까… 요약: 하나</think>\n\n음악회", "음악회"),
        ("생각 중…</think>음악회", "음악회"),
        ("<think>끝이 없다", ""),
        ("음악회가 열린다. (12자)", "음악회가 열린다."),
        ("요약하면 음악회이다.", "요약하면 음악회이다."),
        ("회의는 다음을 정했다: 예산, 일정", "회의는 다음을 정했다: 예산, 일정"),
        ("음악회\n\n시장", "음악회 시장"),
        (unicodedata.normalize("NFD", "요약: 음악회"), "음악회"),
        ("", ""),
    ],
)
def test_what_models_put_around_a_summary_is_taken_off(answer: str, summary: str) -> None:
    """Thoughts, labels, markdown, quotes, in whichever order they are nested; prose stays as it is."""
    assert clean(answer, list(STEPS)) == summary


def test_each_step_of_cleaning_can_be_left_out() -> None:
    """Nothing asked for, nothing taken off but line breaks."""
    answer = '<think>a</think>\n요약: **"음악회"**'
    assert clean(answer, []) == '<think>a</think> 요약: **"음악회"**'
    assert clean(answer, ["thoughts", "labels"]) == '**"음악회"**'


@pytest.mark.parametrize(
    ("text", "characters", "expected"),
    [
        ("짧다.", 60, "짧다."),
        ("비가 왔다. 눈도 왔다. 끝.", 13, "비가 왔다. 눈도 왔다."),
        ("비가 왔다. 그리고 눈도 아주 많이 왔다.", 10, "비가 왔다."),
        ("비. 그리고 눈도 아주 많이 왔다.", 10, "비. 그리고 눈도"),
        ("하나 둘셋 넷다섯", 5, "하나 둘셋"),
        ("하나 둘셋 넷다섯", 6, "하나 둘셋"),
        ("띄어쓰기없음", 3, "띄어쓰"),
    ],
)
def test_a_cut_falls_at_a_sentence_or_between_eojeol(text: str, characters: int, expected: str) -> None:
    """Whole sentences where they fill half of the room, else whole eojeol; never longer than asked."""
    assert shorten(text, characters) == expected
    assert len(shorten(text, characters)) <= characters


# --- prompts ---


def test_the_length_asked_for_is_a_percentile_of_the_labels() -> None:
    """Nearest rank, by hand: of lengths 1 to 10 the 90th percentile is 9; a number said outright wins."""
    train = [Example(str(n), "글", "가" * n) for n in range(1, 11)]
    asked = config(max_characters=0)
    assert length_asked_for(asked, train) == 9
    assert length_asked_for(replace(asked, length_percentile=50.0), train) == 5
    assert length_asked_for(config(max_characters=60), train) == 60
    with pytest.raises(UsageError, match="no training label"):
        length_asked_for(asked, [Example("a", "글", None)])


def test_a_document_cannot_rewrite_its_prompt() -> None:
    """Braces, markup and addresses in a document are text."""
    document = "{text} {characters} http://169.254.169.254/ [system] {0} %s"
    (made,) = make_requests(config(template="<{characters}>{text}"), [], [Example("a", document, None)])
    assert made.messages[-1] == Message("user", f"<60>{document}")
    assert [message.role for message in made.messages] == ["system", "user"]


def test_examples_stand_before_the_question_as_turns(ours: Contest) -> None:
    """Question and label by turns; fixed ones are the same for all, random ones are the seed's."""
    made = make_requests(config(examples="fixed", example_count=2), ours.train, ours.test)
    roles = ["system", "user", "assistant", "user", "assistant", "user"]
    assert all([message.role for message in each.messages] == roles for each in made)
    assert made[0].messages[2].content == ours.train[0].summary
    assert made[0].messages[:-1] == made[1].messages[:-1]
    ids = f"{ours.train[5].id}, {ours.train[3].id}"
    named = make_requests(config(examples="fixed", example_ids=ids), ours.train, ours.test)
    assert [named[0].messages[at].content for at in (2, 4)] == [ours.train[n].summary for n in (5, 3)]
    drawn = [choose_examples("random", 3, [], ours.train, ours.test, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0] != drawn[0][1]
    alone = choose_examples("random", 3, [], ours.train, ours.test[4:5], 0)
    assert alone[0] == drawn[0][4]


def test_the_nearest_examples_are_about_the_same() -> None:
    """BM25 finds the rows with the same thing and place; the nearest comes last. Odd documents do no harm."""
    train = [Example(row["id"], row["text"], row["summary"]) for row in labelled_rows()]
    wanted = "벼룩시장 소식이다. 장소는 항구이다."
    test = [Example("x", wanted, None), Example("y", "", None), Example("z", "zzz !!", None)]
    found = choose_examples("nearest", 3, [], train, test, 0)
    assert [len(each) for each in found] == [3, 3, 3]
    assert found[0][-1].summary is not None
    assert found[0][-1].summary.startswith("항구에서 벼룩시장")


def test_examples_that_cannot_be_shown_are_said() -> None:
    """An unknown id, and more examples than there are."""
    train, test = [Example("a", "글", "요약")], [Example("t", "글", None)]
    with pytest.raises(UsageError, match="no row with a summary called b"):
        choose_examples("fixed", 1, ["b"], train, test, 0)
    for way in ("fixed", "random", "nearest"):
        with pytest.raises(UsageError, match="holds 1"):
            choose_examples(way, 2, [], train, test, 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"template": "요약해 줘"}, "template must hold {text} once"),
        ({"on_long": "shout", "concurrency": 0}, "on_long must be one of.*concurrency must be above 0"),
        ({"cleaning": "quotes,soap"}, "not soap"),
        ({"length_percentile": 0.0}, "length_percentile"),
        ({"tokens_per_minute": -1.0}, "tokens_per_minute must not be negative"),
        ({"top_p": 1.5}, "top_p"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_together(settings: dict[str, Any], words: str) -> None:
    """All faults in one message."""
    with pytest.raises(UsageError, match=words):
        Config(**settings)


# --- a server that behaves, and one that does not ---


@pytest.mark.parametrize(
    ("way", "kind", "error"),
    [
        ("401", "unauthorised", NotAuthorised),
        ("403", "unauthorised", NotAuthorised),
        ("404", "not-found", UsageError),
        ("429", "rate-limit", ServiceUnavailable),
        ("quota", "quota", ServiceUnavailable),
        ("500", "server-error", ServiceUnavailable),
        ("503", "server-error", ServiceUnavailable),
        ("400", "bad-request", UsageError),
        ("context", "too-long", ServiceUnavailable),
        ("cut", "cut", ServiceUnavailable),
        ("half", "cut", ServiceUnavailable),
        ("silence", "time-out", ServiceUnavailable),
        ("garbage", "garbage", ServiceUnavailable),
        ("nonsense", "garbage", ServiceUnavailable),
        ("broken", "garbage", ServiceUnavailable),
        ("redirect", "redirect", UsageError),
        ("empty", "empty", ServiceUnavailable),
        ("refused", "refused", ServiceUnavailable),
    ],
)
def test_every_failure_has_its_own_name(
    openai_at: Any, server: Server, way: str, kind: str, error: type[HarnessError]
) -> None:
    """One try, over real HTTP; each kind has a title, a hint and a class of exit code of its own."""
    with pytest.raises(ChatFailure) as caught:
        openai_at(way, timeout=0.3 if way == "silence" else 5.0).complete(request())
    assert caught.value.kind == kind
    assert KINDS[kind].error is error
    assert KINDS[kind].hint
    assert "\x1b" not in caught.value.detail
    assert len(server.requests(way)) == 1  # the package's own retries are off
    if way == "429":
        assert caught.value.retry_after == chat_server.RETRY_AFTER


def test_a_server_that_is_not_there_is_a_cut_connection() -> None:
    """Port 9 of this machine answers nobody."""
    client = OpenAIClient("m", "http://127.0.0.1:9/v1", "", 2.0, 1)
    with pytest.raises(ChatFailure) as caught:
        client.complete(request())
    client.close()
    assert caught.value.kind == "cut"


def test_a_redirect_is_not_followed(openai_at: Any, server: Server) -> None:
    """Neither the prompt nor the key goes where a server points."""
    with pytest.raises(ChatFailure):
        openai_at("redirect").complete(request())
    assert not server.requests("elsewhere")


class Watched:
    """A client that writes down every try: when it began, when it ended, and how.

    Only the asking side knows these for certain. A server that is slow to read sees a try after the client
    has given it up, and cannot tell whether its 429 was ever seen.
    """

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        self.tries: list[tuple[str, float, float, Reply | ChatFailure]] = []  # document, begin, end, outcome

    @property
    def identity(self) -> dict[str, str]:
        """The client's own."""
        return self.client.identity

    def complete(self, request: Request) -> Reply:
        """What the client does, with its times."""
        begin = time.monotonic()
        outcome: Reply | ChatFailure
        try:
            outcome = self.client.complete(request)
        except ChatFailure as failure:
            outcome = failure
        self.tries.append((request.document, begin, time.monotonic(), outcome))
        if isinstance(outcome, ChatFailure):
            raise outcome
        return outcome


def test_every_answer_arrives_once_though_a_third_of_the_tries_fail(openai_at: Any, server: Server) -> None:
    """200 requests, 16 at once, 30% faults of five kinds: none lost, none doubled, no limit broken."""
    asked = [request(number) for number in range(200)]
    pace = Pace(concurrency=16, requests_per_minute=4_800, max_attempts=12, retry_wait=0.01)
    tally, seen, client = Tally(), [], Watched(openai_at("mixed", timeout=1.0))
    begin = time.monotonic()
    outcomes = ask(
        client, asked, pace, None, tally=tally,
        usable=lambda reply: True, watch=lambda: seen.append(tally.done),
    )  # fmt: skip
    expected = [answer_to([message._asdict() for message in each.messages]) for each in asked]
    assert [getattr(outcome, "text", outcome) for outcome in outcomes] == expected
    failed = Counter(each.kind for *_, each in client.tries if isinstance(each, ChatFailure))
    assert set(failed) == {"rate-limit", "server-error", "cut", "garbage", "time-out"}
    assert tally.failures == failed
    assert len(client.tries) == 200 + sum(failed.values())
    assert seen == sorted(seen)
    assert (seen[-1], tally.fresh, tally.given_up) == (200, 200, 0)
    assert tally.paid == {chat_server.MODEL: [20_000, 2_000]}
    # The server has answered once, and again only where an answer came later than the client waited.
    done = Counter(json.loads(line["conversation"])[0]["content"] for line in server.requests("mixed")
                   if line["did"] == "ok")  # fmt: skip
    late = Counter(document for document, *_, each in client.tries
                   if isinstance(each, ChatFailure) and each.kind == "time-out")  # fmt: skip
    assert all(1 <= done[each.messages[0].content] <= 1 + late[each.document] for each in asked)
    assert len(done) == 200
    refuse_early_tries(client, begin, 60 / pace.requests_per_minute)


def refuse_early_tries(client: Watched, begin: float, apart: float) -> None:
    """Fail if a try came before its turn, ``apart`` seconds a turn, or before a Retry-After had passed."""
    grain = 0.001  # seconds by which a timer may be early
    for turn, start in enumerate(sorted(start for _, start, *_ in client.tries)):
        assert start >= begin + turn * apart - grain
    of_document: dict[str, list[tuple[str, float, float, Reply | ChatFailure]]] = {}
    for each in client.tries:
        of_document.setdefault(each[0], []).append(each)
    for tries in of_document.values():
        for (_, _, end, outcome), (_, start, _, _) in pairwise(tries):
            if isinstance(outcome, ChatFailure) and outcome.kind == "rate-limit":
                assert start >= end + chat_server.RETRY_AFTER - grain


def test_equal_requests_are_asked_once(openai_at: Any, server: Server) -> None:
    """Two documents with one text cost one answer."""
    before = len(server.requests("ok"))
    asked = [request(1000), replace(request(1000), document="other"), request(1001)]
    tally = Tally()
    outcomes = ask(openai_at("ok"), asked, Pace(), None, tally=tally, usable=lambda _: True, watch=lambda: None)
    assert len(server.requests("ok")) - before == 2
    assert outcomes[0] == outcomes[1]
    assert (tally.fresh, tally.kept) == (2, 1)


def test_a_failure_that_all_would_share_stops_the_run(openai_at: Any, server: Server) -> None:
    """A wrong key costs as many requests as were under way, not one for each document."""
    before = len(server.requests("401"))
    asked = [request(number) for number in range(100)]
    outcomes = ask(
        openai_at("401"), asked, Pace(concurrency=4), None, tally=Tally(), usable=lambda _: True,
        watch=lambda: None,
    )  # fmt: skip
    kinds = Counter(outcome.kind for outcome in outcomes if isinstance(outcome, ChatFailure))
    assert kinds["unauthorised"] == len(server.requests("401")) - before < 20
    assert kinds["unauthorised"] + kinds["not-asked"] == 100


def test_a_server_that_stays_down_is_left_alone(openai_at: Any, server: Server) -> None:
    """After ten requests given up in a row nobody else is sent into it."""
    before = len(server.requests("500"))
    pace = Pace(concurrency=2, max_attempts=2, retry_wait=0.001)
    outcomes = ask(
        openai_at("500"), [request(number) for number in range(100)], pace, None, tally=Tally(),
        usable=lambda _: True, watch=lambda: None,
    )  # fmt: skip
    kinds = Counter(outcome.kind for outcome in outcomes if isinstance(outcome, ChatFailure))
    assert FAILURES_IN_A_ROW <= kinds["server-error"] < 20
    assert len(server.requests("500")) - before <= 2 * kinds["server-error"] + 2


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def test_no_minute_holds_more_than_its_share() -> None:
    """30 requests a minute are 2 s apart; 600 tokens a minute let 100 tokens through every 10 s."""
    clock = Clock()
    limit = RateLimit(30, 600, clock)
    turns = []
    for tokens in (10, 10, 100, 10, 10):
        limit.wait(tokens, clock.sleep)
        turns.append(clock.now)
    assert turns == [0, 2, 4, 14, 16]
    limit.settle(10, 110)  # the server counted 100 tokens more
    limit.wait(10, clock.sleep)
    assert clock.now == 27
    limit.settle(10, 0)
    limit.wait(10, clock.sleep)
    assert clock.now == 29  # requests still wait their 2 s
    limit.pause(60)
    limit.wait(10, clock.sleep)
    assert clock.now == 89


def test_a_halt_catches_those_who_already_hold_a_turn() -> None:
    """Whoever sleeps towards a turn when the server calls a halt waits for its end as well."""
    clock = Clock()
    limit = RateLimit(60, 0, clock)
    limit.wait(1, clock.sleep)

    def sleep(seconds: float) -> None:
        if clock.now == 0:
            limit.pause(30)
        clock.sleep(seconds)

    limit.wait(1, sleep)
    assert clock.now == 30


def test_a_bug_in_a_client_is_not_taken_for_a_failure() -> None:
    """Only a ChatFailure is an answer that did not come; anything else is raised where the run waits."""

    class Broken:
        identity = {"client": "broken"}  # noqa: RUF012

        def complete(self, request: Request) -> Reply:
            """Fall over."""
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(Broken(), [request()], Pace(), None, tally=Tally(), usable=lambda _: True, watch=lambda: None)


# --- what is kept ---


def test_a_key_changes_with_all_that_decides_the_answer(openai_at: Any) -> None:
    """Messages, sampling, model, address; not the document's id."""
    client: ChatClient = openai_at("ok")
    base = request(1)
    keys = {
        each.key(who)
        for who in (client, openai_at("slow"))
        for each in (
            base,
            request(2),
            request(1, temperature=1.0),
            request(1, seed=1),
            request(1, max_tokens=9),
        )
    }
    assert len(keys) == 10
    assert replace(base, document="other").key(client) == base.key(client)


def test_answers_survive_as_they_were(tmp_path: Path) -> None:
    """Every field, odd text too; the first answer under a key stays; the file is the owner's alone."""
    replies = [Reply("요약\x1b\n\ud800", "m", 5, None, True, 0.25), Reply("", "m"), Reply("b", "n", 1, 2)]
    path = tmp_path / "deep" / "a.sqlite3"
    with Answers(path) as answers:
        for key, reply in zip("abc", replies, strict=True):
            answers.keep(key, reply)
        answers.keep("a", Reply("another", "m"))
    with Answers(path) as answers:
        found = answers.find(["a", "b", "c", "d", *map(str, range(2000))])
        assert found == {"a": replace(replies[0], text="요약\x1b\n?"), "b": replies[1], "c": replies[2]}
        assert [(each.model, each.answers, each.completion_tokens) for each in answers.counts()] == [
            ("m", 2, 0),
            ("n", 1, 2),
        ]
        assert answers.clear() == 3
        assert not answers.find(["a"])
    assert os.name != "posix" or path.stat().st_mode & 0o077 == 0


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    """Another database, or no database: a message, before anything is asked."""
    path = tmp_path / "a.sqlite3"
    path.write_bytes(b"this is no database, and long enough to be looked at" * 20)
    with pytest.raises(HarnessError, match="cannot be used"):
        Answers(path)
    assert path.read_bytes().startswith(b"this is no database")


def test_five_hundred_kept_answers_need_no_client(tmp_path: Path) -> None:
    """All 500 are found, in order; the client, which would fall over, is not asked."""

    class Silent:
        identity = {"client": "silent"}  # noqa: RUF012

        def complete(self, request: Request) -> Reply:
            """Fall over."""
            raise AssertionError

    asked, tally = [request(number) for number in range(500)], Tally()
    with Answers(tmp_path / "a.sqlite3") as answers:
        for each in asked:
            answers.keep(each.key(Silent()), Reply(each.document, "m"))
        found = ask(
            Silent(), asked, Pace(), answers, tally=tally, usable=lambda _: True, watch=lambda: None
        )  # fmt: skip
    assert [getattr(reply, "text", "") for reply in found] == [each.document for each in asked]
    assert (tally.kept, tally.fresh, tally.tokens) == (500, 0, 0)


def test_a_kept_answer_of_which_nothing_is_left_is_no_summary(openai_at: Any, tmp_path: Path) -> None:
    """Kept when it was usable, empty under other settings: missing, and not asked for again."""
    client, tally = openai_at("ok"), Tally()
    with Answers(tmp_path / "a.sqlite3") as answers:
        answers.keep(request().key(client), Reply("<think>끝이 없다", "m"))
        (outcome,) = ask(
            client, [request()], Pace(), answers, tally=tally, watch=lambda: None,
            usable=lambda reply: bool(clean(reply.text, ["thoughts"])),
        )  # fmt: skip
    assert isinstance(outcome, ChatFailure)
    assert (outcome.kind, tally.given_up, tally.kept) == ("empty", 1, 0)


def run_prompt(home: Path, server: Server, way: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """``baseline prompt`` against the server, on the command line."""
    return matbogi(
        home, "baseline", "prompt", "-o", home / "out" / "preds.csv", "--base-url", server.url(way),
        "--retry-wait", 0.01, *arguments, OPENAI_API_KEY=KEY,
    )  # fmt: skip


def test_a_second_run_asks_nobody(home: Path, server: Server) -> None:
    """The same file from kept answers; --no-cache asks again; cache info and clear do what they say."""
    before = len(server.requests("ok"))
    assert run_prompt(home, server, "ok").returncode == 0
    first = (home / "out" / "preds.csv").read_bytes()
    assert len(server.requests("ok")) - before == 24
    done = run_prompt(home, server, "ok")
    assert done.returncode == 0, done.stderr
    assert (home / "out" / "preds.csv").read_bytes() == first
    assert len(server.requests("ok")) - before == 24
    card = read_card(home / "out" / "preds.csv")
    assert card is not None
    assert isinstance(card.notes["answers"], dict)
    assert (card.notes["answers"]["new"], card.notes["answers"]["kept"]) == (0, 24)
    assert run_prompt(home, server, "ok", "--no-cache").returncode == 0
    assert len(server.requests("ok")) - before == 48
    info = matbogi(home, "cache", "info", "--format", "json")
    assert json.loads(info.stdout)["rows"][0]["answers"] == 24
    assert matbogi(home, "cache", "clear", "--yes").returncode == 0
    assert "0 answers" in matbogi(home, "cache", "info").stderr


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
def test_a_run_that_was_killed_pays_for_nothing_twice(home: Path, server: Server) -> None:
    """Killed in the middle with 2 requests under way; the next run asks only for what was not answered."""
    command = [
        sys.executable, str(ROOT / "cli.py"), "baseline", "prompt", "--base-url", server.url("slow"),
        "--concurrency", "2", "-o", str(home / "preds.csv"),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=home, stderr=subprocess.DEVNULL) as process:
        while len(server.requests("slow")) < 8:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    time.sleep(0.3)  # let the server write down what was on the way
    asked = Counter(line["conversation"] for line in server.requests("slow"))
    with Answers(home / "answers.sqlite3") as answers:
        kept = sum(each.answers for each in answers.counts())
    assert 6 <= kept < 24
    assert len(asked) - kept <= 2
    done = subprocess.run(command, cwd=home, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    after = Counter(line["conversation"] for line in server.requests("slow"))
    assert len(after) == 24
    assert sum(after.values()) - 24 == len(asked) - kept  # only what was under way is asked again


# --- keys ---


def test_the_key_is_nowhere_but_on_its_way(home: Path, server: Server) -> None:
    """Not in the output, the card, the kept answers or the recording, even where the server repeats it."""
    record = home / "out" / "recorded.jsonl"
    done = run_prompt(home, server, "echo", "--record", record)
    assert done.returncode == 0, done.stderr
    assert "[key]" in record.read_text(encoding="utf-8")
    failed = [run_prompt(home, server, way, "--max-attempts", 1) for way in ("401", "400", "500")]
    assert [each.returncode for each in failed] == [5, 2, 6]
    for shown in (done, *failed):
        assert KEY not in shown.stdout + shown.stderr
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {"answers.sqlite3", "recorded.jsonl", "preds.run.json"} <= {path.name for path in files}
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_file_that_others_can_read_is_refused(home: Path, server: Server) -> None:
    """0600 works and 0644 does not, with the command that mends it; nothing is sent before."""
    key = home / "key"
    key.write_text(KEY + "\n", encoding="utf-8")
    key.chmod(0o644)
    before = len(server.requests())
    refused = run_prompt(home, server, "ok", "--api-key-file", key, "--no-cache")
    assert (refused.returncode, f"chmod 600 {key}" in refused.stderr) == (2, True), refused.stderr
    assert len(server.requests()) == before
    key.chmod(0o600)
    assert run_prompt(home, server, "ok", "--api-key-file", key, "--no-cache").returncode == 0


@pytest.mark.parametrize(
    "address",
    ["ftp://a/v1", "localhost:8000", "http://", "http://u:p@a/v1", "https://a/v1?key=1", "http://a:x/"],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(address: str) -> None:
    """It is written into the card."""
    with pytest.raises(UsageError, match="--base-url"):
        check_address(address)


def test_a_key_does_not_travel_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP to another machine, with a key: refused before a connection is made."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    client = OpenAIClient("m", "http://192.0.2.1/v1", "", 1.0, 1)  # RFC 5737: an address of nobody
    with pytest.raises(UsageError, match="unencrypted"):
        client.complete(request())


def test_without_a_key_openai_is_not_asked() -> None:
    """A message, not a connection."""
    with pytest.raises(ChatFailure) as caught:
        OpenAIClient("m", OPENAI, "", 1.0, 1).complete(request())
    assert caught.value.kind == "unauthorised"


def test_a_recipe_chooses_no_address_and_no_program(home: Path) -> None:
    """A file from somebody else must not send documents or a key anywhere, nor start anything."""
    recipe = home / "recipe.toml"
    recipe.write_text(
        'baseline = "prompt"\n[config]\nbase_url = "http://a/v1"\ncommand = "x"\n', encoding="utf-8"
    )
    done = matbogi(home, "baseline", "prompt", "--recipe", recipe)
    assert done.returncode == 2
    assert "sets base_url, command" in done.stderr


# --- whole runs ---


def test_a_dry_run_shows_all_and_sends_nothing(home: Path, server: Server) -> None:
    """Prompts, tokens, how they were counted, cost; no request, no file."""
    before = len(server.requests())
    done = run_prompt(home, server, "ok", "--dry-run", "1", "--examples", "nearest")
    assert done.returncode == 0, done.stderr
    assert len(server.requests()) == before
    assert done.stdout.count("[system]") == 1
    assert done.stdout.count("[assistant]") == 3
    for words in ("estimated at 0.8 tokens a character", "Prompts:               24", "Nothing was sent."):
        assert words in done.stdout
    assert not (home / "out").exists()
    assert not (home / "answers.sqlite3").exists()


def test_the_estimate_of_cost_is_price_times_tokens() -> None:
    """By hand: 100 characters at 0.8 and 4 for the turn are 84 tokens in, 10 characters are 8 out."""
    test = [Example("a", "가" * 100, None)]
    asked = config(model="gpt-4.1-mini", instruction="", template="{text}", max_characters=10)
    found = preview(asked, Job([], test, "mecab", Path(), no_progress))
    assert (found.counts, found.answer_tokens) == ([84], 8)
    assert found.cost == pytest.approx((84 * 0.40 + 8 * 1.60) / 1e6)
    unknown = preview(replace(asked, model="mine"), Job([], test, "mecab", Path(), no_progress))
    assert "price not known" in "\n".join(preview_lines(unknown, 0))


def test_prices_hold_for_dated_names_and_are_never_made_up(tmp_path: Path) -> None:
    """gpt-4.1-mini-2025-04-14 is gpt-4.1-mini, gpt-4.1-mini-super is not; a wrong file is told in full."""
    prices = Prices()
    assert prices.find("gpt-4.1-mini-2025-04-14") == prices.find("gpt-4.1-mini") == (0.40, 1.60)
    assert prices.find("gpt-3.5-turbo-0125") == (0.50, 1.50)
    assert prices.find("gpt-4.1-mini-super") is None
    wrong = tmp_path / "prices.toml"
    wrong.write_text('[models]\na = 1\nb = [1, 2]\nc = [1, "x"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"a, c must be two numbers"):
        Prices(wrong)


def test_tokens_are_counted_by_the_model_s_own_tokenizer_where_it_is_here() -> None:
    """The embedded model's tokens are those of its tokenizer file; a server's model is estimated."""
    from tokenizers import Tokenizer

    counter = choose_counter(load_client("transformers", config(client="transformers")))
    tokenizer = Tokenizer.from_file(str(ROOT / "baselines" / "tiny" / "tokenizer.json"))
    assert counter.count(request(5)) == len(tokenizer.encode("글 5", add_special_tokens=False).ids)
    assert "own tokenizer" in counter.name
    assert "estimated" in choose_counter(load_client("openai", config())).name


def test_a_run_says_what_it_sends_and_asks_where_that_may_cost(server: Server, monkeypatch: Any) -> None:
    """Counts, tokens, price. A server on this machine is not asked about; a wrong set-up is told first."""
    test = Job([], [Example("a", "가" * 100, None)], "mecab", Path(), no_progress)
    asked = config(model="gpt-4.1-mini", instruction="", template="{text}", max_characters=10)
    with pytest.raises(NotAuthorised, match="there is no key"):
        announce(asked, test)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = announce(asked, test)
    assert found.asks
    assert "1 of 1 prompts go to https://api.openai.com/v1, model gpt-4.1-mini" in found.lines[0]
    assert "About 84 tokens to read and 8 to write" in found.lines[1]
    assert found.lines[1].endswith("$0.0000.")
    assert KEY not in "".join(found.lines)
    assert "may double" in announce(replace(asked, on_long="ask-again"), test).lines[-1]
    assert not announce(replace(asked, base_url=server.url("ok")), test).asks
    assert announce(config(client="command", command="cat"), test).asks
    assert announce(config(client="transformers"), test) == ([], False)


@pytest.mark.skipif(os.name != "posix", reason="a terminal of one's own is POSIX's")
@pytest.mark.parametrize(("answer", "exit_code"), [(b"n", 1), (b"y", 0), (b"", 0)])
def test_nothing_is_sent_before_a_person_agrees(home: Path, answer: bytes, exit_code: int) -> None:
    """In a terminal "n" ends it and "y" goes on; --yes does not ask. ``cat`` may cost, for all we know."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, str(ROOT / "cli.py"), "baseline", "prompt", "--client", "command", "--command",
               "cat", "-o", str(home / "preds.csv"), *(() if answer else ("--yes",))]  # fmt: skip
    os.write(ours, answer + b"\n")
    done = subprocess.run(command, cwd=home, stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == exit_code, done.stderr
    assert ("Go on?" in done.stderr) == bool(answer)
    assert (home / "preds.csv").exists() == (exit_code == 0)


@pytest.mark.parametrize(
    ("on_long", "summary", "requests"),
    [
        ("keep", "첫 문장이 여기에 있다. 둘째 문장은 아주 길고 길고 길다.", 24),
        ("cut", "첫 문장이 여기에 있다.", 24),
        ("ask-again", "짧은 요약이다.", 48),
    ],
)
def test_an_answer_that_is_too_long_is_kept_cut_or_asked_for_again(
    ours: Contest, server: Server, on_long: str, summary: str, requests: int
) -> None:
    """20 characters were asked for; asking again shows the model its answer and says how long it was."""
    before = len(server.requests("long"))
    asked = config(base_url=server.url("long"), on_long=on_long, max_characters=20)
    summaries, notes = run(asked, job(ours))
    assert set(summaries) == {summary}
    log = server.requests("long")[before:]
    assert len(log) == requests
    assert notes["answers"]["too_long"] == 24
    if on_long == "ask-again":
        last = json.loads(log[-1]["conversation"])
        assert [turn["role"] for turn in last] == ["system", "user", "assistant", "user"]
        assert "33자입니다" in last[-1]["content"]
        assert "20자 이내" in last[-1]["content"]


def test_answers_that_could_not_be_had_are_no_summaries(home: Path, ours: Contest, server: Server) -> None:
    """The run stops and names what is missing and why; nothing is written."""
    done = run_prompt(home, server, "refused")
    assert done.returncode == ServiceUnavailable.exit_code
    assert "Answers are missing for 24 of 24 documents" in done.stderr
    assert "refused to answer" in done.stderr
    assert ours.test[0].id in done.stderr
    assert not (home / "out" / "preds.csv").exists()


def test_allow_missing_writes_empties_of_which_the_checker_warns(ours: Contest, tmp_path: Path) -> None:
    """Half of the answers are recorded; the other half is empty in the file, and the checker says so."""
    recording = tmp_path / "half.jsonl"
    lines = [json.dumps({"id": each.id, "answer": "요약이다."}) for each in ours.test[::2]]
    recording.write_text("\n".join(lines), encoding="utf-8")
    asked = config(client="replay", recording=str(recording))
    with pytest.raises(UsageError, match="missing for 12 of 24"):
        run(asked, job(ours))
    predictions = tmp_path / "preds.csv"
    run_baseline("prompt", replace(asked, allow_missing=True), ours, predictions, no_progress)
    report = check(predictions, ours)
    assert report.ok
    assert sum("empty" in notice.message for notice in report.notices) >= 1
    empty = tmp_path / "none.jsonl"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="missing for 24 of 24"):
        run(replace(asked, allow_missing=True, recording=str(empty)), job(ours))


def test_the_card_says_what_was_asked_of_whom_and_what_it_took(
    ours: Contest, server: Server, tmp_path: Path
) -> None:
    """The model as the server named it, tokens, cost, latencies, lengths; the bar's note tells on the way."""
    notes: list[str] = []
    prices = tmp_path / "prices.toml"
    prices.write_text('[models]\n"gpt-4.1-mini" = [1, 10]\n', encoding="utf-8")
    asked = config(base_url=server.url("ok"), prices=str(prices))
    made = run(asked, job(ours, lambda done, total, note="", /: notes.append(f"{done}/{total} {note}")))
    card = made.notes
    assert card["models"] == [chat_server.MODEL]
    assert card["tokens"] == {"prompt": 2400, "completion": 240, "paid_prompt": 2400, "paid_completion": 240}
    assert card["cost_usd"] == 0.0  # a server on this machine sends no bill
    assert set(card["latency_seconds"]) == {"p50", "p90", "p95", "p99", "p100"}
    assert card["lengths"]["p100"] == 12
    assert notes[-1] == "24/24 errors 0, 2,640 tokens, $0.0000"


def test_a_run_ends_with_its_lengths_beside_the_labels(home: Path, server: Server) -> None:
    """Answers, tokens and price, tries that failed, then a line for each step of lengths."""
    done = run_prompt(home, server, "long", "--max-characters", 20)
    assert done.returncode == 0, done.stderr
    assert f"Answers of {chat_server.MODEL}: 24 new; 24 were longer than 20 characters, 24 cut." in done.stderr
    assert "Tokens: 2,400 read and 240 written in this run, $0.0000." in done.stderr
    assert "24 summaries" in done.stderr
    assert "96 training labels" in done.stderr


@pytest.mark.parametrize(
    ("summaries", "labels"),
    [([5], [5]), ([0, 0, 330], [53]), (list(range(1, 400)), [50] * 9 + [20]), ([30] * 99 + [90_000], [31])],
)
def test_a_histogram_counts_every_length_once(summaries: list[int], labels: list[int]) -> None:
    """Steps of one width from the shortest on; the last is open; few enough lines for a screen."""
    found = histogram(summaries, labels)
    starts = found["from"]
    assert (sum(found["summaries"]), sum(found["labels"])) == (len(summaries), len(labels))
    assert starts[0] <= min(summaries + labels)
    assert len({after - before for before, after in pairwise(starts)}) <= 1
    assert len(starts) <= LINES
    for kind, lengths in (("summaries", summaries), ("labels", labels)):
        assert found[kind][-1] == sum(length >= starts[-1] for length in lengths)
    lines = list(histogram_lines(found, bars=False))
    assert len(lines) == len(starts) + 1
    assert "".join(lines).isascii()


def test_a_histogram_is_drawn_in_shares() -> None:
    """By hand: a quarter and three quarters; what is there at all has a bar. Without labels there is none."""
    found = {"from": [10, 20], "summaries": [1, 3], "labels": [999, 1]}
    one, two = list(histogram_lines(found, bars=False))[1:]
    assert one.split() == ["10", "-", "19", "#" * 5, "25%", "#" * 20, "100%"]
    assert two.split() == ["20", "+", "#" * 15, "75%", "#", "<1%"]
    assert not list(histogram_lines(histogram([5], []), bars=True))


def test_the_board_says_who_answered() -> None:
    """A model by its name, a folder by its last part, a recording as one, the embedded model as what it is."""
    for client, models, name in (
        ({"client": "openai", "model": "gpt-4.1-mini"}, ["gpt-4.1-mini-2025-04-14"], "prompt (gpt-4.1-mini)"),
        ({"client": "transformers", "model": "/a/qwen"}, ["/a/qwen"], "prompt (qwen)"),
        ({"client": "command", "command": "llm -m x"}, ["llm"], "prompt (llm)"),
        ({"client": "replay", "file": "a.jsonl"}, ["gpt-5"], "prompt (gpt-5, recorded)"),
        ({"client": "replay", "file": "a.jsonl"}, ["tiny"], "prompt (tiny, recorded, no chat model)"),
        ({"client": "transformers", "model": "tiny"}, ["tiny"], "prompt (tiny, no chat model)"),
    ):
        assert board_name({"client": client, "models": models}) == name


def test_the_demonstration_is_recorded_for_the_sample_contest_as_it_is(monkeypatch: Any) -> None:
    """Every document has its recorded answer, with no new tokens; its name and last lines are honest."""
    monkeypatch.chdir(ROOT)
    recipe = read_recipe(Path("recipes/tiny-recorded.toml"))
    made = make_config(load_baseline("prompt"), recipe.settings, "recipe")
    outcome = run(made, job(Contest.load(ROOT / "contests" / "mini")))
    assert outcome.notes["answers"]["recorded"] == 500
    assert outcome.notes["tokens"]["paid_prompt"] == 0
    assert board_name(outcome.notes) == "prompt (tiny, recorded, no chat model)"
    said = "\n".join(closing_lines(outcome.notes, bars=True))
    assert "500 recorded" in said
    assert "Tokens:" not in said


def test_a_recording_gives_the_same_summaries_without_the_server(
    ours: Contest, server: Server, tmp_path: Path
) -> None:
    """Second questions too. The file holds answers and no documents."""
    path = tmp_path / "recorded.jsonl"
    asked = config(base_url=server.url("long"), on_long="ask-again", max_characters=20, record=str(path))
    first = run(asked, job(ours)).summaries
    before = len(server.requests())
    replayed = replace(asked, client="replay", recording=str(path), record="", base_url="")
    assert run(replayed, job(ours)).summaries == first
    assert len(server.requests()) == before
    assert len(path.read_text(encoding="utf-8").splitlines()) == 48
    assert "소식이다" not in path.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="holds no answer"):
        run(replace(replayed, instruction="다르게"), job(ours))


def test_a_recording_by_hand_answers_by_id_and_by_turn(tmp_path: Path) -> None:
    """The first line of an id answers the first question, the second the second; bad lines are named."""
    path = tmp_path / "hand.jsonl"
    path.write_text('{"id": "d1", "answer": "하나"}\n\n{"id": "d1", "answer": "둘\u2028"}\n', encoding="utf-8")
    client = ReplayClient(path)
    first = request(1)
    again = replace(first, messages=(*first.messages, Message("assistant", "하나"), Message("user", "다시")))
    assert (client.complete(first).text, client.complete(again).text) == ("하나", "둘\u2028")
    with pytest.raises(ChatFailure):
        client.complete(request(2))
    path.write_text('{"id": "d1"}\n[]\n{"answer": "x"}\nnot JSON\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"4 lines are not.*: 1, 2, 3, 4"):
        ReplayClient(path)
    write_recording(path, [(first, Reply("답\n", "m", 1, 2, True))])
    assert read_recording(path) == [(first.conversation, "d1", Reply("답\n", "m", 1, 2, True))]


# --- the other clients ---


def program(tmp_path: Path, code: str) -> str:
    """A command line that runs ``code``."""
    path = tmp_path / "my program.py"
    path.write_text(code, encoding="utf-8")
    return f"'{sys.executable}' '{path}' '$(touch {tmp_path}/shell); *'"


def test_any_program_can_answer(tmp_path: Path) -> None:
    """The prompt on standard input, the answer on standard output, the arguments untouched by a shell."""
    code = "import sys\ntext = sys.stdin.buffer.read().decode()\nprint(len(text), *sys.argv[1:])"
    client = load_client("command", config(client="command", command=program(tmp_path, code)))
    asked = Request("a", (Message("system", "가나"), Message("user", "다")), Sampling(10))
    assert client.complete(asked).text.strip() == f"5 $(touch {tmp_path}/shell); *"
    assert not (tmp_path / "shell").exists()


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("import sys\nsys.exit('no\\x1b[31m model')", "program", "exit code 1: no[31m model"),
        ("import time\ntime.sleep(60)", "time-out", ""),
        ("", "empty", ""),
    ],
)
def test_a_program_that_fails_is_told_with_its_words(tmp_path: Path, code: str, kind: str, said: str) -> None:
    """Exit code and standard error, stripped of what steers a terminal; silence has an end."""
    command = program(tmp_path, code)
    client = load_client("command", config(client="command", command=command, request_timeout=1.0))
    with pytest.raises(ChatFailure) as caught:
        client.complete(request())
    assert caught.value.kind == kind
    assert said in caught.value.detail


@pytest.mark.parametrize("command", ["", "'open"])
def test_a_command_that_cannot_be_read_is_refused(command: str) -> None:
    """None at all, or an open quote."""
    with pytest.raises(UsageError, match="--command"):
        load_client("command", config(client="command", command=command))


@pytest.mark.parametrize("words", ["ask --key {}", "curl -H 'Authorization: Bearer {}' https://a"])
def test_a_command_with_a_secret_in_it_is_refused(words: str) -> None:
    """The command is written into the card; a key belongs into the environment."""
    draw = random.Random(1)
    key = "sk-" + "".join(draw.choice(string.ascii_letters + string.digits) for _ in range(48))
    with pytest.raises(UsageError, match="secret") as caught:
        load_client("command", config(client="command", command=words.format(key)))
    assert key not in str(caught.value)


def test_an_unknown_client_is_answered_with_what_there_is() -> None:
    """Near matches first."""
    with pytest.raises(UsageError, match="Did you mean 'openai'"):
        load_client("opnai", config())
    assert set(CLIENTS) == {"openai", "transformers", "command", "replay"}


def test_another_package_may_bring_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point of the group matbogi.chat_clients, found by its name."""
    (tmp_path / "their_client.py").write_text(
        "from baselines.chat import Reply\n"
        "class Theirs:\n"
        "    identity = {'client': 'theirs'}\n"
        "    def complete(self, request):\n"
        "        return Reply('그들의 ' + request.messages[-1].content, 'theirs')\n"
        "def connect(config):\n"
        "    return Theirs()\n",
        encoding="utf-8",
    )
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n", encoding="utf-8")
    points = "[matbogi.chat_clients]\ntheirs = their_client:connect\n"
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_client("theirs", config()).complete(request(3)).text == "그들의 글 3"


def test_the_author_s_recipe_asks_for_sixty_characters(ours: Contest) -> None:
    """recipes/chatgpt-60.toml is a whole and valid recipe: ChatGPT, 60 characters, kept as they come."""
    recipe = read_recipe(ROOT / "recipes" / "chatgpt-60.toml")
    made = make_config(load_baseline("prompt"), recipe.settings, "recipe")
    assert (recipe.baseline, made.model, made.on_long) == ("prompt", "gpt-3.5-turbo", "keep")
    assert "60자 이내" in make_requests(made, ours.train, ours.test)[0].messages[-1].content


# --- real models, and a real server ---


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights, a byte-level tokenizer and a chat template, made on the spot."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("chat-model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<think>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(["the summary of a text"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
        "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(5)
    shape = LlamaConfig(
        vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, eos_token_id=0, bos_token_id=None, pad_token_id=0, initializer_range=0.4,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def test_a_chat_model_in_this_process_goes_through_its_template(chat_model: Path) -> None:
    """Turns are marked, thinking is off; a batch gives what one by one gives; the seed decides samples."""
    settings = config(client="transformers", model=str(chat_model), batch_size=4)
    client: Any = load_client("transformers", settings)
    engine = client._ready()
    prompt = engine._tokenizer.decode(engine.encode(request(1)))
    assert prompt == "<|user|>글 1<|assistant|>"
    asked = [request(number * 10_007, max_tokens=8) for number in range(4)]
    together = client.complete_batch(asked)
    alone = [client.complete(each) for each in asked]
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    assert len({reply.text for reply in together}) > 1
    drawn = [client.complete(request(1, max_tokens=8, temperature=1.0, seed=seed)).text for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    (long,) = client.complete_batch([request(1, max_tokens=600)])
    assert isinstance(long, ChatFailure)
    assert long.kind == "too-long"


def test_the_identity_of_a_model_changes_with_its_weights(chat_model: Path) -> None:
    """A model that was trained on is another one, under the same name: its kept answers are not used."""
    client = load_client("transformers", config(client="transformers", model=str(chat_model)))
    before = client.identity
    (weights,) = chat_model.glob("*.safetensors")
    os.utime(weights, ns=(1, 1))
    assert client.identity != before


@pytest.mark.parametrize("name", ["an empty folder", "nobody/no-such-model", "../x"])
def test_a_model_that_is_none_is_told_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An empty folder, a name the hub does not have, a name that is none."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = str(tmp_path) if name == "an empty folder" else name
    client: Any = load_client("transformers", config(client="transformers", model=model))
    with pytest.raises(UsageError, match="cannot be used"):
        client.complete(request())


@pytest.mark.slow
def test_transformers_serve_answers_over_http(chat_model: Path, ours: Contest, tmp_path: Path) -> None:
    """A real server with a real chat model: the run's answers are those of the same model in process."""
    port = random.Random(os.getpid()).randrange(20_000, 30_000)
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(chat_model),
               "--port", str(port), "--reasoning", "off", "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    log = (tmp_path / "serve.log").open("w", encoding="utf-8")
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            wait_for(process, f"http://127.0.0.1:{port}/health", log.name)
            asked = config(
                base_url=f"http://127.0.0.1:{port}/v1", model=str(chat_model), max_tokens=6, concurrency=2,
                max_document_characters=20, cleaning="", instruction="", template="{text}", allow_missing=True,
            )  # fmt: skip
            served = run(asked, job(ours))
        finally:
            process.terminate()
    here = run(replace(asked, client="transformers", base_url=""), job(ours))
    assert served.summaries == here.summaries
    assert sum(bool(text) for text in served.summaries) > 12
    assert served.notes["tokens"]["prompt"] == here.notes["tokens"]["prompt"]


def wait_for(process: subprocess.Popen[bytes], address: str, log: str) -> None:
    """Wait until a server answers at all, two minutes at most."""
    from urllib.error import URLError
    from urllib.request import urlopen

    for _ in range(240):
        assert process.poll() is None, Path(log).read_text(encoding="utf-8")
        try:
            with urlopen(address, timeout=1):  # noqa: S310
                return
        except (URLError, OSError):
            time.sleep(0.5)
    pytest.fail(Path(log).read_text(encoding="utf-8"))
