"""Tokenizers: offline, in pieces that never count too few, and only where there is a table."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import tokenizers
from gateway.tokenizers import count_tokens, load, load_for, tokenizer_of

WORDS = st.sampled_from(
    [
        "hello",
        " ",
        "  ",
        "\n",
        "日本語",
        "naïve",
        "123456",
        "🙂",
        "don't",
        "a" * 700,
        "}",
        "\t",
        "x y",
    ]
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5.4-mini", "o200k_base"),
        ("o3", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("openai/gpt-oss-120b", "o200k_base"),
        ("ft:gpt-4o:acme::x1", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("claude-sonnet-4-5", None),
        ("my-gpt-4o", None),
        ("octo3", None),
        ("echo", None),
        ("", None),
    ],
)
def test_openais_models_are_known_by_their_names(model: str, expected: str | None) -> None:
    assert tokenizer_of(model) == expected


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(WORDS, max_size=60), repeats=st.integers(1, 60))
def test_pieces_count_no_fewer_tokens_than_the_whole(
    name: str, parts: list[str], repeats: int
) -> None:
    encoding = load(name)
    assert encoding is not None
    text = "".join(parts) * repeats
    whole = len(encoding.encode_ordinary(text))
    found = count_tokens(encoding, text)
    assert whole <= found <= whole + 9 * (1 + len(text) // 3_500)


def test_prose_is_counted_exactly_however_long() -> None:
    encoding = load("o200k_base")
    assert encoding is not None
    text = "The quick brown fox jumps over the lazy dog, and then it does so again. " * 2_000
    assert count_tokens(encoding, text) == len(encoding.encode_ordinary(text))


OFFLINE = """
import socket, sys, tempfile
def refuse(*_): raise AssertionError("the network was asked for")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from gateway.tokenizers import count_tokens, load
assert "tiktoken" not in sys.modules
for name in ("o200k_base", "cl100k_base"):
    assert count_tokens(load(name), "hello world") == 2
assert not any(module.split(".")[0] == "litellm" for module in sys.modules)
"""


@pytest.mark.parametrize("directory", [None, "", "/nowhere"])
def test_nothing_is_downloaded_and_litellm_is_not_imported(directory: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TIKTOKEN_CACHE_DIR"}
    if directory is not None:
        environment["TIKTOKEN_CACHE_DIR"] = directory
    subprocess.run([sys.executable, "-c", OFFLINE], env=environment, check=True)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(tokenizers, "_loaded", {})
    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.mark.usefixtures("unloaded")
def test_a_missing_or_altered_table_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    altered = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
    altered.write_bytes(b"aGVsbG8= 0\n")
    monkeypatch.setattr(tokenizers, "_tables_directory", lambda: tmp_path)
    assert load("o200k_base") is None
    assert load("cl100k_base") is None
    assert load("no_such_encoding") is None
    assert altered.exists(), "tiktoken would have deleted it"


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("kinds", "models", "expected"),
    [
        (["echo"], ["echo/echo"], []),
        (["anthropic"], ["anthropic/claude-sonnet-4-5", "smart"], []),
        (["openai"], [], ["o200k_base"]),
        (["azure"], ["azure/gpt-4"], ["cl100k_base", "o200k_base"]),
        (["openrouter"], ["openrouter/openai/gpt-3.5-turbo"], ["cl100k_base"]),
    ],
)
def test_what_configured_models_need_is_loaded(
    monkeypatch: pytest.MonkeyPatch, kinds: list[str], models: list[str], expected: list[str]
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(tokenizers, "load", loaded.append)
    load_for(kinds, models)
    assert loaded == expected
