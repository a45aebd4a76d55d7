"""The first moment of the `streamkit` program: Ctrl-C is heard while all the rest is imported, which takes a while.

Nothing else lives here, so that this module is there at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Import the command line and run it; ends the process with the exit code of the command."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # a shell's background job ignores Ctrl-C, and goes on doing so
        signal.signal(signal.SIGINT, _interrupted)
    from streamkit.__main__ import main as run

    signal.signal(signal.SIGINT, before)
    run()


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """What `streamkit.cli.common.interrupted` does, which is not imported yet."""
    if "--json" in sys.argv:
        os.write(1, b'{"error":"Interrupted."}\n')
    os._exit(130)
