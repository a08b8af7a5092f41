"""Run the server until it is told to stop.

Importing this module loads neither torch nor the web framework; `serve` does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from teacherlm.core.errors import MissingExtra, Mistake
from teacherlm.lm.load import LoadedModel, load
from teacherlm.teacher.server.settings import Settings

if TYPE_CHECKING:
    import uvicorn

LIFELINE = "TEACHERLM_LIFELINE"
"""Environment variable; `stdin`: the server ends when its standard input does, as it does when its parent dies."""

SMALL = 20_000_000
"""Parameters under which one thread computes faster than several."""

SMALL_BATCH = 128
"""Rows of a small model: what a step costs besides arithmetic is shared by all of them."""

BACKLOG = 2048
"""Connections that may wait to be accepted: a whole run's workers may arrive at once."""

KEEP_ALIVE_S = 75
"""Idle connections are kept longer than most clients keep them, so that it is the client who closes."""


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_concurrent_requests: int = 128,
    max_batch_size: int | None = None,
    api_key: str | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve a model over TGI's protocol until SIGINT or SIGTERM; requests in flight are answered first.

    Args:
        model, revision, device, dtype: see `teacherlm.lm.load.load`.
        host, port: where to listen; port 0 takes a free one.
        max_concurrent_requests: held at once; one more is answered 429.
        max_batch_size: rows written at once; None: 32, or 128 for a small model on the CPU.
        api_key: what clients must bear; None: open.
        announce: called with the URL once the model is loaded and the socket listens.

    Raises:
        Mistake: the address is in use or not ours; a limit below 1; whatever `load` refuses.
        MissingExtra: the extra `local` is not installed.
    """
    if max_concurrent_requests < 1 or (max_batch_size is not None and max_batch_size < 1):
        raise Mistake("a server needs room for at least one request", "give limits of 1 or more")
    if os.environ.get(LIFELINE) == "stdin":
        _end_with_stdin()
    listener = listen(host, port)
    try:
        loaded = load(model, revision=revision, device=device, dtype=dtype)
        rows = max_batch_size or (SMALL_BATCH if _is_small(loaded) else Settings.max_batch_size)
        settings = Settings(max_concurrent_requests=max_concurrent_requests, max_batch_size=rows, api_key=api_key)
        try:
            server = make_server(loaded, settings, announce and (lambda: announce(url_of(listener))))
        except ModuleNotFoundError as error:
            if error.name in ("starlette", "uvicorn"):
                raise MissingExtra("the embedded teacher", "local") from None
            raise
        _spare_threads(loaded)
        server.run(sockets=[listener])
    finally:
        listener.close()


def _is_small(loaded: LoadedModel) -> bool:
    return loaded.device == "cpu" and sum(weights.numel() for weights in loaded.model.parameters()) < SMALL


def _spare_threads(loaded: LoadedModel) -> None:
    """Give a small model one thread: more of them wait for each other longer than they compute."""
    import torch

    if _is_small(loaded):
        torch.set_num_threads(1)


def make_server(loaded: LoadedModel, settings: Settings, announce: Callable[[], None] | None = None) -> uvicorn.Server:
    """A server for `server.run(sockets=[…])`; `server.should_exit = True` ends it.

    Args:
        loaded: the model.
        settings: limits.
        announce: called when it listens.
    """
    import uvicorn

    from teacherlm.teacher.server.app import create_app

    class Server(uvicorn.Server):
        """Tells when it listens, and ends quietly after a signal instead of raising it again."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and announce is not None:
                announce()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        create_app(loaded, settings),
        log_config=None,
        access_log=False,
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    return Server(config)


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket, as clients on this machine reach it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Open the socket; `serve` does it before the model is loaded, so that a port in use is told at once.

    Who connects before the model is there waits for it.

    Raises:
        Mistake: the port is in use, or the address is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as error:
        raise Mistake(
            f"{host}:{port} is no address of this machine: {error}", "use --host 127.0.0.1", "--host"
        ) from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would allow a second server on the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Mistake(
            f"cannot listen on {host}:{port}: {reason}", "use another --port; 0 takes a free one", "--port"
        ) from None
    return listener


def _end_with_stdin() -> None:
    """Ask this process to end when its standard input is closed; drained like after any SIGTERM."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
