"""The dashboard and the alert rules ask for metrics that exist, by labels that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamkit import telemetry

ROOT = Path(__file__).parent.parent
RULES = ROOT / "ops" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "ops" / "grafana" / "streamkit.json"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def on_the_wire() -> dict[str, set[str]]:
    """Each series that `/metrics` may have, and its labels."""
    found = {}
    for metric in vars(telemetry).values():
        if hasattr(metric, "_labelnames"):
            for suffix in SUFFIXES[metric._type]:
                labels = set(metric._labelnames) | ({"le"} if suffix == "_bucket" else set())
                found[metric._name + suffix] = labels
    return found


def rules() -> list[dict[str, Any]]:
    """The alerts."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def asked() -> Iterator[tuple[str, str, set[str]]]:
    """(where, PromQL, the labels that the text beside it names)."""
    for rule in rules():
        told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))) - {"instance"}
        yield rule["alert"], rule["expr"], told
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], set(re.findall(r"{{(\w+)}}", target["legendFormat"]))


ASKED = list(asked())


@pytest.mark.parametrize(("where", "expression", "told"), ASKED, ids=[f"{n} {one[0]}" for n, one in enumerate(ASKED)])
def test_every_metric_asked_for_exists_with_its_labels(where: str, expression: str, told: set[str]) -> None:
    series = on_the_wire()
    if re.fullmatch(r'up\{job="streamkit"\} == 0', expression):  # Prometheus' own
        return
    names = re.findall(r"\bstreamkit_\w+", expression)
    assert names
    grouped = {
        label.strip() for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in group.split(",")
    }
    for name in names:
        assert name in series, name
    for name, selector in re.findall(r"\b(streamkit_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector)) <= series[name], name
    for label in grouped:
        assert all(label in series[name] for name in names), label
    assert told <= grouped, where


def test_values_asked_for_are_words_that_metrics_have() -> None:
    everything = "\n".join(expression for _, expression, _ in ASKED)
    outcomes = set(re.findall(r'outcome="(\w+)"', everything))
    assert outcomes == {"unavailable", "duplicate"}
    assert all(outcome in telemetry.DELIVERIES._documentation for outcome in outcomes)
    assert set(re.findall(r'state="(\w+)"', everything)) == {"needs_reconnect"}


def test_the_alerts_are_whole() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        text = (ROOT / page).read_text()
        headings = {
            re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in re.findall(r"^#+ (.*)$", text, re.M)
        }
        assert not anchor or anchor in headings, rule["alert"]
        assert rule["annotations"]["summary"]


def test_the_dashboard_is_whole() -> None:
    document = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    places: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & places, panel["title"]
        places |= cells


def test_lag_and_loss_are_on_the_dashboard_and_watched() -> None:
    shown = "\n".join(target["expr"] for panel in panels() for target in panel["targets"])
    watched = "\n".join(rule["expr"] for rule in rules())
    for name in (
        "fold_lag_seconds",
        "dead_letters_open",
        "dead_letters_dropped",
        "spool_oldest_seconds",
        "fold_failed",
    ):
        assert name in shown, name
        assert name in watched, name
