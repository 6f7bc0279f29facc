"""What tokens cost: a small table that anybody can edit, and sums over it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError

DEFAULT_PRICES = Path(__file__).parent / "prices.toml"
_VERSION = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})\Z")


class Price(NamedTuple):
    """US dollars for a million tokens."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars for so many tokens."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1_000_000


class Prices:
    """Prices by model. ``path`` is a TOML file with a table ``[models]``: ``name = [input, output]``.

    Raises:
        UsageError: the file cannot be read, or entries are not pairs of numbers; all are named.
    """

    def __init__(self, path: Path = DEFAULT_PRICES) -> None:
        try:
            models = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("models", {})
        except OSError as error:
            raise UsageError(f"The prices {path} cannot be read: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"The prices {path} are not valid TOML: {error}.") from None
        faults = (
            [name for name, pair in models.items() if not _is_pair(pair)]
            if isinstance(models, dict)
            else ["models"]
        )
        if faults:
            raise UsageError(
                f"{path}: {', '.join(faults)} must be two numbers: dollars for a million tokens in and out.",
                hint='For example: "gpt-4.1-mini" = [0.40, 1.60]',
            )
        self._models = {name: Price(float(pair[0]), float(pair[1])) for name, pair in models.items()}

    def find(self, model: str) -> Price | None:
        """The price of ``model`` or of the model it is a dated version of; ``None`` where it is not known."""
        return self._models.get(model) or self._models.get(_VERSION.sub("", model))


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(item, int | float) and not isinstance(item, bool) and item >= 0 for item in value)
    )


def dollars(amount: float | None) -> str:
    """``amount`` as people read it; a price that is not known is said so."""
    return "price not known" if amount is None else f"${amount:,.4f}" if amount < 1 else f"${amount:,.2f}"
