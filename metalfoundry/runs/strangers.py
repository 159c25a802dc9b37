"""Whether the machine that answers at a server's address is that server's: asked before anything is done to it."""

from __future__ import annotations

from collections.abc import Sequence

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.identity import identify
from metalfoundry.model.errors import IdentityError
from metalfoundry.model.resources import Hardware
from metalfoundry.site.machine import Machine

NOT_PROVEN = "shows no MAC of the Hardware, and nothing else that is known: its identity is not proven"


def refuse_stranger(machine: Machine, hardware: Hardware, before: Sequence[MachineFacts], look: MachineFacts) -> bool:
    """Whether what answers is proven to be this server's; `before`: looks that were proven to be that machine. Raises
    IdentityError where it is another one.
    """
    identity = identify(hardware, before, look)
    if identity.same is False:
        raise another_machine(machine, f"it has {identity.told}, this server has {identity.known}")
    return identity.same is True


def another_machine(machine: Machine, why: str) -> IdentityError:
    """The error for a machine that is not the one of this Hardware, with both sides."""
    address, server = machine.host.address, machine.server
    return IdentityError(
        f"the machine at {address} is not {server.hardware}: {why}",
        where=f"server {server.name}",
        next=f"find out who has {address} (DHCP's leases); correct the address in the inventory, or the MAC in the "
        f"Hardware. Where this server itself was changed: kubectl annotate hardware {server.hardware} "
        f"-n {machine.site.kubectl.namespace} metalfoundry.dev/old-system-",
    )
