"""A served command's stdout: one line for a person, or one document, however it ends."""

from __future__ import annotations

import json

import pytest

from schemas.errors import BadSettings, LogUnavailable
from streamkit.cli.served import Output, run_served

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("serves", "error", "exit_code", "line", "document"),
    [
        (True, None, 0, f"ready {URL}", {"ready": URL}),
        (False, None, 0, "", {}),
        (False, BadSettings("It is set wrongly."), 2, "", {"error": "It is set wrongly."}),
        (False, LogUnavailable("It is away."), 3, "", {"error": "It is away."}),
        (True, LogUnavailable("It is away."), 3, f"ready {URL}", {"ready": URL}),
        (False, KeyboardInterrupt(), 130, "", {"error": "Interrupted."}),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_one_line_or_one_document(
    serves: bool,
    error: BaseException | None,
    exit_code: int,
    line: str,
    document: object,
    as_json: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output(as_json=as_json)

    async def work() -> None:
        if serves:
            output.ready(URL)
        if error is not None:
            raise error

    try:
        run_served(work, output)
        ended = 0
    except SystemExit as exit_:
        ended = int(exit_.code or 0)
    assert ended == exit_code
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out) == document
    else:
        assert out == (f"{line}\n" if line else "")
