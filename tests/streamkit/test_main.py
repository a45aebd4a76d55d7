"""The served commands from outside: ready line, exit codes, one sentence for every reason not to start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import aiohttp
import click
import pytest

from streamkit.__main__ import cli
from tests.program import STREAMKIT, Program, command, run
from tests.services.process import free_port
from tests.streamkit.cli.running import environment


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, click.Command]]:
    found = [(" ".join(path), command)]
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found += _commands(child, (*path, name))
    return found


_COMMANDS = _commands(cli)
KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_up_stops_in_time_with_connections_that_hang(tmp_path: Path, number: signal.Signals) -> None:
    program = Program(tmp_path, "up")
    await asyncio.to_thread(program.start)
    port = int(program.url.rpartition(":")[2])
    hanging = []
    for sent in (b"", b"GET /healthz HT", b"POST /webhooks/kick HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        hanging.append(writer)
    try:
        assert await asyncio.to_thread(program.stop, number) == 0
    finally:
        for writer in hanging:
            writer.close()
    assert "Traceback" not in program.output()
    started, *_, stopped = [json.loads(line) for line in program.output().splitlines()]
    assert started["event"] == "started"
    assert (started["url"], started["log"]) == (program.url, "sqlite:")
    assert started["version"]
    assert stopped["event"] == "stopped"
    assert started["rooms"] == stopped["rooms"] == ["ingest", "projector", "api"]


async def test_up_serves_every_room_on_one_port(tmp_path: Path) -> None:
    with Program(tmp_path, "up") as up:
        async with aiohttp.ClientSession() as http:
            for path, status in (
                ("/healthz", 200),
                ("/readyz", 200),
                ("/metrics", 401),
                ("/api/public/v2/overview", 401),
                ("/api/public/openapi", 200),
            ):
                async with http.get(up.url + path) as answer:
                    assert (path, answer.status) == (path, status)
            async with http.post(up.url + "/webhooks/twitch", json={}) as answer:
                assert answer.status == 503, "no secret is set"
            token = command(tmp_path, "settings", "--show", "STREAMKIT_INTERNAL_TOKEN")["value"]
            async with http.get(up.url + "/metrics", headers={"Authorization": f"Bearer {token}"}) as answer:
                assert "streamkit_fold_position" in await answer.text()


def test_a_port_in_use_is_exit_3(tmp_path: Path) -> None:
    with Program(tmp_path, "up", port=free_port()) as up:
        port = up.url.rpartition(":")[2]
        ran = run(tmp_path, "up", "--port", port, STREAMKIT_DATA_DIR=str(tmp_path / "other"))
    assert ran.returncode == 3
    assert ran.stderr.endswith(f"streamkit: Port {port} on 127.0.0.1 is in use: stop what listens there, or choose "
                               "another with --port (0 picks one).\n")  # fmt: skip


def test_a_second_up_on_one_data_folder_is_exit_3(tmp_path: Path) -> None:
    with Program(tmp_path, "up"):
        ran = run(tmp_path, "up", "--port", "0")
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "another `up` or `projector` runs on this data folder" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("room", ["up", "ingest", "projector", "api"])
def test_a_log_that_is_away_is_exit_3(tmp_path: Path, room: str) -> None:
    ran = run(
        tmp_path, room, "--port", "0", STREAMKIT_LOG_URL=f"kafka://127.0.0.1:{free_port()}", STREAMKIT_SECRET_KEY=KEY
    )
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "Kafka" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("how", ["option", "setting"])
def test_the_sandbox_stays_on_this_machine(tmp_path: Path, how: str) -> None:
    options = ("--host", "0.0.0.0") if how == "option" else ()
    settings = {} if how == "option" else {"STREAMKIT_HOST": "0.0.0.0"}
    ran = run(tmp_path, "up", "--port", "0", *options, STREAMKIT_SANDBOX="1", **settings)
    assert ran.returncode == 2
    assert "127.0.0.1" in ran.stderr


def test_bad_settings_are_exit_2_and_all_named(tmp_path: Path) -> None:
    ran = run(tmp_path, "up", STREAMKIT_RATE_LIMIT="fast", STREAMKIT_TIMEZONE="Mars/Olympus")
    assert ran.returncode == 2
    assert "STREAMKIT_RATE_LIMIT" in ran.stderr
    assert "STREAMKIT_TIMEZONE" in ran.stderr


def test_the_small_commands_do_not_wait_for_what_they_do_not_use() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, streamkit.__main__; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"redis", "rich", "duckdb", "pyarrow", "aiokafka"} & set(loaded)


def test_the_secret_key_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    with Program(tmp_path, "up"):
        secret = [file for file in (tmp_path / "data").iterdir() if "key" in file.name]
        assert [file.stat().st_mode & 0o777 for file in secret] == [0o600]


def test_a_key_that_is_not_the_one_of_the_logs_clients_is_warned_of(tmp_path: Path) -> None:
    command(tmp_path, "accounts", "add", "--name", "Streamer")
    command(tmp_path, "credentials", "issue", "--user-id", "1")
    with Program(tmp_path, "up", STREAMKIT_SECRET_KEY=KEY) as up:
        told = command(tmp_path, "status", STREAMKIT_SECRET_KEY=KEY)
        room = next(room for room in told["rooms"] if room["url"] == up.url)
        assert room["status"] == "degraded"
        assert "The newest client was made with the secret key skk_" in room["reasons"][0]
        assert "credentials.made_with_another_key" in up.output()


def test_the_demo_ends_by_itself_with_exit_0_and_the_same_numbers_on_both_sides(tmp_path: Path) -> None:
    ran = run(tmp_path, "demo", "--seconds", "3", "--port", "0")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    last, verdict = ran.stdout.splitlines()[-2:]
    assert verdict == "The API agrees with what was delivered."
    assert last.startswith("  served/sent: events ")
    pairs = [word.split("/") for word in last.split() if word[0].isdigit()]
    assert pairs
    assert all(served == sent for served, sent in pairs), last
    assert not list(tmp_path.iterdir()), "nothing is left in the working directory"


def test_the_demo_gives_one_document_with_json(tmp_path: Path) -> None:
    told = command(tmp_path, "demo", "--seconds", "2", "--port", "0")
    assert told["agrees"]
    assert told["sent"] == told["2xx"] > 0
    assert told["totals"]["events"] == told["overview"]["events"]


def test_up_gives_one_document_with_json(tmp_path: Path) -> None:
    up = subprocess.Popen(
        [*STREAMKIT, "up", "--port", "0", "--json"],
        env=environment(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert up.stdout is not None
        assert json.loads(up.stdout.readline())["ready"].startswith("http://127.0.0.1:")
        up.send_signal(signal.SIGTERM)
        assert (up.communicate(timeout=15)[0], up.returncode) == ("", 0)
    finally:
        if up.poll() is None:
            up.kill()
            up.communicate()
    failed = run(tmp_path, "projector", "--json", STREAMKIT_RATE_LIMIT="fast")
    assert failed.returncode == 2
    assert "STREAMKIT_RATE_LIMIT" in json.loads(failed.stdout)["error"]


@pytest.mark.parametrize("arguments", [("up", "--port", "x"), ("tokens", "issue"), ("nope",), ("log", "tail", "-q")])
def test_a_usage_error_is_exit_2_and_one_document_with_json(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    plain = run(tmp_path, *arguments)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert "Error: " in plain.stderr
    told = run(tmp_path, *arguments, "--json")
    assert (told.returncode, list(json.loads(told.stdout))) == (2, ["error"])
    assert told.stderr == plain.stderr


@pytest.mark.parametrize("path", [path for path, told in _COMMANDS if not isinstance(told, click.Group)])
def test_every_command_takes_json(path: str) -> None:
    assert "as_json" in {option.name for option in dict(_COMMANDS)[path].params}


def test_the_curl_line_of_the_demo_works_when_pasted_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*STREAMKIT, "demo", "--port", "0"],
        env=environment(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        curl = next(line for line in demo.stdout if line.startswith("curl"))
        next(line for line in demo.stdout if line.startswith("ready"))
        asked = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True, timeout=10)
        assert '"ok":true' in asked.stdout
        push = curl.strip().replace("/api/public/v2/overview", "/ingest/v1/events")
        spin = {"id": "1", "type": "wheel.spun", "data": {"result": "Hydrate"}}
        body = f"-H 'Content-Type: application/json' -d '{json.dumps(spin)}'"
        pushed = subprocess.run(["sh", "-c", f"{push} {body}"], capture_output=True, text=True, check=True, timeout=10)
        assert '"accepted":1' in pushed.stdout, "a bot can be tried on the demo"
        demo.send_signal(signal.SIGINT)
        _, complaints = demo.communicate(timeout=15)
        assert (demo.returncode, complaints) == (0, "")
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.communicate()


def test_on_a_small_terminal_the_demo_fits_with_its_curl_line(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 80))
    demo = subprocess.Popen(
        [*STREAMKIT, "demo", "--port", "0"],
        env=environment(tmp_path) | {"TERM": "xterm"},
        cwd=tmp_path,
        stdin=its,
        stdout=its,
        stderr=subprocess.DEVNULL,
    )
    os.close(its)
    try:
        with open(ours, buffering=1, encoding="utf-8", errors="replace", newline="\n") as terminal:
            frame: list[str] = []
            for line in terminal:
                shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line).rstrip()
                frame = [shown] if "deliveries answered 2xx" in shown else [*frame, shown]
                if shown.startswith("curl") and shown.endswith("\\"):
                    break
            assert len(frame) + 1 <= 24, frame
            lines = (frame[-1], re.sub(r"(\S+/overview).*", r"\1", terminal.readline().strip()))
            asked = subprocess.run(
                ["sh", "-c", "\n".join(lines)], capture_output=True, text=True, check=True, timeout=10
            )
            assert '"ok":true' in asked.stdout
            demo.send_signal(signal.SIGINT)
            verdict = ""
            with contextlib.suppress(OSError):  # how Linux tells that the terminal's other side is closed
                for line in terminal:
                    verdict = line.strip() or verdict
            assert "The API agrees with what was delivered." in verdict
        assert demo.wait(15) == 0
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()


@pytest.mark.parametrize(("path", "told"), _COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_helps_with_a_real_example(path: str, told: click.Command) -> None:
    assert told.help is not None
    assert f"streamkit {path}".strip() in told.help
    assert "Example" in told.help
