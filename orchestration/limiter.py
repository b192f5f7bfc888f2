"""What a provider allows: requests and tokens of any 60 seconds, calls at once, a rest that it asked for; agreed on by all workers.

Redis keeps the agreement, by its own clock and in one script, so that two workers never take the same place. While it is away each
process keeps to the limits by itself: then several of them may go beyond what is allowed, and the provider's 429 tells them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis
from django.conf import settings

from agents.chain import Pace

from .broker import key_prefix

log = logging.getLogger(__name__)
MINUTE = 60.0
LEASE = 30.0  # seconds that a call in flight is believed without a sign of its process
RENEWED = 10.0
LOOK_AGAIN = 0.5  # seconds, where only the end of another call makes room
LEAVE_ALONE = 2.0  # seconds that Redis is not asked after it failed

_TAKE = """
local sent, sizes, flight, rest = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ticket, requests, tokens, parallel, size = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local span = tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local resting = redis.call('PTTL', rest)
if resting > 0 then return resting end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', sent, '-inf', now - span)) do
  redis.call('ZREM', sent, old)
  redis.call('HDEL', sizes, old)
end
redis.call('ZREMRANGEBYSCORE', flight, '-inf', now)
if parallel > 0 and redis.call('ZCARD', flight) >= parallel then return tonumber(ARGV[6]) end
local count = redis.call('ZCARD', sent)
if requests > 0 and count >= requests then
  local oldest = redis.call('ZRANGE', sent, count - requests, count - requests, 'WITHSCORES')
  return math.max(1, oldest[2] + span - now)
end
if tokens > 0 and count > 0 then
  local sum = 0
  for _, used in ipairs(redis.call('HVALS', sizes)) do sum = sum + used end
  if sum + size > tokens then
    for _, one in ipairs(redis.call('ZRANGE', sent, 0, -1)) do
      sum = sum - (redis.call('HGET', sizes, one) or 0)
      if sum <= 0 or sum + size <= tokens then
        return math.max(1, redis.call('ZSCORE', sent, one) + span - now)
      end
    end
  end
end
redis.call('ZADD', sent, now, ticket)
redis.call('HSET', sizes, ticket, size)
redis.call('ZADD', flight, now + tonumber(ARGV[7]), ticket)
redis.call('PEXPIRE', sent, 120000)
redis.call('PEXPIRE', sizes, 120000)
redis.call('PEXPIRE', flight, 120000)
return 0
"""
_RENEW = """
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2]), ARGV[1])
"""


@dataclass
class Window:
    """PURE but for its own state: the same rules as the script's, for one process. Times are seconds of any clock that only grows."""

    span: float = MINUTE
    sent: dict[str, tuple[float, int]] = field(default_factory=dict)  # ticket: (when, tokens), in order
    flight: set[str] = field(default_factory=set)
    rests_until: float = 0.0

    def take(self, now: float, pace: Pace, ticket: str, size: int) -> float:
        """0: the call may be made now, and counts. Else the seconds after which it is worth asking again."""
        if now < self.rests_until:
            return self.rests_until - now
        self.sent = {one: (at, used) for one, (at, used) in self.sent.items() if at > now - self.span}
        if pace.parallel and len(self.flight) >= pace.parallel:
            return LOOK_AGAIN
        times = [at for at, _ in self.sent.values()]
        if pace.requests and len(times) >= pace.requests:
            return times[len(times) - pace.requests] + self.span - now
        if pace.tokens and (wait := self._until_fits(now, pace.tokens - size)):
            return wait
        self.sent[ticket] = (now, size)
        self.flight.add(ticket)
        return 0.0

    def _until_fits(self, now: float, most: int) -> float:
        """A request that is larger than the limit itself goes alone."""
        total = sum(used for _, used in self.sent.values())
        if total <= max(most, 0):
            return 0.0
        for at, used in self.sent.values():
            total -= used
            if total <= max(most, 0):
                return at + self.span - now
        return 0.0

    def done(self, ticket: str, used: int | None) -> None:
        self.flight.discard(ticket)
        if used is not None and ticket in self.sent:
            self.sent[ticket] = (self.sent[ticket][0], used)


class Limiter:
    """One a process. Nothing is asked for a provider without limits."""

    def __init__(self, span: float = MINUTE) -> None:
        self._span = span
        self._lock = threading.Lock()
        self._windows: dict[str, Window] = {}
        self._client: Any = None
        self._alone_until = 0.0
        self._flying: dict[str, Pace] = {}
        self._renewer: threading.Thread | None = None

    def take(self, pace: Pace, ticket: str, size: int) -> float:
        """0: the call may be made now, and counts as `size` tokens until `done`. Else the seconds to wait before asking again."""
        limits = (pace.requests or 0, pace.tokens or 0, pace.parallel or 0)
        words = (ticket, *limits, size, int(LOOK_AGAIN * 1000), int(LEASE * 1000), int(self._span * 1000))
        answer = self._ask(lambda: self._scripts().take(keys=_keys(pace), args=words))
        if answer is None:
            with self._lock:
                return self._window(pace).take(time.monotonic(), pace, ticket, size)
        if not answer:
            with self._lock:
                self._flying[ticket] = pace
            self._keep_renewing()
        return float(answer) / 1000

    def done(self, pace: Pace, ticket: str, used: int | None) -> None:
        """The call is over; it has used so many tokens (None: nobody knows, the estimate counts)."""
        with self._lock:
            flew = self._flying.pop(ticket, None)
            self._window(pace).done(ticket, used)
        if flew is None:
            return

        def settle() -> int:
            _, sizes, flight, _ = _keys(pace)
            client = self._connected()
            client.zrem(flight, ticket)
            if used is not None and client.hexists(sizes, ticket):
                client.hset(sizes, ticket, used)
            return 1

        self._ask(settle)

    def rest(self, pace: Pace, seconds: float) -> None:
        """The provider asked to be left alone for so long: nobody asks it before."""
        with self._lock:
            window = self._window(pace)
            window.rests_until = max(window.rests_until, time.monotonic() + seconds)
        self._ask(lambda: self._connected().set(_keys(pace)[3], "1", px=max(1, int(seconds * 1000))))

    def _window(self, pace: Pace) -> Window:
        return self._windows.setdefault(pace.key, Window(self._span))

    # ---- Redis

    def _ask(self, question: Callable[[], Any]) -> Any:
        """None where Redis is away, or what is there is not ours: then this process counts alone for a moment."""
        if time.monotonic() < self._alone_until:
            return None
        try:
            return question()
        except (redis.RedisError, OSError) as error:
            log.warning("the limits of providers are kept by each process alone: %s", type(error).__name__)
            self._alone_until = time.monotonic() + LEAVE_ALONE
            return None

    def _connected(self) -> Any:
        if self._client is None:
            self._client = redis.Redis.from_url(
                settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=1.0, retry=None
            )
        return self._client

    def _scripts(self) -> Any:
        client = self._connected()
        if not hasattr(self, "_registered"):
            self._registered = _Scripts(client.register_script(_TAKE), client.register_script(_RENEW))
        return self._registered

    def _keep_renewing(self) -> None:
        with self._lock:
            if self._renewer is None or not self._renewer.is_alive():
                self._renewer = threading.Thread(target=self._renew, daemon=True, name="limiter")
                self._renewer.start()

    def _renew(self) -> None:
        """While any call is in flight; a process that dies lets its places go after `LEASE`."""
        while True:
            time.sleep(RENEWED)
            with self._lock:
                flying = dict(self._flying)
                if not flying:
                    self._renewer = None
                    return
            for ticket, pace in flying.items():
                words = {"keys": [_keys(pace)[2]], "args": (ticket, int(LEASE * 1000))}
                self._ask(lambda words=words: self._scripts().renew(**words))  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class _Scripts:
    take: Any
    renew: Any


def _keys(pace: Pace) -> list[str]:
    """Calls sent, their tokens, calls in flight, the rest."""
    return [f"{key_prefix()}pace:{pace.key}:{part}" for part in ("sent", "tokens", "flight", "rest")]


limiter = Limiter()
