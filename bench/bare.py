"""The baseline: bare aiohttp on uvloop. POST reads the body and answers 204; GET answers `--bytes` of body.

Prints `ready http://127.0.0.1:PORT` like the program itself.
"""

from __future__ import annotations

import argparse
import asyncio

import uvloop
from aiohttp import web


async def _main(size: int) -> None:
    body = b"x" * size

    async def post(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=204)

    async def get(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/", post)
    app.router.add_get("/", get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"ready http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=0)
    uvloop.run(_main(parser.parse_args().bytes))
