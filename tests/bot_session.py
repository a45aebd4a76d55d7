"""An evening of a streamer's own bot, with what viewers say on Kick and Twitch meanwhile, as requests over HTTP.

It begins with a minute, five to six ago: Twitch's deliveries are not too old to be taken. A `second` counts from there.
Requests are in the order of their arrival, which is not always that in which things happened.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from streamkit.simulation import bodies
from streamkit.simulation.bodies import Person
from tests.drill import Push
from tests.signing import KickSigner, TwitchSigner, rfc3339

ON_KICK, ON_TWITCH = Person("84635624", "streamer_name"), Person("29958160", "streamer_tv")
ANN, BOB, CY = Person("1", "Ann"), Person("2", "Bob"), Person("3", "Cy")
DORA = Person("4", "Dora")
Actor = tuple[str, Person]


class Evening:
    """Makes the requests. `kick` and `twitch` sign what the platforms deliver, `headers` are the bot's credentials."""

    def __init__(self, kick: KickSigner, twitch: TwitchSigner, headers: dict[str, str]) -> None:
        self._kick = kick
        self._twitch = twitch
        self._headers = {"Content-Type": "application/json"} | headers
        self._begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
        self._ids = 0

    def at(self, second: float) -> datetime:
        """A moment of the evening."""
        return self._begin + timedelta(seconds=second)

    def event(self, second: float, type: str, actor: Actor | None = None, **data: Any) -> dict[str, Any]:
        """One event of the bot's, under an id of its own."""
        self._ids += 1
        told: dict[str, Any] = {"id": f"evening {self._ids}", "type": type, "data": data}
        told["occurred_at"] = self.at(second).isoformat()
        if actor is not None:
            told["actor"] = {"platform": actor[0], "id": actor[1].id, "name": actor[1].name}
        return told

    def push(self, *events: dict[str, Any]) -> Push:
        """One request of the bot's."""
        return Push(json.dumps(events[0] if len(events) == 1 else events).encode(), self._headers)

    def kick(self, second: float, type: str, body: dict[str, Any]) -> Push:
        """A delivery of Kick's."""
        sent = bodies.encode(body)
        headers = self._kick.headers(type, sent, timestamp=rfc3339(self.at(second)))
        return Push(sent, headers, "/webhooks/kick")

    def kick_chat(self, second: float, sender: Person, text: str) -> Push:
        """A message on Kick."""
        self._ids += 1
        body = bodies.kick_chat(ON_KICK, sender, f"kick-{self._ids}", text, self.at(second))
        return self.kick(second, "chat.message.sent", body)

    def twitch_chat(self, second: float, chatter: Person, text: str) -> Push:
        """A message on Twitch, whose time is the delivery's."""
        self._ids += 1
        event = bodies.twitch_chat(ON_TWITCH, chatter, f"twitch-{self._ids}", text)
        sent = bodies.encode(bodies.twitch_body("channel.chat.message", "1", ON_TWITCH, event))
        headers = self._twitch.headers("channel.chat.message", sent, timestamp=rfc3339(self.at(second)))
        return Push(sent, headers, "/webhooks/twitch")

    def kicks(self, second: float, sender: Person, amount: int) -> Push:
        """A gift of kicks."""
        body = bodies.kick_kicks(ON_KICK, sender, amount, "Rage Quit", "w", self.at(second))
        return self.kick(second, "kicks.gifted", body)

    # ------------------------------------------------------------------ what happens

    def giveaways(self) -> list[Push]:
        """One drawn among four who entered, one closed, one whose winner did not enter."""
        return [
            self.kick_chat(65, ANN, "!join now"),  # arrives before the opening, happened after it
            self.kick_chat(50, BOB, "!join"),  # too early
            self.push(
                self.event(60, "giveaway.opened", giveaway_id="g1", title="Keys", keyword="!Join", prize={"keys": 2}),
                self.event(70, "giveaway.entered", ("twitch", CY), giveaway_id="g1"),
            ),
            self.kick_chat(75, ON_KICK, "!join"),  # the streamer's own
            self.twitch_chat(80, DORA, "\u2003!JOIN please"),
            self.twitch_chat(81, ANN, "!join"),  # her id on Kick is another viewer's on Twitch
            self.kick_chat(82, ANN, "!join again"),
            self.kick_chat(83, CY, "please !join"),
            self.push(self.event(120, "giveaway.drawn", giveaway_id="g1", winner=winner("twitch", DORA))),
            self.kick_chat(120, CY, "!join"),  # as it was drawn
            self.push(self.event(150, "giveaway.opened", giveaway_id="g2", title="No keyword")),
            self.push(self.event(160, "giveaway.closed", giveaway_id="g2")),
            self.push(self.event(161, "giveaway.entered", ("kick", BOB), giveaway_id="g2")),
            self.push(
                self.event(170, "giveaway.opened", giveaway_id="g3", title="", keyword="stra\u00dfe"),
                self.event(180, "giveaway.drawn", giveaway_id="g3", winner=winner("kick", BOB)),
            ),
            self.kick_chat(175, ANN, "STRASSE"),
            self.push(self.event(190, "giveaway.opened", giveaway_id="g3", title="Renamed", keyword="strasse")),
        ]

    def songs(self) -> list[Push]:
        """Two wait in the end; a removal, a clearing, a repeat, one played, one skipped."""
        ann, dora = ("kick", ANN), ("twitch", DORA)
        return [
            self.push(self.event(12, "song.removed", request_id="s1")),
            self.push(
                self.event(10, "song.requested", ann, request_id="s1", song_url="https://youtu.be/1"),
                self.event(
                    11, "song.requested", ann, request_id="s2", song_url="https://open.spotify.com/2", title="Two"
                ),
                self.event(90, "song.requested", dora, request_id="s3", song_url="https://soundcloud.com/3"),
                self.event(100, "song.requested", dora, request_id="s4", song_url="https://songs.example:8080/4"),
                self.event(102, "song.requested", ann, request_id="s6", song_url="https://youtu.be/6", duration_s=61.5),
                self.event(101, "song.requested", dora, request_id="s5", song_url="https://WWW.youtube.com/watch?v=5"),
            ),
            self.push(self.event(95, "song.played", request_id="s2"), self.event(96, "song.skipped", request_id="s3")),
            self.push(self.event(100, "song.queue_cleared", ("kick", ON_KICK))),
            self.push(self.event(110, "song.requested", dora, request_id="s4", song_url="https://youtu.be/repeat")),
            self.push(self.event(111, "song.played", request_id="never asked for")),
        ]

    def games(self) -> list[Push]:
        """A wheel that gave what is not on it, and gambles of both platforms' viewers."""
        games = [
            self.event(
                20 + number, "gamble.played", player, game_type=f"game {number}", outcome=outcome, bet=10, payout=won
            )
            for number, (player, outcome, won) in enumerate(
                [(("kick", ANN), "win", 25), (("twitch", DORA), "lose", 0), (("kick", BOB), "draw", 10)] * 5
            )
        ]
        return [
            self.push(self.event(30, "wheel.spun", result="before it was configured")),
            self.push(self.event(31, "wheel.configured", title="Wheel", segments=["Hydrate", "100 coins", "Hydrate"])),
            self.push(*games),
            self.push(self.event(40, "wheel.spun", ("kick", ANN), result="no segment")),
            self.push(self.event(35, "wheel.spun", ("twitch", DORA), result="Hydrate")),
        ]

    def coins(self) -> list[Push]:
        """Rules change while viewers chat, follow and give; one becomes poor, one renames."""
        return [
            self.kicks(5, BOB, 7),
            self.kick_chat(0, BOB, "hi"),
            self.push(self.event(3, "loyalty.rules_set", kick=10, chat_minute=5, follow=0)),
            self.kicks(4, BOB, 7),  # happened before the rules, and is on the log after them
            self.kick_chat(1, BOB, "a minute pays once, at the rate of its first message on the log"),
            self.kick(8, "channel.followed", bodies.kick_follow(ON_KICK, BOB)),
            self.push(self.event(6, "coins.adjusted", ("twitch", DORA), amount=500, reason="raid")),
            self.push(self.event(7, "coins.adjusted", ("kick", Person("9", "Poor")), amount=-50)),
            self.kick_chat(250, Person("2", "Bobby"), "renamed"),
            self.push(self.event(260, "coins.adjusted", ("kick", BOB), amount=1)),  # the bot does not know it yet
        ]

    def all(self) -> list[Push]:
        """The whole evening."""
        return [*self.coins(), *self.giveaways(), *self.songs(), *self.games()]


def winner(platform: str, viewer: Person) -> dict[str, str]:
    """As `giveaway.drawn` names one."""
    return {"platform": platform, "id": viewer.id, "name": viewer.name}
