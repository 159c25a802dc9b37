"""One asyncio loop in a thread: the lab's SSH servers and wires live in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for callers in other threads, from `start` to `stop`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="lab-ssh", daemon=True)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, once started."""
        if self._loop is None:
            raise RuntimeError("the loop has not been started")
        return self._loop

    def start(self) -> None:
        """Begin."""
        self._loop = asyncio.new_event_loop()
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
        await asyncio.sleep(0)  # lets transports that were closed say goodbye
