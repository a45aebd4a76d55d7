"""The documentation is whole: what the program has, the docs name; what the docs link to is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from api.routes import ROUTES
from schemas.errors import ParkReason
from schemas.kinds import KINDS
from schemas.openapi import Operation, build_document
from streamkit import telemetry
from streamkit.__main__ import cli
from streamkit.declared_settings import SETTINGS, Setting
from streamkit.platforms.scopes import KICK_SCOPES, TWITCH_SCOPES, TWITCH_WEBHOOK_SCOPES

ROOT = Path(__file__).parents[1]
PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))}


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _commands(child, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(_commands(cli))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_is_on_the_page_of_the_command_line(path: str) -> None:
    rows = [row for row in PAGES["docs/cli.md"].splitlines() if row.startswith(f"| `streamkit {path}`")]
    assert len(rows) == 1
    options = {opt for option in COMMANDS[path].params for opt in option.opts if opt.startswith("--")}
    told = set(re.findall(r"--[a-z-]+", rows[0]))
    assert told | {"--json"} == options | {"--json"}


def test_no_command_is_told_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `streamkit ([a-z -]+)`", PAGES["docs/cli.md"], re.MULTILINE)) == COMMANDS.keys()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_on_its_page(setting: Setting) -> None:
    secret = " (secret)" if setting.secret else ""
    row = f"| `{setting.name}` | {setting.unit} | {setting.default_shown} | {setting.help}{secret} |"
    assert row in PAGES["docs/settings.md"]


def test_every_setting_the_docs_name_exists() -> None:
    names = {setting.name for setting in SETTINGS} | {"STREAMKIT_KILL9_ROUNDS", "STREAMKIT_FUZZ"}
    for page, text in PAGES.items():
        for name in re.findall(r"STREAMKIT_[A-Z0-9_]+[A-Z0-9]", text):
            assert name in names or name.startswith("STREAMKIT_TEST_"), (page, name)


def test_every_metric_is_on_its_page_with_its_labels_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(streamkit_\w+)` \| ([^|]*) \|", PAGES["docs/metrics.md"], re.MULTILINE))
    declared = {}
    for metric in vars(telemetry).values():
        if hasattr(metric, "_labelnames"):
            labels = ", ".join(metric._labelnames)
            declared[metric._name] = f"{metric._type}: {labels}" if labels else metric._type
    assert rows == declared


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_is_told(kind: str) -> None:
    assert any(f"`{kind}`" in text for page, text in PAGES.items() if page.startswith("docs/"))


@pytest.mark.parametrize("reason", get_args(ParkReason))
def test_every_reason_to_park_is_told(reason: str) -> None:
    assert f"`{reason}`" in PAGES["docs/cli.md"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_of_the_api_is_told(route: Operation) -> None:
    assert f"`{route.method} {route.path}`" in PAGES["docs/api.md"]


@pytest.mark.parametrize("scope", [*KICK_SCOPES, *TWITCH_SCOPES, *TWITCH_WEBHOOK_SCOPES])
def test_every_scope_that_is_asked_for_is_explained(scope: str) -> None:
    assert re.search(rf"^\| (Kick|Twitch) \| .*`{scope}`.* \| \w", PAGES["docs/connect.md"], re.MULTILINE)


def test_every_other_path_is_told() -> None:
    for path in (
        "POST /webhooks/kick",
        "POST /webhooks/twitch",
        "POST /ingest/v1/events",
        "GET /connect/{kick|twitch}",
        "GET /connect/{kick|twitch}/callback",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "POST /internal/v1/ask",
        "GET /internal/v1/positions",
        "GET /internal/v1/changes",
    ):
        assert any(f"`{path}`" in text for text in PAGES.values()), path


def test_the_openapi_document_has_the_routes_and_no_others() -> None:
    document = build_document(ROUTES)
    told = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    # HEAD is GET without a body, OPTIONS is CORS's; neither is an operation of its own.
    told = {(path, method) for path, method in told if method not in ("HEAD", "OPTIONS")}
    assert told == {(route.path, route.method) for route in ROUTES}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_files_that_the_docs_name_exist() -> None:
    for page, text in PAGES.items():
        for path in re.findall(r"`((?:api|ingest|projector|schemas|streamkit|tests|bench|docs)/[\w/]+\.\w+)`", text):
            assert (ROOT / path).exists(), (page, path)


def test_the_answer_shown_is_the_example_of_the_openapi_document() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGES["docs/api.md"], re.DOTALL)
    operation = build_document(ROUTES)["paths"]["/api/public/v2/kicks"]["get"]
    assert json.loads(shown) == operation["responses"]["200"]["content"]["application/json"]["example"]


def test_the_readme_has_the_two_commands_and_ci_runs_the_test_command() -> None:
    commands = re.findall(r"^    (make \w+)$", PAGES["README.md"], re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_every_target_of_the_makefile_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = set(re.findall(r"^(\w+):.*## ", makefile, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert listed == set(phony.split())
    assert listed >= {"demo", "setup", "test", "check", "bench"}
