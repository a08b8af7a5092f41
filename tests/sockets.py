"""Listening sockets of the tests' own servers."""

from __future__ import annotations

import asyncio

__all__ = ["stop_listening"]


async def stop_listening(server: asyncio.Server) -> None:
    """Close the port, as `server.close()` does, when all that was accepted has become a connection.

    A server that is closed in between fails an assertion of asyncio's, and the socket is left to the garbage collector,
    which blames the test that it interrupts.
    """
    for listener in server.sockets:
        server.get_loop().remove_reader(listener)
    for _ in range(3):  # the task that takes the socket, its transport, the protocol's `connection_made`
        await asyncio.sleep(0)
    server.close()
