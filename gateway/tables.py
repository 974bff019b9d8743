"""Tables: does a parsed TOML table fit a dataclass, and where does it not?

Everything is read from the dataclass's annotations: nested dataclasses, `Mapping[str, X]`,
`tuple[X, ...]`, `Literal`, `X | None`, `Any` and the scalars. A value that does not fit is noted
as a `Problem` and left at its default, so that one reading finds all problems of a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Path = tuple[str, ...]
NumberRule = Callable[[Path, float], str | None]

# Below these names stand values that are, or may be, secret: no message repeats them.
SECRET_NAMES = frozenset(
    {"api_key", "pepper", "key", "old_keys", "credentials", "secrets", "headers", "options"}
)

_BEYOND = 2**63

_TYPE_NAMES = {str: "a string", bool: "true or false", int: "an integer", float: "a number"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that cannot be used. `shown` is the value, where it may be shown."""

    path: Path
    message: str
    shown: str | None = None

    def __str__(self) -> str:
        setting = dotted(self.path)
        return (
            f"{setting} = {self.shown}: {self.message}"
            if self.shown
            else (f"{setting}: {self.message}")
        )


class _Misfit(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that a file may hold. `default` is MISSING where there is none."""

    path: Path
    hint: Any
    default: Any


def settings(cls: type, path: Path = ()) -> Iterator[Setting]:
    """Every setting below a dataclass; the name in a table of tables is `NAME`.

    The number in an array of tables is `[]` here, and counts from 1 in a problem's path.
    """
    hints = get_type_hints(cls)
    for item in fields(cls):
        hint = _inner(hints[item.name])
        here = (*path, item.name)
        if get_origin(hint) is not None and is_dataclass(_element(hint)):
            each = "[]" if get_origin(hint) is tuple else "NAME"
            yield from settings(_element(hint), (*here, each))
        elif is_dataclass(hint):
            yield from settings(hint, here)  # type: ignore[arg-type]  # a class, as hints are
        else:
            factory = item.default_factory
            default = item.default if factory is MISSING else factory()
            yield Setting(here, hint, default)
            if get_origin(hint) is tuple and (table := table_of(_element(hint))):
                yield from settings(table, (*here, "[]"))


def dotted(path: Path) -> str:
    """The setting's path as it would be written in TOML."""
    return ".".join(
        part if part.replace("_", "").replace("-", "").isalnum() else f'"{part}"' for part in path
    )


def suggestion(word: str, names: Iterable[str]) -> str:
    """The nearest of the valid names, or all of them when none is near."""
    known = list(names)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known are {', '.join(known)}" if known else "none is configured"


def shown(path: Path, value: object) -> str | None:
    """A value as a message may show it; None where it may hold a secret."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    if SECRET_NAMES.intersection(path) or isinstance(value, list | dict):
        return None
    if "@" in text or ("://" in text and ("?" in text or "#" in text)):  # an address with a secret
        return None
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 60 else f"{text[:57]}..."


class TableReader:
    """Reads a file's tables into `cls` and collects what does not fit in `problems`."""

    def __init__(self, cls: type, number_rule: NumberRule = lambda path, value: None) -> None:
        self.problems: list[Problem] = []
        self._cls = cls
        self._number_rule = number_rule

    def read(self, raw: object) -> Any:
        """An instance of `cls`, or None where a setting without a default is missing or wrong."""
        return self._table(self._cls, raw, ())

    def _table(self, cls: type, raw: object, path: Path) -> Any:
        if not isinstance(raw, Mapping):
            self.problems.append(_wrong(path, raw, "a table"))
            return None
        hints = get_type_hints(cls)
        for name in raw:
            if name not in hints:
                self.problems.append(self._unknown((*path, name), raw[name], hints))
        values = self._entries({n: hints[n] for n in raw if n in hints}, raw, path)
        complete = True
        for item in fields(cls):
            if item.default is MISSING and item.default_factory is MISSING:
                complete = complete and item.name in values
                if item.name not in raw:
                    problem = Problem((*path, item.name), "is required and missing")
                    self.problems.append(problem)
        return cls(**values) if complete else None

    def _entries(
        self, hints: Mapping[str, Any], raw: Mapping[str, Any], path: Path
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, hint in hints.items():
            try:
                value = self._value(hint, raw[name], (*path, name))
            except _Misfit as misfit:
                self.problems.append(misfit.problem)
            else:
                if value is not None:
                    values[name] = value
        return values

    def _value(self, hint: Any, value: Any, path: Path) -> Any:
        hint = _either(_inner(hint), value)
        origin = get_origin(hint)
        if hint is Any:
            return value
        if is_dataclass(hint):
            return self._table(hint, value, path)  # type: ignore[arg-type]  # a class, as hints are
        if origin is Literal:
            return _choice(get_args(hint), value, path)
        if origin is tuple:
            return self._array(hint, value, path)
        if origin is not None:
            if not isinstance(value, Mapping):
                raise _Misfit(_wrong(path, value, "a table"))
            return self._entries(dict.fromkeys(value, _element(hint)), value, path)
        return self._scalar(hint, value, path)

    def _array(self, hint: Any, value: Any, path: Path) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _Misfit(_wrong(path, value, "an array"))
        element = _element(hint)
        if is_dataclass(element) or table_of(element):
            numbered = ((*path, str(number)) for number in range(1, len(value) + 1))
            read = map(self._value, [element] * len(value), value, numbered)
            return tuple(item for item in read if item is not None)
        return tuple(self._value(element, item, path) for item in value)

    def _scalar(self, hint: Any, value: Any, path: Path) -> Any:
        if type(value) in (int, float) and not abs(value) < _BEYOND:  # so it is for NaN, too
            raise _Misfit(Problem(path, "is out of range", shown(path, value)))
        if hint is float and type(value) is int:
            value = float(value)
        if type(value) is not hint:
            raise _Misfit(_wrong(path, value, _TYPE_NAMES[hint]))
        if type(value) in (int, float) and (fault := self._number_rule(path, value)):
            raise _Misfit(Problem(path, fault, shown(path, value)))
        return value

    def _unknown(self, path: Path, value: object, hints: Mapping[str, Any]) -> Problem:
        name = path[-1]
        # Not a string: under a mistyped name it may well be a secret.
        text = None if isinstance(value, str) else shown(path, value)
        elsewhere = [s.path for s in settings(self._cls) if s.path[-1] == name]
        near = f"did you mean {dotted(elsewhere[0])}?" if elsewhere else suggestion(name, hints)
        return Problem(path, f"unknown setting; {near}", text)


def _inner(hint: Any) -> Any:
    """`X` of `X | None`: TOML has no null."""
    if get_origin(hint) in (Union, UnionType) and type(None) in get_args(hint):
        return next(arg for arg in get_args(hint) if arg is not type(None))
    return hint


def table_of(hint: Any) -> Any:
    """The dataclass in `X | Dataclass`, which is written as either; else None."""
    if get_origin(hint) not in (Union, UnionType):
        return None
    return next((arg for arg in get_args(hint) if is_dataclass(arg)), None)


def _either(hint: Any, value: object) -> Any:
    """`X | Dataclass`, decided by what was written."""
    table = table_of(hint)
    if table is None:
        return hint
    return table if isinstance(value, Mapping) else get_args(hint)[0]


def _element(hint: Any) -> Any:
    """`X` of `Mapping[str, X]` and of `tuple[X, ...]`."""
    args = get_args(hint)
    return args[0] if get_origin(hint) is tuple else args[-1]


def _choice(allowed: tuple[Any, ...], value: Any, path: Path) -> Any:
    if value in allowed and type(value) is str:
        return value
    names = ", ".join(f'"{name}"' for name in allowed)
    raise _Misfit(Problem(path, f"must be one of {names}", shown(path, value)))


def _wrong(path: Path, value: object, wanted: str) -> Problem:
    return Problem(path, f"must be {wanted}", shown(path, value))
