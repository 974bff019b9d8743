"""The deployment: what does a command administer?

The database of this machine, or a remote gateway through its admin API. Both are asked the same
questions, those of the admin API (docs/admin-api.md), so that a command is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from gateway.cli.commands import Failure, Misuse
from gateway.cli.configuration import config_option

F = TypeVar("F", bound=Callable[..., Any])

_PAGE = 1000


class Deployment(Protocol):
    """`place` are the parts of a path below `/admin/v1`: `ask("POST", "keys", id, "revoke")`."""

    remote: bool

    def ask(self, method: str, *place: str, body: Any = None, **query: Any) -> Any:
        """The answer's JSON. Raises `Failure`; a query's None is left out."""


class Refused(Failure):
    """It was understood, and is not allowed: the key is wrong, or what is there forbids it."""

    exit_code = 3


class NotThere(Failure):
    """There is no such object."""


def failed(status: int, message: str) -> Failure:
    """What an error of the admin API is to a command."""
    if status in (400, 413, 422):
        return Misuse(message)
    if status == 404:
        return NotThere(message)
    return Refused(message) if status in (401, 403, 409, 429) else Failure(message)


def listed(deployment: Deployment, *place: str, most: int | None = None, **query: Any) -> list[Any]:
    """The rows of a list, all of them or the first ones."""
    return list(islice(_rows(deployment, place, query), most))


def _rows(
    deployment: Deployment, place: tuple[str, ...], query: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = deployment.ask("GET", *place, limit=_PAGE, after=after, **query)
        yield from page["data"]
        after = page["next"]
        if after is None:
            return


_OPTIONS = (
    click.option(
        "--url",
        envvar="SLUICE_URL",
        metavar="URL",
        help="Ask the gateway at URL, not the database of this machine; also SLUICE_URL.",
    ),
    click.option(
        "--admin-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The admin key for --url; without a file SLUICE_ADMIN_KEY has it.",
    ),
    config_option,
)


def administered(command: F) -> F:
    """`--url`, `--admin-key-file` and `--config`; the command gets `deployment`, open."""
    return _opening(command, running=False)


def running_gateway(command: F) -> F:
    """As `administered`, for what only a running gateway knows: by default the configured one."""
    return _opening(command, running=True)


def _opening(command: F, *, running: bool) -> F:
    @wraps(command)
    def opened(
        *args: Any, url: str | None, admin_key_file: Path | None, config_path: Path, **given: Any
    ) -> Any:
        with deployment_at(url, admin_key_file, config_path, running=running) as deployment:
            return command(*args, deployment=deployment, **given)

    found: Any = opened
    for option in reversed(_OPTIONS):
        found = option(found)
    return found  # type: ignore[no-any-return]  # click's decorators keep the function


@contextmanager
def deployment_at(
    url: str | None, admin_key_file: Path | None, config_path: Path, *, running: bool = False
) -> Iterator[Deployment]:
    """The one that the options name."""
    if url is None and admin_key_file is not None and not running:
        raise click.UsageError("--admin-key-file goes with --url.")
    if url is None and not running:
        from gateway.cli.local import LocalDeployment

        with LocalDeployment(config_path) as deployment:
            yield deployment
        return
    from gateway.cli.remote import RemoteDeployment

    yield RemoteDeployment(url, admin_key_file, config_path)
