"""How many round trips a log-in and a command cost: what a wire with a delay adds, in units of that delay.

    python -m benchmarks.round_trips [--delay 0.1]

Against this computer's sshd, behind the lab's wire. What the computer itself takes is in the figures: they are a little
above whole numbers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncssh

from metalfoundry.commands.command import Command, Effect
from metalfoundry.lab.ssh.event_loop import LoopThread
from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.transport.clock import Deadline, SystemClock
from metalfoundry.transport.ssh import SshTransport
from metalfoundry.transport.ssh_options import UserFiles
from tests.real.sshd import SshdJump

SCRIPT = Command(("sh", "-s"), stdin="true\n", settles=True, effect=Effect.WRITE)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds of a round trip")
    delay = parser.parse_args().delay
    clock, loop = SystemClock(), LoopThread()
    loop.start()
    with tempfile.TemporaryDirectory(prefix="mf-") as folder:
        home = Path(folder) / "home"
        (home / ".ssh").mkdir(mode=0o700, parents=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(home / ".ssh/id_ed25519")
        jump = SshdJump(loop, home, {"LAB": "1"}, key)
        jump.start()
        jump.delay = delay / 2
        transport = SshTransport(clock, files=UserFiles(home, ()))
        host = Host("jump", "127.0.0.1", port=jump.port, host_key=HostKeyPolicy.LEARN)

        def run(command: Command) -> Callable[[], object]:
            return lambda: transport.run(host, command, Deadline.after(clock, 30.0))

        def show(what: str, work: Callable[[], object]) -> None:
            time.sleep(3 * delay + 0.2)  # what is made ready stands
            begun = time.monotonic()
            work()
            print(f"{what:<60} {(time.monotonic() - begun) / delay:5.2f}")

        show("log-in and a command", run(Command(("true",))))
        show("a command without stdin, in a session of its own", run(Command(("true",))))
        show("a script on stdin, in a session of its own", run(replace(SCRIPT, ahead=2)))
        show("two scripts in sessions made ready, the first asked", lambda: (run(SCRIPT)(), run(SCRIPT)()))
        show("a script in a session made ready, asked first", run(replace(SCRIPT, settles=False)))
        transport.close()
        jump.stop()
    loop.stop()


if __name__ == "__main__":
    main()
