"""How a machine's firmware asks for something to boot from the network."""

from __future__ import annotations

import urllib.request

from metalfoundry.lab.tinkerbell.smee import Smee


def ask_smee(smee: Smee, mac: str, ip: str) -> str | None:
    """The script that Smee gives, or None where it denies or is away: then the disk is next in the boot order."""
    request = urllib.request.Request(smee.url + smee.path(mac), headers={"X-Lab-Client": ip})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            text: str = response.read().decode()
            return text
    except OSError:
        return None
