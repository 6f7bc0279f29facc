"""The run card: how a predictions file was made.

A baseline writes ``preds.run.json`` beside ``preds.csv``; ``submit`` picks it up, adds what ``--params``
and ``-p`` say of work done elsewhere, and stores the whole with the submission::

    {"baseline": "lead", "hyperparameters": {"sentences": 1}, "seconds": 0.4,
     "code": "1f2e3d4", "environment": {"python": "3.11.7", "matbogi": "0.1.0"},
     "data": {"train.csv": "9c…", "test.csv": "41…"}, "notes": {}}
"""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from harness.errors import Refused, UsageError

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None

MAX_VALUES = 100_000
"""Values in one card, nested ones included; a YAML file of a kilobyte can unfold to billions."""

_LOOSE_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)\.\d*|\.\d+)(?:[eE][+-]?\d{1,2})?")

MAX_DEPTH = 50
MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """How a predictions file was made. Every field may be unknown; ``hyperparameters`` may be empty.

    ``code`` is the git commit, ``data`` maps the contest's files to their SHA-256, ``seconds`` is wall
    time, and ``notes`` takes whatever else the maker wants kept (loss curves, token counts).
    """

    hyperparameters: Mapping[str, JSON] = field(default_factory=dict)
    baseline: str | None = None
    seconds: float | None = None
    code: str | None = None
    environment: Mapping[str, JSON] = field(default_factory=dict)
    data: Mapping[str, JSON] = field(default_factory=dict)
    notes: Mapping[str, JSON] = field(default_factory=dict)

    def to_json(self) -> dict[str, JSON]:
        """The card as plain JSON values, every field present."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], origin: str = "run card") -> Run:
        """The card from plain JSON values. Fields it does not know are kept under ``notes``.

        Raises:
            UsageError: a field is not of its kind; all such fields are named.
        """
        plain = plain_values(values, origin)
        faults = list(_card_faults(plain))
        if faults:
            raise UsageError(f"{origin}: {'; '.join(faults)}.", hint="docs/run-card.md shows a whole card.")
        known = {item.name for item in fields(cls)}
        unknown = {name: value for name, value in plain.items() if name not in known}
        card = cls(**{name: value for name, value in plain.items() if name in known})  # type: ignore[arg-type]
        return replace(card, notes={**card.notes, **unknown}) if unknown else card

    def save(self, path: Path) -> None:
        """Write the card as UTF-8 JSON."""
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=2)
        path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def card_path(predictions: Path) -> Path:
    """Where the card of ``predictions`` lies: ``preds.run.json`` for ``preds.csv``."""
    return predictions.with_name(f"{predictions.stem}.run.json")


def read_card(predictions: Path) -> Run | None:
    """The card that lies beside ``predictions``, or ``None``.

    Raises:
        UsageError: there is one, but it cannot be understood.
    """
    path = card_path(predictions)
    return Run.from_json(_parse_file(path), str(path)) if path.is_file() else None


def _card_faults(values: Mapping[str, JSON]) -> Iterator[str]:
    for name in ("hyperparameters", "environment", "data", "notes"):
        if not isinstance(values.get(name, {}), dict):
            yield f"{name} must be a table of names and values"
    for name in ("baseline", "code"):
        if not isinstance(values.get(name), str | None):
            yield f"{name} must be text"
    seconds = values.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
        yield "seconds must be a number"


# --- parameters from files and from the command line ----------------------------------------------


def read_parameters(path: Path) -> dict[str, JSON]:
    """Hyperparameters from a JSON, TOML or YAML file, told apart by the ending of its name.

    YAML is read as YAML 1.2, in which ``2e-4`` is a number and ``no`` is text.

    Raises:
        UsageError: the file is missing, of another kind, or not well formed.
    """
    values = _parse_file(path)
    # A whole run card is as welcome as a bare table.
    inner = values.get("hyperparameters")
    return plain_values(inner if isinstance(inner, dict) else values, str(path))


def _parse_file(path: Path) -> Mapping[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{path} holds {len(content):,} bytes; a card or settings file may hold {MAX_BYTES:,}."
        )
    try:
        values = _parse(content.decode("utf-8-sig"), path.suffix.lower())
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply (at most {MAX_DEPTH} levels).") from None
    except (ValueError, _yaml_error()) as error:
        raise UsageError(f"{path} cannot be understood: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold a table of names and values, such as {{'r': 8}}.")
    return values


def _parse(text: str, suffix: str) -> object:
    if suffix == ".json":
        return json.loads(text)
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix in (".yaml", ".yml"):
        from ruamel.yaml import YAML

        return YAML(typ="safe", pure=True).load(text)
    raise ValueError("its name must end in .json, .toml, .yaml or .yml")


def _yaml_error() -> type[Exception]:
    from ruamel.yaml.error import YAMLError

    error: type[Exception] = YAMLError
    return error


def parse_assignment(text: str) -> tuple[str, JSON]:
    """One ``-p name=value``: the value is read as JSON where it is JSON, as ``2e-4``, ``true``, else as text.

    >>> parse_assignment("r=8"), parse_assignment("learning_rate=2e-4"), parse_assignment("optimizer=AdamW")
    (('r', 8), ('learning_rate', 0.0002), ('optimizer', 'AdamW'))

    Raises:
        UsageError: there is no ``=``, or no name before it.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise UsageError(
            f"-p {text!r} is not of the form name=value.", hint="For example: -p r=8 -p optimizer=AdamW"
        )
    return name, parse_value(value.strip())


def parse_value(text: str) -> JSON:
    """``text`` as the value a person means by it: a number, true or false, a list, a table, else text."""
    words: dict[str, JSON] = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return plain_values({"value": json.loads(text)}, text)["value"]
    except (ValueError, RecursionError):
        pass
    # ".9" and "2.E-4" are numbers to everybody but JSON; "007", "nan" and "inf" stay text.
    return float(text) if _LOOSE_NUMBER.fullmatch(text) else text


def plain_values(values: Mapping[Any, Any], origin: str) -> dict[str, JSON]:
    """``values`` as plain JSON: names as text, dates as ISO text, infinities and NaN as text.

    Raises:
        UsageError: too many values, nested too deeply, or of a kind JSON has no place for.
    """
    budget = [MAX_VALUES]

    def plain(value: Any, depth: int) -> JSON:
        budget[0] -= 1
        if budget[0] < 0:
            raise UsageError(f"{origin} unfolds to more than {MAX_VALUES:,} values.")
        if depth > MAX_DEPTH:
            raise UsageError(f"{origin} is nested too deeply (at most {MAX_DEPTH} levels).")
        if isinstance(value, Mapping):
            return {str(name): plain(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple | set):
            return [plain(item, depth + 1) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, datetime.date | datetime.time):
            return value.isoformat()
        raise UsageError(f"{origin} holds a value of kind {type(value).__name__}, which cannot be stored.")

    return {str(name): plain(item, 1) for name, item in values.items()}


def merge_hyperparameters(sources: Sequence[tuple[str, Mapping[str, JSON]]]) -> dict[str, JSON]:
    """One table from several ``(origin, values)``; later sources add to earlier ones.

    Raises:
        UsageError: two sources give one name different values; every contradiction is named.
    """
    merged: dict[str, JSON] = {}
    origins: dict[str, str] = {}
    faults: list[str] = []
    for origin, values in sources:
        for name, value in values.items():
            if name in merged and merged[name] != value:
                faults.append(
                    f"{name} is {_shown(merged[name])} in {origins[name]} but {_shown(value)} in {origin}"
                )
                continue
            merged.setdefault(name, value)
            origins.setdefault(name, origin)
    if faults:
        raise UsageError(
            f"The settings contradict one another: {'; '.join(faults)}.",
            hint="Say it once: mend the card or leave the option out.",
        )
    return merged


def _shown(value: JSON, width: int = 40) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= width else text[: width - 1] + "…"


def flatten(values: Mapping[str, JSON], prefix: str = "") -> Iterator[tuple[str, JSON]]:
    """The leaves of a nested table with dotted names: ``{"lora": {"r": 8}}`` gives ``("lora.r", 8)``.

    Lists are leaves. An empty table is one too.
    """
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# --- secrets --------------------------------------------------------------------------------------

# Commit ids and checksums are long hexadecimal numbers and belong into a card; a key of that shape is
# still recognised by its name (api_key, token, password).
_IGNORED_DETECTORS = {"HexHighEntropyString", "IPPublicDetector"}


def refuse_secrets(values: Mapping[str, JSON]) -> None:
    """Refuse ``values`` if any text in them looks like a key, a token or a password.

    The judgement is detect-secrets'; the secret itself is never repeated.

    Raises:
        Refused: names where the secrets stand and what kind they seem to be.
    """
    found = find_secrets(values)
    if found:
        places = ", ".join(f"{place} ({kind})" for place, kind in found.items())
        raise Refused(
            f"This looks like a secret: {places}. Nothing was stored.",
            hint="Take it out of the card or the options, and renew a key that has been shown to others.",
        )


def find_secrets(values: Mapping[str, JSON]) -> dict[str, str]:
    """Where ``values`` hold something that looks like a secret: dotted name to the kind of secret."""
    from detect_secrets.core.plugins import initialize
    from detect_secrets.settings import default_settings, get_settings

    found: dict[str, str] = {}
    with default_settings():
        names = [name for name in get_settings().plugins if name not in _IGNORED_DETECTORS]
        detectors: list[Any] = [initialize.from_plugin_classname(name) for name in names]
        for place, text in _texts(values):
            for line in _lines(place, text):
                for detector in detectors:
                    if detector.analyze_line(filename="run.json", line=line, line_number=1):
                        found.setdefault(place, str(detector.secret_type))
    return found


def _texts(values: Mapping[str, JSON], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every text in ``values`` with its dotted name; names count as texts too."""
    for name, value in values.items():
        place = f"{prefix}{name}"
        items = value if isinstance(value, list) else [value]
        yield f"{prefix}(a name)", name
        for item in items:
            if isinstance(item, dict):
                yield from _texts(item, f"{place}.")
            elif isinstance(item, list):
                yield from _texts({"": item}, place)
            elif isinstance(item, str):
                yield place, item


def _lines(place: str, text: str) -> Iterator[str]:
    """``text`` as the source lines in which detect-secrets looks for secrets: quoted, whole and by words."""
    name = place.rpartition(".")[2]
    for line in text.splitlines() or [""]:
        yield f'{name} = "{line}"'
        for word in line.replace("=", " ").split()[:1_000]:
            if len(word) > 8 and word != line:
                yield f'value = "{word}"'
