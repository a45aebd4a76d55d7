"""The demo's platforms show what the simulated deliveries tell, and tell of what was changed on them."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

from schemas.event import utc_now
from streamkit.cli.demo_platforms import demo_platforms
from streamkit.sandbox.cast import CATEGORIES
from streamkit.simulation.delivery import SANDBOX_STREAMER, Fact
from streamkit.simulation.totals import totals
from streamkit.simulation.traffic import traffic
from tests.streamkit.sandbox.asking import ask


async def test_the_platforms_are_as_the_deliveries_tell_and_a_change_by_the_api_is_a_fact() -> None:
    facts: list[Fact] = []
    async with demo_platforms(facts) as platforms:
        for delivery in islice(
            traffic(7, start=utc_now() - timedelta(minutes=1), interval=timedelta(milliseconds=1)), 2000
        ):
            platforms.mirror(delivery)
            if delivery.fact is not None:
                facts.append(delivery.fact)
        told = totals(facts)
        kick = platforms.sandbox.kick.channels[SANDBOX_STREAMER.kick.id]
        twitch = platforms.sandbox.twitch.channels[SANDBOX_STREAMER.twitch.id]
        assert kick.live is not None
        assert twitch.live is not None
        assert len(twitch.live.id) > 5
        assert {"kick": kick.title, "twitch": twitch.title} == told.stream_titles
        assert len(kick.subscribers) + len(twitch.subscribers) == told.subscriptions.active
        platforms.sandbox.kick.change(kick.person.id, title="By the API", category=CATEGORIES[0])
        again = totals(facts)
        assert again.stream_titles["kick"] == "By the API"
        assert again.events.total == told.events.total + 1
        url = platforms.settings["STREAMKIT_KICK_API_URL"]
        assert (await ask("GET", f"{url}/public/v1/public-key")).status == 200
