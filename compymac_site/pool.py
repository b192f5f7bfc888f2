"""The connections of the pool: whether one is still alive is seen without a round trip."""

from __future__ import annotations

import select
from typing import Any

from psycopg import Connection


class PooledConnection(Connection[Any]):
    """Before each use the pool asks `execute("")`: a server that was restarted leaves it full of dead connections.

    That the other end was closed can be read from the socket; only where there is something to read is the server asked.
    """

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        if query == "" and not args and not kwargs and self._quiet():
            return None
        return super().execute(query, *args, **kwargs)

    def _quiet(self) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poll.poll(0)
