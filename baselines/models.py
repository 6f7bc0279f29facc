"""Finding and loading a base model, and the adapters on top of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from baselines.gptj import GPTJ, MODULES, Adapter, LowRank, Shape
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TINY = Path(__file__).parent / "tiny"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PLACES = dict.fromkeys(MODULES[:4], "attn") | dict.fromkeys(MODULES[4:], "mlp")


@dataclass
class BaseModel:
    """A base model with its tokenizer; ``folder`` is where it came from."""

    model: GPTJ
    tokenizer: Tokenizer
    end: int
    name: str

    def encode(self, text: str) -> list[int]:
        """Tokens of ``text``, without special ones."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of ``ids``, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def load_model(name: str, revision: str, precision: str) -> BaseModel:
    """The model called ``name``: ``tiny``, a folder, or a repository of the Hugging Face hub.

    Raises:
        UsageError: there is none of that name, or it is no GPT-J with safetensors and ``tokenizer.json``.
    """
    from tokenizers import Tokenizer

    folder = _folder(name, revision)
    config = _read_json(folder / "config.json", name)
    if config.get("model_type") != "gptj":
        raise UsageError(
            f"{name} is a {config.get('model_type')!r} model; only GPT-J models (KoGPT is one) can be trained.",
            hint="Use --model tiny, or a GPT-J of your own.",
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "tokenizer.json").is_file():
        raise UsageError(f"{name} lacks model.safetensors or tokenizer.json in {folder}.")
    state: dict[str, torch.Tensor] = {}
    try:
        for file in files:
            state |= load_file(file)
        model = GPTJ.from_state(Shape.from_config(config), state)
    except (SafetensorError, KeyError) as error:
        raise UsageError(f"The weights of {name} cannot be used: {error}.") from None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    named = tokenizer.token_to_id("[EOS]")
    end = config.get("eos_token_id") if named is None else named
    if not isinstance(end, int):
        raise UsageError(f"{name} names no eos_token_id in config.json and has no token [EOS].")
    return BaseModel(model.to(device, PRECISIONS[precision]), tokenizer, end, name)


def _folder(name: str, revision: str) -> Path:
    if name == "tiny":
        return TINY
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name, revision=revision or None, allow_patterns=["*.json", "*.safetensors"])
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UsageError(
            f"There is no model {name!r}: no folder of that name, and the hub did not give it"
            f" ({type(error).__name__}).",
            hint="Check the spelling and the connection, or name a folder with config.json and *.safetensors.",
        ) from None


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{name} has no readable {path.name} in {path.parent}.") from None
    return dict(values)


# --- adapters, in PEFT's format -------------------------------------------------------------------


def new_adapter(
    model: GPTJ, modules: list[str], r: int, alpha: float, rslora: bool, generator: torch.Generator
) -> Adapter:
    """Fresh float32 updates of ``modules`` in every block: ``A`` Kaiming-uniform, ``B`` zero, as peft does.

    Raises:
        UsageError: a module GPT-J does not have, or a rank below 1.
    """
    unknown = [name for name in modules if name not in MODULES]
    if unknown or not modules or r < 1:
        raise UsageError(
            f"target_modules {', '.join(unknown) or '(none)'} or r={r} cannot be used.",
            hint=f"r must be at least 1; the modules are {', '.join(MODULES)}, or all-linear.",
        )
    scaling = alpha / (r**0.5 if rslora else r)
    adapter: Adapter = {}
    for layer in range(model.shape.n_layer):
        for name in modules:
            out, into = _sizes(model.shape, name)
            bound = into**-0.5  # Kaiming-uniform with a = sqrt(5), torch's own start of a linear layer
            a = torch.empty(r, into).uniform_(-bound, bound, generator=generator)
            device = model.embedding.device
            adapter[layer, name] = LowRank(a.to(device), torch.zeros(out, r, device=device), scaling)
    return adapter


def _sizes(shape: Shape, module: str) -> tuple[int, int]:
    """Output and input width of a linear layer."""
    d, inner = shape.n_embd, shape.n_inner
    return {"fc_in": (inner, d), "fc_out": (d, inner)}.get(module, (d, d))


def merged(model: GPTJ, adapter: Adapter) -> GPTJ:
    """A copy of ``model`` with the updates added to its weights."""
    import copy

    blocks = [copy.copy(block) for block in model.blocks]
    for (layer, name), change in adapter.items():
        block = blocks[layer]
        update = (change.b.detach().double() @ change.a.detach().double()) * change.scaling
        if name in MODULES[:3]:
            start = MODULES.index(name) * model.shape.n_embd
            qkv = block.qkv.clone()
            part = qkv[start : start + model.shape.n_embd]
            qkv[start : start + model.shape.n_embd] = (part.double() + update).to(qkv.dtype)
            block.qkv = qkv
        else:
            weight = getattr(block, name)
            setattr(block, name, (weight.double() + update).to(weight.dtype))
    return GPTJ(model.shape, model.embedding, blocks, model.norm, model.norm_bias, model.head, model.head_bias)


def save_adapter(adapter: Adapter, folder: Path, settings: dict[str, Any]) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json``, for ``PeftModel.from_pretrained``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    for (layer, name), change in adapter.items():
        at = f"base_model.model.transformer.h.{layer}.{_PLACES[name]}.{name}"
        state[f"{at}.lora_A.weight"] = change.a.detach().cpu().contiguous()
        state[f"{at}.lora_B.weight"] = change.b.detach().cpu().contiguous()
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none", "inference_mode": True, **settings}
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def load_adapter(folder: Path, model: GPTJ) -> Adapter:
    """An adapter in PEFT's format, for ``model``.

    Raises:
        UsageError: the folder holds none, or one for another model.
    """
    config = _read_json(folder / "adapter_config.json", str(folder))
    try:
        state = load_file(folder / "adapter_model.safetensors", device=str(model.embedding.device))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"{folder} holds no adapter that can be read: {error}.") from None
    scaling = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    adapter: Adapter = {}
    for layer in range(model.shape.n_layer):
        for name in MODULES:
            at = f"base_model.model.transformer.h.{layer}.{_PLACES[name]}.{name}"
            if f"{at}.lora_A.weight" in state:
                a, b = state.pop(f"{at}.lora_A.weight"), state.pop(f"{at}.lora_B.weight")
                if (b.shape[0], a.shape[1]) != _sizes(model.shape, name):
                    raise UsageError(f"{folder} is an adapter for a model of another size.")
                adapter[layer, name] = LowRank(a.float(), b.float(), scaling)
    if state or not adapter:
        raise HarnessError(
            f"{folder} changes layers this program does not know: {', '.join(sorted(state)[:3])}."
        )
    return adapter
