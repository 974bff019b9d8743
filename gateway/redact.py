"""Redaction: what must never leave in a text that somebody else wrote?

A provider's message may repeat the key it was called with (masked or not), its own address, an
account, or a header. `redact` is applied to every such text before a client or a log sees it.
It errs on the side of removing: a lost word costs less than a leaked key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_CHARS = 500

# Text beyond this is not even looked at: no pattern may cost more than a moment.
_SCANNED_CHARS = 1_500

# Shorter "secrets" (an empty default, `x`, `none`) would eat ordinary words.
_MIN_SECRET_CHARS = 4

# Providers echo a key's first or last characters around a mask: that many give it away.
_TELLING_CHARS = 8

_KEY = "[key]"
_ADDRESS = "[address]"
_ACCOUNT = "[account]"

_TOP_LEVEL = (
    "com|net|org|io|ai|dev|app|cloud|co|cn|eu|us|uk|de|fr|jp|kr|in|"
    "local|localdomain|internal|lan|corp|home|svc|invalid|test|example"
)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE if insensitive else 0), label)
    for pattern, label, insensitive in (
        # Addresses first: a URL may hold a key in its query.
        (r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]+", _ADDRESS, True),
        (r"\barn:aws[\w-]*:[^\s\"'<>]+", _ACCOUNT, True),
        # Keys. A JSON web token is three base64 parts; a mask is a run of stars or bullets.
        (r"\b(?:bearer|basic)\s+[\w.~+/=*-]{4,}", _KEY, True),
        (r"\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?", _KEY, False),
        (r"\b(?:sk|pk|rk|csk|tgp|pplx|nvapi|xai)-[\w*.…-]{2,}", _KEY, False),
        (r"\b(?:gsk|hf|r8|fw|sk|pk|rk|ghp|gho|esecret|glpat)_[\w*.…-]{4,}", _KEY, False),
        (r"\bAIza[\w*.…-]{4,}", _KEY, False),
        (r"\b(?:AKIA|ASIA|ABSK)[A-Za-z0-9+/=*]{8,}", _KEY, False),
        (r"[\w.-]{0,40}(?:[*•]{3,}|x{6,})[\w.*•-]*", _KEY, True),
        # Accounts.
        (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*", _ACCOUNT, False),
        (r"\b(?:org|proj|user|acct|team|ws|wrkspc)[-_][A-Za-z0-9]{8,}", _ACCOUNT, False),
        # Hosts and addresses that stand alone.
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b", _ADDRESS, False),
        (r"\[?(?<![\w:])(?:[0-9a-f]{1,4}:){5,7}[0-9a-f]{1,4}\b\]?(?::\d{1,5})?", _ADDRESS, True),
        (
            r"\[?(?<![\w:])(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?::"
            r"(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?(?!\w)\]?(?::\d{1,5})?",
            _ADDRESS,
            True,
        ),
        (r"\b(?:[a-z0-9-]{1,63}\.){1,6}(?:" + _TOP_LEVEL + r")(?::\d{1,5})?\b", _ADDRESS, True),
        (
            r"\b(?=[\w.-]{0,80}[a-z])[a-z0-9][\w-]{0,62}(?:\.[\w-]{1,63}){0,6}:\d{2,5}\b(?!:)",
            _ADDRESS,
            True,
        ),
        (r"\blocalhost\b", _ADDRESS, True),
    )
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets`, keys, addresses and accounts; at most 500 characters."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET_CHARS:
            text = _without(secret, text)
    text = _beginning(text)
    for pattern, label in _PATTERNS:
        text = pattern.sub(label, text)
    return text.strip() if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1].rstrip() + "…"


def _without(secret: str, text: str) -> str:
    text = text.replace(secret, _KEY)
    if len(secret) < 2 * _TELLING_CHARS:
        return text
    first, last = re.escape(secret[:_TELLING_CHARS]), re.escape(secret[-_TELLING_CHARS:])
    return re.sub(rf"{first}[\w*•.…-]*|[\w*•…-]*{last}", _KEY, text)


def _beginning(text: str) -> str:
    """The part that is looked at, without the word that the cut may have split."""
    if len(text) <= _SCANNED_CHARS:
        return text
    head, _, _ = text[:_SCANNED_CHARS].rpartition(" ")
    return head
