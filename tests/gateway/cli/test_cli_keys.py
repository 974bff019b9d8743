"""Are keys made, shown, ended and bound as asked?"""

from __future__ import annotations

import sqlite3
import time

import pytest

from gateway.keys import ADMIN_KEY_PREFIX, KEY_PREFIX
from tests.gateway.cli.conftest import Shell


def test_only_the_secret_goes_to_standard_output(shell: Shell) -> None:
    made = shell.run("keys", "create", "laptop")
    secret = made.stdout.strip()
    assert secret.startswith(KEY_PREFIX)
    assert secret not in made.stderr
    assert "laptop" in made.stderr


def test_the_secret_is_stored_nowhere(shell: Shell) -> None:
    secret = shell.run("keys", "create", "laptop").stdout.strip()
    hidden = secret.split("-", 3)[3].encode()  # sk-sluice-ID-RANDOM
    for file in (shell.path.parent / "state").iterdir():
        assert hidden not in file.read_bytes()
    for command in (["keys", "list"], ["keys", "show", "laptop"], ["keys", "list", "--json"]):
        assert secret not in shell.run(*command).output


def test_a_key_has_what_was_asked_for(shell: Shell) -> None:
    before = time.time()
    made = shell.json(
        *("keys", "create", "ci", "--team", "build", "--model", "gpt-*", "--model", "echo/*"),
        *("--expires", "30d", "--tag", "nightly", "--tag", "eu", "--bind", "openai=lab"),
    )
    shown = shell.json("keys", "show", made["id"])
    assert made.pop("key").startswith(shown["prefix"])
    assert made == shown
    assert shown["team"] == "build"
    assert shown["models"] == ["gpt-*", "echo/*"]
    assert shown["tags"] == ["nightly", "eu"]
    assert shown["credentials"] == {"openai": "lab"}
    assert shown["expires_at_ms"] / 1000 == pytest.approx(before + 30 * 86400, abs=60)


def test_a_date_is_an_expiry_in_utc(shell: Shell) -> None:
    made = shell.json("keys", "create", "x", "--expires", "2100-01-01")
    assert made["expires_at_ms"] == 4102444800000
    made = shell.json("keys", "create", "x", "--expires", "2100-01-01T01:00+01:00")
    assert made["expires_at_ms"] == 4102444800000


def test_a_revoked_key_is_listed_only_with_all(shell: Shell) -> None:
    made = shell.json("keys", "create", "a")
    shell.run("keys", "create", "b")
    assert shell.json("keys", "revoke", "a")["state"] == "revoked"
    assert [key["name"] for key in shell.json("keys", "list")] == ["b"]
    everything = shell.json("keys", "list", "--all")
    assert {key["name"]: key["state"] for key in everything} == {"a": "revoked", "b": "active"}
    assert "is revoked" in shell.run("keys", "revoke", made["id"]).stdout


def test_rotation_ends_the_old_key_and_keeps_its_rights(shell: Shell) -> None:
    old = shell.json("keys", "create", "a", "--model", "echo/*", "--team", "t")
    new = shell.json("keys", "rotate", "a")
    assert new["key"] != old["key"]
    assert (new["models"], new["team"], new["rotated_from"]) == (["echo/*"], "t", old["id"])
    assert shell.json("keys", "show", old["id"])["state"] == "revoked"


def test_rotation_with_a_grace_lets_the_old_key_live_on(shell: Shell) -> None:
    old = shell.json("keys", "create", "a")
    before = time.time()
    shell.run("keys", "rotate", old["id"], "--grace", "24h")
    kept = shell.json("keys", "show", old["id"])
    assert kept["state"] == "active"
    assert kept["expires_at_ms"] / 1000 == pytest.approx(before + 86400, abs=60)


def test_an_ambiguous_name_is_refused_with_the_ids(shell: Shell) -> None:
    ids = {shell.json("keys", "create", "twin")["id"] for _ in range(2)}
    line = shell.failure("keys", "revoke", "twin")
    assert line.startswith("2 keys are called 'twin'; use an id: ")
    assert set(line.rpartition(": ")[2].split(", ")) == ids


def test_an_unknown_key_is_a_failure(shell: Shell) -> None:
    for command in ("show", "revoke", "rotate"):
        assert shell.failure("keys", command, "nobody").startswith("no key has the id or the name")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--expires", "2020-01-01"], "--expires lies in the past."),
        (["--expires", "soon"], "Invalid value for '--expires': 'soon' is neither a span"),
        (["--bind", "openai"], "'openai' is not PROVIDER=CREDENTIAL."),
        (
            ["--bind", "opnai=lab"],
            "'opnai=lab': no provider is called 'opnai'; did you mean openai?",
        ),
        (
            ["--bind", "openai=lib"],
            "'openai=lib': openai has no credential 'lib'; did you mean lab?",
        ),
    ],
)
def test_an_impossible_key_is_refused(shell: Shell, arguments: list[str], line: str) -> None:
    assert shell.failure("keys", "create", "x", *arguments, code=2).startswith(line)


def test_a_team_is_bound_provider_by_provider(shell: Shell) -> None:
    shell.run("keys", "create", "a", "--team", "research")
    shell.run("keys", "create", "b", "--team", "research")
    shell.run("keys", "revoke", "b")
    assert "bound to openai=lab" in shell.run("teams", "bind", "research", "openai=lab").stdout
    (team,) = shell.json("teams", "list")
    assert team.pop("created_at_ms") > 0
    assert team == {
        "name": "research",
        "keys": 1,
        "credentials": {"openai": "lab"},
        "settings": {},
    }
    assert shell.json("teams", "bind", "research", "--remove", "openai")["credentials"] == {}
    assert "research" in shell.run("teams", "list").stdout


def test_binding_nothing_is_misuse(shell: Shell) -> None:
    assert shell.failure("teams", "bind", "t", code=2).startswith("Name at least one PROVIDER=")


def test_the_admin_key_is_replaced(shell: Shell) -> None:
    def digest() -> str:
        with sqlite3.connect(shell.path.parent / "state" / "sluice.db") as db:
            (value,) = db.execute("SELECT value FROM meta WHERE name = 'admin_digest'").fetchone()
        db.close()
        return str(value)

    first = shell.run("admin-key", "reset").stdout.strip()
    before = digest()
    second = shell.json("admin-key", "reset")["admin_key"]
    assert first.startswith(ADMIN_KEY_PREFIX)
    assert second.startswith(ADMIN_KEY_PREFIX)
    assert first != second
    assert before != digest()


def test_a_name_cannot_steer_the_terminal_or_the_table(shell: Shell) -> None:
    shell.run("keys", "create", "[red]x[/red]")
    assert "[red]x[/red]" in shell.run("keys", "list").stdout
    assert shell.failure("keys", "create", "a\x1b[31m", code=2).startswith(
        "A key needs a printable"
    )
    said = shell.failure("keys", "create", "b", "--team", "t\x1b[31m", code=2)
    assert said == "team must be printable text and not empty."
