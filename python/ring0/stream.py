"""The WebSocket, by the package `websockets` (`pip install ring0[stream]`)."""

import json

import websockets

from ring0.book import Book


class Stream:
    """An open WebSocket: `async with Stream(url) as stream`, then `subscribe` and `async for message in stream`."""

    def __init__(self, url, token=None):
        self._url = url.replace("http", "ws", 1).rstrip("/") + "/v1/stream"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._socket = None

    async def __aenter__(self):
        self._socket = await websockets.connect(self._url, additional_headers=self._headers, max_size=None)
        return self

    async def __aexit__(self, *_):
        await self._socket.close()

    async def subscribe(self, channel, **names):
        """`symbol`, `interval` or `account` name the channel."""
        await self._socket.send(json.dumps({"op": "subscribe", "channel": channel, **names}))

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return json.loads(await self._socket.recv())
        except websockets.ConnectionClosed as closed:
            raise StopAsyncIteration from closed


async def books(url, symbol):
    """Gives the book of an instrument each time it has changed, for ever; begins anew where something was missing."""
    while True:
        async with Stream(url) as stream:
            await stream.subscribe("book", symbol=symbol)
            book = Book()
            async for message in stream:
                if message.get("channel") == "book" and "data" in message:
                    book.take(message)
                    yield book
