"""The request path, as one list: reading it is reading the gateway."""

from __future__ import annotations

from gateway.exchange import Policy
from gateway.limits.targets import TargetLimits
from gateway.parts import Parts
from gateway.picking import Picker
from gateway.spending import Spending
from gateway.wire.requests import requested_capabilities
from policies.account import Account
from policies.cache import Cache
from policies.context_window import ContextWindow
from policies.idempotency import Idempotency
from policies.keys import Keys
from policies.ledger import Ledger
from policies.limits import Limits
from policies.retry import Retry
from policies.route import Route


def request_path(parts: Parts, keys: Keys) -> list[Policy]:
    """What is decided about a call, outermost first."""
    return [
        keys,  # who is calling?
        Ledger(parts.sinks),  # one row per call when it ends, refusals included
        *_idempotency(parts),  # has this very request been made before?
        Limits(parts.config.limits, parts.limiter, parts.directory),  # within their rates?
        Route(parts.directory, requested_capabilities, Picker(parts.health)),  # may they; which?
        ContextWindow(parts.config.context, parts.config.models),  # which targets hold the prompt?
        Cache(parts.caching),  # answered already, or being answered right now?
        _retry(parts),  # an attempt; again, elsewhere, or give up
        Account(parts.accounts, _spending(parts), parts.pace),  # an intent before, settled after
    ]


def _idempotency(parts: Parts) -> list[Policy]:
    settings = parts.config.idempotency
    return [Idempotency(settings, parts.answers, parts.repeated)] if settings.enabled else []


def _retry(parts: Parts) -> Retry:
    settings = parts.config.limits
    limits = TargetLimits(settings, parts.limiter) if settings.targets else None
    return Retry(parts.config.retry, parts.health, limits=limits)


def _spending(parts: Parts) -> Spending:
    return Spending(parts.accounts, parts.budgets, parts.config.budgets)
