"""Do the documents' links lead somewhere, and do their blocks of code work?"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

from gateway.cli import main
from gateway.configfile import load
from gateway.store.migrate import migrate
from tests.conftest import StartGateway
from tests.docs.documents import ROOT, Block, Document, all_documents, codes
from tests.gateway_process import PYTHON, GatewayProcess

DOCUMENTS = all_documents()
README = Document.read("README.md")
LANGUAGES = {"sh", "toml", "python", "json", "sql", "text", ""}
# Paths in the repository, as prose names them; places in a container begin with a slash.
PATH = re.compile(
    r"(?:gateway|policies|tests|scripts|bench|docs|examples)/[\w./-]*"
    r"|(?:config|pyproject)\.toml|compose\.yaml|Dockerfile|\.ci/run"
)
MADE = {"bench/results/"}  # by what they belong to
# At a line's beginning or in `$(…)`, after variables of its own.
COMMAND = re.compile(
    r"(?:^|\$\()(?:[A-Z_]+=\S+ )*"
    r"(scripts/serve|(?:scripts/)?sluice|(?:docker compose exec sluice )?python -m gateway)"
    r"((?: [^\n)#]*)?)",
    re.MULTILINE,
)


def blocks(language: str) -> list[object]:
    """The blocks of a language, each as a parameter with the place where it stands."""
    return [
        pytest.param(block.text, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(document.blocks(language), start=1)
    ]


# ------------------------------------------------------------------- links and paths


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Document) -> None:
    for link in document.links():
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        place = (ROOT / document.name).parent / path if path else ROOT / document.name
        assert place.exists(), link
        if anchor:
            there = Document.read(str(place.resolve().relative_to(ROOT)))
            assert anchor in there.anchors(), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_paths_in_prose_exist(document: Document) -> None:
    named = {code.split()[0] for code in codes(document.prose) if PATH.fullmatch(code.split()[0])}
    assert {path for path in named - MADE if not (ROOT / path).exists()} == set()


def test_every_document_can_be_found_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in README.links()}
    assert {d.name for d in DOCUMENTS} - linked - {"README.md"} == set()


# ---------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_block_says_what_it_is(document: Document) -> None:
    assert {block.language for block in document.blocks()} <= LANGUAGES


@pytest.mark.parametrize("text", blocks("python"))
def test_python_compiles(text: str) -> None:
    ast.parse(text)


@pytest.mark.parametrize("text", blocks("json"))
def test_json_is_json(text: str) -> None:
    assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("text", blocks("toml"))
def test_settings_can_be_used(text: str, tmp_path: Path) -> None:
    """A fragment stands in config.toml, in place of the tables that it has itself."""
    file = tmp_path / "config.toml"
    file.write_text("\n".join([*_other_tables(text), text]), "utf-8")
    load(file, {})


def _other_tables(text: str) -> Iterator[str]:
    own = set(re.findall(r"^\[.+\]$", text, re.MULTILINE))
    for part in re.split(r"^(?=\[)", (ROOT / "config.toml").read_text("utf-8"), flags=re.MULTILINE):
        if part.partition("\n")[0] not in own:
            yield part


@pytest.mark.parametrize("text", blocks("sql"))
def test_sql_runs(text: str) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        assert db.execute(text).fetchall() == []


@pytest.mark.parametrize("text", blocks("sh"))
def test_shell_can_be_pasted(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for script in re.findall(r"\b(?:scripts|bench|examples)/[\w/]+", text):
        assert os.access(ROOT / script, os.X_OK), script
    for arguments in _commands_of_ours(text):
        _parse(main, arguments)


def _commands_of_ours(text: str) -> Iterator[list[str]]:
    joined = text.replace("\\\n", " ")
    for program, arguments in COMMAND.findall(joined):
        serve = ["serve"] if program == "scripts/serve" else []
        yield serve + shlex.split(arguments)


def _parse(command: click.Command, arguments: list[str]) -> None:
    """Raises for an unknown command or option."""
    if isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(click.Context(command), arguments[0])
        assert found is not None, arguments
        _parse(found, arguments[1:])
    else:
        command.make_context("sluice", [*arguments])


def test_there_is_something_of_each_language() -> None:
    assert all(blocks(language) for language in LANGUAGES - {"", "text"})


# -------------------------------------------------------------------- the first call

# What `curl` does with the README's options, for machines without it.
STAND_IN = """
import sys, urllib.request
arguments, headers, data, url = iter(sys.argv[1:]), {}, None, None
for argument in arguments:
    if argument == "-H":
        name, _, value = next(arguments).partition(": ")
        headers[name] = value
    elif argument == "-d":
        data = next(arguments).encode()
    else:
        url = argument
print(urllib.request.urlopen(urllib.request.Request(url, data, headers)).read().decode())
"""


@pytest.mark.parametrize("client", ["curl", "stand-in"])
async def test_the_first_call_works_as_pasted(client: str, start_gateway: StartGateway) -> None:
    if client == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is absent; the stand-in makes the same request")
    gateway = await start_gateway()
    _script(gateway.home / "scripts/sluice", f'exec {shlex.quote(PYTHON)} -m gateway "$@"')
    if client == "stand-in":
        _script(gateway.home / "bin/curl", f'exec {PYTHON} -c {shlex.quote(STAND_IN)} "$@"')
    (first_call,) = README.section("The first call").blocks("sh")
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euc", _addressed(first_call, gateway)],
        cwd=gateway.home,
        env={"PATH": f"{gateway.home / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["choices"][0]["message"]["content"] == "Hello, Sluice!"
    assert answer["usage"]["completion_tokens"] == 2


def test_the_first_call_with_the_sdk_works_as_pasted(echo_gateway: GatewayProcess) -> None:
    (program,) = README.section("The first call").blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", _addressed(program, echo_gateway)],
        env={"SLUICE_KEY": echo_gateway.key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("Hello, Sluice!\n", "")


def _addressed(block: Block, gateway: GatewayProcess) -> str:
    text = block.text.replace("http://127.0.0.1:8080", gateway.url)
    assert text != block.text
    return text


def _script(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
