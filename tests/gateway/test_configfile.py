"""Is every fault in a configuration file found, named and placed?"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Alias, AliasTarget, Config, ConfigError, RetryRule
from gateway.configfile import load

ECHO = '[providers.echo]\nkind = "echo"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def problems_of(file: Path, text: str, **environ: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ)
    return [problem.removeprefix(f"{file}") for problem in caught.value.problems]


def test_an_empty_file_is_all_defaults(file: Path) -> None:
    file.write_text("")
    assert load(file, {}) == Config()


def test_values_arrive_in_their_dataclasses(file: Path) -> None:
    file.write_text(
        ECHO
        + """
[server]
port = 9000
drain_s = 5
[retry.rules.timeout]
same_target = 1
[models.fast]
targets = ["echo/echo", "echo/other"]
params = { temperature = 0.5, nested = { a = [1] } }
[model_info."echo/echo"]
price = { input_cost_per_token = 0.5 }
"""
    )
    config = load(file, {})
    assert (config.server.port, config.server.drain_s) == (9000, 5.0)
    assert isinstance(config.server.drain_s, float)
    assert config.retry.rules == {"timeout": RetryRule(same_target=1)}
    assert config.models["fast"] == Alias(
        targets=("echo/echo", "echo/other"), params={"temperature": 0.5, "nested": {"a": [1]}}
    )
    assert config.model_info["echo/echo"].price == {"input_cost_per_token": 0.5}


def test_a_target_is_a_name_or_a_table(file: Path) -> None:
    table = '{ target = "echo/b", weight = 2, priority = 1 }'
    file.write_text(ECHO + f'[models.m]\ntargets = ["echo/a", {table}]\n')
    alias = load(file, {}).models["m"]
    assert alias.targets == ("echo/a", AliasTarget(target="echo/b", weight=2.0, priority=1))
    assert alias.members[0] == AliasTarget(target="echo/a", weight=1.0, priority=0)
    assert alias.names == ("echo/a", "echo/b")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[models.m]\ntargets = [{ target = "echo/a", wieght = 2 }]',
            "models.m.targets.1.wieght = 2: unknown setting; did you mean weight?",
        ),
        ("[models.m]\ntargets = [{ weight = 2 }]", "models.m.targets.1.target: is required"),
        ("[models.m]\ntargets = [3]", "models.m.targets.1 = 3: must be a string"),
        (
            '[models.m]\ntargets = [{ target = "echo/a", weight = -1 }]',
            "models.m.targets.1.weight = -1.0: must not be negative",
        ),
        (
            '[models.m]\ntargets = ["echo/a"]\nfallbacks = ["n"]\n[models.x]\ntargets = ["echo/a"]',
            'models.m.fallbacks = "n": must be another alias; known are x',
        ),
        (
            '[models.m]\ntargets = ["echo/a"]\nfallbacks = ["m"]',
            'models.m.fallbacks = "m": must be another alias',
        ),
        (
            '[models.m]\ntargets = ["echo/a"]\nfallback_on = ["content"]',
            'models.m.fallback_on = "content": unknown kind of error; did you mean content_filter',
        ),
        ('[providers.e]\nkind = "echo"\nrotate = ["x"]', "providers.e.rotate: names no credential"),
        ("[health]\nerror_share = 1.5", "health.error_share = 1.5: must be at most 1"),
        ("[health]\nbench_s = 0", "health.bench_s = 0.0: must be above 0"),
    ],
)
def test_a_fault_of_routing_is_named(file: Path, text: str, problem: str) -> None:
    assert any(problem in found for found in problems_of(file, ECHO + text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "top = 1",
            ":1: top = 1: unknown setting; known are server, database, keys, encryption, calls,",
        ),
        ("[server]\nprot = 1", ":2: server.prot = 1: unknown setting; did you mean port?"),
        ("server.prot = 1", ":1: server.prot = 1: unknown setting; did you mean port?"),
        (
            "[server]\ndeadline_s = 1",
            ":2: server.deadline_s = 1: unknown setting; did you mean calls.deadline_s?",
        ),
        ("[serve]\nport = 1", ":1: serve: unknown setting; did you mean server?"),
        ("server = 1", ":1: server = 1: must be a table"),
        ('[server]\nport = "80"', ':2: server.port = "80": must be an integer'),
        ("[server]\nport = 8080.0", ":2: server.port = 8080.0: must be an integer"),
        ("[server]\nport = true", ":2: server.port = true: must be an integer"),
        ("[server]\ndrain_s = true", ":2: server.drain_s = true: must be a number"),
        ("[server]\nhost = 1", ":2: server.host = 1: must be a string"),
        ("[server]\nport = 65536", ":2: server.port = 65536: must be between 0 and 65535"),
        ("[server]\nport = -1", ":2: server.port = -1: must be between 0 and 65535"),
        ("[server]\nadmin_port = -1", ":2: server.admin_port = -1: must be between 0 and 65535"),
        ("[server]\nadmin_port = 8080", ":2: server.admin_port: is the port of the calls"),
        ('[server]\nadmin_host = "::1"', ":2: server.admin_host: needs an admin_port"),
        ("[server]\nworkers = 0", ":2: server.workers = 0: must be above 0"),
        ("[server]\ndrain_s = -1", ":2: server.drain_s = -1.0: must not be negative"),
        ("[server]\ndrain_s = nan", ":2: server.drain_s = nan: is out of range"),
        ("[calls]\ndeadline_s = inf", ":2: calls.deadline_s = inf: is out of range"),
        (f"[server]\nport = 1{'0' * 40}", f":2: server.port = 1{'0' * 40}: is out of range"),
        (
            '[server]\nlog = "xml"',
            ':2: server.log = "xml": must be one of "json", "off"',
        ),
        ('[database]\nurl = "mysql:x"', ':2: database.url = "mysql:x": must be "sqlite:PATH"'),
        ('[database]\nurl = "sqlite:"', ':2: database.url = "sqlite:": must be "sqlite:PATH"'),
        ('[database]\nurl = "sqlite://x"', ':2: database.url = "sqlite://x": must be "sqlite:PATH'),
        ('[database]\nurl = "sqlite::memory:"', ':2: database.url = "sqlite::memory:": must be'),
        (
            ECHO + '[model_info."echo/m".price]\ninput_cost_per_tokens = 1',
            ':4: model_info."echo/m".price.input_cost_per_tokens: no price per token; did you mean '
            "input_cost_per_token?",
        ),
        (
            "[retry.rules.rate_limits]",
            ":1: retry.rules.rate_limits: unknown kind of error; did you mean rate_limit?",
        ),
        (
            "[retry.rules]\ntimeout = { same_target = -1 }",
            ":2: retry.rules.timeout.same_target = -1: must not be negative",
        ),
        ("[providers.x]", ":1: providers.x.kind: is required and missing"),
        (
            '[providers.x]\nkind = "opnai"',
            ':2: providers.x.kind = "opnai": unknown kind; did you mean openai?',
        ),
        (
            '[providers."a/b"]\nkind = "echo"',
            ':1: providers."a/b": a provider\'s name has no slash and no white space',
        ),
        (
            ECHO + 'forward_headers = ["x-a", 1]',
            ":3: providers.echo.forward_headers = 1: must be a string",
        ),
        (
            ECHO + '[models.a]\ntargets = ["ehco/m"]',
            ':4: models.a.targets = "ehco/m": unknown provider "ehco"; did you mean echo?',
        ),
        (
            ECHO + '[models.a]\ntargets = ["smart"]',
            ':4: models.a.targets = "smart": must be provider/model',
        ),
        (
            ECHO + '[models.a]\ntargets = "echo/m"',
            ':4: models.a.targets = "echo/m": must be an array',
        ),
        (ECHO + "[models.a]\ntargets = []", ":4: models.a.targets: must name at least one"),
        (
            ECHO + '[models."other/a"]\ntargets = ["echo/m"]',
            ':3: models."other/a": unknown provider "other"; known are echo',
        ),
        (
            ECHO + '[models.a]\ntargets = ["echo/m"]\nparams = { stream = true }',
            ":5: models.a.params.stream: belongs to the caller",
        ),
        (
            ECHO + '[model_info."other/m"]\nvision = true',
            ':3: model_info."other/m": unknown provider "other"; known are echo',
        ),
        *(
            (
                f"[retry]\nhedge_percentile = {value}",
                f":2: retry.hedge_percentile = {value}: must be above 0 and below 100",
            )
            for value in (0.0, 100.0)
        ),
        (
            ECHO + '[limits.targets."other/m"]\nrpm = 1',
            ':3: limits.targets."other/m": unknown provider "other"; known are echo',
        ),
        (
            ECHO + "[limits.targets.smart]\nrpm = 1",
            ":3: limits.targets.smart: must be provider/model",
        ),
        (
            ECHO + '[model_info."echo/m"]\nprice = { input_cost_per_token = -1 }',
            ':4: model_info."echo/m".price.input_cost_per_token = -1.0: must not be negative',
        ),
        ("[server", ": not valid TOML: "),
    ],
)
def test_a_fault_is_named_with_its_line(file: Path, text: str, problem: str) -> None:
    found = problems_of(file, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(file: Path) -> None:
    found = problems_of(
        file,
        """
[models.a]
targets = ["nobody/m"]
[server]
prot = 1
port = -1
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"
required = true
""",
    )
    assert [problem.split(":")[1] for problem in found] == ["3", "5", "6", "10"]
    assert "environment variable OPENAI_API_KEY is missing" in found[3]


def test_a_provider_with_a_fault_of_its_own_is_still_a_known_one(file: Path) -> None:
    found = problems_of(file, '[providers.p]\n[models.a]\ntargets = ["p/m"]')
    assert found == [":1: providers.p.kind: is required and missing"]


@pytest.mark.parametrize(
    "text",
    [
        '[providers.p]\nkind = "openai"\napikey = "hunter2"',
        '[providers.p]\nkind = "openai"\napi_key = ["hunter2"]',
        '[providers.p]\nkind = "openai"\napi_key = "hunter2\\n"\nlane = "hunter"',
        '[providers.p]\nkind = "openai"\nbase_url = "https://me:hunter2@host"',
        '[providers.p]\nkind = "openai"\ncredentials = "hunter2"',
        '[providers.p]\nkind = "openai"\ncredentials = { a = "hunter2\\u0000" }',
        '[providers.p]\nkind = "openai"\nsecrets = "hunter2"',
        '[providers.p]\nkind = "openai"\nheaders = { a = ["hunter2"] }',
        '[keys]\npepper = "hunter2"',
        '[database]\nurl = "postgres://me:hunter2@host/db"',
    ],
)
def test_no_message_repeats_a_secret(file: Path, text: str) -> None:
    assert "hunter2" not in "\n".join(problems_of(file, text))


def test_every_problem_is_one_line(file: Path) -> None:
    found = problems_of(file, '[server]\nlog = """a\nb"""\nmetrics = "\\u2028\\u001b[31m"')
    assert len(found) == 2
    assert all(len(problem.splitlines()) == 1 and "\x1b" not in problem for problem in found)


def test_a_missing_file_is_a_config_error(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be read: No such file"):
        load(file, {})


def test_a_file_that_is_not_utf8_is_a_config_error(file: Path) -> None:
    file.write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 2"):
        load(file, {})
