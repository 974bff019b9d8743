"""Third-party policies: which does the configuration add, and where on the path do they stand?

    [[policies]]
    use = "my_package.module:Class"
    after = "Keys"
    settings = { words = ["secret"] }

Modules are found where Python finds them, and in the directory of the configuration file.
`docs/policies.md` tells how to write one.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gateway.config import ConfigError, Place, PolicyEntry
from gateway.exchange import JSON, Call, Handler, Policy, Reply
from gateway.trace import Fact

_ORDER: tuple[str, ...] = get_args(Place)


@dataclass(frozen=True, slots=True)
class Placed:
    """A policy, and the one of ours that it follows."""

    policy: Policy
    after: str


@dataclass(frozen=True, slots=True)
class NotEvaluated(Fact):
    """An explanation has left a policy out, since it does not declare support for one."""

    policy: str

    def describe(self) -> JSON:
        return {"fact": "not_evaluated", "policy": self.policy}


class Undeclared:
    """A policy that does not declare `supports_dry_run`: an explanation passes it by."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        if call.dry_run:
            call.trace.add(NotEvaluated(type(self._policy).__name__))
            return await call_next(call)
        return await self._policy(call, call_next)


def load_policies(entries: Sequence[PolicyEntry], base_dir: Path) -> list[Placed]:
    """Import and make the configured policies. Raises `ConfigError` with all that is wrong."""
    if not entries:
        return []
    directory = str(base_dir.resolve())
    if directory not in sys.path:
        sys.path.append(directory)  # last: what stands there hides no installed module
    placed: list[Placed] = []
    problems: list[str] = []
    for entry in entries:
        try:
            placed.append(Placed(_made(entry), entry.after))
        except _Unusable as fault:
            problems.append(f'policies: use = "{entry.use}": {fault}')
    if problems:
        raise ConfigError(problems)
    return placed


def with_third_party(path: Sequence[Policy], added: Sequence[Placed]) -> list[Policy]:
    """Our own path with the third-party policies at their places, in the file's order.

    One whose place is not on the path, since nothing needs it, follows what stands before it.
    """
    whole: list[Policy] = []
    ranks = [_ORDER.index(type(policy).__name__) for policy in path]
    for policy, rank, following in zip(path, ranks, [*ranks[1:], len(_ORDER)], strict=True):
        whole.append(policy)
        for one in added:
            if rank <= _ORDER.index(one.after) < following:
                whole.append(one.policy)
    return whole


class _Unusable(Exception):
    """Why an entry cannot be used."""


def _made(entry: PolicyEntry) -> Policy:
    factory = _named(entry.use)
    if not _is_policy(factory):
        raise _Unusable("is no policy: a class with `async def __call__(self, call, call_next)`")
    try:
        inspect.signature(factory).bind(**entry.settings)
        policy: Policy = factory(**entry.settings)
    except (TypeError, ValueError) as error:
        raise _Unusable(f"its settings are wrong: {error}") from error
    except Exception as error:  # somebody else's code: a reload must survive it
        raise _Unusable(f"cannot be made: {_told(error)}") from error
    return policy if getattr(policy, "supports_dry_run", False) else Undeclared(policy)


def _named(use: str) -> Any:
    """What stands at `module:Name`."""
    module_name, _, name = use.partition(":")
    if not module_name or module_name.startswith(".") or not name.isidentifier():
        raise _Unusable('must be "module:Class"')
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise _Unusable(f"there is no module {error.name}") from error
    except (ImportError, SyntaxError) as error:
        raise _Unusable(f"cannot be imported: {error}") from error
    except Exception as error:  # whatever its module does when it is imported
        raise _Unusable(f"cannot be imported: {_told(error)}") from error
    found: Mapping[str, Any] = vars(module)
    if name not in found:
        raise _Unusable(f"{module_name} has no {name}")
    return found[name]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _is_policy(found: object) -> bool:
    """Is this a class whose instances take a call and what comes after it?"""
    method = inspect.getattr_static(found, "__call__", None)
    if not inspect.isclass(found) or not inspect.iscoroutinefunction(method):
        return False
    try:
        inspect.signature(method).bind(None, None, None)
    except TypeError:
        return False
    return True
