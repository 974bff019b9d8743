"""The composition root: which policies stand on the path, and how does a gateway start?

It is the only importer of `policies`: the machine in `gateway` knows none of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway import metricfiles, process, telemetry
from gateway.assembly import Setting
from gateway.catalog import Catalog
from gateway.config import Config, Server
from gateway.configfile import load
from gateway.exchange import Handler, chain
from gateway.generation import Admit
from gateway.parts import Parts
from gateway.providers import sound_providers
from gateway.reloading import Reloads
from gateway.server import listen
from gateway.sharing import redis_url, refuse_unshared
from gateway.store.adminkey import FirstKeys
from gateway.store.database import Prepared, administration, prepare
from gateway.supervisor import Supervisor
from gateway.thirdparty import load_policies, with_third_party
from gateway.welcome import welcome
from policies import request_path
from policies.keys import Keys


def run_server(config: Config, config_path: Path, listen_fds: Sequence[int]) -> None:
    """Serve until a signal ends it. `listen_fds` are the parent's sockets if this is a worker.

    Raises `ConfigError`, `StoreFault` or `OSError` for whatever stops the start.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    base_dir = config_path.parent
    states = sound_providers(config, os.environ, base_dir)
    load_policies(config.policies, base_dir)
    telemetry.require(config.telemetry, os.environ)
    redis = redis_url(config, os.environ, base_dir)
    prepared = prepare(config.database, config.keys, base_dir, encryption=config.encryption)
    if redis is None and config.server.workers > 1 and not listen_fds:
        refuse_unshared(asyncio.run(_key_settings(prepared)))
    setting = Setting(
        config=config,
        config_path=config_path,
        prepared=prepared,
        build_path=partial(_build_path, base_dir),
        redis_url=redis,
        worker=bool(listen_fds),
    )
    if listen_fds:
        process.run(setting, [socket.socket(fileno=fd) for fd in listen_fds])
        return
    listeners = _listen(config.server)
    on = [state.name for state in states if state.entry is not None]
    _greet(setting, [listener.getsockname()[1] for listener in listeners], on)
    if config.server.workers == 1:
        process.run(setting, listeners)
    else:
        sys.exit(_supervise(config.server.workers, listeners, config_path))


def _checked(path: Path) -> None:
    """Raises `ConfigError` for what a worker could not follow."""
    config = load(path, os.environ)
    sound_providers(config, os.environ, path.parent)
    load_policies(config.policies, path.parent)
    Catalog.load(config.model_info)


def _build_path(base_dir: Path, parts: Parts, lanes: Handler) -> tuple[Handler, Admit]:
    keys = Keys(parts.keyring, time.time)
    added = load_policies(parts.config.policies, base_dir)
    path = with_third_party(request_path(parts, keys), added)
    return chain(path, lanes), keys.admit


def _listen(settings: Server) -> list[socket.socket]:
    """The socket for calls, and the one for administration where that is asked for."""
    listeners = [listen(settings.host, settings.port)]
    if settings.admin_port is not None:
        listeners.append(listen(settings.admin_host or settings.host, settings.admin_port))
    return listeners


def _greet(setting: Setting, ports: Sequence[int], providers: Sequence[str]) -> None:
    """Make the first keys where there are none, and say where the gateway is."""
    first = asyncio.run(_first_keys(setting.prepared))
    server = setting.config.server
    admin_host = server.admin_host or server.host
    welcome(
        sys.stdout,
        host=server.host,
        ports=ports,
        providers=providers,
        first=first,
        home=setting.prepared.path.parent,
        dashboard_host=admin_host if server.dashboard else None,
    )


async def _key_settings(prepared: Prepared) -> list[Mapping[str, Any]]:
    """What keys and teams are told, of all that still work."""
    async with administration(prepared) as admin:
        keys = await admin.keys.list()
        teams = await admin.keys.team_settings()
    return [*(key.settings for key in keys if key.revoked_at_ms is None), *teams.values()]


async def _first_keys(prepared: Prepared) -> FirstKeys:
    async with administration(prepared) as admin:
        return await admin.admin_key.first_keys(os.environ.get("SLUICE_ADMIN_KEY") or None)


def _supervise(workers: int, listeners: Sequence[socket.socket], config_path: Path) -> int:
    """Workers are this very command with the sockets handed down.

    Their standard input is a pipe from this process, which tells them when it is gone. What they
    count is in files of a directory that is removed after them.
    """
    fds = [listener.fileno() for listener in listeners]
    handed = (f"--listen-fd={fd}" for fd in fds)
    command = [sys.executable, "-m", "gateway", *sys.argv[1:], *handed]
    reloads = Reloads(config_path, partial(_checked, config_path))
    with TemporaryDirectory(prefix="sluice-metrics-") as metrics:
        environ = {**os.environ, metricfiles.VARIABLE: metrics}

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(  # noqa: S603 - our own command line
                command, pass_fds=fds, stdin=subprocess.PIPE, env=environ
            )

        bury = partial(metricfiles.bury, Path(metrics))
        return Supervisor(start, workers, reloads, bury).run()
