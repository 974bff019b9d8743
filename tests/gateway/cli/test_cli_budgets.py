"""Are budgets set, shown and removed as asked?"""

from __future__ import annotations

import pytest

from tests.gateway.cli.conftest import Shell

SET = ("budgets", "set")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.localparts.SPREAD_S", 0.0)


def test_a_budget_has_what_was_asked_for(shell: Shell) -> None:
    made = shell.json(*SET, "team:research", "--limit", "50", "--zone", "Europe/Zurich")
    assert made["scope"] == "team:research"
    assert (made["period"], made["kind"]) == ("month", "hard")
    assert made["limit_nano_usd"] == made["left_nano_usd"] == 50_000_000_000
    assert (made["spent_nano_usd"], made["reserved_nano_usd"]) == (0, 0)
    assert made["since"][7:] == "-01T00:00:00+01:00" or made["since"][7:] == "-01T00:00:00+02:00"
    assert shell.json("budgets", "list") == [made]


def test_a_budget_is_shown_to_people(shell: Shell) -> None:
    text = shell.run(*SET, "tag:nightly", "--limit", "0.25", "--period", "day", "--soft").stdout
    assert text == "Budget tag:nightly/day: soft, $0.250000, of which $0.000000 is spent.\n"
    listed = shell.run("budgets", "list").stdout
    for cell in ("tag:nightly", "day", "soft", "$0.250000"):
        assert cell in listed


def test_setting_it_again_changes_it(shell: Shell) -> None:
    shell.run(*SET, "team:research", "--limit", "50")
    shell.run(*SET, "team:research", "--limit", "60", "--soft")
    shell.run(*SET, "team:research", "--limit", "7", "--period", "total")
    month, total = shell.json("budgets", "list")
    assert (month["limit_nano_usd"], month["kind"]) == (60_000_000_000, "soft")
    assert (total["limit_nano_usd"], total["since"], total["until"]) == (7_000_000_000, None, None)


def test_a_key_is_found_by_its_name(shell: Shell) -> None:
    key = shell.json("keys", "create", "laptop")["id"]
    assert shell.json(*SET, "key:laptop", "--limit", "1")["scope"] == f"key:{key}"
    assert "no key's id" in shell.failure(*SET, "key:desk", "--limit", "1", code=2)


def test_budgets_are_removed_by_scope_or_by_period(shell: Shell) -> None:
    for period in ("day", "week", "month"):
        shell.run(*SET, "model:smart", "--limit", "1", "--period", period)
    assert shell.json("budgets", "remove", "model:smart", "--period", "week") == {"removed": 1}
    assert shell.run("budgets", "remove", "model:smart").stdout == "Removed 2 of model:smart.\n"
    assert "no budget" in shell.failure("budgets", "remove", "model:smart")


@pytest.mark.parametrize(
    "arguments",
    [
        ("research", "--limit", "1"),
        ("group:x", "--limit", "1"),
        ("team:", "--limit", "1"),
        ("team:x", "--limit", "much"),
        ("team:x", "--limit", "-1"),
        ("team:x", "--limit", "nan"),
        ("team:x", "--limit", "inf"),
        ("team:x", "--limit", "0.0000000001"),
        ("team:x", "--limit", "1e30"),
        ("team:x", "--limit", "1", "--zone", "Mars"),
        ("team:x", "--limit", "1", "--period", "year"),
        ("team:x",),
    ],
)
def test_what_makes_no_sense_is_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell.failure(*SET, *arguments, code=2)
    assert shell.json("budgets", "list") == []
