"""`streamkit simulate`: what it prints is what the API shows."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp

from tests.drill import sandbox_reader
from tests.program import Program, command, run
from tests.services.process import free_port


async def test_the_totals_are_the_apis_and_a_second_run_adds_to_them(tmp_path: Path) -> None:
    with Program(tmp_path, "up", STREAMKIT_SANDBOX="1") as up:
        expected = {"events": 0, "coins": 0, "kicks": 0, "all": 0}
        for _ in range(2):
            told = command(
                tmp_path, "simulate", "--to", up.url, "--count", "300", "--seed", "7", "--duplicates", "0.2",
                "--shuffle", "0.3",
            )  # fmt: skip
            assert (told["sent"], told["2xx"], told["rejected"], told["failed"]) == (300, 300, 0, 0)
            assert told["parked"] == 0
            assert told["rate"] > 0
            assert 0 < told["p50_ms"] <= told["p99_ms"]
            totals = told["totals"]
            expected["events"] += totals["events"]["total"]
            expected["coins"] += totals["coins"]["total_coins"]
            expected["kicks"] += totals["kicks"]["total_kicks"]
            expected["all"] += totals["subscriptions"]["all"]
            async with aiohttp.ClientSession() as http:
                _, reader = sandbox_reader(http, up.url, tmp_path)
                ends = command(tmp_path, "log", "info")["partitions"]
                end = next(p["end"] for p in ends if p["topic"] == "streamkit.events")
                shown = await reader.get("overview", at_least=f"0:{end}")
            assert expected == {
                "events": shown["events"]["total"],
                "coins": shown["coins"]["total_coins"],
                "kicks": shown["kicks"]["total_kicks"],
                "all": shown["subscriptions"]["all"],
            }
            platforms = shown["stream_status"]["platforms"]
            assert {name: platform["stream_title"] for name, platform in platforms.items()} == totals["stream_titles"]


def test_outside_the_sandbox_nothing_is_accepted(tmp_path: Path) -> None:
    with Program(tmp_path, "up") as up:
        ran = run(tmp_path, "simulate", "--to", up.url, "--count", "20", "--json")
        assert ran.returncode == 1
        told = json.loads(ran.stdout)
        assert (told["2xx"], told["rejected"]) == (0, 20)
        assert told["rejected_by_status"].keys() == {"401", "503"}
        assert "STREAMKIT_SANDBOX=1" in ran.stderr
        info = command(tmp_path, "log", "info")["partitions"]
        assert all(p["end"] == 0 for p in info if p["topic"] != "streamkit.control")


def test_nothing_there_is_exit_3_and_no_address_is_exit_2(tmp_path: Path) -> None:
    ran = run(tmp_path, "simulate", "--to", f"http://127.0.0.1:{free_port()}", "--count", "1")
    assert ran.returncode == 3
    assert "streamkit up" in ran.stderr
    assert run(tmp_path, "simulate", "--to", "nowhere").returncode == 2
    assert run(tmp_path, "simulate").returncode == 2


def test_the_text_for_a_person(tmp_path: Path) -> None:
    with Program(tmp_path, "up", STREAMKIT_SANDBOX="1") as up:
        ran = run(tmp_path, "simulate", "--to", up.url, "--count", "30", "--rate", "200")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("sent 30   2xx 30   rejected 0")
    assert "What the API must show for them:" in ran.stdout
