"""Does only the right key under the right context open what was sealed?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.sealing import KEY_BYTES, Sealer, Unsealable, key_id, new_key

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
TEXT, CONTEXT = b"an answer", b"credential\0openai"


def test_what_was_sealed_is_opened() -> None:
    sealed = Sealer(KEY).seal(TEXT, CONTEXT)
    assert TEXT not in sealed
    assert len(sealed) == len(TEXT) + 33
    assert Sealer(KEY).open(sealed, CONTEXT) == TEXT


def test_the_same_text_is_never_sealed_the_same_way() -> None:
    sealer = Sealer(KEY)
    assert len({sealer.seal(TEXT, CONTEXT) for _ in range(100)}) == 100


@pytest.mark.parametrize("context", [b"", b"credential\0openai2", CONTEXT[:-1], b"\x00"])
def test_it_does_not_open_in_anothers_place(context: bytes) -> None:
    with pytest.raises(Unsealable, match="another's place"):
        Sealer(KEY).open(Sealer(KEY).seal(TEXT, CONTEXT), context)


@pytest.mark.parametrize("at", range(33 + len(TEXT)))
def test_a_change_of_any_byte_is_noticed(at: int) -> None:
    sealer = Sealer(KEY, [OTHER])
    sealed = bytearray(sealer.seal(TEXT, CONTEXT))
    sealed[at] ^= 1
    with pytest.raises(Unsealable):
        sealer.open(bytes(sealed), CONTEXT)


@pytest.mark.parametrize("length", [0, 1, 5, 17, 32])
def test_what_was_cut_off_is_noticed(length: int) -> None:
    with pytest.raises(Unsealable):
        Sealer(KEY).open(Sealer(KEY).seal(b"", CONTEXT)[:length], CONTEXT)


def test_another_key_is_named_by_its_id_alone() -> None:
    with pytest.raises(Unsealable, match=key_id(KEY).hex()) as caught:
        Sealer(OTHER).open(Sealer(KEY).seal(TEXT, CONTEXT), CONTEXT)
    assert KEY.hex() not in str(caught.value)


def test_the_id_of_an_old_key_cannot_be_put_before_what_the_new_one_sealed() -> None:
    sealer = Sealer(KEY, [OTHER])
    sealed = sealer.seal(TEXT, CONTEXT)
    with pytest.raises(Unsealable):
        sealer.open(sealed[:1] + key_id(OTHER) + sealed[5:], CONTEXT)


def test_a_key_can_be_replaced() -> None:
    before, after = Sealer(KEY), Sealer(OTHER, [KEY])
    sealed = before.seal(TEXT, CONTEXT)
    assert after.open(sealed, CONTEXT) == TEXT
    assert not after.is_current(sealed)
    anew = after.seal(TEXT, CONTEXT)
    assert after.is_current(anew)
    assert Sealer(OTHER).open(anew, CONTEXT) == TEXT


def test_a_data_key_lies_wrapped_beside_what_it_seals() -> None:
    master, data_key = Sealer(KEY), new_key()
    wrapped = master.wrap(data_key, b"team:red")
    assert data_key not in wrapped
    sealed = Sealer(data_key).seal(TEXT, CONTEXT)
    assert master.unwrap(wrapped, b"team:red").open(sealed, CONTEXT) == TEXT
    with pytest.raises(Unsealable):
        master.unwrap(wrapped, b"team:blue")


def test_data_and_data_keys_are_told_apart() -> None:
    master = Sealer(KEY)
    with pytest.raises(Unsealable):
        master.open(master.wrap(new_key(), CONTEXT), CONTEXT)
    with pytest.raises(Unsealable):
        master.unwrap(master.seal(new_key(), CONTEXT), CONTEXT)
    with pytest.raises(Unsealable, match="no data key"):
        master.unwrap(master.wrap(b"short", CONTEXT), CONTEXT)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_has_its_length(length: int) -> None:
    with pytest.raises(ValueError, match=str(KEY_BYTES)):
        Sealer(bytes(length))
    with pytest.raises(ValueError, match=str(KEY_BYTES)):
        Sealer(KEY, [bytes(length)])


def test_nothing_is_imported_before_something_is_sealed() -> None:
    script = (
        "import sys; from gateway.sealing import Sealer, new_key; sealer = Sealer(new_key());"
        "assert not any(name.startswith('cryptography') for name in sys.modules);"
        "sealer.seal(b'', b''); assert 'cryptography' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
