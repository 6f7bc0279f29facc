"""The client for a model on this machine, in this process: the embedded one, a folder, or a name on the hub.

GPT-J models (``tiny`` and KoGPT are) go through the LoRA baseline's decoding. Any other causal model is
transformers' own, with its chat template, thinking aloud switched off where the template knows of that. A
model without a template gets the conversation as plain text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from baselines.chat import ChatFailure, Reply, Request
from harness.errors import UsageError

if TYPE_CHECKING:
    from baselines.prompt import Config

TINY = Path(__file__).parent / "tiny"


class Continued(NamedTuple):
    """What a model wrote after a prompt: its text, its number of tokens, whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


class Engine(Protocol):
    """A tokenizer and, once it is needed, its model."""

    positions: int

    def encode(self, request: Request) -> list[int]:
        """The prompt's tokens."""
        ...

    def write(self, prompts: Sequence[list[int]], request: Request) -> list[Continued]:
        """Continue every prompt as ``request`` says."""
        ...


class TransformersClient:
    """A model in this process. Weights are read when the first answer is needed."""

    def __init__(self, name: str, revision: str, precision: str, batch_size: int) -> None:
        self.name, self.revision, self.precision, self.batch_size = name, revision, precision, batch_size
        self._engine: Engine | None = None

    @property
    def identity(self) -> dict[str, str]:
        """The model, its precision, and for a folder what tells that its weights have changed."""
        folder = TINY if self.name == "tiny" else Path(self.name)
        files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
        states = [(file.name, file.stat()) for file in files]
        weights = ",".join(f"{name}:{state.st_size}:{state.st_mtime_ns}" for name, state in states)
        return {
            "client": "transformers", "model": self.name, "revision": self.revision,
            "precision": self.precision, "weights": weights,
        }  # fmt: skip

    def count_tokens(self, request: Request) -> int:
        """Tokens of the prompt as the model will see it."""
        return len(self._ready().encode(request))

    def complete(self, request: Request) -> Reply:
        """The model's answer to one request."""
        (outcome,) = self.complete_batch([request])
        if isinstance(outcome, ChatFailure):
            raise outcome
        return outcome

    def complete_batch(self, requests: Sequence[Request]) -> list[Reply | ChatFailure]:
        """All of ``requests`` in one batch. ``seconds`` of each is its share of the batch's."""
        engine = self._ready()
        prompts = [engine.encode(request) for request in requests]
        fits = [
            bool(prompt) and len(prompt) + request.sampling.max_tokens <= engine.positions
            for prompt, request in zip(prompts, requests, strict=True)
        ]
        begin = time.perf_counter()
        asked = [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit]
        written = iter(engine.write(asked, requests[0]) if asked else [])
        seconds = (time.perf_counter() - begin) / max(1, len(asked))
        return [
            self._reply(next(written), len(prompt), seconds)
            if fit
            else _too_long(len(prompt), engine.positions)
            for prompt, fit in zip(prompts, fits, strict=True)
        ]

    def _reply(self, written: Continued, prompt_tokens: int, seconds: float) -> Reply | ChatFailure:
        reply = Reply(written.text, self.name, prompt_tokens, written.tokens, not written.ended, seconds)
        return reply if reply.text.strip() else ChatFailure("empty", reply=reply)

    def _ready(self) -> Engine:
        if self._engine is None:
            self._engine = _open(self.name, self.revision, self.precision)
        return self._engine


def connect(config: Config) -> TransformersClient:
    """A client as ``config`` says."""
    return TransformersClient(config.model or "tiny", config.revision, config.precision, config.batch_size)


def _too_long(tokens: int, positions: int) -> ChatFailure:
    return ChatFailure("too-long", f"{tokens} tokens and the answer's, where {positions} fit")


def _open(name: str, revision: str, precision: str) -> Engine:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError(
            "A model in this process needs torch, which is not installed.",
            hint="python -m pip install -c constraints.txt torch"
            " && python -m pip install -c constraints.txt -e '.[lora]'",
        ) from None
    if name == "tiny" or _model_type(name, revision) == "gptj":
        return OwnEngine(name, revision, precision)
    return HubEngine(name, revision, precision)


def _model_type(name: str, revision: str) -> str:
    """What ``config.json`` says, in a folder or on the hub; nothing where there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(name)
        path = folder / "config.json" if folder.is_dir() else hf_hub_download(
            name, "config.json", revision=revision or None
        )  # fmt: skip
        return str(json.loads(Path(path).read_text(encoding="utf-8")).get("model_type", ""))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError, AttributeError):
        return ""


class OwnEngine:
    """GPT-J through the LoRA baseline's decoding."""

    def __init__(self, name: str, revision: str, precision: str) -> None:
        from baselines.models import load_model

        self._base = load_model(name, revision, precision)
        self.positions = self._base.model.shape.n_positions

    def encode(self, request: Request) -> list[int]:
        """The conversation as plain text: GPT-J knows of no turns."""
        return self._base.encode(request.text)

    def write(self, prompts: Sequence[list[int]], request: Request) -> list[Continued]:
        """Greedy at temperature 0, else sampled from the seed."""
        from baselines.generation import Decoding, generate

        sampling = request.sampling
        temperature = 1.0 if sampling.temperature is None else sampling.temperature
        decoding = Decoding(
            max_new_tokens=sampling.max_tokens, do_sample=temperature > 0, temperature=temperature or 1.0,
            top_p=sampling.top_p, seed=sampling.seed,
        )  # fmt: skip
        written = generate(self._base.model, prompts, decoding, self._base.end, len(prompts))
        return [
            Continued(self._base.decode(tokens), len(tokens), len(tokens) < sampling.max_tokens)
            for tokens in written
        ]


class HubEngine:
    """Any causal model that transformers knows, from safetensors, without code from elsewhere."""

    def __init__(self, name: str, revision: str, precision: str) -> None:
        try:
            from transformers import AutoTokenizer
        except ModuleNotFoundError:
            raise UsageError(
                "This model needs the package transformers, which is not installed.",
                hint="python -m pip install -c constraints.txt transformers",
            ) from None
        from baselines.models import objected

        self._name, self._precision = name, precision
        self._options: dict[str, Any] = {"revision": revision or None, "trust_remote_code": False}
        self._tokenizer = objected(name, lambda: AutoTokenizer.from_pretrained(name, **self._options))
        self._model: Any = None
        self.positions = self._read_positions()

    def _read_positions(self) -> int:
        from transformers import AutoConfig

        from baselines.models import objected
        from baselines.transformers_model import position_limit

        config = objected(self._name, lambda: AutoConfig.from_pretrained(self._name, **self._options))
        return position_limit(config) or 2**31

    def encode(self, request: Request) -> list[int]:
        """The conversation through the model's chat template."""
        if not self._tokenizer.chat_template:
            return list(self._tokenizer(request.text)["input_ids"])
        messages = [message._asdict() for message in request.messages]
        made = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, enable_thinking=False
        )
        return list(made["input_ids"])

    def write(self, prompts: Sequence[list[int]], request: Request) -> list[Continued]:
        """All prompts padded on the left, as transformers' ``generate`` wants them."""
        import torch

        model, sampling = self._ready(), request.sampling
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        width, pad = max(map(len, prompts)), self._pad(ends)
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        temperature = 1.0 if sampling.temperature is None else sampling.temperature
        drawn = {"temperature": temperature, "top_p": sampling.top_p, "top_k": 0} if temperature else {}
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(sampling.seed)
            out = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), pad_token_id=pad,
                max_new_tokens=sampling.max_tokens, do_sample=bool(drawn), num_beams=1, **drawn,
            )  # fmt: skip
        return [self._continued(row, ends) for row in out[:, width:].tolist()]

    def _pad(self, ends: list[int | None]) -> int:
        pad = self._tokenizer.pad_token_id
        return int(pad) if pad is not None else int(ends[0] or 0)

    def _continued(self, row: list[int], ends: list[int | None]) -> Continued:
        end = next((place for place, token in enumerate(row) if token in ends), None)
        tokens = row if end is None else row[:end]
        text = str(self._tokenizer.decode(tokens, skip_special_tokens=True))
        return Continued(text, len(tokens), end is not None)

    def _ready(self) -> Any:
        if self._model is None:
            import torch
            from transformers import AutoModelForCausalLM

            from baselines.models import PRECISIONS, objected

            kind = PRECISIONS[self._precision]
            model = objected(
                self._name,
                lambda: AutoModelForCausalLM.from_pretrained(
                    self._name, dtype=kind, use_safetensors=True, **self._options
                ),
            )
            self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        return self._model
