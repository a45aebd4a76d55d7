"""The fake Twitch: its channels, tokens and subscriptions, and what can happen there.

    twitch = Twitch(now=clock)
    twitch.install(app)

serves api.twitch.tv, id.twitch.tv and eventsub.wss.twitch.tv on one address (their paths do not meet). Everything that
happens is told to the subscriptions there are: over websockets at once, to webhooks in the background
(`await twitch.eventsub.postman.idle()`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from aiohttp import web

from schemas.event import utc_now
from streamkit.sandbox.cast import TWITCH_PEOPLE, Category, Channel, Live, Subscriber, channels_of
from streamkit.sandbox.consent import Consent
from streamkit.sandbox.eventsub import EventSub
from streamkit.sandbox.eventsub_http import EventSubHttp
from streamkit.sandbox.eventsub_sockets import Sockets
from streamkit.sandbox.grants import Client, Clock, Grants
from streamkit.sandbox.helix import NO_CATEGORY, Helix
from streamkit.sandbox.helix_answers import RateLimit
from streamkit.sandbox.twitch_oauth import TWITCH_TOKENS, TwitchOAuth
from streamkit.simulation.bodies import Json, Person, rfc3339, rfc3339_seconds, twitch_chat, twitch_event, twitch_person

TWITCH_CLIENT = Client("sandboxtwitchclient00000000000", "sandbox-twitch-client-secret")


class Twitch:
    """The platform. `channels` by platform id; `grants` has the levers on tokens, `eventsub` those on subscriptions,
    `sockets` those on connections, `limit` is Helix's rate limit.

    `on_change` is told of a channel that got another title or category.
    The methods that tell what happens take the broadcaster's platform id; call them from the event loop.
    """

    def __init__(self, *, now: Clock = utc_now) -> None:
        self.channels = channels_of(TWITCH_PEOPLE)
        self.grants = Grants(TWITCH_CLIENT, TWITCH_TOKENS, now)
        self.limit = RateLimit(now)
        self.sockets = Sockets(now)
        self.eventsub = EventSub(self.grants, now, self.sockets)
        self.on_change: Callable[[Channel], None] = lambda channel: None
        self._now = now
        self._ids = random.Random()  # noqa: S311 - ids of a sandbox
        self._oauth = TwitchOAuth(self.grants, Consent("Twitch", self.grants, self.channels), self.channels)
        self._helix = Helix(self.grants, self.channels, self.limit, self._patched)
        self.grants.on_revoked.append(self._told_of_revocation)

    def install(self, app: web.Application) -> None:
        """Serve it with `app`."""
        eventsub = EventSubHttp(self.eventsub, self._helix)
        app.add_routes([*self._oauth.routes(), *self._helix.routes(), *eventsub.routes()])
        app.add_routes([web.get("/ws", self.sockets.serve, allow_head=False)])
        app.on_shutdown.append(self._shut_down)
        app.on_cleanup.append(self._close)

    async def _shut_down(self, _app: web.Application) -> None:
        self.sockets.close()

    async def _close(self, _app: web.Application) -> None:
        await self.eventsub.postman.close()

    def settings(self, url: str) -> dict[str, str]:
        """What points StreamKit at this Twitch, served at `url`."""
        client = self.grants.client
        return {
            "STREAMKIT_TWITCH_API_URL": url,
            "STREAMKIT_TWITCH_AUTH_URL": url,
            "STREAMKIT_TWITCH_EVENTSUB_WS_URL": f"ws{url.removeprefix('http')}/ws",
            "STREAMKIT_TWITCH_CLIENT_ID": client.id,
            "STREAMKIT_TWITCH_CLIENT_SECRET": client.secret,
        }

    def go_live(self, broadcaster_id: str, *, viewers: int = 25) -> None:
        """A stream starts (one that runs goes on)."""
        channel = self.channels[broadcaster_id]
        if channel.live is None:
            channel.live = Live(str(self._ids.randrange(10**10, 10**11)), self._now().replace(microsecond=0))
            channel.viewers = viewers
            started_at = rfc3339_seconds(channel.live.started_at)
            event = {"id": channel.live.id, **_broadcaster(channel), "type": "live", "started_at": started_at}
            self._emit("stream.online", channel, event)

    def end_stream(self, broadcaster_id: str) -> None:
        """The stream that runs ends."""
        channel = self.channels[broadcaster_id]
        if channel.live is not None:
            event = {"id": channel.live.id, **_broadcaster(channel)}
            channel.live, channel.viewers = None, 0
            self._emit("stream.offline", channel, event)

    def change(self, broadcaster_id: str, *, title: str | None = None, category: Category | None = None) -> None:
        """The streamer gives the stream another title or category; None: as it is."""
        self._patched(self.channels[broadcaster_id], title, category)

    def _patched(self, channel: Channel, title: str | None, category: Category | None) -> None:
        before = channel.title, channel.category
        channel.title = channel.title if title is None else title
        if category is not None:
            channel.category = None if category is NO_CATEGORY else category
        if (channel.title, channel.category) != before:
            self.on_change(channel)
            event = {
                **_broadcaster(channel),
                "title": channel.title,
                "language": "en",
                "category_id": str(channel.category.id) if channel.category else "",
                "category_name": channel.category.name if channel.category else "",
                "content_classification_labels": [],
            }
            self._emit("channel.update", channel, event)

    def chat(self, broadcaster_id: str, sender: Person, message_id: str, text: str) -> None:
        """Somebody writes."""
        channel = self.channels[broadcaster_id]
        self._emit("channel.chat.message", channel, twitch_chat(channel.person, sender, message_id, text))

    def follow(self, broadcaster_id: str, follower: Person) -> None:
        """Somebody follows."""
        channel = self.channels[broadcaster_id]
        event = twitch_event(channel.person, follower, followed_at=rfc3339(self._now()))
        self._emit("channel.follow", channel, event)

    def subscribe(self, broadcaster_id: str, subscriber: Person) -> None:
        """Somebody subscribes for a month."""
        channel = self.channels[broadcaster_id]
        channel.subscribers.append(Subscriber(person=subscriber))
        event = twitch_event(channel.person, subscriber, tier="1000", is_gift=False)
        self._emit("channel.subscribe", channel, event)

    def gift(self, broadcaster_id: str, gifter: Person, giftees: Sequence[Person]) -> None:
        """Somebody gives subscriptions away: one event that counts, and one for each who receives."""
        channel = self.channels[broadcaster_id]
        channel.subscribers += [Subscriber(person=giftee, gifter=gifter) for giftee in giftees]
        more = {"total": len(giftees), "tier": "1000", "cumulative_total": None, "is_anonymous": False}
        self._emit("channel.subscription.gift", channel, twitch_event(channel.person, gifter, **more))
        for giftee in giftees:
            event = twitch_event(channel.person, giftee, tier="1000", is_gift=True)
            self._emit("channel.subscribe", channel, event)

    def spend(self, broadcaster_id: str, sender: Person, amount: int) -> None:
        """Somebody cheers: `channel.cheer` and `channel.bits.use` both tell of it."""
        channel = self.channels[broadcaster_id]
        words = f"cheer{amount}"
        cheer = twitch_event(channel.person, sender, is_anonymous=False, message=words, bits=amount)
        self._emit("channel.cheer", channel, cheer)
        message = {"text": words, "fragments": []}
        use = twitch_event(channel.person, sender, bits=amount, type="cheer", power_up=None, message=message)
        self._emit("channel.bits.use", channel, use)

    def raid(self, broadcaster_id: str, raider: Person, viewers: int) -> None:
        """Another streamer brings viewers."""
        channel = self.channels[broadcaster_id]
        event = {
            **twitch_person("from_broadcaster_", raider),
            **twitch_person("to_broadcaster_", channel.person),
            "viewers": viewers,
        }
        about = {"from_broadcaster_user_id": raider.id, "to_broadcaster_user_id": broadcaster_id}
        self.eventsub.emit("channel.raid", about, event)

    def _told_of_revocation(self, person_id: str) -> None:
        channel, client_id = self.channels[person_id], self.grants.client.id
        event = {"client_id": client_id, **twitch_person("", channel.person)}
        self.eventsub.emit("user.authorization.revoke", {"client_id": client_id}, event)

    def _emit(self, kind: str, channel: Channel, event: Json) -> None:
        self.eventsub.emit(kind, {"broadcaster_user_id": channel.person.id}, event)


def _broadcaster(channel: Channel) -> Json:
    return twitch_person("broadcaster_", channel.person)
