"""Decoding: many documents at once, each prompt's keys and values held once for all its rows.

Prompts run through the model packed, without padding. Then every prompt has a row for each beam; all its
rows look at the same prompt, and only the tokens written so far are a row's own. Greedy decoding and beam
search give the tokens of transformers' ``generate`` in float32, which the tests hold them to. Sampling
draws from a generator of its own for each document, so that neither batch nor order changes a summary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from baselines.gptj import GPTJ, pack

NEVER = -1e9


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen, by the names of transformers' ``GenerationConfig``.

    ``repetition_penalty`` and ``no_repeat_ngram_size`` look at the summary alone: a summary must be able to
    copy its document. ``do_sample`` needs ``num_beams`` 1.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    seed: int = 0


class Rows:
    """Prompts that have been read, and the rows that continue them. ``R`` rows belong to each prompt."""

    def __init__(self, model: GPTJ, prompts: Sequence[Sequence[int]], rows: int, room: int) -> None:
        self.model, self.rows, self.written = model, rows, 0
        keep: list[tuple[Tensor, Tensor]] = []
        last = [len(prompt) - 1 for prompt in prompts]
        batch = pack(prompts, last, [1] * len(prompts))
        device = model.embedding.device
        batch = type(batch)(
            batch.tokens.to(device),
            batch.lengths,
            batch.predicting.to(device),
            batch.wanted,
            batch.first_wanted,
        )
        self.first_logits = model.logits(model.hidden(batch, keep=keep)).float()  # [B, V]
        self.lengths = torch.tensor(batch.lengths, device=device)  # [B]
        places = torch.arange(int(self.lengths.max()), device=device)
        self.hidden_places = (places >= self.lengths[:, None])[:, None, None]  # [B, 1, 1, L]
        # Each block's prompt: keys and values [B, heads, L, size]
        self.prompt = [(self._padded(k, batch.lengths), self._padded(v, batch.lengths)) for k, v in keep]
        heads, size = model.shape.n_head, model.shape.n_embd // model.shape.n_head
        own = (len(prompts), rows, heads, room, size)
        self.own = [
            (torch.zeros(own, dtype=k.dtype, device=device), torch.zeros(own, dtype=k.dtype, device=device))
            for k, _ in keep
        ]

    def _padded(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        padded = torch.nn.utils.rnn.pad_sequence(list(x.split(tuple(lengths))), batch_first=True)
        return padded.transpose(1, 2).contiguous()

    def keep(self, prompts: Tensor) -> None:
        """Go on with these prompts only; ``prompts`` int64 holds their places."""
        self.lengths, self.hidden_places = self.lengths[prompts], self.hidden_places[prompts]
        self.prompt = [(k[prompts], v[prompts]) for k, v in self.prompt]
        self.own = [(k[prompts], v[prompts]) for k, v in self.own]

    def reorder(self, parents: Tensor) -> None:
        """Let each row continue its parent; ``parents`` int64 [B, R] counts within the prompt."""
        if bool((parents == torch.arange(self.rows, device=parents.device)).all()):
            return
        at = torch.arange(len(parents), device=parents.device)[:, None]
        for k, v in self.own:
            k[:, :, :, : self.written] = k[at, parents, :, : self.written]
            v[:, :, :, : self.written] = v[at, parents, :, : self.written]

    def step(self, tokens: Tensor) -> Tensor:
        """Float32 [B, R, V]: logits after appending ``tokens`` [B, R] to the rows."""
        model, shape = self.model, self.model.shape
        turn = model.rotations(tokens.device)[self.lengths + self.written][:, None, None]  # [B, 1, 1, half]
        x = functional.embedding(tokens, model.embedding)
        self.written += 1
        for layer in range(shape.n_layer):
            block = model.blocks[layer]
            normed = functional.layer_norm(
                x, (shape.n_embd,), block.norm, block.norm_bias, shape.layer_norm_epsilon
            )
            qkv = functional.linear(normed, block.qkv).unflatten(-1, (3 * shape.n_head, -1))
            qk = model.rotate(qkv[..., : 2 * shape.n_head, :], turn)
            q, k = qk.chunk(2, dim=-2)  # [B, R, heads, size]
            own_k, own_v = self.own[layer]
            own_k[:, :, :, self.written - 1] = k
            own_v[:, :, :, self.written - 1] = qkv[..., 2 * shape.n_head :, :]
            attended = self._attend(layer, q)
            inner = functional.linear(normed, block.fc_in, block.fc_in_bias)
            inner = functional.gelu(inner, approximate="tanh")
            x = x + functional.linear(attended, block.out_proj)
            x = x + functional.linear(inner, block.fc_out, block.fc_out_bias)
        x = functional.layer_norm(x, (shape.n_embd,), model.norm, model.norm_bias, shape.layer_norm_epsilon)
        return model.logits(x).float()

    def _attend(self, layer: int, q: Tensor) -> Tensor:
        """[B, R, d]: one query a row, over the shared prompt and the row's own tokens, in one softmax."""
        (prompt_k, prompt_v), (own_k, own_v) = self.prompt[layer], self.own[layer]
        scale = q.shape[-1] ** -0.5
        across = q.transpose(1, 2)  # [B, heads, R, size]
        shared = torch.matmul(across, prompt_k.transpose(-1, -2)).mul_(scale)
        shared.masked_fill_(self.hidden_places, torch.finfo(shared.dtype).min)
        own = torch.matmul(own_k[:, :, :, : self.written], q.unsqueeze(-1)).squeeze(-1).mul_(scale)
        own = own.transpose(1, 2)  # [B, heads, R, written]
        weights = torch.cat([shared, own], dim=-1).float().softmax(dim=-1).to(q.dtype)
        width = prompt_k.shape[2]
        mixed = torch.matmul(weights[..., :width], prompt_v).transpose(1, 2)
        per_row = weights[..., width:].transpose(1, 2).unsqueeze(-2)  # [B, R, heads, 1, written]
        mixed = mixed + torch.matmul(per_row, own_v[:, :, :, : self.written]).squeeze(-2)
        return mixed.flatten(-2)


@torch.no_grad()
def generate(
    model: GPTJ,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    end: int,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
) -> list[list[int]]:
    """The tokens that continue each prompt, without ``end``; in the order of ``prompts``.

    Prompts of like length share a batch. ``progress`` is called with the number of prompts done.

    Raises:
        ValueError: a prompt is empty, or longer with ``max_new_tokens`` than the model has positions.
    """
    longest = max((len(prompt) for prompt in prompts), default=0)
    if longest + decoding.max_new_tokens > model.shape.n_positions or not all(prompts):
        raise ValueError(
            f"prompts hold 1 to {model.shape.n_positions - decoding.max_new_tokens} tokens, not {longest}"
        )
    written: list[list[int]] = [[] for _ in prompts]
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(prompts), batch_size):
        chosen = by_length[start : start + batch_size]
        rows = Rows(model, [prompts[index] for index in chosen], decoding.num_beams, decoding.max_new_tokens)
        search = _beams if decoding.num_beams > 1 else _single
        for index, tokens in zip(chosen, search(rows, decoding, end, chosen), strict=True):
            written[index] = tokens
        if progress is not None:
            progress(min(start + batch_size, len(prompts)))
    return written


def _single(rows: Rows, decoding: Decoding, end: int, documents: Sequence[int]) -> list[list[int]]:
    """Greedy decoding or sampling, one row a prompt; finished prompts leave the batch."""
    written: list[list[int]] = [[] for _ in documents]
    draws = [
        np.random.default_rng([decoding.seed, document]).random(decoding.max_new_tokens)
        if decoding.do_sample
        else None
        for document in documents
    ]
    alive = list(range(len(documents)))
    logits = rows.first_logits
    for step in range(decoding.max_new_tokens):
        logits = restrain(logits, [written[index] for index in alive], decoding, end)
        if decoding.do_sample:
            tokens = _sample(logits, decoding, [float(draws[index][step]) for index in alive])  # type: ignore[index]
        else:
            tokens = logits.argmax(dim=-1)
        going = [place for place, token in enumerate(tokens.tolist()) if token != end]
        for place in going:
            written[alive[place]].append(int(tokens[place]))
        if not going or step + 1 == decoding.max_new_tokens:
            break
        if len(going) < len(alive):
            at = torch.tensor(going, device=logits.device)
            rows.keep(at)
            tokens, alive = tokens[at], [alive[place] for place in going]
        logits = rows.step(tokens[:, None])[:, 0]
    return written


def restrain(scores: Tensor, written: Sequence[Sequence[int]], decoding: Decoding, end: int) -> Tensor:
    """``scores`` [rows, V] under the repetition and length rules, given what each row has written.

    The repetition penalty is CTRL's (Keskar et al., section 4.1), as transformers applies it.
    """
    if decoding.repetition_penalty != 1.0:
        for row, tokens in enumerate(written):
            if tokens:
                seen = torch.tensor(sorted(set(tokens)), device=scores.device)
                old = scores[row, seen]
                penalty = decoding.repetition_penalty
                scores[row, seen] = torch.where(old < 0, old * penalty, old / penalty)
    size = decoding.no_repeat_ngram_size
    if size:
        for row, tokens in enumerate(written):
            scores[row, _completing(tokens, size)] = -torch.inf
    if written and len(written[0]) < decoding.min_new_tokens:
        scores[:, end] = -torch.inf
    return scores


def _completing(tokens: Sequence[int], size: int) -> list[int]:
    """Tokens that would complete an n-gram of ``size`` already written."""
    begin = tuple(tokens[len(tokens) - size + 1 :])
    return [
        tokens[place + size - 1]
        for place in range(len(tokens) - size + 1)
        if tuple(tokens[place : place + size - 1]) == begin
    ]


def _sample(logits: Tensor, decoding: Decoding, draws: Sequence[float]) -> Tensor:
    """One token a row: temperature, then top-k, then top-p (Holtzman et al.), by the inverse of the CDF."""
    ranked, tokens = (logits / decoding.temperature).sort(dim=-1, descending=True, stable=True)
    if decoding.top_k:
        ranked[:, decoding.top_k :] = -torch.inf
    shares = ranked.double().softmax(dim=-1)
    if decoding.top_p < 1.0:
        before = shares.cumsum(dim=-1) - shares
        shares = shares.masked_fill(before >= decoding.top_p, 0.0)
        shares /= shares.sum(dim=-1, keepdim=True)
    drawn = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None]
    chosen = (shares.cumsum(dim=-1) <= drawn).sum(dim=-1, keepdim=True)
    chosen = chosen.minimum((shares > 0).sum(dim=-1, keepdim=True) - 1)  # the last sum may fall short of 1
    return tokens.gather(1, chosen)[:, 0]


@dataclass
class _Hypotheses:
    """The beams of one prompt: those that go on, and those that have ended, best first."""

    running: list[tuple[float, list[int]]]
    ended: list[tuple[float, list[int]]]


def _beams(rows: Rows, decoding: Decoding, end: int, documents: Sequence[int]) -> list[list[int]]:
    """Beam search as transformers' ``_beam_search`` with ``early_stopping=False`` does it."""
    width = decoding.num_beams
    start: list[tuple[float, list[int]]] = [(0.0, []), *((NEVER, []) for _ in range(width - 1))]
    beams = [_Hypotheses(list(start), []) for _ in documents]
    alive = list(range(len(documents)))
    logits = rows.first_logits[:, None].expand(-1, width, -1)
    for step in range(1, decoding.max_new_tokens + 1):
        candidates = _candidates(logits, [beams[index] for index in alive], decoding, end)
        parents, tokens, going = [], [], []
        for place, (index, (scores, flat)) in enumerate(zip(alive, candidates, strict=True)):
            chosen = _advance(beams[index], scores, flat, logits.shape[-1], decoding, end, step)
            if _may_improve(beams[index], decoding, step):
                going.append(place)
                parents.append([parent for parent, _ in chosen])
                tokens.append([token for _, token in chosen])
        if not going or step == decoding.max_new_tokens:
            break
        if len(going) < len(alive):
            rows.keep(torch.tensor(going, device=logits.device))
            alive = [alive[place] for place in going]
        rows.reorder(torch.tensor(parents, device=logits.device))
        logits = rows.step(torch.tensor(tokens, device=logits.device))
    best = [each.ended[0][1] for each in beams]
    return [tokens[:-1] if tokens and tokens[-1] == end else tokens for tokens in best]


def _candidates(
    logits: Tensor, beams: Sequence[_Hypotheses], decoding: Decoding, end: int
) -> list[tuple[list[float], list[int]]]:
    """For each prompt the best ``2 * num_beams`` continuations: scores, and places in [beams * V]."""
    count, width, size = logits.shape
    scores = logits.log_softmax(dim=-1).reshape(count * width, size)
    scores = restrain(scores, [tokens for each in beams for _, tokens in each.running], decoding, end)
    sums = torch.tensor([[score for score, _ in each.running] for each in beams], device=logits.device)
    best = (scores.view(count, width, size) + sums[:, :, None]).flatten(1).topk(2 * width, dim=-1)
    return list(zip(best.values.tolist(), best.indices.tolist(), strict=True))


def _advance(
    beams: _Hypotheses, scores: list[float], flat: list[int], size: int, decoding: Decoding, end: int, step: int
) -> list[tuple[int, int]]:
    """Move the beams of one prompt on by a token; (parent, token) of those that run on."""
    width, last = decoding.num_beams, step == decoding.max_new_tokens
    running: list[tuple[float, list[int]]] = []
    chosen: list[tuple[int, int]] = []
    for rank, (score, place) in enumerate(zip(scores, flat, strict=True)):
        parent, token = divmod(place, size)
        tokens = [*beams.running[parent][1], token]
        if (token == end or last) and rank < width:
            beams.ended.append((score / step**decoding.length_penalty, tokens))
        if token != end and len(running) < width:
            running.append((score, tokens))
            chosen.append((parent, token))
    beams.ended = sorted(beams.ended, key=lambda each: -each[0])[:width]
    beams.running = running
    return chosen


def _may_improve(beams: _Hypotheses, decoding: Decoding, step: int) -> bool:
    """Whether a running beam could still displace an ended one."""
    if len(beams.ended) < decoding.num_beams:
        return True
    best, last = beams.running[0][0], beams.ended[-1][0]
    return best > last * float(step**decoding.length_penalty)
