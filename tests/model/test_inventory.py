from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry
from metalfoundry.model.errors import InventoryError, PreflightError
from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.model.inventory import Inventory, Server, Timeouts
from metalfoundry.model.inventory_reader import MINIMAL, load, of

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"


def written(folder: Path, text: str) -> Path:
    path = folder / "inventory.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, servers: str, more: str = "") -> Inventory:
    return load(written(folder, f"site: {{jump: {{host: jump}}}}\nservers:\n  {servers}\n{more}"))


def faults(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(InventoryError) as caught:
        load(written(folder, text))
    assert caught.value.exit_code == 2
    return tuple(line.replace(f"{folder}/", "") for line in caught.value.faults)


def test_the_example_is_the_rack_of_the_manual() -> None:
    inventory = load(ROOT / "inventory.yaml")
    home = Path.home()
    assert inventory.path == ROOT / "inventory.yaml"
    assert inventory.timeouts == Timeouts(netboot=600, install=1800, boot=600, verify=300)
    site = inventory.site
    assert (site.name, site.jump.host, site.jump.user, site.jump.port) == ("colo", "170.9.8.103", "ubuntu", 22)
    assert site.jump.identity == str(home / ".ssh/id_ed25519")
    assert (site.kubectl, site.namespace, site.smee, site.flux) == (
        ("kubectl",),
        "tink-system",
        "http://10.0.0.2:7171",
        "auto",
    )
    assert list(inventory.servers) == ["colo-server-01", "anvil"]
    colo, anvil = inventory.servers.values()
    assert (colo.hardware, colo.address, colo.mac) == ("colo-server-01", "108.181.38.85", "00:0c:29:73:03:4b")
    assert (colo.workflow, colo.template) == (ROOT / "workflows.yaml", None)
    assert (colo.verify.os, colo.verify.cloud_init, colo.verify.commands) == ("Ubuntu 24.04", True, ("test -d /opt",))
    assert (anvil.address, anvil.mac, anvil.port) == ("108.181.38.87", "00:21:9b:a1:dc:c0", None)
    assert (anvil.workflow, anvil.template) == (None, "ubuntu-2404")
    assert dict(anvil.hardware_map) == {"device_1": "00:21:9b:a1:dc:c0", "hostname": "anvil"}


def test_the_minimal_inventory_is_five_lines_and_loads(tmp_path: Path) -> None:
    assert len(MINIMAL.splitlines()) == 5
    inventory = load(written(tmp_path, MINIMAL))
    assert inventory.site.jump.endpoint() == Host("192.0.2.10", "192.0.2.10", "ubuntu")
    assert inventory.timeouts == Timeouts()
    assert inventory.servers["colo-server-01"] == Server(
        name="colo-server-01", hardware="colo-server-01", workflow=tmp_path / "workflows.yaml"
    )


def test_all_faults_at_once_each_with_place_line_and_what_was_expected(tmp_path: Path) -> None:
    lines = faults(tmp_path, (DATA / "faulty-inventory.yaml").read_text())
    expected = [
        "site.jump.hots (inventory.yaml:2:10): unknown key; expected host (the nearest), or one of host, user, port,",
        "site.jump.port (inventory.yaml:2:19): found 'ssh'; expected a port number, 1 to 65535",
        "site.jump.host_key (inventory.yaml:2:30): found 'no'; there is no such choice, since",
        "site.jump.host (inventory.yaml:2:3): missing; expected an address",
        "site.smee (inventory.yaml:3:3): found 'foo'; expected a URL such as http://10.0.0.2:7171",
        "site.kubectl (inventory.yaml:4:3): found an empty list; expected a command, or a list",
        "defaults.verify.os (inventory.yaml:5:47): found a list; expected a part of PRETTY_NAME",
        "defaults.template (inventory.yaml:5:25): given beside `workflow`; expected one of the two",
        "servers.a b.adress (inventory.yaml:7:9): unknown key; expected address (the nearest), or one of hardware",
        "servers.a b (inventory.yaml:7:3): a name that cannot be typed as one; expected letters",
        "servers.all (inventory.yaml:8:3): a name that stands for all servers; expected letters",
        "servers.x.mac (inventory.yaml:9:21): found '00:zz'; expected a MAC address",
        "servers.x.verify.cloud_init (inventory.yaml:9:42): found 'maybe'; expected true or false",
        "servers.x.verify.commands[0] (inventory.yaml:9:72): found an empty mapping; expected a list of shell commands",
        "servers.x.host_key (inventory.yaml:9:78): found 'never'; there is no such choice, since",
        "servers.x.port (inventory.yaml:9:95): found '0'; expected a port number, 1 to 65535",
        "servers.y.marker (inventory.yaml:11:21): unknown key; expected one of hardware",
        "servers.y (inventory.yaml:11:3): given twice, first in line 10 and again in line 11; expected each key once",
        "servers.Z.identity (inventory.yaml:12:31): found '~no-such-user/k'; there is no such user here; expected a",
        "servers.Z (inventory.yaml:12:3): no name that a Hardware object can have; expected `hardware` to say which",
        "servers.w.via (inventory.yaml:13:42): found 'jumps'; expected jump or direct",
        "servers.w.hardware (inventory.yaml:13:7): the same as of y; expected another one for each server",
        "servers.v.hardware_map.a (inventory.yaml:14:51): found a list; expected a mapping of names to text",
        "servers.v.address (inventory.yaml:14:7): the same as of w; expected another one for each server",
        "timeouts.boot (inventory.yaml:15:12): found '10 min'; expected a span of time such as 10m, 90s, 1h30m",
        "timeouts.verify (inventory.yaml:15:38): found '0'; expected a span of time",
        "timeouts.instal (inventory.yaml:15:26): unknown key; expected install (the nearest), or one of netboot",
        "bar (inventory.yaml:16:1): unknown key; expected one of site, defaults, servers, timeouts",
    ]
    missing = [start for start in expected if not any(line.startswith(start) for line in lines)]
    assert not missing
    assert len(lines) == len(expected)
    marks = [tuple(map(int, match.groups())) for line in lines if (match := re.search(r"\.yaml:(\d+):(\d+)\)", line))]
    assert len(marks) == len(expected) and marks == sorted(marks)


def test_what_has_taken_the_place_of_the_sweeper_is_said(tmp_path: Path) -> None:
    text = "site: {jump: {host: a}, sweeper: {image: b}}\nservers: {s: {}}\n"
    assert list(faults(tmp_path, text)) == [
        "site.sweeper (inventory.yaml:1:25): the sweeper is gone: the guard has taken its place; expected guard, "
        "with its image"
    ]


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "site:\nservers:\n"])
def test_a_file_that_says_nothing_misses_what_is_required(tmp_path: Path, text: str) -> None:
    lines = faults(tmp_path, text)
    assert all("missing; expected" in line for line in lines)
    assert {line.split(" ")[0] for line in lines} >= {"servers"}


def test_a_list_in_place_of_the_file_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, "- a\n") == ("the file (inventory.yaml:1:1): found a list; expected a mapping",)


def test_servers_must_not_be_empty(tmp_path: Path) -> None:
    assert faults(tmp_path, "site: {jump: {host: j}}\nservers: {}\n")[0].startswith(
        "servers (inventory.yaml:2:1): found an empty mapping; expected a mapping with at least one server"
    )


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("site:\n  jump: {host: a\nservers: 1\n", 3, 8),
        ("a: b\n\tc: d\n", 2, 1),
        ("a: 1\nb: \x07\n", 2, 4),
        ("a: *b\n", 1, 4),
    ],
)
def test_broken_yaml_has_line_and_column(tmp_path: Path, text: str, line: int, column: int) -> None:
    with pytest.raises(InventoryError, match="not YAML") as caught:
        load(written(tmp_path, text))
    assert caught.value.where == f"{tmp_path}/inventory.yaml:{line}:{column}"
    assert caught.value.next


def test_a_missing_file_shows_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(InventoryError) as caught:
        load(tmp_path / "none.yaml")
    assert MINIMAL in caught.value.next
    assert caught.value.where == f"{tmp_path}/none.yaml"


def test_a_folder_and_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot be read"):
        load(tmp_path)
    path = tmp_path / "inventory.yaml"
    path.write_bytes(b"site:\n  name: \xff\n")
    with pytest.raises(InventoryError, match="not UTF-8") as caught:
        load(path)
    assert caught.value.where == f"{path}:2"


def test_an_alias_that_contains_itself_is_a_fault(tmp_path: Path) -> None:
    lines = faults(tmp_path, "site: {jump: {host: j}}\nservers: &loop {a: *loop}\n")
    assert any("an alias that contains itself" in line for line in lines)


def test_text_stays_as_it_is_written(tmp_path: Path) -> None:
    server = loaded(
        tmp_path, "s: {mac: 52:54:00:12:34:56, verify: {os: 24.10}, hardware_map: {a: 010, b: yes, c: 2026-01-01}}"
    ).servers["s"]
    assert server.mac == "52:54:00:12:34:56"
    assert server.verify.os == "24.10"
    assert dict(server.hardware_map) == {"a": "010", "b": "yes", "c": "2026-01-01"}


@pytest.mark.parametrize("given", ["AA:BB:CC:00:11:22", "aa-bb-cc-00-11-22"])
def test_a_mac_is_made_lower_case_with_colons(tmp_path: Path, given: str) -> None:
    assert loaded(tmp_path, f"s: {{mac: {given}}}").servers["s"].mac == "aa:bb:cc:00:11:22"


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ("yes", HostKeyPolicy.YES),
        ('"yes"', HostKeyPolicy.YES),
        ("true", HostKeyPolicy.YES),
        ("accept-new", HostKeyPolicy.ACCEPT_NEW),
    ],
)
def test_host_key_takes_the_words_of_openssh(tmp_path: Path, given: str, policy: HostKeyPolicy) -> None:
    assert loaded(tmp_path, f"s: {{host_key: {given}}}").servers["s"].host_key is policy


@pytest.mark.parametrize("given", ["no", '"no"', "off", "false", "learn", "ask"])
def test_host_key_takes_no_others(tmp_path: Path, given: str) -> None:
    (line,) = faults(tmp_path, f"site: {{jump: {{host: j, host_key: {given}}}}}\nservers: {{s: {{}}}}\n")
    assert line.startswith("site.jump.host_key (inventory.yaml:1:24): found")
    assert ("could pose as this host" in line) == (given.strip('"') in {"no", "off", "false"})


def test_defaults_hold_where_a_server_is_silent(tmp_path: Path) -> None:
    more = (
        "defaults: {user: ops, via: direct, workflow: w.yaml, verify: {user: ubuntu, os: Debian}, hardware_map: {a: 1}}"
    )
    servers = loaded(
        tmp_path, "s:\n  t: {user: root, via:, template: tt, verify: {os: Ubuntu}, hardware_map: {b: 2}}", more
    ).servers
    plain, other = servers["s"], servers["t"]
    assert (plain.user, plain.via, plain.workflow, plain.verify.os) == ("ops", "direct", tmp_path / "w.yaml", "Debian")
    assert (other.user, other.via) == ("root", "direct")
    assert (other.workflow, other.template) == (None, "tt")
    assert (other.verify.user, other.verify.os) == ("ubuntu", "Ubuntu")
    assert dict(other.hardware_map) == {"a": "1", "b": "2"}


def test_paths_start_at_the_inventorys_folder_and_at_home(tmp_path: Path) -> None:
    server = loaded(tmp_path, "s: {identity: keys/id, known_hosts: ~/kh, workflow: /etc/w.yaml}").servers["s"]
    assert server.identity == str(tmp_path / "keys/id")
    assert server.known_hosts == str(Path.home() / "kh")
    assert server.workflow == Path("/etc/w.yaml")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("kubectl", ("kubectl",)),
        ("sudo k3s kubectl", ("sudo", "k3s", "kubectl")),
        ("[sudo, k3s, kubectl]", ("sudo", "k3s", "kubectl")),
    ],
)
def test_kubectl_is_a_command_or_a_list(tmp_path: Path, given: str, words: tuple[str, ...]) -> None:
    text = f"site: {{jump: {{host: j}}, kubectl: {given}}}\nservers: {{s: }}\n"
    assert load(written(tmp_path, text)).site.kubectl == words


def test_smee_never_ends_in_a_slash(tmp_path: Path) -> None:
    text = "site: {jump: {host: j}, smee: 'http://10.0.0.2:7171/', flux: off}\nservers: {s: }\n"
    site = load(written(tmp_path, text)).site
    assert (site.smee, site.flux) == ("http://10.0.0.2:7171", "off")


@pytest.mark.parametrize(
    ("given", "seconds"), [("10m", 600), ("90s", 90), ("1h30m", 5400), ("1.5s", 1.5), ("45", 45), ("0.5", 0.5)]
)
def test_spans_of_time(tmp_path: Path, given: str, seconds: float) -> None:
    assert loaded(tmp_path, "s: {}", f"timeouts: {{boot: {given}}}").timeouts.boot == seconds


@pytest.mark.parametrize("given", ["-5", "0", "0s", "10 m", "m", "1d", "nan", "inf", "9999h", "[10m]", "1m2"])
def test_other_spans_are_faults(tmp_path: Path, given: str) -> None:
    text = f"site: {{jump: {{host: j}}}}\nservers: {{s: }}\ntimeouts: {{boot: {given}}}\n"
    (line,) = faults(tmp_path, text)
    assert line.startswith("timeouts.boot (inventory.yaml:3:12): found ")


def test_merge_keys_give_way_to_a_servers_own(tmp_path: Path) -> None:
    servers = loaded(tmp_path, "s: &s {user: ops, via: direct}\n  t: {<<: *s, user: root}").servers
    assert (servers["t"].user, servers["t"].via) == ("root", "direct")


def test_an_unknown_server_names_the_nearest_and_lists_all() -> None:
    inventory = load(ROOT / "inventory.yaml")
    assert inventory.server("anvil").name == "anvil"
    with pytest.raises(InventoryError, match="did you mean colo-server-01") as caught:
        inventory.server("colo-server-1")
    assert caught.value.next == "known servers: colo-server-01, anvil"
    assert caught.value.exit_code == 2


def test_hosts_go_through_the_jump_host_unless_direct(tmp_path: Path) -> None:
    inventory = loaded(tmp_path, "s: {address: 10.0.0.1, port: 2222}\n  d: {via: direct, address: 10.0.0.2}")
    server, direct = inventory.servers.values()
    host = server.host(inventory.site, "192.0.2.9")
    assert (host.name, host.address, host.port, host.user) == ("s", "10.0.0.1", 2222, "root")
    assert host.via == inventory.site.jump.endpoint()
    assert direct.host(inventory.site).via is None


def test_a_local_jump_host_is_this_computer_from_which_every_server_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("site: {jump: local}\nservers: {s: {address: 10.0.0.1}}\n")
    inventory = load(path)
    assert inventory.site.jump.endpoint() == Host("localhost", "localhost", local=True)
    assert inventory.server("s").host(inventory.site).via is None
    path.write_text("site: {jump: lokal}\nservers: {s: {}}\n")
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert "found 'lokal'; expected a mapping with at least `host`, or local" in caught.value.evidence


def test_the_hardwares_address_is_used_where_the_inventory_has_none(tmp_path: Path) -> None:
    inventory = loaded(tmp_path, "s: {}")
    assert inventory.server("s").host(inventory.site, "192.0.2.9").address == "192.0.2.9"
    with pytest.raises(PreflightError, match="no address is known") as caught:
        inventory.server("s").host(inventory.site)
    assert "servers.s.address" in caught.value.next


def test_the_new_system_is_met_as_verifys_user_with_a_key_to_learn(tmp_path: Path) -> None:
    inventory = loaded(tmp_path, "s: {address: a, verify: {user: ubuntu}}\n  t: {address: b, user: ops}")
    first, second = (server.new_host(inventory.site) for server in inventory.servers.values())
    assert (first.user, first.host_key, first.via) == ("ubuntu", HostKeyPolicy.LEARN, inventory.site.jump.endpoint())
    assert second.user == "ops"


PLAIN: dict[str, Any] = {
    "site": {"jump": {"host": "jump", "port": 2222}},
    "defaults": {"user": "ops", "verify": {"cloud_init": True}},
    "servers": {
        "s": {"workflow": Path("w.yaml"), "identity": "keys/id", "host_key": HostKeyPolicy.ACCEPT_NEW},
        "t": {"hardware": "t-1", "address": None, "verify": {"commands": ["true"]}},
    },
    "timeouts": {"boot": 90, "install": 1.5, "verify": "5m"},
}


def test_plain_values_make_an_inventory_without_a_file(tmp_path: Path) -> None:
    inventory = of(PLAIN, tmp_path)
    first, second = inventory.servers.values()
    assert (inventory.path, inventory.folder, inventory.site.jump.port) == (None, tmp_path, 2222)
    assert (first.workflow, first.identity) == (tmp_path / "w.yaml", str(tmp_path / "keys/id"))
    assert (first.name, first.hardware, first.host_key) == ("s", "s", HostKeyPolicy.ACCEPT_NEW)
    assert (second.hardware, second.user, second.verify.cloud_init, second.verify.commands) == (
        "t-1", "ops", True, ("true",),
    )  # fmt: skip
    assert (inventory.timeouts.boot, inventory.timeouts.install, inventory.timeouts.verify) == (90, 1.5, 300)
    assert len({first, second, *of(PLAIN, tmp_path).servers.values()}) == 2


def test_plain_values_have_the_files_faults_without_its_lines() -> None:
    with pytest.raises(InventoryError, match="3 faults") as caught:
        of({"site": {"jump": {"host": "j"}}, "servers": {"s": {"port": "ssh", "name": "s", "workflow": 1}}})
    assert caught.value.exit_code == 2
    assert [fault.split("; ")[0] for fault in caught.value.faults] == [
        "servers.s.port: found 'ssh'",
        "servers.s.workflow: found 1",
        "servers.s.name: unknown key",
    ]
    with pytest.raises(InventoryError, match="no server 'x'") as unknown:
        of(PLAIN).server("x")
    assert unknown.value.where == "the inventory"


def test_nothing_of_an_inventory_can_be_changed() -> None:
    server = of(PLAIN).server("s")
    with pytest.raises(ValueError, match="frozen"):
        server.user = "root"
    with pytest.raises(TypeError):
        server.hardware_map["a"] = "b"  # type: ignore[index]
    with pytest.raises(TypeError):
        of(PLAIN).servers["x"] = server  # type: ignore[index]


@pytest.mark.parametrize("named", ["argument", "environment", "folder"])
def test_the_file_is_found_by_argument_environment_or_folder(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wins over what follows."""
    known = ["argument", "environment", "folder"]
    for place in known[known.index(named) :]:
        (tmp_path / place).mkdir()
        written(tmp_path / place, f"site: {{jump: {{host: {place}}}}}\nservers: {{s: {{}}}}\n")
    monkeypatch.chdir(tmp_path / "folder")
    monkeypatch.delenv("METALFOUNDRY_INVENTORY", raising=False)
    if named != "folder":
        monkeypatch.setenv("METALFOUNDRY_INVENTORY", str(tmp_path / "environment/inventory.yaml"))
    with Foundry.load(tmp_path / "argument/inventory.yaml" if named == "argument" else None) as foundry:
        assert foundry.inventory.site.jump.host == named


def test_a_server_is_rebooted_as_it_says_else_as_the_defaults_say(tmp_path: Path) -> None:
    servers = "a: {reboot: [bmc]}\n  b: {}"
    assert loaded(tmp_path, servers).servers["b"].reboot == ("ssh", "bmc")
    known = loaded(tmp_path, servers, "defaults: {reboot: [bmc, person]}\n").servers
    assert (known["a"].reboot, known["b"].reboot) == (("bmc",), ("bmc", "person"))
    text = "site: {jump: local}\nservers: {a: {reboot: [ssh, ssh]}, b: {reboot: []}}\n"
    expected = "expected a list of ssh, bmc and person, each at most once"
    assert [line.partition("): ")[2] for line in faults(tmp_path, text)] == [
        f"found ssh, ssh: one of them twice; {expected}", f"found an empty list; {expected}",
    ]  # fmt: skip
