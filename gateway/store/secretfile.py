"""Secrets of the installation: how is one made at the first start, and read at each?

They are not in the database, so that a copy of it alone opens nothing.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from gateway.references import Missing, dereference
from gateway.store.faults import StoreFault

_READ_TRIES = 20


def make_file(reference: str, base_dir: Path, what: str) -> bool:
    """Write a new secret to the file that `reference` names, unless it is there or is no file.

    Of two processes one makes it, both read it. True for the one that made it.
    """
    if not reference.startswith("file:"):
        return False
    path = base_dir / Path(reference.removeprefix("file:")).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreFault(f"{what} file {path}: {error.strerror}") from error
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(handle)  # it must not be younger than what cannot be read without it
    return True


def read(
    reference: str, base_dir: Path, environ: Mapping[str, str], *, just_made: bool
) -> str | Missing:
    """The secret. Where it was `just_made`, perhaps by another process, it may need a moment."""
    value = dereference(reference, environ, base_dir)
    tries = _READ_TRIES if just_made and reference.startswith("file:") else 0
    while isinstance(value, Missing) and tries > 0:
        time.sleep(0.05)  # another process has created the file and is about to write it
        value = dereference(reference, environ, base_dir)
        tries -= 1
    return value
