"""Explanations: what would become of a call that was made now?

A call with `dry_run` has walked the path, and this is a view of what its trace then knows, as the
ledger's row is of a call that was made. It never has a prompt, an answer or a secret in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.budgets import Budgeted, Clamped
from gateway.cache.facts import Cached
from gateway.chances import Account, account_of, first_chances
from gateway.errors import SluiceError
from gateway.exchange import JSON, Call
from gateway.health import Health
from gateway.idempotency import Replayed
from gateway.limits.demand import Limited
from gateway.picking import Picked
from gateway.record import usd
from gateway.targets import Target
from gateway.thirdparty import NotEvaluated
from gateway.trace import AttemptStarted, Fact, Identified, Routed, Skipped, Trace
from gateway.window import Truncated
from gateway.worstcase import bound_nano_usd, unbounded


@dataclass(frozen=True, slots=True)
class Foreseen(Fact):
    """An attempt that would be made, if its budgets have room for it. Of a dry run only."""

    attempt: Call

    def describe(self) -> JSON:
        return {"fact": "foreseen", "number": self.attempt.attempt}


def explanation(call: Call, error: SluiceError | None, health: Health) -> JSON:
    """What is told of a dry run that has ended, with `error` if that is what ended it."""
    trace = call.trace
    facts = [fact.describe() for fact in trace.facts if not isinstance(fact, Foreseen)]
    return {
        "object": "explanation",
        "id": call.id,
        "model": call.model,
        "stream": call.stream,
        "outcome": _outcome(trace, error),
        "key": _key(trace),
        "limits": _limits(trace),
        "route": _route(trace, health),
        "dropped": _dropped(trace),
        "cache": _cache(trace),
        "attempts": list(_attempts(trace)),
        "budgets": _budgets(trace),
        "not_evaluated": [fact.policy for fact in trace.all(NotEvaluated)],
        "facts": facts,
    }


def _outcome(trace: Trace, error: SluiceError | None) -> JSON:
    """How the call would end, as far as that does not depend on a provider."""
    if trace.last(Replayed) is not None:
        return {"kind": "replayed", **(_error(error) if error else {})}
    if error is not None:
        return {"kind": "refused", **_error(error)}
    cached, started = trace.last(Cached), trace.last(AttemptStarted)
    if cached is not None and cached.status == "hit":
        return {"kind": "cache"}
    if cached is not None and cached.status == "coalesced":
        return {"kind": "joined"}
    if started is None:  # a policy of somebody else's has answered
        return {"kind": "policy"}
    target = started.target
    return {"kind": "provider", "target": target.name, "credential": target.credential.name}


def _error(error: SluiceError) -> JSON:
    return {
        "status": error.status,
        **error.body(),
        "retry_after_s": error.retry_after_s,
        "should_retry": error.should_retry,
    }


def _key(trace: Trace) -> JSON | None:
    identified = trace.last(Identified)
    if identified is None:
        return None
    key = identified.key
    return {"id": key.id, "name": key.name, "team": key.team}


def _limits(trace: Trace) -> list[JSON]:
    limited = trace.last(Limited)
    if limited is None:
        return []
    verdict = limited.verdict
    return [
        {
            "scope": level.limit.scope,
            "subject": level.limit.subject,
            "kind": level.limit.kind,
            "limit": level.limit.amount,
            "remaining": level.remaining,
            "reset_s": level.reset_s,
            "full": level.limit == verdict.refused_by,
            "wait_s": verdict.wait_s if level.limit == verdict.refused_by else None,
        }
        for level in verdict.levels
    ]


def _route(trace: Trace, health: Health) -> JSON | None:
    routed = trace.last(Routed)
    if routed is None:
        return None
    picked = next((f for f in trace.all(Picked) if f.alias == routed.alias), None)
    strategy, sticky = (picked.strategy, picked.sticky) if picked else ("order", "no")
    chances = first_chances(routed.candidates, strategy, sticky, health)
    return {
        "alias": routed.alias,
        "strategy": strategy,
        "sticky": sticky,
        "candidates": [
            {
                **_place(target),
                "share": _share(target, chances),
                "state": health.state(target.name),
                "usable": health.usable(target),
            }
            for target in routed.candidates
        ],
        "skipped": [{"target": f.target, "reason": f.reason} for f in trace.all(Skipped)],
    }


def _share(target: Target, chances: Mapping[Account, float]) -> float | None:
    """None where nothing is random."""
    if not chances:
        return None
    return chances.get(account_of(target), 0.0) if target.fallback is None else 0.0


def _place(target: Target) -> JSON:
    return {
        "target": target.name,
        "credential": target.credential.name,
        "fallback": target.fallback,
        "only_after": sorted(target.fallback_on),
    }


def _dropped(trace: Trace) -> JSON | None:
    truncated = trace.last(Truncated)
    if truncated is None:
        return None
    return {
        "target": truncated.target,
        "messages": list(truncated.dropped),
        "tokens": truncated.tokens,
        "kept_tokens": truncated.kept_tokens,
    }


def _cache(trace: Trace) -> JSON | None:
    cached = trace.last(Cached)
    if cached is None:
        return None
    return {"status": cached.status, "key": cached.key.hex() if cached.key else None}


def _attempts(trace: Trace) -> Iterator[JSON]:
    """Those that would be made, and those that could follow if a provider failed, in order."""
    made: list[Call] = []
    for foreseen, budgeted, clamped in _foreseen(trace):
        attempt = foreseen.attempt
        bound = bound_nano_usd(attempt)
        if budgeted is not None and clamped is not None:
            bound = budgeted.bound_nano_usd
        made.append(attempt)
        yield {
            "number": attempt.attempt,
            **_place(attempt.chosen),
            **_worst(attempt, bound),
            "reserved_nano_usd": budgeted.bound_nano_usd if budgeted else None,
            "max_tokens": clamped.max_tokens if clamped else None,
        }
    if not made:
        return
    seen = {account_of(attempt.chosen) for attempt in made}
    for target in made[-1].candidates:
        if account_of(target) not in seen:  # a fallback may have it once more
            seen.add(account_of(target))
            attempt = made[-1].with_(target=target)
            worst = _worst(attempt, bound_nano_usd(attempt))
            yield {"number": None, **_place(target), **worst}


def _foreseen(trace: Trace) -> list[tuple[Foreseen, Budgeted | None, Clamped | None]]:
    """Each attempt with what its budgets said: those facts follow it."""
    found: list[tuple[Foreseen, Budgeted | None, Clamped | None]] = []
    for fact in trace.facts:
        if isinstance(fact, Foreseen):
            found.append((fact, None, None))
        elif found and isinstance(fact, Budgeted):
            found[-1] = (found[-1][0], fact, found[-1][2])
        elif found and isinstance(fact, Clamped):
            found[-1] = (found[-1][0], found[-1][1], fact)
    return found


def _worst(attempt: Call, bound: int | None) -> JSON:
    """Its worst case; `unbounded` says why it may cost more nevertheless."""
    return {
        "worst_case_nano_usd": bound,
        "worst_case_usd": None if bound is None else usd(bound),
        "unbounded": unbounded(attempt.body, attempt.chosen.model),
    }


def _budgets(trace: Trace) -> list[JSON]:
    """What would be left of each while the attempt is running."""
    budgeted = trace.last(Budgeted)
    if budgeted is None:
        return []
    return [
        {"name": name, "left_nano_usd": left, "left_usd": usd(left)}
        for name, left in budgeted.left_nano_usd.items()
    ]
