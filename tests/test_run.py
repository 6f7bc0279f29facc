"""Run cards, hyperparameters from everywhere, and secrets that are kept out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Refused, UsageError
from harness.run import (
    JSON,
    MAX_DEPTH,
    Run,
    card_path,
    find_secrets,
    flatten,
    merge_hyperparameters,
    parse_assignment,
    parse_value,
    read_card,
    read_parameters,
    refuse_secrets,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_a_card_survives_its_file(values: dict[str, JSON]) -> None:
    """Whatever JSON can say, a card says again after being written and read."""
    card = Run(hyperparameters=values, baseline="lead", seconds=1.5)
    assert Run.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_the_card_lies_beside_the_predictions(tmp_path: Path) -> None:
    """preds.csv has preds.run.json; without one there is no card."""
    predictions = tmp_path / "preds.csv"
    assert read_card(predictions) is None
    Run({"모델": {"r": 8, "말": ["가", None]}}).save(card_path(predictions))
    assert card_path(predictions).name == "preds.run.json"
    card = read_card(predictions)
    assert card is not None
    assert card.hyperparameters == {"모델": {"r": 8, "말": ["가", None]}}


def test_unknown_fields_of_a_card_are_kept(tmp_path: Path) -> None:
    """A card written by another program loses nothing."""
    assert Run.from_json({"gpu": "T4", "notes": {"a": 1}}).notes == {"a": 1, "gpu": "T4"}


def test_every_fault_of_a_card_is_named_at_once() -> None:
    """Three fields of the wrong kind are three faults in one message."""
    with pytest.raises(UsageError, match=r"hyperparameters.*baseline.*seconds"):
        Run.from_json({"hyperparameters": [], "baseline": 3, "seconds": "fast"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("2e-4", 2e-4),
        ("2.E-4", 2e-4),
        (".9", 0.9),
        ("true", True),
        ("False", False),
        ("none", None),
        ("AdamW", "AdamW"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("NaN", "nan"),
        ('["q_proj","v_proj"]', ["q_proj", "v_proj"]),
        ('{"T_0": 202}', {"T_0": 202}),
        ('"8"', "8"),
        ("", ""),
        ("{text} 한줄 요약:", "{text} 한줄 요약:"),
        ("9" * 5_000, "9" * 5_000),
    ],
)
def test_a_value_is_read_as_a_person_means_it(text: str, value: JSON) -> None:
    """Numbers are numbers, 2e-4 included; what only looks a little like one stays text."""
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_only_the_first_equals_sign_divides() -> None:
    """A value may hold equals signs of its own."""
    assert parse_assignment("scheduler=CosineAnnealingWarmRestarts(T_0=202)") == (
        "scheduler",
        "CosineAnnealingWarmRestarts(T_0=202)",
    )


@pytest.mark.parametrize("text", ["r8", "=8", " =8"])
def test_an_assignment_without_name_or_sign_is_refused(text: str) -> None:
    """The message shows the form."""
    with pytest.raises(UsageError, match="name=value"):
        parse_assignment(text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"r": 8, "learning_rate": 2e-4, "on": "no"}'),
        ("a.toml", 'r = 8\nlearning_rate = 2e-4\non = "no"\n'),
        ("a.yaml", "r: 8\nlearning_rate: 2e-4\non: no\n"),
    ],
)
def test_json_toml_and_yaml_say_the_same(tmp_path: Path, name: str, content: str) -> None:
    """YAML is YAML 1.2: 2e-4 is a number and no is text."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert read_parameters(path) == {"r": 8, "learning_rate": 2e-4, "on": "no"}


def test_a_whole_run_card_serves_as_a_parameter_file(tmp_path: Path) -> None:
    """Its hyperparameters are taken, not the card around them."""
    path = tmp_path / "a.json"
    path.write_text('{"hyperparameters": {"r": 8}, "seconds": 3}', encoding="utf-8")
    assert read_parameters(path) == {"r": 8}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.json", "{", "cannot be understood"),
        ("a.json", "[1]", "table of names"),
        ("a.toml", "r = ", "cannot be understood"),
        ("a.yaml", "a: [", "cannot be understood"),
        ("a.txt", "r=8", "must end in"),
        ("a.yaml", BOMB, "unfolds to more than"),
        ("a.json", '{"a":' * 300 + "1" + "}" * 300, "nested too deeply"),
        ("a.json", '{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_parameter_file_gets_one_plain_message(
    tmp_path: Path, name: str, content: str, complaint: str
) -> None:
    """Broken syntax, the wrong kind, and bombs that unfold are told apart."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=complaint):
        read_parameters(path)


def test_a_missing_parameter_file_is_named(tmp_path: Path) -> None:
    """The path stands in the message."""
    with pytest.raises(UsageError, match=r"nowhere\.json"):
        read_parameters(tmp_path / "nowhere.json")


def test_agreeing_sources_are_merged() -> None:
    """What two sources say alike is no contradiction, and 8 is 8.0."""
    merged = merge_hyperparameters([("a", {"r": 8}), ("b", {"r": 8.0, "alpha": 32})])
    assert merged == {"r": 8, "alpha": 32}


def test_all_contradictions_are_named_with_their_origins() -> None:
    """Neither value wins."""
    with pytest.raises(UsageError) as caught:
        merge_hyperparameters([("the run card", {"r": 8, "x": 1}), ("-p", {"r": 4, "x": 2})])
    assert "r is 8 in the run card but 4 in -p; x is 1 in the run card but 2 in -p" in caught.value.message


def test_flattening_names_the_leaves_with_dots() -> None:
    """Lists and empty tables are leaves."""
    nested: dict[str, JSON] = {"lora": {"r": 8, "targets": ["q", "v"]}, "seed": 1, "empty": {}}
    assert dict(flatten(nested)) == {"lora.r": 8, "lora.targets": ["q", "v"], "seed": 1, "empty": {}}


# Shapes of well-known keys, filled with letters that belong to nobody. They are put together here so that
# no scanner takes this file for a leak.
SECRETS: dict[str, JSON] = {
    "openai": "sk-" + "proj-" + "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH",
    "github": "ghp_" + "aBcdefghijklmnopqrstuvwxyzABCDEF0123",
    "hub": "hf_" + "AbKdEfzHiJQlMnOpXrStUvWxYzaBCcDdEe",
    "cloud": "AKIA" + "IOSFODNN7EXAMPLE",
    "json web token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
    "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "key file": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "database": "postgres://user:" + "passw0rd@host/db",
    "command": "export HF_TOKEN=" + "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",
}


@pytest.mark.parametrize("name", [*SECRETS, "password", "api_key", "nested", "listed", "a name"])
def test_what_looks_like_a_secret_is_refused_and_not_repeated(name: str) -> None:
    """By its shape or by its name, at any depth, in a list, or as a name itself."""
    secret = "9c1185a5c5e9fc54612808977ee8f548b2258d31"  # noqa: S105 - nobody's
    cases: dict[str, dict[str, JSON]] = {
        "password": {"password": "hunter2hunter"},
        "api_key": {"api_key": secret},
        "nested": {"wandb": {"init": {"api_key": secret}}},
        "listed": {"arguments": ["--token", [SECRETS["hub"]]]},
        "a name": {str(SECRETS["github"]): 1},
    }
    values = cases.get(name) or {"note": SECRETS[name]}
    with pytest.raises(Refused) as caught:
        refuse_secrets(values)
    assert secret not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert str(SECRETS["hub"]) not in str(caught.value)


def test_ordinary_settings_are_not_taken_for_secrets() -> None:
    """Model names, revisions, commit ids, checksums, paths, prompts and special tokens are fine."""
    ordinary: dict[str, JSON] = {
        "model": "kakaobrain/kogpt",
        "revision": "KoGPT6B-ryan1.5b-float16",
        "commit": "9c1185a5c5e9fc54612808977ee8f548b2258d31",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "path": "/content/drive/MyDrive/KoGPT-LoRA/experiment-2023-run5/checkpoint-12000/adapter.safetensors",
        "prompt": "{text} 한줄 요약:",
        "long": "다음 글을 한 문장으로 요약하라. " * 500,
        "scheduler": "CosineAnnealingWarmRestarts(T_0=202, T_mult=2)",
        "target_modules": "q_proj,v_proj,k_proj,out_proj,fc_in,fc_out",
        "eos_token": "[EOS]",
        "bos_token": "</s>",
        "pad_token_id": 3,
        "max_new_tokens": 100,
        "command": "python train.py --lr 2e-4 --model skt/kogpt2-base-v2 --output out/run_2023-03-27",
        "url": "https://huggingface.co/skt/kogpt2-base-v2",
        "message": "r=8, alpha=32, dropout .1 -> AdamW 2e-4",
    }
    assert find_secrets(ordinary) == {}


def test_the_depth_limit_leaves_room_for_real_settings() -> None:
    """Ten levels are read."""
    nested: JSON = 1
    for _ in range(10):
        nested = {"a": nested}
    assert MAX_DEPTH > 10
    assert Run.from_json({"hyperparameters": nested}).hyperparameters == nested
