"""Tokenizers: OpenAI's encodings, offline. How many tokens is this text?

The tables are those that litellm's wheel brings; tiktoken itself would download its own. A table
that is missing or altered is not used, and nothing is fetched: then characters are counted.

Building an encoding takes a third of a second, and a tenth of it holds up every other thread.
That is why `load` is called before a process is ready, where its configuration has prompts counted.
Counting is done in pieces: in one piece, a megabyte of one character takes a second at best.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:  # it is imported when the first count is needed
    from tiktoken import Encoding

log = logging.getLogger("sluice")

TokenizerName = Literal["o200k_base", "cl100k_base"]

# tiktoken names a table's file by the SHA-1 of its address, and checks the SHA-256.
_TABLES: dict[str, tuple[str, str]] = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}
_CACHE_DIR = "TIKTOKEN_CACHE_DIR"

# Of OpenAI's models, by name, wherever they run: openrouter's are called openai/gpt-4o.
_O200K = re.compile(
    r"(?:^|[/:])(?:chatgpt-4o|gpt-4o|gpt-4\.[1-9]|gpt-[5-9]|gpt-oss|o[1-9])(?![0-9])"
)
_CL100K = re.compile(r"(?:^|[/:])(?:gpt-4|gpt-3\.5|gpt-35)(?![0-9.])")

# Providers whose callers may name such a model although no configuration does.
_OPENAI = frozenset({"openai", "azure"})

_PIECE_CHARACTERS = 4_096
_LOOK_BACK = 512
# A cut inside a word can only change the tokens beside it.
_CUT_TOKENS = 8

_lock = threading.Lock()
_loaded: dict[str, Encoding | None] = {}


def tokenizer_of(model: str) -> TokenizerName | None:
    """The encoding of an OpenAI model; None for all others."""
    if _O200K.search(model):
        return "o200k_base"
    return "cl100k_base" if _CL100K.search(model) else None


def load(name: str) -> Encoding | None:
    """The encoding, built once a process; None where there is no table for it. Takes 0.4 s."""
    with _lock:
        if name not in _loaded:
            _loaded[name] = _build(name)
        return _loaded[name]


def load_for(kinds: Iterable[str], models: Iterable[str]) -> None:
    """Load what the models of these kinds of provider, and those named, are counted with."""
    needed: set[str] = {"o200k_base"} if _OPENAI.intersection(kinds) else set()
    needed.update(name for model in models if (name := tokenizer_of(model)) is not None)
    for tokenizer in sorted(needed):
        load(tokenizer)


def is_loaded(name: str | None) -> bool:
    """Can be counted with at once? None, no encoding, always can."""
    return name is None or name in _loaded


def count_tokens(encoding: Encoding, text: str) -> int:
    """At least as many tokens as `text` has, and mostly exactly that many."""
    if len(text) <= _PIECE_CHARACTERS:
        return len(encoding.encode_ordinary(text))
    total = 0
    for piece, exact in _pieces(text):
        total += len(encoding.encode_ordinary(piece)) + (0 if exact else _CUT_TOKENS)
    return total


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in bounded pieces, and whether each ends where the encoding itself would cut.

    Both encodings cut before a single space that stands between two other characters.
    """
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        most = start + _PIECE_CHARACTERS
        cut = text.rfind(" ", most - _LOOK_BACK, most)
        exact = cut > start and not text[cut - 1].isspace() and not text[cut + 1].isspace()
        if not exact:
            cut = most
        yield text[start:cut], exact
        start = cut
    yield text[start:], True


def _build(name: str) -> Encoding | None:
    tables = _tables_directory()
    if name not in get_args(TokenizerName) or tables is None or not _is_whole(tables, name):
        log.warning("there is no table for %s: its tokens are counted by characters", name)
        return None
    import tiktoken

    # Only now: with a wrong directory tiktoken would delete, download, or both.
    before = os.environ.get(_CACHE_DIR)
    os.environ[_CACHE_DIR] = str(tables)
    try:
        return tiktoken.get_encoding(name)
    finally:
        if before is None:
            del os.environ[_CACHE_DIR]
        else:
            os.environ[_CACHE_DIR] = before


def _tables_directory() -> Path | None:
    """Where litellm's wheel keeps them; litellm itself is not imported."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "litellm_core_utils", "tokenizers")


def _is_whole(tables: Path, name: str) -> bool:
    file, expected = _TABLES[name]
    try:
        content = (tables / file).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == expected
