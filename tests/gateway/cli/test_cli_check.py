"""Does `sluice check` say what would be on, and why not?"""

from __future__ import annotations

from tests.gateway.cli.conftest import Shell


def test_providers_and_models_are_on_or_off(shell: Shell) -> None:
    shown = shell.json("check")
    assert [(p["name"], p["state"], p["lane"], p["missing"]) for p in shown["providers"]] == [
        ("echo", "on", "echo", []),
        ("openai", "off", None, ["environment variable OPENAI_API_KEY"]),
    ]
    assert [(m["name"], m["state"]) for m in shown["models"]] == [("smart", "on"), ("lost", "off")]


def test_a_key_in_the_environment_switches_a_provider_on(shell: Shell) -> None:
    shell.environ = {"OPENAI_API_KEY": "sk-hidden", "LAB_KEY": "sk-lab"}
    shown = shell.json("check")
    assert shown["providers"][1]["state"] == "on"
    assert shown["providers"][1]["lane"] == "native"
    assert shown["providers"][1]["credentials"] == ["lab"]
    assert shown["models"][1]["state"] == "on"


def test_the_table_says_why_and_no_secret(shell: Shell) -> None:
    shell.environ = {"LAB_KEY": "sk-lab"}
    shown = shell.run("check").stdout
    assert "OPENAI_API_KEY" in shown
    assert "sk-lab" not in shown
    assert f"{shell.path}: no faults; it would listen on 127.0.0.1:8080" in shown


def test_faults_that_only_the_model_table_shows_are_found(shell: Shell) -> None:
    with shell.path.open("a") as file:
        file.write('[model_info."echo/echo"]\nlike = "gpt-9000-nope"\n')
    line = shell.failure("check")
    assert line.startswith(f"{shell.path}: ")
    assert "gpt-9000-nope" in line


def test_it_makes_nothing(shell: Shell) -> None:
    shell.run("check")
    assert [item.name for item in shell.path.parent.iterdir()] == ["config.toml"]
