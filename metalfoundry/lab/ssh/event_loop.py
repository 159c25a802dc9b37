"""One asyncio loop in a thread: the lab's SSH servers and wires live in it."""

from __future__ import annotations

import asyncio
import socket
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Loop(asyncio.SelectorEventLoop):
    """A loop that can abort every connection it still has: one that was opened for a task which is cancelled at that
    moment, or for a client who has gone, belongs to nobody.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connections: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def _make_socket_transport(
        self, sock: socket.socket, *words: Any, server: asyncio.Server | None = None, **named: Any
    ) -> asyncio.Transport:
        if server is not None and not server.is_serving():  # asyncio would fail half way, and leave the client waiting
            sock.close()
            raise ConnectionAbortedError("the server was closed when this connection had just been accepted")
        transport: asyncio.Transport = super()._make_socket_transport(  # type: ignore[misc]
            sock, *words, server=server, **named
        )
        self._connections.add(transport)
        return transport

    def abort_all(self) -> None:
        """Abort them; they are closed one turn later."""
        for transport in list(self._connections):
            transport.abort()


class LoopThread:
    """Runs coroutines for callers in other threads, from `start` to `stop`."""

    def __init__(self) -> None:
        self._loop: Loop | None = None
        self._thread = threading.Thread(target=self._run, name="lab-ssh", daemon=True)

    @property
    def loop(self) -> Loop:
        """The loop, once started."""
        if self._loop is None:
            raise RuntimeError("the loop has not been started")
        return self._loop

    def start(self) -> None:
        """Begin."""
        self._loop = Loop()
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], seconds: float = 10.0) -> T:
        """Run `work` in the loop and return its result; raises TimeoutError."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def tell(self, action: Callable[[], object]) -> None:
        """Run `action` in the loop soon."""
        self.loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        """Cancel what still runs, and end."""
        self.call(self._settle())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _settle(self) -> None:
        await asyncio.sleep(0)  # a connection that has just come becomes a task
        while tasks := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # what ends may have begun another
        self.loop.abort_all()
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # their goodbye is said in the turn after
