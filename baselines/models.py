"""Finding and loading a base model, and the adapters on top of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from baselines.gptj import GPTJ, MODULES, Adapter, LowRank, Shape
from baselines.vocabulary import Vocabulary, specials_around
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from baselines.adapted import AdaptedModel, Update
    from baselines.transformers_model import TransformersModel

T = TypeVar("T")

TINY = Path(__file__).parent / "tiny"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRESETS = {
    "tiny": ("", ""),
    "kogpt": ("kakaobrain/kogpt", "KoGPT6B-ryan1.5b-float16"),
    "kogpt2": ("skt/kogpt2-base-v2", ""),
    "polyglot": ("EleutherAI/polyglot-ko-1.3b", ""),
    "pko-t5": ("paust/pko-t5-large", ""),
    "kobart": ("gogamza/kobart-base-v2", ""),
}
"""Short names: repository on the hub, and its revision. ``tiny`` is the embedded model."""
_PLACES = dict.fromkeys(MODULES[:4], "attn") | dict.fromkeys(MODULES[4:], "mlp")
INSTALL_TRANSFORMERS = "python -m pip install -c constraints.txt -e '.[transformers]'"


@dataclass(frozen=True)
class Source:
    """Which base model: a preset, a folder or a repository, and how it is read."""

    model: str
    revision: str = ""
    precision: str = "fp32"
    load_in_4bit: bool = False
    trust_remote_code: bool = False
    convert_weights: bool = False

    @property
    def resolved(self) -> Source:
        """The same with a preset's name replaced by its repository and revision."""
        from dataclasses import replace

        repository, revision = PRESETS.get(self.model, ("", ""))
        if not repository:
            return self
        return replace(self, model=repository, revision=self.revision or revision)


@dataclass
class BaseModel:
    """A GPT-J with its vocabulary, under the name it was asked for by."""

    model: GPTJ
    vocabulary: Vocabulary
    name: str

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return self.vocabulary.end

    def encode(self, text: str) -> list[int]:
        """Tokens of ``text``, without special ones."""
        return self.vocabulary.encode(text)

    def decode(self, ids: list[int]) -> str:
        """The text of ``ids``, special tokens left out."""
        return self.vocabulary.decode(ids)


# --- which model it is ----------------------------------------------------------------------------


def find(source: Source) -> Path:
    """The folder of ``source``; from the hub where there is none of that name.

    Raises:
        UsageError: there is no such folder or repository, or it has pickled weights alone.
    """
    source = source.resolved
    if source.model == "tiny":
        return TINY
    if Path(source.model).is_dir():
        return Path(source.model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    patterns += ["pytorch_model*.bin"] if source.convert_weights else []
    try:
        return Path(snapshot_download(source.model, revision=source.revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UsageError(
            f"There is no model {source.model!r}: no folder of that name, and the hub did not give it"
            f" ({type(error).__name__}).",
            hint="Check the spelling and the connection, or name a folder with config.json and *.safetensors."
            f" Short names: {', '.join(PRESETS)}. Models that ask for consent need `hf auth login` first.",
        ) from None


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{name} has no readable {path.name} in {path.parent}.") from None
    return dict(values)


def safe_weights(folder: Path, convert: bool) -> list[Path]:
    """The ``*.safetensors`` of ``folder``; from pickled weights, if ``convert``, made once and kept there.

    Pickled weights are read by torch's ``weights_only`` loader, which builds tensors and runs nothing.

    Raises:
        UsageError: there are none.
    """
    files = sorted(folder.glob("*.safetensors"))
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if files or not (pickled and convert):
        if not files:
            raise UsageError(
                f"There is no *.safetensors in {folder}.",
                hint="Some older models (KoGPT is one) have pickled weights alone, which can hold programs."
                " --convert-weights reads their tensors, and nothing else, and keeps them as safetensors.",
            )
        return files
    for number, file in enumerate(pickled):
        state = _unpickled(file)
        plain = {name: value.contiguous().clone() for name, value in state.items()}
        save_file(plain, folder / f"converted-{number:05}.safetensors", metadata={"format": "pt"})
    return sorted(folder.glob("*.safetensors"))


def _unpickled(file: Path) -> dict[str, torch.Tensor]:
    import pickle
    import zipfile

    try:
        with quiet():  # torch has opinions on the protocol of old files
            state: dict[str, torch.Tensor] = torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
            )
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError):
        raise UsageError(f"{file} holds more than tensors, or is damaged; it was not read.") from None
    return state


def load_model(name: str, revision: str, precision: str, device: torch.device | None = None) -> BaseModel:
    """The GPT-J called ``name``: ``tiny``, a folder, or a repository of the Hugging Face hub.

    Raises:
        UsageError: there is none of that name, or it is no GPT-J with safetensors and ``tokenizer.json``.
    """
    return load_gptj(Source(name, revision, precision), device)


def load_gptj(source: Source, device: torch.device | None = None) -> BaseModel:
    """As ``load_model``."""
    from tokenizers import Tokenizer

    folder, name = find(source), source.model
    config = _read_json(folder / "config.json", name)
    if config.get("model_type") != "gptj":
        raise UsageError(f"{name} is a {config.get('model_type')!r} model, where a GPT-J is needed.")
    files = safe_weights(folder, source.convert_weights)
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(f"{name} lacks tokenizer.json in {folder}.")
    state: dict[str, torch.Tensor] = {}
    try:
        for file in files:
            state |= load_file(file)
        model = GPTJ.from_state(Shape.from_config(config), state)
    except (SafetensorError, KeyError) as error:
        raise UsageError(f"The weights of {name} cannot be used: {error}.") from None
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = _end(tokenizer, config, name)
    return BaseModel(model.to(device, PRECISIONS[source.precision]), Vocabulary(tokenizer, end), name)


def _end(tokenizer: Tokenizer, config: dict[str, Any], name: str) -> int:
    """The end token: KoGPT's, whose config names another, or the one the config names."""
    named = tokenizer.token_to_id("[EOS]")
    end = config.get("eos_token_id") if named is None else named
    if not isinstance(end, int):
        raise UsageError(f"{name} names no eos_token_id in config.json and has no token [EOS].")
    return end


# --- a model with an adapter on it ----------------------------------------------------------------


def open_model(source: Source, update: Update | Path | None, device: torch.device) -> AdaptedModel:
    """The base model with a fresh adapter as ``update`` says, with the one in the folder ``update``, or none.

    GPT-J with plain LoRA is our own; everything else is transformers' and peft's.

    Raises:
        UsageError: a model, an adapter or settings that cannot be used.
    """
    if by_hand(source, update):
        return _open_packed(source, update, device)
    return _open_transformers(source, update, device)


def by_hand(source: Source, update: Update | Path | None) -> bool:
    """Whether our own GPT-J does all that is asked for."""
    if source.load_in_4bit:
        return False
    folder = find(source)
    if _read_json(folder / "config.json", source.model).get("model_type") != "gptj":
        return False
    if not (folder / "tokenizer.json").is_file():
        return False
    if isinstance(update, Path):
        config = _read_json(update / "adapter_config.json", str(update))
        return not config.get("use_dora") and config.get("bias", "none") == "none"
    return update is None or not (update.use_dora or update.init_lora_weights != "true")


def module_names(target_modules: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in target_modules.split(",") if name.strip()]


def _open_packed(source: Source, update: Update | Path | None, device: torch.device) -> AdaptedModel:
    from baselines.packed_model import PackedModel

    base = load_gptj(source, device)
    if update is None:
        return PackedModel(base.model, {}, base.vocabulary, {})
    if isinstance(update, Path):
        return PackedModel(base.model, load_adapter(update, base.model), base.vocabulary, {})
    every = {"auto": ["q_proj", "v_proj"], "all-linear": list(MODULES)}
    modules = every.get(update.target_modules) or module_names(update.target_modules)
    generator = torch.Generator().manual_seed(update.seed)
    adapter = new_adapter(base.model, modules, update.r, update.lora_alpha, update.use_rslora, generator)
    peft = {"r": update.r, "lora_alpha": update.lora_alpha, "lora_dropout": update.lora_dropout,
            "use_rslora": update.use_rslora, "target_modules": modules,
            "base_model_name_or_path": source.resolved.model}  # fmt: skip
    return PackedModel(
        base.model, adapter, base.vocabulary, peft, update.lora_dropout, update.gradient_checkpointing
    )


def _open_transformers(source: Source, update: Update | Path | None, device: torch.device) -> TransformersModel:
    from baselines.transformers_model import TransformersModel

    try:
        import peft
        import transformers
    except ModuleNotFoundError as error:
        raise UsageError(
            f"This model needs the package {error.name}, which is not installed.", hint=INSTALL_TRANSFORMERS
        ) from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    folder, name = find(source), source.model
    options = {"trust_remote_code": source.trust_remote_code}
    config = objected(name, lambda: transformers.AutoConfig.from_pretrained(folder, **options))
    tokenizer = objected(name, lambda: transformers.AutoTokenizer.from_pretrained(folder, **options))
    vocabulary = _vocabulary(tokenizer, config, name)
    causal, encoded = transformers.AutoModelForCausalLM, transformers.AutoModelForSeq2SeqLM
    kind = encoded if config.is_encoder_decoder else causal
    safe_weights(folder, source.convert_weights)
    reading = {"dtype": PRECISIONS[source.precision], "use_safetensors": True, **options}
    reading |= _four_bits(source, device) if source.load_in_4bit else {}
    model = objected(name, lambda: kind.from_pretrained(folder, **reading))
    model = model if source.load_in_4bit else model.to(device)
    model.requires_grad_(False)
    if update is not None and not isinstance(update, Path) and update.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    adapted = model if update is None else objected(name, lambda: _with_adapter(peft, model, update, source))
    start = _decoder_start(model.config, vocabulary) if config.is_encoder_decoder else ()
    return TransformersModel(model, adapted, vocabulary, start)


def objected(name: str, load: Callable[[], T]) -> T:
    """What ``load`` gives; the many objections of transformers and peft as one message."""
    try:
        return load()
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"The model {name!r} cannot be used: {reason}",
            hint="Name a folder with config.json, a tokenizer and *.safetensors, or a model of the hub.",
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that libraries have for each other's authors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def _four_bits(source: Source, device: torch.device) -> dict[str, Any]:
    """QLoRA's way to hold the base (Dettmers et al., 2023): NF4, doubly quantised."""
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(
            "--load-in-4bit needs the package bitsandbytes, which is not installed.",
            hint="python -m pip install bitsandbytes accelerate, or leave the option out.",
        )
    from transformers import BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=PRECISIONS[source.precision],
    )  # fmt: skip
    return {"quantization_config": quantised, "device_map": {"": str(device)}}


def _vocabulary(tokenizer: Any, config: Any, name: str) -> Vocabulary:
    """What training and decoding need of a tokenizer of transformers."""
    end = tokenizer.eos_token_id
    end = config.get_text_config().eos_token_id if end is None else end
    end = end[0] if isinstance(end, list) else end
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not isinstance(end, int):
        lacking = "fast tokenizer (tokenizer.json)" if backend is None else "end token"
        raise UsageError(f"The model {name!r} has no {lacking}.")
    before, after = specials_around(backend)
    conversation: Callable[[str], str] | None = None
    if tokenizer.chat_template:

        def conversation(question: str) -> str:
            turns = [{"role": "user", "content": question}]
            return str(tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
            ))  # fmt: skip

    return Vocabulary(backend, end, before, after if config.is_encoder_decoder else (), conversation)


def _decoder_start(config: Any, vocabulary: Vocabulary) -> Sequence[int]:
    """What the decoder reads first: its start token, and BART's ``<s>`` where summaries begin with one."""
    start = config.decoder_start_token_id
    start = vocabulary.end if start is None else start
    return [start, *(token for token in vocabulary.before if token != start)]


def _with_adapter(peft: Any, model: Any, update: Update | Path, source: Source) -> Any:
    if isinstance(update, Path):
        _read_json(update / "adapter_config.json", str(update))
        with quiet():
            return peft.PeftModel.from_pretrained(model, str(update))
    linear = {"auto": None, "all-linear": "all-linear"}
    modules = linear.get(update.target_modules, module_names(update.target_modules))
    starts: dict[str, bool | str] = {"true": True, "false": False}
    config = peft.LoraConfig(
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        r=update.r, lora_alpha=update.lora_alpha, lora_dropout=update.lora_dropout, target_modules=modules,
        use_rslora=update.use_rslora, use_dora=update.use_dora,
        fan_in_fan_out=any(type(layer).__name__ == "Conv1D" for layer in model.modules()),  # GPT-2's way
        init_lora_weights=starts.get(update.init_lora_weights, update.init_lora_weights),
        base_model_name_or_path=source.resolved.model,
    )  # fmt: skip
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(update.seed)
        return peft.get_peft_model(model, config)


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
            hint=f"r must be at least 1; the modules are {', '.join(MODULES)}, or auto, or all-linear.",
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
