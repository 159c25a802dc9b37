"""What went wrong on the way to a host, in our own words: what, where, what now."""

from __future__ import annotations

import socket

import paramiko

from metalfoundry.model.errors import AuthError, ConnectError, DeadlineExceeded, PortClosed, TransportError
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.ssh_config import Endpoint

ADMINISTRATIVELY_PROHIBITED = 1


def connect_error(exc: Exception, endpoint: Endpoint, attempt: Deadline, deadline: Deadline) -> TransportError:
    """The error for a connection that did not come up within `attempt`, the shorter part of `deadline`."""
    name, where = endpoint.host.name, endpoint.where
    ssh = f"ssh -v -p {endpoint.port} {endpoint.user}@{endpoint.address}"
    if isinstance(exc, socket.gaierror):
        return ConnectError(
            f"{name}: the name {endpoint.address} does not resolve: {exc.strerror}",
            where=where,
            next=f"getent hosts {endpoint.address}",
        )
    if attempt.expired() or isinstance(exc, TimeoutError):
        return timed_out(endpoint, deadline)
    if isinstance(exc, ConnectionRefusedError):
        return PortClosed(f"{name}: the connection is refused", where=where, next=f"is sshd running there? {ssh}")
    if isinstance(exc, paramiko.AuthenticationException):
        return AuthError(f"{name}: log-in failed: {exc}", where=where, next=ssh)
    if isinstance(exc, (paramiko.SSHException, EOFError)):
        how = str(exc) or "the connection was closed"
        what = f"{name}: the service there does not speak SSH, or shares no algorithm with us: {how}"
        return ConnectError(what, where=where, next=ssh)
    return ConnectError(f"{name}: cannot be reached: {exc}", where=where, next=ssh)


def forward_error(exc: Exception, endpoint: Endpoint, jump: Endpoint, deadline: Deadline) -> TransportError:
    """The error for a host that the living `jump` could not connect us to."""
    name, where = endpoint.host.name, endpoint.where
    look = f"ssh -p {jump.port} {jump.user}@{jump.address} nc -vz {endpoint.address} {endpoint.port}"
    if not isinstance(exc, paramiko.ChannelException):
        return timed_out(endpoint, deadline)
    if exc.code == ADMINISTRATIVELY_PROHIBITED:
        return ConnectError(
            f"{name}: {jump.host.name} does not let us forward connections: {exc.text}",
            where=where,
            next=f"AllowTcpForwarding in sshd_config of {jump.host.name}",
        )
    # Why, sshd tells; but paramiko puts words of its own in their place.
    return ConnectError(f"{name}: {jump.host.name} cannot reach it: {exc.text}", where=where, next=look)


def timed_out(endpoint: Endpoint, deadline: Deadline) -> TransportError:
    """No connection in time: the deadline's fault, or the host's."""
    what = f"{endpoint.host.name}: no SSH connection in time"
    kind = DeadlineExceeded if deadline.expired() else ConnectError
    look = f"ssh -v -p {endpoint.port} {endpoint.user}@{endpoint.address}"
    return kind(what, where=endpoint.where, next=f"is it up, and the route open? {look}")
