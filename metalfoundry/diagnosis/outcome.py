"""Is what runs on the machine the new system? The second witness, as far as the facts go."""

from __future__ import annotations

from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.situation import began, ended_ago

SLACK_SECONDS = 60.0  # the machine's clock and ours differ, and a boot takes a while to be counted


def complaints(facts: Facts) -> list[str]:
    """In which points the running system is not as the inventory asks; empty where it is, or where nothing is asked."""
    machine, wanted = facts.machine_facts, facts.configured.verify
    if machine is None:
        return []
    found = []
    if wanted.os and wanted.os.lower() not in machine.os_name.lower():
        found.append(f"it is {machine.os_name or 'an unknown system'}, not {wanted.os}")
    if wanted.hostname and wanted.hostname not in (machine.hostname, machine.hostname.split(".")[0]):
        found.append(f"its host name is {machine.hostname}, not {wanted.hostname}")
    if wanted.marker and not machine.marker:
        found.append(f"there is no {wanted.marker}")
    return found


def unchanged(facts: Facts) -> bool | None:
    """Whether it is the very system of before; None where nobody saw that one, or this one."""
    machine, before = facts.machine_facts, seen(facts.before)
    if machine is None or before is None or before.in_hook or machine.in_hook:
        return None
    pairs = (
        (before.machine_id, machine.machine_id),
        (before.host_key, machine.host_key),
        (before.os_name, machine.os_name),
        (before.marker, machine.marker),
    )
    return not any(new and old != new for old, new in pairs)


def new_system(facts: Facts) -> bool | None:
    """Whether the machine runs the new system: True or False where there is proof, None where there is none."""
    machine = facts.machine_facts
    if machine is None:
        return None
    if machine.in_hook or unchanged(facts) or booted(facts) is False:
        return False
    if complaints(facts):
        return False
    wanted = facts.configured.verify
    proof = unchanged(facts) is False or bool(wanted.marker) or bool(wanted.os)
    return True if proof else None


def booted(facts: Facts) -> bool | None:
    """Whether the machine was booted after the installation's last action; None where it cannot be told."""
    machine, before = facts.machine_facts, seen(facts.before)
    if machine is None:
        return None
    if before is not None and before.boot_id and before.boot_id == machine.boot_id:
        return False
    start = began(facts)
    ago = (facts.now - start).total_seconds() if start else ended_ago(facts)
    if machine.uptime is None or ago is None:
        return None
    return machine.uptime < ago + SLACK_SECONDS
