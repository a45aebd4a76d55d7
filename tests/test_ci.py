"""A machine that lacks something: `make test` skips by name and says the cure, `.ci/run` installs it or fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REAL = ("bash", "cat", "dirname", "grep", "mktemp", "rm", "tail", "tee")
PASSED = "== 7 passed in 0.10s =="
SKIPPED = "== 5 passed, 2 skipped in 0.10s =="

Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Make a PATH of the few real tools, and of stubs: name to what it does, a line of shell."""

    def make(**stubs: str) -> Path:
        path = tmp_path / "bin"
        path.mkdir()
        for name in REAL:
            found = shutil.which(name)
            assert found is not None
            (path / name).symlink_to(found)
        for name, line in ({"python3": "true", "id": "echo 0"} | stubs).items():
            stub = path / name.replace("_", "-")
            stub.write_text(f"#!{path / 'bash'}\n{line}\n")
            stub.chmod(0o755)
        return path

    return make


def ci_run(path: Path) -> subprocess.CompletedProcess[str]:
    """`.ci/run` of this checkout with that PATH alone."""
    env = {"PATH": str(path), "TMPDIR": str(path)}
    script = ROOT / ".ci" / "run"
    return subprocess.run([path / "bash", script], env=env, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(("closing", "code"), [(PASSED, 0), (SKIPPED, 1)])
def test_ci_fails_when_a_test_was_skipped(machine: Machine, closing: str, code: int) -> None:
    ran = ci_run(machine(make=f"echo '{closing}'", java="true", mvn="true", redis_server="true"))
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (code, closing)
    assert ("skipped" in ran.stderr) == (code == 1)


def test_ci_passes_on_that_the_tests_failed(machine: Machine) -> None:
    line = "[ $1 = lint ] || { echo '== 1 failed in 0.10s =='; exit 2; }"
    assert ci_run(machine(make=line, java="true", mvn="true", redis_server="true")).returncode == 2


def test_ci_installs_each_thing_that_is_missing_and_goes_on_past_one_that_cannot_be_had(machine: Machine) -> None:
    asked = 'echo "apt-get ${@: -1}" >&2; [ "${@: -1}" != default-jre-headless ]'
    ran = ci_run(machine(make=f"echo '{SKIPPED}'", apt_get=asked))
    assert [line for line in ran.stderr.splitlines() if line.startswith("apt-get")] == [
        "apt-get -qq",
        "apt-get redis-server",
        "apt-get default-jre-headless",
        "apt-get could not install default-jre-headless",
        "apt-get maven",
    ]
    assert ran.returncode == 1


@pytest.mark.parametrize("stubs", [{}, {"apt_get": "exit 100", "id": "echo 1000"}], ids=["no apt-get", "not root"])
def test_ci_that_cannot_install_says_what_is_missing_runs_the_rest_and_fails(
    machine: Machine, stubs: dict[str, str]
) -> None:
    ran = ci_run(machine(make=f"echo '{SKIPPED}'", **stubs))
    assert "redis-server default-jre-headless maven" in ran.stderr
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (1, SKIPPED)


def test_tests_without_their_server_are_skipped_by_name_with_the_cure(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_TEST_")}
    tests = [
        "tests/streamkit/log/test_kafka.py::test_what_retention_took_is_passed_over",
        "tests/streamkit/test_redis.py::test_a_full_server_counts_as_away",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=env | {"PATH": str(tmp_path), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    told = [line for line in ran.stdout.splitlines() if line.startswith("SKIPPED")]
    for test, line in zip(tests, told, strict=True):
        assert test in line
        assert "run `apt-get install -y " in line
