"""How fast decoding is, beside transformers' ``generate``.

    PYTHONPATH=. python benchmarks/generation.py [--rounds 3] [--quick]
    PYTHONPATH=. python benchmarks/generation.py --device cuda --model-size 6b

One process, one set of weights, the same prompts; rounds are interleaved, and ours runs before and after each
peer, and between the parts of one that takes minutes: a machine's speed drifts. transformers decodes one by
one, in batches of 16 padded on the left as they come, and in such batches sorted by length. Then beams, and a
sweep of eight ways of decoding, which transformers runs one after another. In float32 the tokens of greedy
decoding and of beams are compared, every one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402

from baselines.generation import Decoding, generate_each  # noqa: E402
from baselines.gptj import GPTJ, Shape  # noqa: E402
from baselines.models import PRECISIONS  # noqa: E402
from benchmarks import measuring  # noqa: E402

NEW = 64
PAD = 3
THEIR_BATCH = 16
DOCUMENTS = {"cpu": 500, "cuda": 128}
"""Prompts: a contest's, or as many as are decoded one by one on a GPU in a minute or two."""

SOME = 64
"""Prompts that are decoded with beams, and in all ways of a sweep."""

GREEDY = Decoding(max_new_tokens=NEW)
BEAMS = Decoding(max_new_tokens=NEW, num_beams=4)
SWEEP = (
    GREEDY,
    Decoding(max_new_tokens=NEW, num_beams=2),
    BEAMS,
    Decoding(max_new_tokens=NEW, num_beams=4, length_penalty=0.6),
    Decoding(max_new_tokens=NEW, num_beams=4, length_penalty=1.4),
    Decoding(max_new_tokens=NEW, do_sample=True, top_p=0.9),
    Decoding(max_new_tokens=NEW, do_sample=True, top_p=0.95, temperature=0.7),
    Decoding(max_new_tokens=NEW, do_sample=True, top_k=50),
)

PART = 128
"""Batches that a peer decodes before ours runs again."""

Beside = list[tuple[float, float]]
"""Ratios of a peer's time to ours, by the clock and by the processors."""

Written = list[list[list[int]]]
"""Tokens of every prompt, for each way of decoding."""


@dataclass(frozen=True)
class Contender:
    """One way of decoding ``prompts`` by ``decodings``; ``peer_of`` names the row of ours it stands beside."""

    name: str
    prompts: list[list[int]]
    decodings: tuple[Decoding, ...]
    batch: int
    peer_of: str = ""
    is_sorted: bool = True


@dataclass
class Taken:
    """Seconds of each run, by the clock and by the processors, and what was written in the last.

    ``beside`` has of each run of a peer how many times as long it took as ours, on average before, between and
    after its parts.
    """

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    written: Written = field(default_factory=list)
    beside: Beside = field(default_factory=list)


def ours(model: GPTJ, contender: Contender) -> Written:
    """Our decoding: all ways at once."""
    return generate_each(model, contender.prompts, contender.decodings, measuring.END, contender.batch)


def batches(contender: Contender) -> list[list[int]]:
    """Places of the prompts that are decoded together."""
    places = list(range(len(contender.prompts)))
    if contender.is_sorted:
        places.sort(key=lambda place: len(contender.prompts[place]))
    return [places[start : start + contender.batch] for start in range(0, len(places), contender.batch)]


def theirs(model: Any, contender: Contender) -> Written:
    """``generate`` of transformers, batch by batch, one way after another."""
    device, found = model.device, []
    for decoding in contender.decodings:
        written: list[list[int]] = [[] for _ in contender.prompts]
        for places in batches(contender):
            chosen = [contender.prompts[place] for place in places]
            longest = max(map(len, chosen))
            ids = torch.tensor([[PAD] * (longest - len(each)) + each for each in chosen], device=device)
            seen = (torch.arange(longest) >= torch.tensor([[longest - len(each)] for each in chosen])).long()
            out = model.generate(
                input_ids=ids, attention_mask=seen.to(device), max_new_tokens=decoding.max_new_tokens,
                min_new_tokens=decoding.min_new_tokens or None,
                num_beams=decoding.num_beams, length_penalty=decoding.length_penalty,
                do_sample=decoding.do_sample, temperature=decoding.temperature, top_k=decoding.top_k,
                top_p=decoding.top_p, eos_token_id=measuring.END, pad_token_id=PAD,
            )[:, longest:].tolist()  # fmt: skip
            for place, tokens in zip(places, out, strict=True):
                ended = tokens.index(measuring.END) if measuring.END in tokens else len(tokens)
                written[place] = tokens[:ended]
        found.append(written)
    return found


def parts_of(contender: Contender) -> list[list[int]]:
    """Places of the prompts in the order in which they are decoded, in parts of at most ``PART`` batches."""
    each = batches(contender)
    count = -(-len(each) // PART)
    size = -(-len(each) // count)
    return [list(chain.from_iterable(each[start : start + size])) for start in range(0, len(each), size)]


def measured(run: Callable[[], Written], device: torch.device) -> tuple[Written, float, float]:
    """What ``run`` writes, and its seconds by the clock and by the processors."""
    clock, processor = measuring.computed(device), time.process_time()
    written = run()
    return written, measuring.computed(device) - clock, time.process_time() - processor


def one_round(
    contenders: Sequence[Contender],
    ours: Callable[[Contender], Written],
    theirs: Callable[[Contender], Written],
    device: torch.device,
    taken: dict[str, Taken],
) -> None:
    """Run all: ours, then its peers one by one, ours again after each part of them."""
    for own in (each for each in contenders if not each.peer_of):
        again = partial(run_ours, partial(ours, own), device, taken[own.name])
        again()
        for peer in (each for each in contenders if each.peer_of == own.name):
            before = len(taken[own.name].clock) - 1
            run_peer(peer, theirs, device, taken[peer.name], again)
            compare(peer.name, taken[peer.name], taken[own.name], before)


def run_ours(run: Callable[[], Written], device: torch.device, mine: Taken) -> None:
    """Time ours once."""
    mine.written, clock, processor = measured(run, device)
    mine.clock.append(clock)
    mine.processor.append(processor)


def run_peer(
    peer: Contender,
    theirs: Callable[[Contender], Written],
    device: torch.device,
    found: Taken,
    again: Callable[[], None],
) -> None:
    """Time a peer once, in its parts, with ``again`` after each of them."""
    found.written = [[[] for _ in peer.prompts] for _ in peer.decodings]
    total = total_processor = 0.0
    for places in parts_of(peer):
        part = replace(peer, prompts=[peer.prompts[place] for place in places])
        written, clock, processor = measured(partial(theirs, part), device)
        for whole, some in zip(found.written, written, strict=True):
            for place, tokens in zip(places, some, strict=True):
                whole[place] = tokens
        total, total_processor = total + clock, total_processor + processor
        again()
    found.clock.append(total)
    found.processor.append(total_processor)


def compare(name: str, found: Taken, mine: Taken, before: int) -> None:
    """Note how many times as long the peer's last run took as ours from run ``before`` on."""
    clock, processor = mine.clock[before:], mine.processor[before:]
    found.beside.append((
        found.clock[-1] / statistics.mean(clock), found.processor[-1] / statistics.mean(processor)
    ))  # fmt: skip
    beside = ", ".join(f"{each:.1f}" for each in clock)
    print(f"  {name} {found.clock[-1]:.1f} s, ours {beside} s", file=sys.stderr)


def read_bytes(shape: Shape, contender: Contender, written: Written, width: int) -> float:
    """Bytes that decoding has to read: all weights at each step of a batch, keys and values of each row.

    ``width`` is the size of a number. A batch takes as many steps as its longest output has tokens.
    """
    d = shape.n_embd
    weights = shape.n_layer * (4 * d * d + 2 * d * shape.n_inner) + shape.vocab_size * d
    total = 0.0
    for outputs in written:
        for places in batches(contender):
            total += max(len(outputs[place]) for place in places) * weights
            for place in places:
                steps = len(outputs[place])
                total += 2 * shape.n_layer * d * steps * (len(contender.prompts[place]) + steps / 2)
    return total * width


def equal_shares(contenders: Sequence[Contender], taken: dict[str, Taken]) -> list[str]:
    """For each peer how many of its outputs, sampled ones apart, are ours token by token."""
    lines = []
    for peer in contenders:
        if not peer.peer_of:
            continue
        own = next(each for each in contenders if each.name == peer.peer_of)
        places = {tuple(prompt): place for place, prompt in enumerate(own.prompts)}
        pairs = [
            (taken[own.name].written[number][places[tuple(prompt)]], taken[peer.name].written[number][at])
            for number, decoding in enumerate(peer.decodings)
            if not decoding.do_sample
            for at, prompt in enumerate(peer.prompts)
        ]
        lines.append(f"{peer.name}: {sum(a == b for a, b in pairs)} of {len(pairs)} outputs equal ours")
    return lines


def contenders_for(prompts: list[list[int]], batch: int) -> list[Contender]:
    """What is run: all prompts greedily, and a few by what takes minutes."""
    some = prompts[:SOME]
    greedy, beams, sweep = "matbogi, greedy", "matbogi, 4 beams", "matbogi, sweep of 8"
    return [
        Contender(greedy, prompts, (GREEDY,), batch),
        Contender("generate, one by one", prompts, (GREEDY,), 1, greedy, is_sorted=False),
        Contender("generate, batches of 16", prompts, (GREEDY,), THEIR_BATCH, greedy, is_sorted=False),
        Contender("generate, batches of 16, sorted", prompts, (GREEDY,), THEIR_BATCH, greedy),
        Contender(beams, some, (BEAMS,), max(1, batch // 2)),
        Contender("generate, 4 beams, batches of 16", some, (BEAMS,), THEIR_BATCH, beams, is_sorted=False),
        Contender(sweep, some, SWEEP, max(1, batch // 4)),
        Contender("generate, 8 runs in batches of 16", some, SWEEP, THEIR_BATCH, sweep, is_sorted=False),
    ]  # fmt: skip


def report(
    shape: Shape,
    contenders: Sequence[Contender],
    taken: dict[str, Taken],
    device: torch.device,
    kind: torch.dtype,
) -> None:
    """Print the table: medians over rounds, and ratios taken within each round."""
    head = ("contender", "outputs/s", "new tokens/s", "memory rate", "ours is faster by", "by round",
            "by processor time")  # fmt: skip
    lines: list[Sequence[str]] = [head]
    rate = measuring.memory_rate(device)
    for each in contenders:
        found = taken[each.name]
        seconds = statistics.median(found.clock)
        tokens = sum(len(output) for outputs in found.written for output in outputs)
        share = read_bytes(shape, each, found.written, kind.itemsize) / seconds / rate
        outputs = len(each.prompts) * len(each.decodings) / seconds
        line = [each.name, f"{outputs:.1f}", f"{tokens / seconds:,.0f}", f"{share:.0%}"]
        if not each.peer_of:
            lines.append((*line, "", "", ""))
            continue
        clock, spent = zip(*found.beside, strict=True)
        lines.append((*line, f"{statistics.median(clock):.2f}", ", ".join(f"{ratio:.2f}" for ratio in clock),
                      f"{statistics.median(spent):.2f}"))  # fmt: skip
    print(measuring.table(lines))
    print(f"memory rate measured: {rate / 1e9:,.0f} GB/s, read and written; the share counts needed reads only")


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=0, help="Prompts; 0 chooses.")
    parser.add_argument("--batch", type=int, default=256, help="Prompts of ours that are decoded together.")
    parser.add_argument("--full-length", action="store_true", help="Let no text end before its last token.")
    parser.add_argument(
        "--only", default="", help="Only contenders with this in their name, and those beside them."
    )
    parser.add_argument("--quick", action="store_true", help="One round of few prompts.")
    parser.add_argument("--device", default="cpu", help="cpu or cuda.")
    parser.add_argument("--model-size", default="20m", choices=measuring.SIZES)
    parser.add_argument("--precision", default="", choices=["", "fp32", "bf16"], help="Default: by device.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import transformers

    transformers.logging.set_verbosity_error()
    device = torch.device(options.device)
    kind = PRECISIONS[options.precision or ("bf16" if device.type == "cuda" else "fp32")]
    count = options.documents or (32 if options.quick else DOCUMENTS[device.type])
    prompts = [each.ids[: each.prompt_length] for each in measuring.labelled_prompts(count)]
    every = contenders_for(prompts, options.batch)
    kept = [each for each in every if options.only in each.name + each.peer_of]
    wanted = {name for each in kept for name in (each.name, each.peer_of)}
    contenders = [each for each in every if each.name in wanted]
    if options.full_length:
        longest = tuple(replace(way, min_new_tokens=NEW) for way in SWEEP)
        ways = dict(zip(SWEEP, longest, strict=True))
        contenders = [
            replace(each, decodings=tuple(ways[way] for way in each.decodings)) for each in contenders
        ]
    shape = measuring.shape_of(options.model_size)
    print(measuring.machine(device))
    length = "exactly" if options.full_length else "at most"
    print(f"model {options.model_size}: {shape}; {kind}; {count} prompts, {length} {NEW} new tokens")
    our_model = measuring.our_model(options.model_size, device, kind)
    their_model = measuring.their_model(options.model_size, device, kind).eval()
    taken = {each.name: Taken() for each in contenders}
    for contender in contenders:  # once for nothing, with two prompts: kernels are chosen, weights laid out
        first = replace(contender, prompts=contender.prompts[:2], decodings=contender.decodings[:1], batch=2)
        theirs(their_model, first) if contender.peer_of else ours(our_model, first)
    for number in range(1 if options.quick else options.rounds):
        print(f"round {number + 1}", file=sys.stderr)
        one_round(contenders, partial(ours, our_model), partial(theirs, their_model), device, taken)
    report(shape, contenders, taken, device, kind)
    print("\n".join(equal_shares(contenders, taken)))


if __name__ == "__main__":
    main()
