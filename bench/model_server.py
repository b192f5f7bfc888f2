"""A model that answers after as many milliseconds as its address says (`http://…/50/v1/chat/completions`), as cheaply as it can.

Its answer is the number of seconds that it took itself, so that the caller can subtract them. `/book`: when the prompt of each goal
first arrived.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

first: dict[str, float] = {}


class Caller(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""
        self._came = 0.0

    def data_received(self, data: bytes) -> None:
        self._came = self._came or time.monotonic()
        self._data += data
        while (whole := self._request()) is not None:
            path, body, came = *whole, self._came
            self._came = 0.0
            self._serve(path, body, came)

    def _request(self) -> tuple[str, bytes] | None:
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.decode("latin-1").split("\r\n")
        length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
        if len(rest) < length:
            return None
        self._data = rest[length:]
        return lines[0].split(" ")[1], rest[:length]

    def _serve(self, path: str, body: bytes, came: float) -> None:
        if path == "/book":
            self._send(first)
            return
        key = json.loads(body)["messages"][-1]["content"] if body else ""
        first.setdefault(key, came)
        wait = int(path.split("/")[1]) / 1000
        if wait:
            asyncio.get_running_loop().call_later(wait, self._answer, came)
        else:
            self._answer(came)

    def _answer(self, came: float) -> None:
        took = f"{time.monotonic() - came:.6f}"
        message = {"role": "assistant", "content": took}
        usage = {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
        self._send({"model": "bench", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    def _send(self, value: object) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)  # type: ignore[attr-defined]


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Caller, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
