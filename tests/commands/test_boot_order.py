"""Which entry boots from the network: by the MAC in the device path, and by nothing that a firmware calls it."""

from __future__ import annotations

import pytest

from metalfoundry.commands.boot_order import boot_next, read_boot_order
from metalfoundry.commands.command import Effect

MAC = "00:00:5e:00:53:c0"
HEAD = "BootCurrent: 0001\nTimeout: 1 seconds\nBootOrder: 0001\nBoot0001* ubuntu\tHD(1,GPT)/File(\\EFI\\shimx64.efi)\n"
PATH = "PciRoot(0x0)/Pci(0x1c,0x0)/MAC(00005e0053c0,1)/"
V4, V6 = f"{PATH}IPv4(0.0.0.0,0,0)", f"{PATH}IPv6([::]:<->[::]:,0,0)"
HTTP = f"{V4}/Uri()"
OTHER = V4.replace("53c0", "53c1")


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ([f"Boot0003* UEFI: PXE IPv4 Intel(R)\t{V4}"], "0003"),
        ([f"Boot0002* UEFI: PXE IPv6\t{V6}", f"Boot000a* UEFI: PXE IPv4\t{V4}..BO"], "000A"),
        ([f"Boot0002* UEFI: HTTP IPv4\t{HTTP}", f"Boot0003* UEFI: PXE IPv6\t{V6}"], "0003"),
        ([f"Boot0002* UEFI: HTTP IPv4\t{HTTP}"], "0002"),
        ([f"Boot0003* NIC\t{OTHER}", f"Boot0004* NIC\t{V4.replace('5e', '5E')}"], "0004"),
        ([f"Boot0003* NIC\t{V4.replace('MAC(', 'MacAddr(')}"], "0003"),
        ([f"Boot0003* NIC\t{OTHER}"], ""),
        (["Boot0003* PXEv4 (MAC:00005E0053C0)"], ""),
        ([f"Boot0003* MAC(00005e0053c0,1) by name alone\t{OTHER}"], ""),
        ([f"Boot0003* NIC\t{V4.replace('53c0', '53c0aa')}"], ""),
        ([f"Boot03;reboot* NIC\t{V4}"], ""),
        ([], ""),
    ],
)
def test_the_entry_is_the_one_whose_device_path_names_the_mac(lines: list[str], number: str) -> None:
    order = read_boot_order(HEAD + "".join(f"{line}\n" for line in lines))
    assert order is not None
    assert order.network_entry(MAC) == order.network_entry(MAC.upper()) == number


def test_to_set_it_is_a_write() -> None:
    assert (boot_next("0003").line, boot_next("0003").effect) == ("efibootmgr -n 0003", Effect.WRITE)
