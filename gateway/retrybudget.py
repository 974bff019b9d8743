"""The retry budget: may a target be tried once more, or would repeating make things worse?

When a provider fails, repeating multiplies its load. So further attempts at the same target are
at most a share of the calls in flight, and a few are always allowed, for a quiet gateway.
"""

from __future__ import annotations


class RetryBudget:
    """Counts the further attempts in this process. `calls` are those in flight: Retry counts."""

    __slots__ = ("_least", "_share", "calls", "further")

    def __init__(self, share: float, least: int) -> None:
        self._share = share
        self._least = least
        self.calls = 0
        self.further = 0

    def allowance(self) -> Allowance:
        """To be entered around a call's further attempts."""
        return Allowance(self)

    def take(self) -> bool:
        """Room for one more?"""
        if self.further >= max(self._least, int(self._share * self.calls)):
            return False
        self.further += 1
        return True


class Allowance:
    """What one call has taken: at most one, given back when that attempt is over."""

    __slots__ = ("_budget", "_taken")

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._taken = False

    def take(self) -> bool:
        """Allow one further attempt, its pause included, instead of the one before."""
        self.give_back()
        self._taken = self._budget.take()
        return self._taken

    def give_back(self) -> None:
        """The further attempt is over."""
        if self._taken:
            self._taken = False
            self._budget.further -= 1

    def __enter__(self) -> Allowance:
        return self

    def __exit__(self, *raised: object) -> None:
        self.give_back()
