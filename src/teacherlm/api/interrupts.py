"""Runs that can be interrupted, in programs and where a loop already runs (notebooks)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from teacherlm.core.loop import run

_LOOK_S = 0.2
"""How often a thread that waits looks whether it was interrupted."""


class Interrupts:
    """What interrupts a run: signals, or `press` from another thread."""

    def __init__(self) -> None:
        self._press: Callable[[], object] | None = None
        self._pressed = 0

    def press(self) -> None:
        """Interrupt; a run that has not begun to listen is interrupted as soon as it does."""
        self._pressed += 1
        if self._press is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._press()

    @contextlib.contextmanager
    def listening(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Call `interrupt` in the running loop for each Ctrl-C, SIGTERM or press."""
        loop = asyncio.get_running_loop()
        signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread():
            signals = ()
        self._press = lambda: loop.call_soon_threadsafe(interrupt)
        for _ in range(self._pressed):
            interrupt()
        for number in signals:
            loop.add_signal_handler(number, interrupt)
        try:
            yield
        finally:
            self._press = None
            for number in signals:
                loop.remove_signal_handler(number)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine to its end; where a loop already runs, in a thread of its own.

        Raises:
            KeyboardInterrupt: it came while the thread was waited for; the coroutine has ended before this is raised.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            run(main)
            return
        failures: list[BaseException] = []
        ended = threading.Event()

        def elsewhere() -> None:
            try:
                run(main)
            except BaseException as error:
                failures.append(error)
            finally:
                ended.set()

        pressed = self._pressed
        with self._taking_signals():
            threading.Thread(target=elsewhere).start()
            # A signal that comes between Python's last look and the lock's sleep does not end the sleep: look again.
            while not ended.wait(_LOOK_S):
                pass
        if self._pressed > pressed:
            raise KeyboardInterrupt from (failures[0] if failures else None)
        if failures:
            raise failures[0]

    @contextlib.contextmanager
    def _taking_signals(self) -> Iterator[None]:
        """Let Ctrl-C press while this thread waits; raised in the midst of it, it would leave the other one running."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, lambda *_: self.press())
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous if previous is not None else signal.default_int_handler)
