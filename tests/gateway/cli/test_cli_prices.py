"""Are credentials and prices kept as asked, and is a price file taken over with care?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cli.conftest import Shell

TABLE: dict[str, Any] = {
    "sample_spec": {"mode": "chat"},
    "gpt-4o-mini": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
    },
    "new-model": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 3e-6,
        "output_cost_per_token": 4e-6,
        "regional_processing_uplift_multiplier_eu": 1.1,
    },
    "night-model": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 3e-6,
        "output_cost_per_token": 4e-6,
        "off_peak_pricing": {"utc_hours": "0-6", "input_cost_per_token": 1e-6},
    },
    "claude-x": {
        "litellm_provider": "anthropic",
        "mode": "chat",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 1e-6,
    },
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "table.json"
    file.write_text(json.dumps(TABLE))
    return file


def test_a_secret_comes_from_standard_input_and_is_shown_nowhere(shell: Shell) -> None:
    shell.run("credentials", "add", "openai", given="sk-first-secret-1234\n")
    shell.run("credentials", "add", "openai", "other", "--rotate", given="sk-2nd-secret-5678\n")
    listed = shell.json("credentials", "list")
    kept = {row["name"]: row for row in listed if row["source"] == "database"}
    assert (kept["default"]["hint"], kept["other"]["rotate"]) == ("…1234", True)
    said = shell.run("credentials", "rotate", "openai/other", given="sk-3rd-secret-9999\n").output
    assert "has a new secret" in said
    shown = shell.run("credentials", "list").output + shell.run("audit").output + said
    assert "…9999" in shown
    assert "secret-" not in shown
    assert "is forgotten" in shell.run("credentials", "remove", kept["default"]["id"]).stdout
    assert "no stored credential" in shell.failure("credentials", "remove", "openai/default")


def test_a_provider_may_have_several_secrets(shell: Shell) -> None:
    fields = ("--field", "aws_access_key_id", "--field", "aws_secret_access_key")
    made = shell.run("credentials", "add", "openai", *fields, "--json", given="one\ntwo\n")
    assert json.loads(made.stdout)["name"] == "default"
    short = shell.run("credentials", "rotate", "openai/default", *fields, given="one\n", code=2)
    assert "aws_secret_access_key: standard input has no such line" in short.stderr


@pytest.mark.parametrize("arguments", [("nobody",), ("openai", "default", "--rotate")])
def test_an_impossible_credential_is_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.run("credentials", "add", *arguments, given="sk-1\n", code=2)
    assert shell.run("credentials", "add", "openai", given="\n", code=2).stdout == ""


def test_a_price_is_said_as_price_pages_do(shell: Shell) -> None:
    made = shell.json("prices", "set", "openai/m", "--input", "2.50", "--output", "$10")
    assert made["figures"] == {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
    assert made["in_force"] is True
    ahead = shell.json("prices", "set", "openai/m", "--cached", "1", "--from", "2100-01-01")
    assert (ahead["in_force"], ahead["effective_from_ms"]) == (False, 4102444800000)
    table = shell.run("prices", "list").stdout
    assert "$2.5 " in table
    assert "$10 " in table
    assert "is taken back" in shell.run("prices", "remove", ahead["id"]).stdout
    shell.failure("prices", "remove", made["id"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("openai/m",),
        ("openai/m", "--input", "much"),
        ("openai/m", "--input", "-1"),
        ("openai/m", "input_cost_per_token"),
        ("openai/m", "nonsense=1"),
        ("nobody/m", "--input", "1"),
        ("openai/m", "--input", "1", "--from", "2020-01-01"),
    ],
)
def test_an_impossible_price_is_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.failure("prices", "set", *arguments, code=2)
    assert shell.json("prices", "list") == []


def test_an_update_sets_only_what_differs(shell: Shell, table: Path) -> None:
    given = ("prices", "update", str(table))
    dry = shell.run(*given, "--dry-run")
    assert "$0.15" in dry.stdout  # gpt-4o-mini, in the table that is installed
    assert "night-model is cheaper at some hours" in dry.stderr
    assert shell.json("prices", "list") == []
    assert "add --yes" in shell.run(*given, code=1).stderr
    done = shell.json(*given, "--yes")
    assert [one["model"] for one in done["changed"]] == ["openai/gpt-4o-mini", "openai/new-model"]
    assert [one["model"] for one in done["left_out"]] == ["openai/night-model"]
    kept = {price["model"]: price["figures"] for price in shell.json("prices", "list")}
    assert kept["openai/new-model"] == {"input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6}
    assert "No price differs" in shell.run(*given).stdout


def test_an_update_is_narrowed_and_dated(shell: Shell, table: Path) -> None:
    given = ("prices", "update", str(table), "--yes", "--from", "2100-01-01")
    shell.run(*given, "--model", "openai/new-*")
    (price,) = shell.json("prices", "list")
    assert (price["model"], price["in_force"]) == ("openai/new-model", False)
    assert shell.json(*given, "--model", "openai/new-*")["changed"] == []
    # Today it still differs from what is in force.
    today = shell.json("prices", "update", str(table), "--dry-run", "--model", "openai/new-*")
    assert len(today["changed"]) == 1


def test_dearer_regions_count_where_the_provider_is_there(shell: Shell, table: Path) -> None:
    eu = '[providers.openai]\nbase_url = "https://eu.api.openai.com/v1"\n'
    shell.environ = {"OPENAI_API_KEY": "sk-1"}
    shell.path.write_text(shell.path.read_text().replace("[providers.openai]\n", eu))
    told = shell.json("prices", "update", str(table), "--dry-run", "--model", "openai/new-model")
    assert told["changed"] == []
    assert "regions" in told["left_out"][0]["why"]


def test_a_file_of_ones_own(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["openai/gpt-4o-mini"]\noutput_cost_per_token = 5e-6\n["x/y"]\n')
    done = shell.json("prices", "update", str(file), "--yes")
    (change,) = done["changed"]
    assert change["changes"] == [
        {"figure": "output_cost_per_token", "before": "0.0000006", "after": "0.000005"}
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", "{"),
        ("p.json", "[]"),
        ("p.json", '{"a": 1}'),
        ("p.json", '{"gpt": {"input_cost_per_token": 1e-6}}'),
        ("p.json", '{"openai/m": {"nonsense": 1e-6}}'),
        ("p.toml", '["openai/m"]\ninput_cost_per_token = 2'),
        ("p.toml", '["openai/m"]\ninput_cost_per_token = "free"'),
        ("p.toml", "= 1"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    shell: Shell, tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert str(file) in shell.failure("prices", "update", str(file))
