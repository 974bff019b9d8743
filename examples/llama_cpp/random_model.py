"""A language model of half a megabyte: what is the least that llama.cpp will run?

One block of the Llama architecture with random weights, in the GGUF format (version 3, as
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes it), written with nothing but
the standard library. It says syllables without sense, and a given seed always gives the same file.

Its vocabulary is 258 syllables that it speaks and 256 bytes that it reads and, made to by a
grammar, writes. The output rows of everything but the syllables are zero: their logits are 0 and
some syllable's is always greater, so that text is never broken UTF-8 and ends by `max_tokens`.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

WIDTH, HEADS, HIDDEN, CONTEXT = 64, 4, 128, 2048
_ALIGNMENT = 32
_SYLLABLES = ["".join(parts) for parts in product("bdfghjklmnprstvwz", "aeiou")]
_SPOKEN = [*_SYLLABLES, *("▁" + syllable for syllable in _SYLLABLES), *("n", "s", "▁")]
_SPOKEN += ["▁" + a + b for a, b in zip(_SYLLABLES, reversed(_SYLLABLES), strict=True)]
_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *_SPOKEN]
_UNKNOWN, _CONTROL, _BYTE, _NORMAL = 2, 3, 6, 1
_TYPES = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_NORMAL] * len(_SPOKEN)]
_MUTE = len(_TOKENS) - len(_SPOKEN)
_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
)


def write_model(path: Path, seed: int = 1) -> None:
    """Write the model to `path`."""
    settings = _settings()
    tensors = _tensors(random.Random(seed))  # noqa: S311 - weights, not secrets
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(settings))
    head += b"".join(_text(name) + value for name, value in settings.items())
    data = b""
    for name, (shape, weights) in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, len(data))  # 0: 32-bit floats
        data += _padded(struct.pack(f"<{len(weights)}f", *weights))
    path.write_bytes(_padded(head) + data)


def _settings() -> dict[str, bytes]:
    return {
        "general.architecture": _string("llama"),
        "general.name": _string("random"),
        "llama.context_length": _integer(CONTEXT),
        "llama.embedding_length": _integer(WIDTH),
        "llama.block_count": _integer(1),
        "llama.feed_forward_length": _integer(HIDDEN),
        "llama.attention.head_count": _integer(HEADS),
        "llama.attention.layer_norm_rms_epsilon": struct.pack("<If", 6, 1e-5),
        "llama.rope.dimension_count": _integer(WIDTH // HEADS),
        "tokenizer.ggml.model": _string("llama"),
        "tokenizer.ggml.tokens": _array(8, [_text(token) for token in _TOKENS]),
        "tokenizer.ggml.scores": _array(6, [struct.pack("<f", -float(i)) for i in _ranks()]),
        "tokenizer.ggml.token_type": _array(5, [struct.pack("<i", kind) for kind in _TYPES]),
        "tokenizer.ggml.bos_token_id": _integer(1),
        "tokenizer.ggml.eos_token_id": _integer(2),
        "tokenizer.ggml.unknown_token_id": _integer(0),
        "tokenizer.chat_template": _string(_TEMPLATE),
    }


def _tensors(source: random.Random) -> dict[str, tuple[Sequence[int], list[float]]]:
    """Name to shape (columns first) and weights (row by row)."""

    def matrix(columns: int, rows: int) -> tuple[Sequence[int], list[float]]:
        scale = columns**-0.5
        return (columns, rows), [source.gauss(0, scale) for _ in range(columns * rows)]

    norm = ((WIDTH,), [1.0] * WIDTH)
    shape, spoken = matrix(WIDTH, len(_TOKENS))
    spoken[: _MUTE * WIDTH] = [0.0] * (_MUTE * WIDTH)
    attention = {f"blk.0.attn_{part}.weight": matrix(WIDTH, WIDTH) for part in "qkv"}
    return {
        "token_embd.weight": matrix(WIDTH, len(_TOKENS)),
        "blk.0.attn_norm.weight": norm,
        **attention,
        "blk.0.attn_output.weight": matrix(WIDTH, WIDTH),
        "blk.0.ffn_norm.weight": norm,
        "blk.0.ffn_gate.weight": matrix(WIDTH, HIDDEN),
        "blk.0.ffn_up.weight": matrix(WIDTH, HIDDEN),
        "blk.0.ffn_down.weight": matrix(HIDDEN, WIDTH),
        "output_norm.weight": norm,
        "output.weight": (shape, spoken),
    }


def _ranks() -> Iterable[int]:
    """The tokenizer joins the pair with the higher score first."""
    return range(len(_TOKENS))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _string(text: str) -> bytes:
    return struct.pack("<I", 8) + _text(text)


def _integer(value: int) -> bytes:
    return struct.pack("<II", 4, value)


def _array(kind: int, items: Sequence[bytes]) -> bytes:
    return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))
