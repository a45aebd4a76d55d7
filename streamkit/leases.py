"""Work that one process of the deployment does at a time, shared out among those that live, by the soft state.

Every process says regularly that it lives. Who does what follows from the names of the living alone (the highest
hash), so a process that comes or goes moves only its own share; a lease in Redis keeps two from doing the same thing
while they see different company. Without a Redis server a process takes itself to be alone. While the server is away
everyone goes on with what it has and takes nothing new.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Sequence

from streamkit.redis import SoftState

LEASE_S = 15.0
"""A process that has not been heard of for so long is dead, and its work another's."""

BEAT_S = 5.0
"""How often `share` is to be called."""

_BEAT = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 4)
local up_s = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
return {up_s, redis.call('ZRANGE', KEYS[1], 0, -1)}
"""
_HOLD = """
local held = {}
for i, key in ipairs(KEYS) do
  local owner = redis.call('GET', key)
  if owner == ARGV[1] or (not owner and ARGV[3] == '1') then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    held[#held + 1] = i
  end
end
return held
"""
_LEAVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
for i = 2, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
return 1
"""
_GIVE_BACK = (
    "for _, key in ipairs(KEYS) do if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end end return 1"
)


class Leases:
    """This process's part in the work `group`. One per process and group."""

    def __init__(self, soft: SoftState, group: str, *, lease_s: float = LEASE_S) -> None:
        self._soft = soft
        self._group = group
        self._lease_s = lease_s
        self.me = secrets.token_hex(8)

    async def share(self, names: Iterable[str], held: Collection[str]) -> frozenset[str]:
        """Those of `names` that are this process's to do until the next call; `held`: what it does now.

        What is held and is not among them has to be ended, and given back with `give_back` when it has.
        """
        wanted = frozenset(names)
        if not self._soft.shared:
            return wanted
        told = await self._soft.script(_BEAT, [self._members], [self.me, self._lease_ms])
        if told is None:
            return wanted & frozenset(held)
        up_s, members = told
        mine = {name for name in wanted if owner_of(name, [member.decode() for member in members]) == self.me}
        kept = await self._hold(sorted(mine & set(held)), take=True)
        # A server that has just started remembers nobody: those who work come first and take their leases again.
        new = await self._hold(sorted(mine - set(held)), take=up_s > self._lease_s)
        if kept is None or new is None:
            return wanted & frozenset(held)
        return kept | new

    async def lead(self, name: str, *, held: bool) -> bool:
        """Whether the one work `name` is this process's to do until the next call: who has it keeps it until it leaves."""
        if not self._soft.shared:
            return True
        found = await self._hold([name], take=True)
        return held if found is None else bool(found)

    async def give_back(self, names: Collection[str]) -> None:
        """These are done here no more: another process may begin at once. Without a server nothing happens."""
        if names:
            await self._soft.script(_GIVE_BACK, [self._lease(name) for name in names], [self.me])

    async def leave(self, names: Collection[str]) -> None:
        """This process ends: give everything back and be counted no more."""
        await self._soft.script(_LEAVE, [self._members, *(self._lease(name) for name in names)], [self.me])

    async def _hold(self, names: Sequence[str], *, take: bool) -> frozenset[str] | None:
        if not names:
            return frozenset()
        keys = [self._lease(name) for name in names]
        held = await self._soft.script(_HOLD, keys, [self.me, self._lease_ms, "1" if take else "0"])
        return None if held is None else frozenset(names[index - 1] for index in held)

    @property
    def _lease_ms(self) -> str:
        return str(int(self._lease_s * 1000))

    @property
    def _members(self) -> str:
        return f"members:{self._group}"

    def _lease(self, name: str) -> str:
        return f"lease:{self._group}:{name}"


def owner_of(name: str, members: Collection[str]) -> str | None:
    """Whose `name` is: rendezvous hashing. None without members."""
    return max(members, key=lambda member: hashlib.sha256(f"{member} {name}".encode()).digest(), default=None)
