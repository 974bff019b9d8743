"""GCRA: may this be admitted now, and if not, when?

The generic cell rate algorithm (a leaky bucket written as one number). A bucket is its
theoretical arrival time: the moment when all that was admitted will have drained. Something of a
cost is admitted if afterwards that moment lies at most one window ahead.

Why this and not a sliding window: one number per bucket instead of a log of calls, an exact wait,
no moment at which a counter begins anew and lets twice the limit pass, and a steady rate after
the first burst. What it allows: a whole minute's limit at once, then one further call each
60/limit seconds; so in any stretch of t seconds at most limit · (1 + t/60).

Time and costs are whole microseconds, so that Redis and Python, with integers here and doubles
there, decide alike. Costs are rounded up: the rate is never exceeded, by at most a microsecond a
call it is missed.
"""

from __future__ import annotations

WINDOW_US = 60_000_000


def cost_us(amount: int, per_minute: int) -> int:
    """How long `amount` takes to drain at `per_minute`."""
    return -(-amount * WINDOW_US // per_minute)


def request_window_us(per_minute: int) -> int:
    """The window of a bucket of single requests: exactly `per_minute` of them fit."""
    return per_minute * cost_us(1, per_minute)


def wait_us(arrival_us: int, now_us: int, cost: int, window: int) -> int:
    """How long until something of this cost is admitted; 0 is now.

    A cost above the window is never admitted: the caller has to ask that first.
    """
    return max(0, max(arrival_us, now_us) + cost - window - now_us)


def taken(arrival_us: int, now_us: int, cost: int) -> int:
    """The bucket after `cost` was admitted, or corrected by a further, possibly negative, cost."""
    return max(arrival_us, now_us) + cost


def backlog_us(arrival_us: int, now_us: int) -> int:
    """How long until the bucket is empty."""
    return max(0, arrival_us - now_us)
