"""compose.yaml and the Dockerfile against the program: commands, settings, ports and health checks that exist.

There is no container engine here; what the file says is held against the command line, SETTINGS and a real server.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import click
import pytest
import yaml

from streamkit.__main__ import ROOMS, cli
from streamkit.declared_settings import SETTINGS
from streamkit.log.kafka_topics import NEW_EVENTS_PARTITIONS
from streamkit.settings import load_settings
from tests.program import Program

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("ingest", "projector", "api")
DEFAULT_PORTS = {name: port for name, _, _, port, _ in ROOMS}
KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="


def environment(service: str) -> dict[str, str]:
    """The service's variables as compose gives them when the operator sets the key alone."""
    given = {"STREAMKIT_SECRET_KEY": KEY}

    def value(text: str) -> str:
        return re.sub(
            r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda m: given.get(m[1], (m[2] or "") if ":-" in m[0] else ""), text
        )

    return {name: value(str(text)) for name, text in SERVICES[service]["environment"].items()}


def test_the_services() -> None:
    assert SERVICES.keys() == {"kafka", "redis", *OURS}
    assert SERVICES["kafka"]["image"] == "apache/kafka:4.3.1"
    for service in OURS:
        assert set(SERVICES[service]["depends_on"]) == {"kafka", "redis"}


@pytest.mark.parametrize("service", OURS)
def test_each_command_is_one_of_the_command_line(service: str) -> None:
    name, *arguments = SERVICES[service]["command"]
    command = cli.commands[name]
    assert name == service
    command.make_context(name, list(arguments))


@pytest.mark.parametrize("service", OURS)
def test_each_variable_is_a_setting_and_its_value_is_taken(service: str, tmp_path: Path) -> None:
    given = environment(service)
    assert given.keys() <= {setting.name for setting in SETTINGS}
    settings = load_settings(given, tmp_path)
    assert settings.host == "0.0.0.0"
    assert settings.secret_key is not None


def test_the_rooms_that_talk_to_the_platforms_get_the_apps() -> None:
    apps = {name for setting in SETTINGS if (name := setting.name).endswith(("_CLIENT_ID", "_CLIENT_SECRET"))}
    for service in ("ingest", "api"):
        assert apps | {"STREAMKIT_PUBLIC_URL"} <= environment(service).keys()
    assert not apps & environment("projector").keys()


def test_every_url_names_a_service_and_a_port_it_serves() -> None:
    api = environment("api")
    ports = {"kafka": 9092, "redis": 6379, "projector": DEFAULT_PORTS["projector"]}
    for name in ("STREAMKIT_LOG_URL", "STREAMKIT_REDIS_URL"):
        url = urlsplit(api[name])
        assert url.hostname is not None
        assert ports[url.hostname] == url.port
    containers = [f"http://{COMPOSE['name']}-projector-{number}:{ports['projector']}" for number in range(1, 5)]
    assert api["STREAMKIT_PROJECTOR_URLS"].split(",") == containers
    assert len(containers) == NEW_EVENTS_PARTITIONS, "more projectors than partitions have nothing to do"


def test_projectors_have_a_folder_each_and_share_their_snapshots() -> None:
    anonymous, shared = SERVICES["projector"]["volumes"]
    assert anonymous == "/data"
    assert shared == f"snapshots:{environment('projector')['STREAMKIT_SNAPSHOT_DIR']}"
    assert "snapshots" in COMPOSE["volumes"]


@pytest.mark.parametrize("service", OURS)
def test_ports_and_health_checks_are_the_commands_own(service: str) -> None:
    port = DEFAULT_PORTS[service]
    assert "STREAMKIT_PORT" not in SERVICES[service]["environment"], "the default port is the one published"
    published = SERVICES[service].get("ports") or SERVICES[service]["expose"]
    assert [mapping.rpartition(":")[2] for mapping in published] == [str(port)]
    (checked,) = re.findall(r"http://[^']+", " ".join(SERVICES[service]["healthcheck"]["test"]))
    assert checked == f"http://127.0.0.1:{port}/readyz"


@pytest.mark.parametrize("service", OURS)
async def test_the_health_check_path_is_served(service: str, tmp_path: Path) -> None:
    with Program(tmp_path, service, STREAMKIT_SECRET_KEY=KEY) as program:
        async with aiohttp.ClientSession() as http, http.get(f"{program.url}/readyz") as answer:
            assert answer.status == 200


def test_only_what_outsiders_need_is_published() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"ingest", "api"}


def test_the_image_holds_what_the_package_needs_and_runs_without_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for room in ("api", "ingest", "projector", "schemas", "streamkit"):
        assert f"COPY {room} /build/{room}" in dockerfile
    assert "--require-hashes -r /build/requirements.lock" in dockerfile
    assert dockerfile.index("USER streamkit") < dockerfile.index("ENTRYPOINT")
    (default,) = re.findall(r'^CMD \["(\w+)"\]$', dockerfile, re.MULTILINE)
    assert isinstance(cli.commands[default], click.Command)
