"""The fake Kick: its channels, tokens and subscriptions, and what can happen there.

    kick = Kick(now=clock)
    kick.install(app)

serves api.kick.com and id.kick.com on one address (their paths do not meet). Everything that happens is delivered to
the app's webhook address, signed with the sandbox's key, in the background: `await kick.events.postman.idle()`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from aiohttp import web

from schemas.event import utc_now
from streamkit.sandbox.cast import KICK_PEOPLE, Category, Channel, Live, Subscriber, channels_of
from streamkit.sandbox.consent import Consent
from streamkit.sandbox.grants import Client, Clock, Grants
from streamkit.sandbox.kick_events import KickEvents
from streamkit.sandbox.kick_http import KickHttp
from streamkit.sandbox.kick_oauth import KICK_TOKENS, KickOAuth
from streamkit.simulation import bodies
from streamkit.simulation.bodies import Person
from streamkit.simulation.delivery import SUBSCRIPTION_DAYS

KICK_CLIENT = Client("01SANDBOXKICKCLIENT0000000", "sandbox-kick-client-secret")


class Kick:
    """The platform. `channels` by platform id; `grants` has the levers on tokens, `events` those on subscriptions.

    `on_change` is told of a channel that got another title or category.
    The methods that tell what happens take the broadcaster's platform id; call them from the event loop.
    """

    def __init__(self, *, webhook_url: str | None = None, now: Clock = utc_now) -> None:
        self.channels = channels_of(KICK_PEOPLE)
        self.grants = Grants(KICK_CLIENT, KICK_TOKENS, now)
        self.events = KickEvents(now, webhook_url)
        self.on_change: Callable[[Channel], None] = lambda channel: None
        self._now = now
        self._oauth = KickOAuth(self.grants, Consent("Kick", self.grants, self.channels))
        self._http = KickHttp(self.grants, self.channels, self.events, now, self._patched)

    def install(self, app: web.Application) -> None:
        """Serve it with `app`."""
        app.add_routes([*self._oauth.routes(), *self._http.routes()])
        app.on_cleanup.append(self._close)

    async def _close(self, _app: web.Application) -> None:
        await self.events.postman.close()

    def settings(self, url: str) -> dict[str, str]:
        """What points StreamKit at this Kick, served at `url`."""
        client = self.grants.client
        return {
            "STREAMKIT_KICK_API_URL": url,
            "STREAMKIT_KICK_AUTH_URL": url,
            "STREAMKIT_KICK_CLIENT_ID": client.id,
            "STREAMKIT_KICK_CLIENT_SECRET": client.secret,
        }

    def go_live(self, broadcaster_id: str, *, viewers: int = 25) -> None:
        """A stream starts (one that runs goes on)."""
        channel = self.channels[broadcaster_id]
        if channel.live is None:
            started_at = self._now().replace(microsecond=0)
            channel.live = Live(f"{broadcaster_id}{int(started_at.timestamp())}", started_at)
            channel.viewers = viewers
            body = bodies.kick_status(channel.person, channel.title, started_at, None)
            self.events.emit(broadcaster_id, "livestream.status.updated", body)

    def end_stream(self, broadcaster_id: str) -> None:
        """The stream that runs ends."""
        channel = self.channels[broadcaster_id]
        if channel.live is not None:
            started_at, channel.live, channel.viewers = channel.live.started_at, None, 0
            body = bodies.kick_status(channel.person, channel.title, started_at, self._now())
            self.events.emit(broadcaster_id, "livestream.status.updated", body)

    def change(self, broadcaster_id: str, *, title: str | None = None, category: Category | None = None) -> None:
        """The streamer gives the stream another title or category; None: as it is."""
        self._patched(self.channels[broadcaster_id], title, category)

    def _patched(self, channel: Channel, title: str | None, category: Category | None) -> None:
        before = channel.title, channel.category
        channel.title = channel.title if title is None else title
        channel.category = category or channel.category
        if (channel.title, channel.category) != before:
            self.on_change(channel)
            shown = channel.category
            body = bodies.kick_metadata(
                channel.person, channel.title, shown.name if shown else "", shown.id if shown else 0
            )
            self.events.emit(channel.person.id, "livestream.metadata.updated", body)

    def chat(self, broadcaster_id: str, sender: Person, message_id: str, text: str) -> None:
        """Somebody writes."""
        streamer = self.channels[broadcaster_id].person
        body = bodies.kick_chat(streamer, sender, message_id, text, self._now())
        self.events.emit(broadcaster_id, "chat.message.sent", body)

    def follow(self, broadcaster_id: str, follower: Person) -> None:
        """Somebody follows."""
        body = bodies.kick_follow(self.channels[broadcaster_id].person, follower)
        self.events.emit(broadcaster_id, "channel.followed", body)

    def subscribe(self, broadcaster_id: str, subscriber: Person) -> None:
        """Somebody subscribes for a month."""
        channel, created = self.channels[broadcaster_id], self._now()
        channel.subscribers.append(Subscriber(person=subscriber))
        body = bodies.kick_subscription(
            channel.person, subscriber, 1, created, created + timedelta(days=SUBSCRIPTION_DAYS)
        )
        self.events.emit(broadcaster_id, "channel.subscription.new", body)

    def gift(self, broadcaster_id: str, gifter: Person, giftees: Sequence[Person]) -> None:
        """Somebody gives subscriptions away."""
        channel, created = self.channels[broadcaster_id], self._now()
        channel.subscribers += [Subscriber(person=giftee, gifter=gifter) for giftee in giftees]
        body = bodies.kick_gifts(
            channel.person, gifter, list(giftees), created, created + timedelta(days=SUBSCRIPTION_DAYS)
        )
        self.events.emit(broadcaster_id, "channel.subscription.gifts", body)

    def spend(self, broadcaster_id: str, sender: Person, amount: int) -> None:
        """Somebody gifts kicks."""
        streamer = self.channels[broadcaster_id].person
        body = bodies.kick_kicks(streamer, sender, amount, "Hype", "for you", self._now())
        self.events.emit(broadcaster_id, "kicks.gifted", body)
