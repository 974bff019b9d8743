"""The configuration of a command: which file, and what does it say?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.config import Config, ConfigError
from gateway.configfile import load

F = TypeVar("F", bound=Callable[..., Any])

_BESIDE_THE_PACKAGE = Path(__file__).parent.parent.parent / "config.toml"


def default_path() -> Path:
    """`./config.toml`, or the one that the program came with."""
    here = Path("config.toml")
    return here if here.exists() or not _BESIDE_THE_PACKAGE.exists() else _BESIDE_THE_PACKAGE


def config_option(command: F) -> F:
    """`--config`, passed on as `config_path`."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        default=default_path,
        envvar="SLUICE_CONFIG",
        metavar="FILE",
        help="The configuration file; also SLUICE_CONFIG. By default ./config.toml.",
    )(command)


@contextmanager
def named_after(path: Path) -> Iterator[None]:
    """Every problem of the configuration names its file, wherever it is found."""
    try:
        yield
    except ConfigError as error:
        lines = error.problems
        raise ConfigError(
            [p if p.startswith(str(path)) else f"{path}: {p}" for p in lines]
        ) from None


def read(path: Path) -> Config:
    """The checked configuration."""
    return load(path, os.environ)
