"""Both fake platforms behind one address, for `streamkit sandbox` and `demo`; and a page to make things happen on them."""

from __future__ import annotations

import random
from collections.abc import Callable

from aiohttp import web

from streamkit.sandbox.cast import CATEGORIES, Channel
from streamkit.sandbox.kick import Kick
from streamkit.sandbox.page import page
from streamkit.sandbox.requests import form_of
from streamkit.sandbox.twitch import Twitch
from streamkit.simulation.bodies import Person
from streamkit.simulation.delivery import uuid_from

Platform = Kick | Twitch


class Sandbox:
    """Kick and Twitch. `webhook_url`: where StreamKit takes Kick's webhooks, the setting of the app at Kick (None: off)."""

    def __init__(self, *, webhook_url: str | None) -> None:
        self.kick = Kick(webhook_url=webhook_url)
        self.twitch = Twitch()
        self._chance = random.Random()  # noqa: S311 - a story, no secret

    def settings(self, url: str) -> dict[str, str]:
        """The settings that point a StreamKit at this sandbox, served at `url`."""
        return {"STREAMKIT_SANDBOX": "1"} | self.kick.settings(url) | self.twitch.settings(url)

    def build_app(self) -> web.Application:
        """Everything the platforms serve; `/` for a person, `/sandbox.env` for a shell."""
        app = web.Application()
        self.kick.install(app)
        self.twitch.install(app)
        app.router.add_get("/", self._page)
        app.router.add_get("/sandbox.env", self._env)
        app.router.add_post("/{platform:kick|twitch}/{broadcaster_id}/{what}", self._happen)
        return app

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=page(self.kick.channels, self.twitch.channels), content_type="text/html")

    async def _env(self, request: web.Request) -> web.Response:
        lines = [f"{name}={value}\n" for name, value in self.settings(str(request.url.origin())).items()]
        return web.Response(text="".join(lines))

    async def _happen(self, request: web.Request) -> web.Response:
        """Something happens on a channel: back to the page, or 404 and 400 with what there is."""
        origin = request.headers.get("Origin")
        if origin is not None and origin != str(request.url.origin()):
            return web.Response(status=403, text="Only the sandbox's own page may do that.")
        platform: Platform = self.kick if request.match_info["platform"] == "kick" else self.twitch
        channel = platform.channels.get(request.match_info["broadcaster_id"])
        act = self._acts(platform).get(request.match_info["what"])
        if channel is None or act is None:
            known = ", ".join(self._acts(platform))
            return web.Response(status=404, text=f"There is /kick|twitch/<id>/<what>, with what one of: {known}.\n")
        form = await form_of(request)
        try:
            act(channel, form)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=303, headers={"Location": "/"})

    def _acts(self, platform: Platform) -> dict[str, Callable[[Channel, dict[str, str]], None]]:
        def change(channel: Channel, form: dict[str, str]) -> None:
            wanted = form.get("category")
            category = next((one for one in CATEGORIES if one.name == wanted), None)
            if wanted is not None and category is None:
                raise ValueError(f"The categories are: {', '.join(one.name for one in CATEGORIES)}.")
            platform.change(channel.person.id, title=form.get("title"), category=category)

        def watch(channel: Channel, form: dict[str, str]) -> None:
            channel.viewers = int(form.get("viewers", ""))

        def gift(channel: Channel, form: dict[str, str]) -> None:
            receivers = [self._stranger() for _ in range(min(int(form.get("count", "3")), 100))]
            platform.gift(channel.person.id, self._stranger(), receivers)

        def chat(channel: Channel, form: dict[str, str]) -> None:
            message_id = uuid_from(self._chance)
            platform.chat(channel.person.id, self._stranger(), message_id, form.get("text", "hello"))

        def spend(channel: Channel, form: dict[str, str]) -> None:
            platform.spend(channel.person.id, self._stranger(), int(form.get("amount", "100")))

        return {
            "live": lambda channel, _: platform.go_live(channel.person.id),
            "offline": lambda channel, _: platform.end_stream(channel.person.id),
            "change": change,
            "viewers": watch,
            "chat": chat,
            "follow": lambda channel, _: platform.follow(channel.person.id, self._stranger()),
            "subscribe": lambda channel, _: platform.subscribe(channel.person.id, self._stranger()),
            "gift": gift,
            "spend": spend,
            "expire": lambda channel, _: platform.grants.expire_access(channel.person.id),
            "revoke": lambda channel, _: platform.grants.revoke_person(channel.person.id),
        }

    def _stranger(self) -> Person:
        number = self._chance.randrange(10**8, 10**9)
        return Person(str(number), f"Viewer{number % 10_000}")
