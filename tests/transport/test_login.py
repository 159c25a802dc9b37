"""A log-in on the wire: how often we wait for the host before we are in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import asyncssh
import paramiko
import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import AuthError
from metalfoundry.transport.auth import _AtOnce
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import World, soon

Connect = Callable[..., SshTransport]
SERVICE_REQUEST, USERAUTH_REQUEST = 5, 50


class Wire:
    """What a paramiko transport is to its authentication, and nothing comes back."""

    def __init__(self) -> None:
        self.lock, self.session_id = threading.Lock(), b"session"
        self.server_extensions: dict[str, bytes] = {}
        self.sent: list[int] = []
        self.preferred_pubkeys = self._preferred_pubkeys = ("ssh-ed25519",)

    def _send_message(self, message: paramiko.Message) -> None:
        self.sent.append(message.asbytes()[0])

    def _log(self, *words: object) -> None:
        """Nobody reads it."""

    _key_info = paramiko.Transport._key_info  # type: ignore[attr-defined]


def test_a_key_is_offered_in_one_flight_with_the_request_for_the_service(world: World) -> None:
    wire = Wire()
    key = paramiko.PKey.from_path(world.home / ".ssh/id_ed25519")
    handler = _AtOnce(cast(paramiko.Transport, wire), first=True)
    handler.auth_publickey("root", key, threading.Event())
    assert wire.sent == [SERVICE_REQUEST, USERAUTH_REQUEST]
    word = paramiko.Message()
    word.add_string("ssh-userauth")
    handler._client_handler_table[6](paramiko.Message(word.asbytes()))  # type: ignore[attr-defined]
    assert wire.sent == [SERVICE_REQUEST, USERAUTH_REQUEST]  # not a second time when the host's word comes


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ssh-rsa"])
@pytest.mark.parametrize("others", [0, 3])
def test_each_kind_of_key_gets_in_and_after_others_that_are_refused(
    world: World, connect: Connect, algorithm: str, others: int
) -> None:
    key = asyncssh.generate_private_key(algorithm)
    (world.home / ".ssh/id_ed25519").unlink()
    lines = []
    for number in range(others + 1):
        each = key if number == others else asyncssh.generate_private_key("ssh-ed25519")
        path = world.home / f".ssh/key-{number}"
        each.write_private_key(path)
        path.chmod(0o600)
        lines.append(f"IdentityFile {path}\n")
    (world.home / ".ssh/config").write_text("".join(lines))
    world.client_key = key
    assert connect().run(world.host(world.server()), Command(("echo", "in")), soon()).stdout == "in\n"


def test_a_refused_key_is_named_as_ever(world: World, connect: Connect) -> None:
    host = replace(world.host(world.server(welcome=False)))
    with pytest.raises(AuthError, match="id_ed25519"):
        connect().run(host, Command(("true",)), soon())
