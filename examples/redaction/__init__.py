"""Redact: what must not leave the house in a prompt?

A policy of your own: one class, added by one entry of `config.toml`. It replaces e-mail addresses
and card numbers in the text of messages before the call goes to a provider.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gateway.exchange import JSON, Call, Handler, Reply
from gateway.trace import Fact

# Local part, at sign, domain with a dot. Broader than RFC 5321: what looks like an address goes.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}\b")
# 13 to 19 digits, perhaps in groups. Which of them are a card's, its check digit tells.
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")

_TEXTS = {"email": "[e-mail address]", "card": "[card number]"}


@dataclass(frozen=True, slots=True)
class Redacted(Fact):
    """How much was replaced: never what."""

    emails: int
    cards: int

    def describe(self) -> JSON:
        return {"fact": "redacted", "emails": self.emails, "cards": self.cards}


class Redact:
    """Replaces e-mail addresses and card numbers in messages, tool results included."""

    supports_dry_run = True  # it changes nothing but the call, so an explanation may run it

    def __init__(self, *, emails: bool = True, cards: bool = True) -> None:
        if not (emails or cards):
            raise ValueError("emails or cards must be true")
        self._emails = emails
        self._cards = cards

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        count = {"email": 0, "card": 0}
        messages = [self._message(message, count) for message in call.body["messages"]]
        if not any(count.values()):
            return await call_next(call)
        call.trace.add(Redacted(count["email"], count["card"]))
        return await call_next(call.with_(body={**call.body, "messages": messages}))

    def _message(self, message: JSON, count: dict[str, int]) -> JSON:
        content = message.get("content")
        return {**message, "content": self._content(content, count)} if content else message

    def _content(self, content: Any, count: dict[str, int]) -> Any:
        """A text, or a list of parts: those that are text have one."""
        if isinstance(content, str):
            return self._text(content, count)
        return [
            {**part, "text": self._text(part["text"], count)} if "text" in part else part
            for part in content
        ]

    def _text(self, text: str, count: dict[str, int]) -> str:
        def replace(kind: str) -> str:
            count[kind] += 1
            return _TEXTS[kind]

        def card(match: re.Match[str]) -> str:
            return replace("card") if is_card_number(match[0]) else match[0]

        if self._emails and "@" in text:
            text = _EMAIL.sub(lambda _: replace("email"), text)
        return _CARD.sub(card, text) if self._cards else text


def is_card_number(text: str) -> bool:
    """Does the last digit fit the others? (Luhn's formula, ISO/IEC 7812-1)"""
    digits = [int(character) for character in reversed(text) if character.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return any(digits) and (sum(digits[::2]) + sum(doubled)) % 10 == 0
