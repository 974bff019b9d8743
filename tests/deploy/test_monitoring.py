"""Do the alert rules and the dashboard ask for metrics, labels and words that there are?

Prometheus' own checker is no Python package; its expressions are read here by a tokenizer, which
finds names, labels and brackets that do not match, but no error of types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import SluiceError, error_classes
from tests.metrics_view import labels_of_all

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text("utf-8"))
DASHBOARD = json.loads((DEPLOY / "grafana" / "sluice.json").read_text("utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
KNOWN = labels_of_all()
BY_PROMETHEUS = {"job", "instance"}

# What may stand in an expression besides metrics and labels.
_FUNCTIONS = {"rate", "increase", "changes", "histogram_quantile"}
_WORDS = {"sum", "max", "min", "count", "by", "and", "or", "unless", "offset", "up"}
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<text>"[^"]*")|(?P<range>\[[^\]]+\])|(?P<number>\d+(\.\d+)?[smhd]?)"""
    r"""|(?P<name>[a-zA-Z_]\w*)|(?P<sign>=~|!=|==|>=|<=|[(){},=<>/*+-])"""
)
Token = tuple[str, str]


def tokens(expression: str) -> list[Token]:
    found, at = [], 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        assert match, f"{expression[at:]!r} in {expression}"
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0]))
        at = match.end()
    return found


def faults(expression: str) -> Iterator[str]:
    """What is wrong with an expression."""
    read = tokens(expression)
    signs = "".join(text for kind, text in read if kind == "sign" and text in "(){}")
    while (shorter := signs.replace("()", "").replace("{}", "")) != signs:
        signs = shorter
    if signs:
        yield f"brackets: {signs}"
    metrics = [name for kind, name in read if kind == "name" and name.startswith("sluice_")]
    labels = {label for name in metrics for label in KNOWN.get(name, ("", set()))[1]}
    yield from (f"no metric {name}" for name in metrics if name not in KNOWN)
    for index, (kind, name) in enumerate(read):
        if kind != "name" or name in metrics or name in _WORDS:
            continue
        if name in _FUNCTIONS:
            yield from _of_function(name, read[index + 1 :])
        elif name not in labels | BY_PROMETHEUS:
            yield f"no label {name}"
    yield from _of_words(read)


def _of_function(name: str, after: list[Token]) -> Iterator[str]:
    """Only counters are to be rated, and only buckets have quantiles."""
    metric = next(text for kind, text in after if kind == "name" and text.startswith("sluice_"))
    kind = KNOWN.get(metric, ("", set()))[0]
    if name in ("rate", "increase") and kind == "gauge":
        yield f"{name} of the gauge {metric}"
    if name == "histogram_quantile" and not metric.endswith("_bucket"):
        yield f"a quantile of {metric}"


def _of_words(read: list[Token]) -> Iterator[str]:
    kinds = {error.kind for error in error_classes(SluiceError)} | {"client_gone", ""}
    for (_, label), (_, how), (kind, text) in zip(read, read[1:], read[2:], strict=False):
        if kind == "text" and label in ("kind", "error") and how in ("=~", "!=", "="):
            words = set(text.strip('"').split("|"))
            if not words <= kinds | {"completion"}:
                yield f"{label} {words - kinds}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    assert list(faults(rule["expr"])) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Sluice[A-Z]\w+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description"}
    shown = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
    kept = set(re.findall(r"by \(([^)]*)\)", rule["expr"])[:1])
    for label in shown:
        assert not kept or label in str(kept), f"{label} is not kept by {rule['expr']}"


def test_no_two_alerts_have_one_name() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    assert len({group["name"] for group in ALERTS["groups"]}) == len(ALERTS["groups"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expression = re.sub(r"\$(__range|__rate_interval|job)", "5m", target["expr"])
        assert list(faults(expression)) == []
        grouped = " ".join(re.findall(r"by \(([^)]*)\)", expression))
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert label in grouped


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_title_a_unit_and_a_place(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    place = panel["gridPos"]
    assert 0 <= place["x"] <= 24 - place["w"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_metric_is_on_the_dashboard() -> None:
    asked = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    bare = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in KNOWN}
    families = {name for name in bare if name in KNOWN or f"{name}_bucket" in KNOWN}
    shown = set(re.findall(r"sluice_\w+?(?=_bucket|[{ ])", asked))
    assert {f for f in families if f.removesuffix("_total") not in _bases(shown)} == set()


def _bases(names: set[str]) -> set[str]:
    return {name.removesuffix("_total") for name in names}


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(rate(sluice_call_total[5m]))", "no metric sluice_call_total"),
        ("sum by (modell) (rate(sluice_calls_total[5m]))", "no label modell"),
        ("sum(rate(sluice_calls_total[5m])", "brackets: ("),
        ("rate(sluice_in_flight[5m])", "rate of the gauge sluice_in_flight"),
        ('sluice_errors_total{kind="oops"}', "kind {'oops'}"),
        ("histogram_quantile(0.5, sluice_calls_total)", "a quantile of sluice_calls_total"),
    ],
)
def test_a_wrong_expression_is_found(expression: str, fault: str) -> None:
    assert list(faults(expression)) == [fault]
