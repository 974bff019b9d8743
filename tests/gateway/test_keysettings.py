"""Settings of keys as they are written on the command line."""

from __future__ import annotations

import pytest

from gateway.keysettings import BadSetting, KeySetting, parsed

KNOWN = {
    "rpm": KeySetting(int, "requests a minute"),
    "share": KeySetting(float, "a share"),
    "cache": KeySetting(bool, "whether answers are cached"),
    "mode": KeySetting(str, "how", choices=("fast", "slow")),
}


def test_values_have_their_types() -> None:
    given = ["rpm=10", "share=0.5", "cache=on", "mode=fast"]
    assert parsed(given, KNOWN) == {"rpm": 10, "share": 0.5, "cache": True, "mode": "fast"}


def test_an_empty_value_removes() -> None:
    assert parsed(["rpm="], KNOWN) == {"rpm": None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rpm", "is not name=value"),
        ("rpn=1", "there is no setting 'rpn'; there are: rpm, share, cache, mode"),
        ("rpm=ten", "rpm must be a whole number, not 'ten'"),
        ("rpm=-1", "rpm must not be negative"),
        ("cache=2", "cache must be true or false, not '2'"),
        ("mode=medium", "mode must be fast or slow, not 'medium'"),
    ],
)
def test_what_cannot_be_is_said(given: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        parsed([given], KNOWN)
