"""A session as a state machine: what it asks for, by hand for each rule, and by hypothesis whatever comes in which order."""

from __future__ import annotations

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingest.codecs import twitch
from ingest.codecs.delivery import Delivery
from ingest.codecs.eventsub_session import (
    BACKOFF_LAST_S,
    HEALTHY_S,
    MOVE_S,
    OPEN_S,
    REVIVE_EVERY_S,
    SLACK_S,
    Action,
    Close,
    Deliver,
    Open,
    Session,
    Subscribe,
    Unreadable,
    may_move_to,
)
from schemas.event import Event, utc_now
from schemas.kinds import Followed, PlatformSubscriptionRevoked
from tests.eventsub import follow, frame, keepalive, moves, revocation, welcome
from tests.samples import TWITCH_BROADCASTER

URL = "wss://eventsub.wss.twitch.tv/ws"
ELSEWHERE = "wss://cell-c.eventsub.wss.twitch.tv/ws?reconnect_id=abc"


class Told:
    """A session with its time, so that a test reads as what happens."""

    def __init__(self) -> None:
        self.session = Session(URL, jitter=lambda: 1.0)
        self.now = 100.0
        self.opened = self.session.start(self.now)

    def frame(self, link: int, text: str) -> list[Action]:
        return self.session.frame(link, text, utc_now(), self.now)

    def after(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self.session.tick(self.now)

    def listening(self) -> Told:
        """Welcomed and subscribed on link 1."""
        assert self.frame(1, welcome()) == [Subscribe(1, "s-1")]
        self.session.subscribed(1)
        return self


@pytest.fixture
def told() -> Told:
    return Told()


def test_it_opens_the_configured_address_and_subscribes_when_welcomed(told: Told) -> None:
    assert told.opened == [Open(1, URL)]
    before = told.session.session_id
    assert before is None
    assert told.frame(1, welcome("abc")) == [Subscribe(1, "abc")]
    assert told.session.session_id == "abc"
    assert told.frame(1, welcome("other")) == []


def test_a_link_without_a_welcome_is_given_up(told: Told) -> None:
    assert told.after(OPEN_S - 0.1) == []
    assert told.after(0.1) == [Close(1)]
    assert told.after(1.0) == [Open(2, URL)]


def test_silence_is_longer_than_keepalive_and_slack(told: Told) -> None:
    told.listening()
    told.now += 14.0
    assert told.frame(1, keepalive()) == []
    assert told.after(10 + SLACK_S - 0.1) == []
    assert told.after(0.1) == [Close(1)]
    assert told.after(1.0) == [Open(2, URL)]
    assert told.frame(2, welcome("s-2", keepalive_s=30)) == [Subscribe(2, "s-2")]
    assert told.after(30 + SLACK_S - 0.1) == []


def test_any_frame_breaks_the_silence_and_so_does_a_shell_that_was_busy(told: Told) -> None:
    told.listening()
    for text in (follow(), "no JSON", frame("session_tomorrow", {})):
        told.now += 14.0
        told.frame(1, text)
        assert told.session.tick(told.now) == []
    told.now += 600.0
    told.session.waits(told.now)
    assert told.session.tick(told.now) == []
    assert told.after(10 + SLACK_S) == [Close(1)]


def test_a_notification_is_delivered_as_a_webhook_would_be(told: Told) -> None:
    (action,) = told.listening().frame(1, follow("message-7"))
    assert isinstance(action, Deliver)
    delivery = action.delivery
    assert twitch.event_id(delivery) == "twitch:message-7"
    event = twitch.decode(
        delivery, lambda platform, id_: 7 if (platform, id_) == ("twitch", TWITCH_BROADCASTER) else None
    )
    assert isinstance(event, Event)
    assert (event.event_id, event.user_id, event.data) == ("twitch:message-7", 7, Followed())


def test_a_revocation_is_an_event_and_the_subscription_is_looked_for_again_once_a_minute(told: Told) -> None:
    (action,) = told.listening().frame(1, revocation("version_removed"))
    assert isinstance(action, Deliver)
    event = twitch.decode(action.delivery, lambda platform, id_: 7)
    assert isinstance(event, Event)
    assert isinstance(event.data, PlatformSubscriptionRevoked)
    assert event.data.status == "version_removed"
    assert told.after(1.0) == [Subscribe(1, "s-1")]
    told.frame(1, revocation())
    for _ in range(5):
        assert told.after(10.0) == []
        told.frame(1, keepalive())
    assert told.after(REVIVE_EVERY_S - 50.0) == [Subscribe(1, "s-1")]


def test_a_notification_without_an_event_is_a_revocation(told: Told) -> None:
    """Twitch's command-line client tells it so."""
    payload = json.loads(revocation("user_removed"))["payload"]
    (action,) = told.listening().frame(1, frame("notification", payload))
    assert isinstance(action, Deliver)
    event = twitch.decode(action.delivery, lambda platform, id_: 7)
    assert isinstance(event, Event)
    assert isinstance(event.data, PlatformSubscriptionRevoked)
    assert event.data.status == "user_removed"
    assert told.after(1.0) == [Subscribe(1, "s-1")]


def test_a_moved_session_keeps_both_links_until_the_welcome_and_does_not_subscribe_again(told: Told) -> None:
    told.listening()
    assert told.frame(1, moves(ELSEWHERE)) == [Open(2, ELSEWHERE)]
    assert told.session.links == 2
    assert len(told.frame(1, follow("during"))) == 1
    assert told.frame(1, moves(ELSEWHERE)) == []
    assert told.frame(2, welcome("s-1")) == [Close(1)]
    assert [type(action) for action in told.frame(1, follow("late"))] == [Deliver]
    assert told.session.ended(1, told.now) == []
    assert told.session.links == 1
    assert told.after(10 + SLACK_S) == [Close(2)]


def test_a_session_moved_before_it_has_subscriptions_is_given_them_at_its_new_link(told: Told) -> None:
    assert told.frame(1, welcome()) == [Subscribe(1, "s-1")]
    assert told.frame(1, moves(ELSEWHERE)) == [Open(2, ELSEWHERE)]
    assert told.session.not_subscribed(1, told.now) == []
    assert told.frame(2, welcome("s-1")) == [Close(1), Subscribe(2, "s-1")]


def test_a_move_has_thirty_seconds_and_then_everything_is_made_anew_beside_the_old_link(told: Told) -> None:
    told.listening()
    told.frame(1, moves(ELSEWHERE))
    for _ in range(2):
        told.now += 14.0
        told.frame(1, keepalive())
    assert told.after(MOVE_S - 28.0) == [Close(2)]
    assert told.session.session_id is None
    assert len(told.frame(1, follow("still"))) == 1
    assert told.after(1.0) == [Open(3, URL)]
    # Never two sessions with subscriptions: each fact would be told twice, under two message ids.
    assert told.frame(3, welcome("s-3")) == [Close(1), Subscribe(3, "s-3")]


def test_twitch_ends_the_old_link_of_a_move_and_the_new_one_goes_on(told: Told) -> None:
    told.listening()
    told.frame(1, moves(ELSEWHERE))
    assert told.session.ended(1, told.now) == []  # 4004
    # Its subscriptions should have moved with it; that they have is looked at.
    assert told.frame(2, welcome("s-1")) == [Subscribe(2, "s-1")]
    told.session.ended(2, told.now)
    assert told.after(1.0) == [Open(3, URL)]


def test_a_new_address_that_is_refused_is_not_tried_twice(told: Told) -> None:
    told.listening()
    told.frame(1, moves(ELSEWHERE))
    assert told.session.ended(2, told.now) == []  # 4007
    assert told.after(1.0) == [Open(3, URL)]
    assert told.session.ended(1, told.now) == []


@pytest.mark.parametrize("url", ["wss://evil.example/ws", "ws://eventsub.wss.twitch.tv/ws", "", "wss://["])
def test_an_address_elsewhere_is_not_opened(told: Told, url: str) -> None:
    told.listening()
    assert told.frame(1, moves(url)) == []
    assert told.after(1.0) == [Open(2, URL)]


def test_whatever_ends_a_session_another_one_is_begun(told: Told) -> None:
    told.listening()
    assert told.session.ended(1, told.now) == []
    assert told.after(0.9) == []
    assert told.after(0.1) == [Open(2, URL)]


def test_each_failure_waits_longer_up_to_a_minute_and_a_session_that_held_makes_good(told: Told) -> None:
    waits = []
    for link in range(1, 10):
        told.session.ended(link, told.now)
        due = told.session.due_at()
        assert due is not None
        waits.append(due - told.now)
        assert told.after(waits[-1]) == [Open(link + 1, URL)]
    assert waits == [1, 2, 4, 8, 16, 32, BACKOFF_LAST_S, BACKOFF_LAST_S, BACKOFF_LAST_S]
    told.frame(10, welcome("s-10", keepalive_s=600))
    told.now += HEALTHY_S
    told.session.ended(10, told.now)
    assert told.session.due_at() == told.now + 1.0


def test_a_session_that_could_be_subscribed_with_is_made_anew_within_seconds(told: Told) -> None:
    for link in range(1, 20):
        told.frame(link, welcome(f"s-{link}"))
        told.session.subscribed(link)
        told.session.ended(link, told.now)
        assert told.after(4.0) == [Open(link + 1, URL)]


def test_without_subscriptions_a_link_is_of_no_use(told: Told) -> None:
    told.frame(1, welcome())
    assert told.session.not_subscribed(1, told.now) == [Close(1)]
    assert told.session.not_subscribed(1, told.now) == []
    assert told.after(1.0) == [Open(2, URL)]


def test_after_the_stop_nothing_is_opened_and_what_comes_still_counts(told: Told) -> None:
    told.listening()
    told.frame(1, moves(ELSEWHERE))
    assert told.session.stop() == [Close(1), Close(2)]
    assert told.session.due_at() is None
    assert len(told.frame(1, follow())) == 1
    assert told.session.ended(1, told.now) + told.session.ended(2, told.now) == []
    assert told.after(1000.0) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "\ud800",
        '{"metadata": {"message_id": 1}}',
        follow("no\nline"),
        follow(""),
        follow("x" * 3000),
    ],
)
def test_what_is_no_message_is_named_and_nothing_else(told: Told, text: str) -> None:
    assert told.listening().frame(1, text) == [Unreadable()]


@pytest.mark.parametrize(
    ("url", "configured", "may"),
    [
        (ELSEWHERE, URL, True),
        ("wss://eventsub.wss.twitch.tv:443/x", URL, True),
        ("wss://EVENTSUB.WSS.TWITCH.TV./ws", URL, True),
        ("wss://eventsub.wss.twitch.tv:8443/ws", URL, False),
        ("ws://cell-c.eventsub.wss.twitch.tv/ws", URL, False),
        ("https://cell-c.eventsub.wss.twitch.tv/ws", URL, False),
        ("wss://evileventsub.wss.twitch.tv/ws", URL, False),
        ("wss://twitch.tv/ws", URL, False),
        ("wss://eventsub.wss.twitch.tv@evil.example/ws", URL, False),
        ("wss://x@eventsub.wss.twitch.tv/ws", URL, False),
        ("wss://127.0.0.1/ws", URL, False),
        ("wss://eventsub.wss.twitch.tv:99999/ws", URL, False),
        ("ws://127.0.0.1:9/x", "ws://127.0.0.1:8/ws", True),
        ("wss://localhost/x", "ws://127.0.0.1:8/ws", True),
        ("ws://[::1]:5/x", "ws://localhost:8/ws", True),
        ("ws://evil.example/x", "ws://127.0.0.1:8/ws", False),
        ("http://127.0.0.1:9/x", "ws://127.0.0.1:8/ws", False),
    ],
)
def test_where_a_session_may_move_to(url: str, configured: str, may: bool) -> None:
    assert may_move_to(url, configured) is may


class AnyOrder(RuleBasedStateMachine):
    """A shell that does what it is told, and a Twitch that does whatever it likes, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session(URL, jitter=lambda: 0.0)
        self.open: dict[int, str] = {}
        self.closing: set[int] = set()
        self.subscribed_on: set[int] = set()
        self.numbers: list[int] = []
        self.sent: list[str] = []
        self.delivered: list[str] = []
        self.opens_at: list[float] = []
        self.stopped = False

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Open(link, url):
                    assert link not in self.numbers
                    assert not self.stopped
                    assert url == URL or may_move_to(url, URL)
                    self.numbers.append(link)
                    self.open[link] = url
                    if url == URL:
                        self.opens_at.append(self.now)
                case Close(link):
                    assert link in self.open
                    del self.open[link]
                    self.closing.add(link)
                    self.subscribed_on.discard(link)
                case Subscribe(link, session_id):
                    assert link in self.open
                    assert session_id == self.session.session_id
                    # A link that is left, whose session has subscriptions, was closed before.
                    assert self.subscribed_on <= {link}
                    self.subscribed_on = {link}
                case Deliver(delivery):
                    self.delivered.append(delivered_id(delivery))

    def any_link(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted({*self.open, *self.closing, 0})))

    @initialize()
    def starts(self) -> None:
        self.do(self.session.start(self.now))

    @rule(data=st.data(), keepalive_s=st.sampled_from([None, 10, 30, 0, 10**9]))
    def is_welcomed(self, data: st.DataObject, keepalive_s: int | None) -> None:
        link = self.any_link(data)
        moved = self.open.get(link, URL) != URL
        before = set(self.subscribed_on)
        self.do(self.session.frame(link, welcome(f"s-{link}", keepalive_s), utc_now(), self.now))
        if moved and before and not self.subscribed_on:
            self.subscribed_on = {link}  # they moved with the session

    @rule(data=st.data(), text=st.sampled_from([keepalive(), "junk", frame("session_welcome", {}), moves("x")]))
    def gets_another_frame(self, data: st.DataObject, text: str) -> None:
        self.do(self.session.frame(self.any_link(data), text, utc_now(), self.now))

    @rule(data=st.data(), url=st.sampled_from([ELSEWHERE, "wss://evil.example/"]))
    def is_moved(self, data: st.DataObject, url: str) -> None:
        self.do(self.session.frame(self.any_link(data), moves(url), utc_now(), self.now))

    @rule(data=st.data(), revoked=st.booleans())
    def gets_a_message(self, data: st.DataObject, revoked: bool) -> None:
        message_id = f"m-{len(self.sent)}"
        self.sent.append(message_id)
        text = revocation(message_id=message_id) if revoked else follow(message_id)
        self.do(self.session.frame(self.any_link(data), text, utc_now(), self.now))

    @rule(data=st.data())
    def a_link_ends(self, data: st.DataObject) -> None:
        link = self.any_link(data)
        self.open.pop(link, None)
        self.closing.discard(link)
        self.subscribed_on.discard(link)
        self.do(self.session.ended(link, self.now))

    @rule(data=st.data(), well=st.booleans())
    def subscribing_ends(self, data: st.DataObject, well: bool) -> None:
        link = self.any_link(data)
        if well:
            self.session.subscribed(link)
        else:
            self.do(self.session.not_subscribed(link, self.now))

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 15.0, 31.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.session.tick(self.now))

    @rule()
    def the_shell_was_busy(self) -> None:
        self.session.waits(self.now)
        self.session.revive(self.now)

    @precondition(lambda self: len(self.numbers) > 3)
    @rule()
    def stops(self) -> None:
        self.do(self.session.stop())
        self.stopped = True
        assert not self.open

    @rule()
    def all_goes_well_again(self) -> None:
        """From any state a session with subscriptions is there within two minutes."""
        until = self.now + 2 * (BACKOFF_LAST_S + MOVE_S)
        while not self.stopped and self.now < until:
            due = self.session.due_at()
            assert due is not None
            waiting = [link for link in self.open if link not in self.subscribed_on]
            if waiting and self.session.session_id is None:
                self.do(self.session.frame(waiting[-1], welcome(f"w-{waiting[-1]}"), utc_now(), self.now))
            for link in self.subscribed_on:
                self.session.subscribed(link)
            if self.session.is_subscribed and self.session.session_id is not None:
                return
            self.now = max(self.now, due)
            self.do(self.session.tick(self.now))
        assert self.stopped

    @invariant()
    def nothing_is_lost_told_twice_or_left_open(self) -> None:
        assert self.delivered == self.sent
        assert self.session.links == len(self.open) <= 2
        assert self.stopped or self.session.due_at() is not None
        # Nobody is hammered: the addresses opened in the last minute are few.
        assert sum(at > self.now - 60.0 for at in self.opens_at) <= 70


def delivered_id(delivery: Delivery) -> str:
    return delivery.headers[twitch.MESSAGE_ID]


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyOrder = AnyOrder.TestCase
