"""The frame of a command that serves until it is stopped: what it puts on stdout, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from schemas.errors import StreamkitError
from streamkit import telemetry
from streamkit.cli.common import emit, emit_json, exit_code_of, fail, interrupted


class Output:
    """The stdout of a served command: text for a person, or with `--json` one document, whatever happens."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._told = False

    @property
    def owes_json(self) -> bool:
        """Whether the document is still to come."""
        return self.as_json and not self._told

    def tell(self, document: Any, text: str) -> None:
        """The document with `--json`, else the text. Call once."""
        emit(document, text, as_json=self.as_json)
        self._told = True

    def ready(self, url: str) -> None:
        """The command serves at `url`."""
        self.tell({"ready": url}, f"ready {url}")


def run_served(work: Callable[[], Coroutine[Any, Any, None]], output: Output) -> None:
    """Run a long-lived command on uvloop; whatever stops it is one sentence on stderr and an exit code.

    The document that is owed is `{"error": "…"}` then, and `{}` when it was stopped before there was anything to tell.
    """
    try:
        uvloop.run(work())
    except KeyboardInterrupt:
        interrupted(as_json=output.owes_json)
    except StreamkitError as error:
        fail(str(error), exit_code_of(error), as_json=output.owes_json)
    except Exception:
        telemetry.error("crashed", exc_info=True)
        fail("It stops because of a defect of its own; the line above has the details.", 1, as_json=output.owes_json)
    if output.owes_json:
        emit_json({})
