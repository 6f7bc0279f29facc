"""Small models of many architectures with random weights, written as folders that load like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from baselines.models import TINY

LLAMA = {
    "vocab_size": 6144, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "head_dim": 8,
}  # fmt: skip
ENDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 3}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "gptj": ("GPTJ", {"vocab_size": 6144, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4,
                      "n_positions": 512}),
    "gpt2": ("GPT2", {"vocab_size": 6144, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}),
    "gpt_neox": ("GPTNeoX", {"vocab_size": 6144, "hidden_size": 32, "intermediate_size": 64,
                             "num_hidden_layers": 2, "num_attention_heads": 4,
                             "max_position_embeddings": 512}),
    "llama": ("Llama", LLAMA),
    "qwen3": ("Qwen3", LLAMA),
    "gemma3_text": ("Gemma3Text", LLAMA | {"sliding_window": 16}),
    "exaone4": ("Exaone4", LLAMA | {"sliding_window": 16, "sliding_window_pattern": 2}),
    "t5": ("T5", {"vocab_size": 6144, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
                  "decoder_start_token_id": 3}),
    "bart": ("Bart", {"vocab_size": 6144, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
                      "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64,
                      "decoder_ffn_dim": 64, "max_position_embeddings": 512, "decoder_start_token_id": 1,
                      "forced_eos_token_id": None}),
}  # fmt: skip
"""From ``model_type`` to transformers' prefix of its classes, and a small configuration."""


def write_model(kind: str, folder: Path, seed: int = 0) -> Path:
    """A random model of ``kind`` with the embedded model's tokenizer, saved into ``folder``."""
    import torch
    import transformers
    from transformers import PreTrainedTokenizerFast

    prefix, sizes = ARCHITECTURES[kind]
    config = getattr(transformers, f"{prefix}Config")(**sizes, **ENDS)
    for name in [name for name in vars(config) if name.endswith(("_pdrop", "dropout", "dropout_rate"))]:
        setattr(config, name, 0.0)
    mapping = transformers.AutoModelForCausalLM
    mapping = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else mapping
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = mapping.from_config(config)
        for weight in model.parameters():  # large enough that rankings are no accident of rounding
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(TINY / "tokenizer.json"), bos_token="[BOS]", eos_token="[EOS]",
        unk_token="[UNK]", pad_token="[PAD]",
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return folder
