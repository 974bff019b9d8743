"""Refusals: what is a caller told whose call a limit does not admit?"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import RateLimitExceeded
from gateway.limits.demand import Demand, Kind, Verdict

_UNITS: Mapping[Kind, str] = {
    "requests": "requests per minute",
    "tokens": "tokens per minute",
    "concurrent": "calls at once",
}


def admit(verdict: Verdict, demand: Demand) -> None:
    """Raises `RateLimitExceeded` if a limit refused."""
    limit = verdict.refused_by
    if limit is None:
        return
    which = f"{limit.amount} {_UNITS[limit.kind]}"
    if verdict.never:
        error = RateLimitExceeded(
            f"This request counts as {demand.tokens} tokens, and the {limit.scope}'s limit is "
            f"{which}: shorten the prompt, or set a smaller max_completion_tokens."
        )
        error.should_retry = False
        raise error
    if verdict.wait_s is None:
        others = "Wait for one of them to end." if limit.kind == "concurrent" else "Others wait."
        raise RateLimitExceeded(f"The {limit.scope}'s limit of {which} is reached. {others}")
    raise RateLimitExceeded(
        f"The {limit.scope}'s limit of {which} is reached. Try again in {verdict.wait_s:.3g} s.",
        retry_after_s=verdict.wait_s,
    )
