"""What the ingest room does at the platforms by itself, in the background: started here, each as a task of its own.

Nothing of it may slow a delivery, and a platform without an app in the settings is left alone.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from streamkit.lifecycle import Watch
from streamkit.parts import Parts
from streamkit.platforms.upkeep import Upkeep


def start_outreach(stack: AsyncExitStack, watch: Watch, parts: Parts) -> None:
    """Start the tasks, to end with `stack`."""
    platforms = parts.platforms
    watch.start(stack, "upkeep of tokens", Upkeep(platforms.tokens, platforms.twitch, parts.soft).run())
