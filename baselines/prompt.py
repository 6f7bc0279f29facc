"""What if we simply asked a chat model? The prompt baseline, with any model behind one adapter.

A prompt asks for a summary of so many characters (a high percentile of the training labels' lengths), with
or without examples from train.csv. Answers are cleaned, and those that are too long are asked for again,
cut, or kept. Every answer is kept as it arrives: a run that was interrupted goes on where it was, and pays
for nothing twice. --dry-run shows the prompts, their tokens and the cost, and sends nothing.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from baselines import Job, Outcome, Progress, setting
from baselines.answers import FILE_NAME, Answers
from baselines.asking import Pace, Tally, ask, kind_of
from baselines.chat import (
    CLIENTS,
    ChatClient,
    ChatFailure,
    CheckingClient,
    ClosingClient,
    Message,
    Reply,
    Request,
    Sampling,
    load_client,
)
from baselines.chat_replay import write_recording
from baselines.cleaning import STEPS, clean, shorten
from baselines.examples import WAYS, choose_examples
from baselines.lengths import histogram
from baselines.prices import DEFAULT_PRICES, Prices, dollars
from baselines.prompt_screens import NOTHING_TO_SAY, Announcement, announcement, board_name, closing_lines
from baselines.token_counts import choose_counter, estimate_text
from harness.contest import Example
from harness.errors import UsageError
from harness.text import safe

__all__ = ["Config", "announce", "board_name", "closing_lines", "preview", "preview_lines", "run", "summarize"]

INSTRUCTION = (
    "당신은 한국어 문서를 요약하는 편집자입니다. 요약문 한 문장만 씁니다. "
    "제목, 설명, 따옴표, 줄바꿈을 붙이지 않습니다."
)
TEMPLATE = "다음 글을 공백을 포함해 {characters}자 이내의 한 문장으로 요약해 주세요.\n\n{text}"
AGAIN = "방금 쓴 요약은 {length}자입니다. 공백을 포함해 {characters}자 이내로 다시 써 주세요. 요약문만 쓰세요."
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
ON_LONG = ("ask-again", "cut", "keep")


@dataclass(frozen=True)
class Config:
    """Hyperparameters of ``prompt``."""

    client: str = setting("openai", f"Who answers: {', '.join(CLIENTS)}; other packages may add to these.")
    model: str = setting("", "Model; gpt-4.1-mini with openai, tiny with transformers unless told otherwise.")
    revision: str = setting("", "transformers: revision of a model on the hub.")
    precision: str = setting("fp32", "transformers: fp32, bf16 or fp16.")
    batch_size: int = setting(32, "transformers: requests in a batch.")
    base_url: str = setting("", "openai: the server; OPENAI_BASE_URL, else OpenAI's own.", recipe=False)
    api_key_file: str = setting(
        "", "openai: a file with the key, readable by you alone; else OPENAI_API_KEY.", recipe=False
    )
    command: str = setting("", "command: the program and its arguments.", recipe=False)
    recording: str = setting("", "replay: the file with recorded answers.")
    record: str = setting("", "Write the answers into this file, for the client replay.", recipe=False)
    instruction: str = setting(INSTRUCTION, "The system message; empty for none.")
    template: str = setting(TEMPLATE, "The question, with {text} where the document goes, and {characters}.")
    again_template: str = setting(AGAIN, "With ask-again: the second question, with {length} and {characters}.")
    examples: str = setting("none", f"Examples from train.csv: {', '.join(WAYS)} (by BM25).")
    example_count: int = setting(3, "How many examples.")
    example_ids: str = setting("", "With fixed: their ids, with commas; the first ones unless told otherwise.")
    max_document_characters: int = setting(0, "Cut documents to so many characters; 0 does not cut.")
    max_characters: int = setting(0, "Length to ask for; 0 takes it from the training labels.")
    length_percentile: float = setting(90.0, "Percentile of the training labels' lengths to ask for.")
    on_long: str = setting("cut", f"What to do with an answer that is too long: {', '.join(ON_LONG)} (once).")
    cleaning: str = setting(",".join(STEPS), "What to take off answers, with commas; empty for nothing.")
    temperature: float = setting(0.0, "Sampling temperature; below 0 leaves it to the server.")
    top_p: float = setting(1.0, "Sampling: only the likeliest tokens that hold this share.")
    max_tokens: int = setting(256, "Longest answer, in tokens.")
    seed: int = setting(0, "Of random examples, sampling and jitter.")
    concurrency: int = setting(8, "Requests at once.")
    requests_per_minute: float = setting(0.0, "At most so many requests a minute; 0 is no limit.")
    tokens_per_minute: float = setting(0.0, "At most so many tokens a minute; 0 is no limit.")
    max_attempts: int = setting(6, "Try a request so often.")
    retry_wait: float = setting(1.0, "Seconds before the second try; doubled each time, with jitter.")
    request_timeout: float = setting(60.0, "Seconds to wait for an answer.")
    cache: bool = setting(True, "Keep answers, and use those that are kept.")
    answers_file: str = setting(
        "", f"File of kept answers; {FILE_NAME} beside contests/ unless told otherwise."
    )
    prices: str = setting("", "Prices by model, a TOML file; baselines/prices.toml unless told otherwise.")
    allow_missing: bool = setting(False, "Write an empty summary where no answer could be had.")

    def __post_init__(self) -> None:
        """Refuse what cannot be used, all of it at once."""
        faults = list(_faults(self))
        if faults:
            raise UsageError(f"The settings cannot be used: {'; '.join(faults)}.")


def _faults(config: Config) -> Iterator[str]:
    choices = {"examples": WAYS, "on_long": ON_LONG, "precision": ("fp32", "bf16", "fp16")}
    for name, known in choices.items():
        if getattr(config, name) not in known:
            yield f"{name} must be one of {', '.join(known)}"
    if unknown := [name for name in _listed(config.cleaning) if name not in STEPS]:
        yield f"cleaning knows {', '.join(STEPS)}, not {', '.join(unknown)}"
    if config.template.count("{text}") != 1:
        yield "template must hold {text} once: that is where the document goes"
    positive = ("example_count", "max_tokens", "concurrency", "max_attempts", "batch_size", "request_timeout")
    for name in positive:
        if not getattr(config, name) > 0:
            yield f"{name} must be above 0"
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, int | float) and value < 0 and item.name not in (*positive, "temperature", "seed"):
            yield f"{item.name} must not be negative"
    if not 0 < config.length_percentile <= 100:
        yield "length_percentile must be above 0 and at most 100"
    if not 0 < config.top_p <= 1:
        yield "top_p must be above 0 and at most 1"


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


# --- the prompts ----------------------------------------------------------------------------------


def length_asked_for(config: Config, train: Sequence[Example]) -> int:
    """``max_characters``, else the percentile of the training labels' lengths, by nearest rank.

    Raises:
        UsageError: there is no label to take it from.
    """
    if config.max_characters:
        return config.max_characters
    lengths = _label_lengths(train)
    if not lengths:
        raise UsageError(
            "There is no training label to take a length from.", hint="Say how long: --max-characters 60"
        )
    return max(1, percentile(lengths, config.length_percentile))


def _label_lengths(train: Sequence[Example]) -> list[int]:
    return [len(" ".join(example.summary.split())) for example in train if example.summary]


def percentile(values: Sequence[int], percent: float) -> int:
    """The smallest value that ``percent`` of ``values`` do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def make_requests(config: Config, train: Sequence[Example], test: Sequence[Example]) -> list[Request]:
    """One request for each document of ``test``: instruction, examples as turns, question."""
    characters = length_asked_for(config, train)
    chosen = choose_examples(
        config.examples, config.example_count, _listed(config.example_ids), train, test, config.seed
    )
    temperature = None if config.temperature < 0 else config.temperature
    sampling = Sampling(config.max_tokens, temperature, config.top_p, config.seed)
    system = (Message("system", config.instruction),) if config.instruction else ()
    requests = []
    for example, shown in zip(test, chosen, strict=True):
        turns: list[Message] = []
        for one in shown:
            turns.append(Message("user", question(config, one.text, characters)))
            turns.append(Message("assistant", " ".join((one.summary or "").split())))
        asked = Message("user", question(config, example.text, characters))
        requests.append(Request(example.id, (*system, *turns, asked), sampling))
    return requests


def question(config: Config, document: str, characters: int) -> str:
    """The template around ``document``; braces in the document stay as they are."""
    if config.max_document_characters:
        document = document[: config.max_document_characters]
    before, after = config.template.replace("{characters}", str(characters)).split("{text}")
    return f"{before}{document}{after}"


# --- a run ----------------------------------------------------------------------------------------


def summarize(
    config: Config, train: Sequence[Example], test: Sequence[Example], progress: Progress
) -> list[str]:
    """The summaries alone."""
    return run(config, Job(train, test, "mecab", Path(), progress)).summaries


def run(config: Config, job: Job) -> Outcome:
    """Ask for every summary, clean it, and hold it to its length.

    Raises:
        HarnessError: settings that cannot be used; or answers are missing, and why.
    """
    prices = Prices(Path(config.prices) if config.prices else DEFAULT_PRICES)
    requests = make_requests(config, job.train, job.test)
    with _client(config) as client, _answers(config) or nullcontext() as answers:
        asking = _Asking(config, client, answers, prices, job)
        outcomes = asking.first(requests)
        missing = [(each.id, found) for each, found in zip(job.test, outcomes, strict=True)
                   if isinstance(found, ChatFailure)]  # fmt: skip
        if missing and (not config.allow_missing or len(missing) == len(outcomes)):
            raise missing_answers(missing, len(outcomes), kept=answers is not None)
        texts = asking.hold_to_length(requests, outcomes, length_asked_for(config, job.train))
    if config.record:
        write_recording(Path(config.record), asking.had)
    job.progress(len(texts), len(texts), asking.note())
    return Outcome(texts, asking.notes(texts))


@contextmanager
def _client(config: Config) -> Iterator[ChatClient]:
    client = load_client(config.client, config)
    try:
        yield client
    finally:
        if isinstance(client, ClosingClient):
            client.close()


def _answers(config: Config) -> Answers | None:
    """The kept answers, unless they are not wanted; recorded ones need not be kept again."""
    if not config.cache or config.client == "replay":
        return None
    return Answers(answers_path(config.answers_file))


def answers_path(named: str) -> Path:
    """The file of kept answers: ``named``, or the one beside the contests."""
    from harness.home import find_home

    return Path(named) if named else find_home(Path.cwd()) / FILE_NAME


class _Asking:
    """One run: it asks, counts, and remembers what became of the answers."""

    def __init__(
        self, config: Config, client: ChatClient, answers: Answers | None, prices: Prices, job: Job
    ) -> None:
        self.config, self.client, self.answers, self.prices, self.job = config, client, answers, prices, job
        self.steps = _listed(config.cleaning)
        self.tally = Tally()
        self.had: list[tuple[Request, Reply]] = []
        self.fates: Counter[str] = Counter()
        self.begin = time.perf_counter()

    def first(self, requests: Sequence[Request]) -> list[Reply | ChatFailure]:
        """Ask every question once."""
        return self._ask(requests, lambda: min(self.tally.done, len(requests)))

    def _ask(self, requests: Sequence[Request], done: Any) -> list[Reply | ChatFailure]:
        config, total = self.config, len(self.job.test)
        pace = Pace(**{item.name: getattr(config, item.name) for item in fields(Pace)})
        outcomes = ask(
            self.client, requests, pace, self.answers, tally=self.tally,
            usable=lambda reply: bool(clean(reply.text, self.steps)),
            watch=lambda: self.job.progress(done(), total, self.note()),
        )  # fmt: skip
        self.had += [
            (request, outcome) for request, outcome in zip(requests, outcomes, strict=True)
            if isinstance(outcome, Reply)
        ]  # fmt: skip
        return outcomes

    def hold_to_length(
        self, requests: Sequence[Request], outcomes: Sequence[Reply | ChatFailure], characters: int
    ) -> list[str]:
        """Summaries, those that were too long treated as ``on_long`` says; empty where there is no answer."""
        texts = [clean(each.text, self.steps) if isinstance(each, Reply) else "" for each in outcomes]
        long = [place for place, text in enumerate(texts) if len(text) > characters]
        self.fates["too_long"] = len(long)
        if self.config.on_long == "ask-again" and long:
            again = [_again(self.config, requests[at], outcomes[at], len(texts[at]), characters) for at in long]
            # A second answer that fails to come leaves the first, which is then cut.
            for place, outcome in zip(long, self._ask(again, lambda: len(texts)), strict=True):
                if isinstance(outcome, Reply):
                    texts[place] = clean(outcome.text, self.steps)
            self.fates["asked_again"] = len(long)
        if self.config.on_long != "keep":
            self.fates["cut"] = sum(len(text) > characters for text in texts)
            texts = [shorten(text, characters) for text in texts]
        return texts

    def cost(self) -> float | None:
        """Dollars paid in this run; ``None`` where a price is not known."""
        return cost_of(self.tally.paid, self.client, self.prices)

    def note(self) -> str:
        """What stands beside the bar."""
        failed = sum(self.tally.failures.values())
        return f"errors {failed}, {self.tally.tokens:,} tokens, {dollars(self.cost())}"

    def notes(self, texts: Sequence[str]) -> dict[str, Any]:
        """What the run card keeps."""
        replies, tally = [reply for _, reply in self.had], self.tally
        cost, recorded = self.cost(), self.client.identity["client"] == "replay"
        paid = [] if recorded else list(tally.paid.values())
        return {
            "client": dict(self.client.identity),
            "models": sorted({reply.model for reply in replies}),
            "length_asked_for": length_asked_for(self.config, self.job.train),
            "lengths": _spread([len(text) for text in texts]),
            "label_lengths": _spread(_label_lengths(self.job.train)),
            "length_histogram": histogram([len(text) for text in texts], _label_lengths(self.job.train)),
            "answers": {
                "recorded" if recorded else "new": tally.fresh, "kept": tally.kept,
                "missing": sum(not text for text in texts),
                "stopped_at_max_tokens": sum(reply.stopped_early for reply in replies), **self.fates,
            },
            "failed_tries": dict(tally.failures),
            "tokens": {
                "prompt": sum(reply.prompt_tokens or 0 for reply in replies),
                "completion": sum(reply.completion_tokens or 0 for reply in replies),
                "paid_prompt": sum(pair[0] for pair in paid),
                "paid_completion": sum(pair[1] for pair in paid),
            },
            "cost_usd": None if cost is None else round(cost, 6),
            "latency_seconds": _latency([] if recorded else tally.latencies),
        }  # fmt: skip


def _again(
    config: Config, request: Request, outcome: Reply | ChatFailure, length: int, characters: int
) -> Request:
    said = outcome.text.strip() if isinstance(outcome, Reply) else ""
    follow = config.again_template.replace("{length}", str(length)).replace("{characters}", str(characters))
    return replace(request, messages=(*request.messages, Message("assistant", said), Message("user", follow)))


def _spread(lengths: Sequence[int]) -> dict[str, int]:
    """Percentiles of lengths in characters."""
    return {f"p{percent}": percentile(lengths, percent) for percent in (10, 50, 90, 100)} if lengths else {}


def _latency(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of the seconds that new answers took."""
    milliseconds = [round(each * 1000) for each in seconds]
    percents = (50, 90, 95, 99, 100) if seconds else ()
    return {f"p{percent}": percentile(milliseconds, percent) / 1000 for percent in percents}


def is_in_process(client: ChatClient) -> bool:
    """Whether ``client`` sends nothing anywhere and starts no program."""
    return client.identity["client"] in ("transformers", "replay")


def cost_of(paid: dict[str, list[int]], client: ChatClient, prices: Prices) -> float | None:
    """Dollars for the tokens in ``paid``; nothing on this machine, ``None`` where a price is not known."""
    identity = client.identity
    if is_in_process(client) or urlsplit(identity.get("base_url", "")).hostname in LOCAL_HOSTS:
        return 0.0
    total = 0.0
    for model, (prompt, completion) in paid.items():
        price = prices.find(model) or prices.find(identity.get("model", ""))
        if price is None:
            return None
        total += price.of(prompt, completion)
    return total if paid or identity["client"] == "openai" else None


def missing_answers(missing: Sequence[tuple[str, ChatFailure]], total: int, *, kept: bool) -> Exception:
    """The message of a run that could not have all its answers, and nothing but them."""
    by_kind: dict[str, list[tuple[str, ChatFailure]]] = {}
    for document, failure in missing:
        by_kind.setdefault(failure.kind, []).append((document, failure))
    parts = []
    for entries in by_kind.values():
        ids = ", ".join(safe(document, 40) for document, _ in entries[:5]) + (" …" if len(entries) > 5 else "")
        said = next((failure.detail for _, failure in entries if failure.detail), "")
        parts.append(
            f"{len(entries)}: {kind_of(entries[0][1]).title} ({ids})"
            + (f". It said: {said.rstrip('.')}" if said else "")
        )
    real = [entries for kind, entries in by_kind.items() if kind != "not-asked"] or list(by_kind.values())
    worst = kind_of(max(real, key=lambda entries: (kind_of(entries[0][1]).everywhere, len(entries)))[0][1])
    again = "run the same command again: answers so far are kept" if kept else "run again"
    return worst.error(
        f"Answers are missing for {len(missing)} of {total} documents, so nothing was written. "
        + "; ".join(parts)
        + ".",
        hint=f"{worst.hint}\nThen {again}; or write empty summaries with --allow-missing.",
    )


# --- the dry run ----------------------------------------------------------------------------------


class Preview(NamedTuple):
    """What a run would send, without sending it. ``cost`` is in dollars, ``None`` where not known.

    ``counts`` are the tokens of every prompt; ``prompt_tokens`` and ``answer_tokens`` those of the prompts
    that are not answered yet.
    """

    requests: list[Request]
    characters: int
    kept: int
    counts: list[int]
    counter: str
    prompt_tokens: int
    answer_tokens: int
    cost: float | None
    client: dict[str, str]


def preview(config: Config, job: Job) -> Preview:
    """Make every prompt and count its tokens; ask nobody."""
    client = load_client(config.client, config)
    requests = make_requests(config, job.train, job.test)
    characters = length_asked_for(config, job.train)
    counter = choose_counter(client)
    counts = [counter.count(request) for request in requests]
    keys = [request.key(client) for request in requests]
    kept = _kept_keys(config, keys)
    asked = dict(zip(keys, counts, strict=True))
    asked = {key: count for key, count in asked.items() if key not in kept}
    answer = min(config.max_tokens, estimate_text("가" * characters)) * len(asked)
    prices = Prices(Path(config.prices) if config.prices else DEFAULT_PRICES)
    paid = {client.identity.get("model", ""): [sum(asked.values()), answer]}
    return Preview(
        requests, characters, len(requests) - len(asked), counts, counter.name, sum(asked.values()), answer,
        cost_of(paid, client, prices) if asked else 0.0, dict(client.identity),
    )  # fmt: skip


def announce(config: Config, job: Job) -> Announcement:
    """What a run is going to send and what it may cost; whatever would stop it at once is raised here.

    Raises:
        HarnessError: settings that cannot be used; a package or a key is missing.
    """
    client = load_client(config.client, config)
    if is_in_process(client):
        return NOTHING_TO_SAY
    found = preview(config, job)
    if found.kept < len(found.requests) and isinstance(client, CheckingClient):
        try:
            client.check()
        except ChatFailure as failure:
            kind = kind_of(failure)
            said = f": {failure.detail}" if failure.detail else ""
            raise kind.error(f"Nothing was sent{said}.", hint=kind.hint) from None
        finally:
            if isinstance(client, ClosingClient):
                client.close()
    return announcement(found, asked_again=config.on_long == "ask-again")


def _kept_keys(config: Config, keys: Sequence[str]) -> set[str]:
    if not config.cache or config.client == "replay" or not answers_path(config.answers_file).is_file():
        return set()
    with Answers(answers_path(config.answers_file)) as answers:
        return set(answers.find(keys))


def preview_lines(found: Preview, shown: int) -> Iterator[str]:
    """The first ``shown`` prompts, then the sums. Documents are text from outside and made safe."""
    for number, request in enumerate(found.requests[:shown]):
        yield f"--- {safe(request.document)} ({found.counts[number]:,} tokens)"
        for message in request.messages:
            yield f"[{message.role}]"
            yield from (safe(line) for line in message.content.splitlines())
        yield ""
    who = ", ".join(f"{name} {safe(value)}" for name, value in found.client.items() if value)
    total, count = sum(found.counts), len(found.requests)
    yield f"Who would answer:      {who}"
    yield f"Prompts:               {count:,}, of which {found.kept:,} are answered already or equal"
    yield f"Length asked for:      {found.characters} characters"
    yield f"Tokens of the prompts: {total:,}, {found.counter}"
    yield f"Tokens of the answers: about {found.answer_tokens:,} for the {count - found.kept:,} to be asked"
    yield f"Cost, estimated:       {dollars(found.cost)}"
    yield "Nothing was sent."
