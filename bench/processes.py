"""Starting the servers under test and the load generator, each a process of its own, and reading their memory."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.load import Job, Result

ROOT = Path(__file__).parent.parent


class Server(msgspec.Struct):
    """A running server: `pid`, and the `port` it serves on 127.0.0.1."""

    pid: int
    port: int


@contextmanager
def server(module: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `python -m module args` until it prints its ready line; SIGTERM at the end. Raises RuntimeError when it
    ends before it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *args],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("ready "):
                yield Server(process.pid, int(line.rsplit(":", 1)[1]))
                return
        raise RuntimeError(f"{module} {' '.join(args)} ended with {process.wait()} before it was ready")
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def load(port: int, requests: Sequence[bytes], scratch: Path, **job: float | int | bool) -> Result:
    """Send `requests` to 127.0.0.1:`port` from a process of its own; `job` are the fields of `bench.load.Job`."""
    path = scratch / "requests.pickle"
    path.write_bytes(pickle.dumps(list(requests)))
    spec = msgspec.convert({"port": port, "requests_path": str(path), **job}, Job)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        input=msgspec.json.encode(spec),
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Result)


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def resident_mib(pid: int) -> float:
    """The process's resident memory, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


def cpu_s(pid: int) -> float:
    """The processor time that the process has used, all its threads, in the kernel too, seconds."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
