"""How many tokens a prompt has, as exactly as can be said without asking a server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from baselines.chat import ChatClient, CountingClient, Request

TOKENS_A_CHARACTER = 0.8
"""Tokens of OpenAI's older tokenizer (cl100k) for a character of Korean; the newer one (o200k) takes about
0.5. Source: the Korean example of OpenAI's "Hello GPT-4o" (2024): 45 and 27 tokens for 55 characters."""

_TOKENS_A_MESSAGE = 4  # the marks around each turn, in OpenAI's cookbook "How to count tokens"


class TokenCounter(NamedTuple):
    """A way to count, with what to call it in front of people."""

    name: str
    count: Callable[[Request], int]


def choose_counter(client: ChatClient) -> TokenCounter:
    """The model's own tokenizer, else tiktoken where it has its tables on this machine, else an estimate."""
    if isinstance(client, CountingClient):
        return TokenCounter("the model's own tokenizer", client.count_tokens)
    return _tiktoken(client.identity.get("model", "")) or TokenCounter(
        f"estimated at {TOKENS_A_CHARACTER} tokens a character", estimate_tokens
    )


def estimate_tokens(request: Request) -> int:
    """Tokens of the prompt by its number of characters; rather too many than too few."""
    return sum(estimate_text(message.content) + _TOKENS_A_MESSAGE for message in request.messages)


def estimate_text(text: str) -> int:
    """Tokens of ``text`` by its number of characters."""
    return -int(-len(text) * TOKENS_A_CHARACTER // 1)


def _tiktoken(model: str) -> TokenCounter | None:
    """tiktoken, if it is installed, knows the model, and need not fetch its tables from the network."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", "")
    if not folder or not Path(folder).is_dir() or not any(Path(folder).iterdir()):
        return None
    try:
        import tiktoken

        encoding = tiktoken.encoding_for_model(model)
    except (ModuleNotFoundError, KeyError, ValueError, OSError):  # requests' errors are OSErrors
        return None

    def count(request: Request) -> int:
        return sum(
            len(encoding.encode(message.content, disallowed_special=())) + _TOKENS_A_MESSAGE
            for message in request.messages
        )

    return TokenCounter(f"counted by tiktoken ({encoding.name})", count)
