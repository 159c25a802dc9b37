"""A wire on loopback that can be slow, cut, or silent: all SSH to the jump host goes through one."""

from __future__ import annotations

import asyncio

CHUNK = 65536


class FaultyProxy:
    """Passes TCP from a port of its own to `target`.

    `delay` is added in each direction, in seconds. All methods but the coroutines are for the loop's thread.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.delay = 0.0
        self.port = 0
        self.accepted = 0  # lines that came through, over its whole life
        self._target = target
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()

    async def open(self) -> None:
        """Listen; `port` is then known, and stays over a `close` and `open`."""
        self._flows.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut every line."""
        if self._server is not None:
            self._server.close()
        self.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> int:
        """Cut every line that is open now; return how many there were."""
        pairs = list(self._pairs)
        for pair in pairs:
            for writer in pair:
                writer.transport.abort()
        return len(pairs)

    def freeze(self) -> None:
        """Pass nothing on, and keep the lines open: silence."""
        self._flows.clear()

    def thaw(self) -> None:
        """Pass on again, also what came meanwhile."""
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, OSError):
                return
            raise
        self.accepted += 1
        pair = (writer, far_writer)
        self._pairs.add(pair)
        here = asyncio.create_task(self._pass(reader, far_writer))
        there = asyncio.create_task(self._pass(far_reader, writer))
        self._tasks |= {here, there}
        try:
            await asyncio.wait({here, there})
        except asyncio.CancelledError:
            for each in pair:
                each.transport.abort()  # whoever does not read would keep it open
            raise
        finally:
            self._pairs.discard(pair)
            self._tasks -= {here, there}
            for each in pair:
                each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes from `reader` to `writer`, each chunk `delay` later than it came, without holding up the next."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        pump = asyncio.create_task(self._deliver(queue, writer))
        try:
            while data := await reader.read(CHUNK):
                queue.put_nowait((asyncio.get_running_loop().time() + self.delay, data))
            queue.put_nowait((asyncio.get_running_loop().time() + self.delay, b""))
            await pump
        except OSError:
            writer.transport.abort()
        finally:
            pump.cancel()

    async def _deliver(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time() if self.delay else 0)
            await self._flows.wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
