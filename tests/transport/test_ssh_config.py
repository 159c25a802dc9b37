"""What of the user's ssh_config is honoured, and what is refused."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from getpass import getuser
from hashlib import sha1
from pathlib import Path
from socket import gethostname

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import ConnectError, HostKeyError
from metalfoundry.model.hosts import Host, HostKeyPolicy, ServerKey
from metalfoundry.transport.clock import SystemClock
from metalfoundry.transport.ssh import SshTransport
from metalfoundry.transport.ssh_config import Endpoint, record_key, resolve
from metalfoundry.transport.ssh_options import UserFiles
from tests.transport.servers import World, public, soon

Connect = Callable[..., SshTransport]


def files(home: Path, text: str) -> UserFiles:
    (home / ".ssh").mkdir(exist_ok=True, parents=True)
    (home / ".ssh/config").write_text(text)
    return UserFiles(home, (home / ".ssh/config",), (home / "system",), "/run/agent")


def test_an_alias_gives_name_user_port_key_and_known_hosts(world: World, connect: Connect) -> None:
    server = world.server(known=False)
    key = world.home / ".ssh/id_ed25519"
    key.rename(world.home / "elsewhere")
    (world.home / "mine").write_text(f"[127.0.0.1]:{server.port} {public(server.key)}\n")
    files(
        world.home,
        f"Host rack\n HostName 127.0.0.1\n User kevin\n Port {server.port}\n"
        f" IdentityFile {world.home}/elsewhere\n UserKnownHostsFile {world.home}/mine\n",
    )
    assert connect().run(Host("jump", "rack"), Command(("true",)), soon()).ok
    assert server.connections[0].get_extra_info("username") == "kevin"


def test_a_proxyjump_of_an_alias_is_built_with_checked_keys(world: World, connect: Connect) -> None:
    jump, target = world.server(), world.server()
    files(
        world.home,
        f"Host bastion\n HostName 127.0.0.1\n Port {jump.port}\n User root\n"
        f"Host rack\n HostName 127.0.0.1\n Port {target.port}\n User root\n ProxyJump bastion\n",
    )
    assert connect().run(Host("jump", "rack"), Command(("true",)), soon()).ok
    assert jump.forwarded == [("127.0.0.1", target.port)]
    world.known_hosts.write_text(f"[127.0.0.1]:{target.port} {public(target.key)}\n")
    with pytest.raises(HostKeyError, match="bastion"):
        connect().run(Host("jump", "rack", host_key=HostKeyPolicy.LEARN), Command(("true",)), soon())


def test_jump_hosts_that_lead_in_a_circle_are_refused(world: World, connect: Connect) -> None:
    files(world.home, "Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    with pytest.raises(ConnectError, match="lead back to it"):
        connect().run(Host("a", "a"), Command(("true",)), soon())


def test_what_the_host_says_wins(tmp_path: Path) -> None:
    config = files(tmp_path, "Host rack\n User x\n Port 1\n IdentityFile /x\n UserKnownHostsFile /x\n ProxyJump x\n")
    via = Host("v", "v")
    host = Host("rack", "rack", "me", 22, "/key", known_hosts="/known", via=via)
    end = resolve(host, config)
    assert (end.user, end.port, end.identities, end.via) == ("me", 22, (Path("/key"),), via)
    assert end.known_hosts == (Path("/known"), tmp_path / "system")
    assert end.new_keys == Path("/known")
    assert end.identities_only


def test_defaults_without_any_line(tmp_path: Path) -> None:
    end = resolve(Host("x", "Example.org"), files(tmp_path, ""))
    assert (end.address, end.port, end.known_as, end.via) == ("Example.org", 22, "example.org", None)
    assert end.known_hosts[0] == tmp_path / ".ssh/known_hosts"
    assert (end.identities, end.identities_only, end.agent) == ((), False, "/run/agent")


def test_more_of_an_alias(tmp_path: Path) -> None:
    config = files(
        tmp_path,
        "Host x\n HostKeyAlias rack-1\n IdentitiesOnly yes\n IdentityAgent none\n Port 2222\n"
        ' UserKnownHostsFile "~/a b" %d/c\n GlobalKnownHostsFile none\n',
    )
    end = resolve(Host("x", "x"), config)
    assert (end.known_as, end.identities_only, end.agent) == ("rack-1", True, None)
    assert end.known_hosts == (tmp_path / "a b", tmp_path / "c")
    assert resolve(Host("x", "y", port=2222), config).known_as == "[y]:2222"


def test_a_new_key_is_recorded_under_the_name_and_in_the_file_ssh_looks_at(tmp_path: Path) -> None:
    config = files(tmp_path, f"Host x\n HostName 10.0.0.5\n Port 2222\n UserKnownHostsFile {tmp_path}/mine\n")
    assert record_key(Host("x", "x"), ServerKey("ssh-ed25519", "AAAA", ""), config) is None
    assert (tmp_path / "mine").read_text() == "[10.0.0.5]:2222 ssh-ed25519 AAAA\n"


def test_without_a_file_of_ones_own_no_other_is_written(tmp_path: Path) -> None:
    config = files(tmp_path, "Host x\n UserKnownHostsFile none\n")
    end = resolve(Host("x", "x"), config)
    assert (end.known_hosts, end.new_keys) == ((tmp_path / "system",), None)


def test_a_chain_of_jumps_is_kept_in_order(tmp_path: Path) -> None:
    config = files(tmp_path, "Host rack\n ProxyJump u@one:2201,two\nHost * \n ProxyJump none\n")
    last = resolve(Host("x", "rack", host_key=HostKeyPolicy.ACCEPT_NEW), config).via
    assert last is not None and (last.address, last.host_key) == ("two", HostKeyPolicy.ACCEPT_NEW)
    first = last.via
    assert first is not None and (first.address, first.user, first.port, first.via) == ("one", "u", 2201, None)


def test_a_jump_for_all_hosts_is_no_circle_at_the_jump_itself(tmp_path: Path) -> None:
    config = files(tmp_path, "Host *\n ProxyJump bastion\n")
    assert resolve(Host("b", "bastion"), config).via is None


def test_a_proxycommand_is_refused_by_name(tmp_path: Path) -> None:
    config = files(tmp_path, "Host rack\n ProxyCommand ssh -W %h:%p bastion\n")
    with pytest.raises(ConnectError, match="ProxyCommand"):
        resolve(Host("x", "rack"), config)
    assert resolve(replace(Host("x", "rack"), via=Host("v", "v")), config).via is not None


def test_included_files_count_and_the_block_around_goes_on(tmp_path: Path) -> None:
    config = files(tmp_path, "Include conf.d/*.conf\nHost rack\n Include more\n User after\n")
    (tmp_path / ".ssh/conf.d").mkdir()
    (tmp_path / ".ssh/conf.d/a.conf").write_text("Host rack\n Port 2222\n")
    (tmp_path / ".ssh/more").write_text("Host other\n User wrong\n")
    end = resolve(Host("x", "rack"), config)
    assert (end.port, end.user) == (2222, "after")


def test_a_config_that_does_not_parse_is_an_error_with_its_file(tmp_path: Path) -> None:
    config = files(tmp_path, "Host rack\n nonsense\n")
    with pytest.raises(ConnectError) as caught:
        resolve(Host("x", "rack"), config)
    assert str(tmp_path / ".ssh/config") in caught.value.where


@pytest.fixture(params=["ssh", "ours"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Endpoint]:
    """Resolves a host under a text of ssh_config, by either reader: OpenSSH's, where there is one, and our own."""
    program = shutil.which("ssh")
    if request.param == "ssh" and not program:
        pytest.skip("ssh(1) is not here: apt-get install openssh-client")

    def reading(host: Host, text: str, **included: str) -> Endpoint:
        config = files(tmp_path, text.replace("HERE", str(tmp_path)))
        for name, more in included.items():
            (tmp_path / name).write_text(more.replace("HERE", str(tmp_path)))
        asked = (program, "-F", str(config.ssh_config[0])) if request.param == "ssh" and program else ()
        return resolve(host, replace(config, ssh=asked))

    return reading


@pytest.mark.parametrize(
    ("included", "foo", "bar"),
    [
        ("User inner\n", "inner", "outer"),
        ("Host *\n User inner\n", "inner", "outer"),
        ("Host bar\n User inner\n", "outer", "outer"),
        ("Host bar\n User x\nHost *\n User inner\n", "inner", "outer"),
    ],
)
@pytest.mark.parametrize("name", ["foo", "bar"])
def test_what_a_block_includes_is_for_its_hosts_alone(
    read: Callable[..., Endpoint], included: str, foo: str, bar: str, name: str
) -> None:
    end = read(Host("x", name), "Host foo\n Include HERE/more\nHost *\n User outer\n", more=included)
    assert end.user == {"foo": foo, "bar": bar}[name]


def test_tokens_stand_for_what_openssh_says(read: Callable[..., Endpoint], tmp_path: Path) -> None:
    text = "Host rack\n HostName 10.0.0.1\n Port 7\n User me\n"
    text += " IdentityFile HERE/%h-%n-%p-%r-%u-%i-%%h\n IdentityFile HERE/%l-%L-%k\n IdentityFile HERE/%C\n"
    text += " UserKnownHostsFile HERE/%h-%n-%p-%r%%\n"
    end = read(Host("x", "rack"), text)
    here = gethostname()
    assert end.known_hosts[0] == tmp_path / "10.0.0.1-rack-7-me%"
    assert [path.name for path in end.identities] == [
        f"10.0.0.1-rack-7-me-{getuser()}-{os.getuid()}-%h",
        f"{here}-{here.split('.')[0]}-[10.0.0.1]:7",
        sha1(f"{here}10.0.0.17me".encode()).hexdigest(),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"address": "rack", "port": 22, "user": getuser(), "known_as": "rack", "identities": (), "via": None}),
        ("Host rack\n HostName %h.lan\n", {"address": "rack.lan", "known_as": "rack.lan"}),
        ("Host r*\n Port 2222\nHost *\n Port 1\n", {"port": 2222, "known_as": "[rack]:2222"}),
        ("Host !rack *\n User no\nMatch host rack\n User yes\n", {"user": "yes"}),
        ("Host rack\n HostKeyAlias Rack-1\n IdentitiesOnly yes\n", {"known_as": "rack-1", "identities_only": True}),
        ("Host=rack\n IdentityFile=/one\n IdentityFile /two\n", {"identities": (Path("/one"), Path("/two"))}),
        ("Host rack\n IdentityFile ~/.ssh/id_ed25519\nHost other\n User no\n", {"user": getuser()}),
        ("Host rack\n IdentityAgent none\n", {"agent": None}),
        ("Host rack\n IdentityAgent /run/%n\n", {"agent": "/run/rack"}),
        ("Host rack\n ProxyJump none\nHost *\n ProxyJump bastion\n", {"via": None}),
        ('Host rack\n UserKnownHostsFile "/a b" /c\n GlobalKnownHostsFile none\n',
         {"known_hosts": (Path("/a b"), Path("/c"))}),
        ("Host rack\n UserKnownHostsFile none\n", {"new_keys": None}),
    ],
)  # fmt: skip
def test_both_readers_say_the_same(read: Callable[..., Endpoint], text: str, expected: dict[str, object]) -> None:
    end = read(Host("x", "rack"), text)
    assert {key: getattr(end, key) for key in expected} == expected


def test_a_key_that_is_named_is_tried_before_the_agents(read: Callable[..., Endpoint]) -> None:
    end = read(Host("x", "rack"), "Host rack\n IdentityFile ~/.ssh/id_ed25519\n")
    assert [path.name for path in end.identities] == ["id_ed25519"]


def test_what_the_host_says_wins_over_both(read: Callable[..., Endpoint]) -> None:
    end = read(Host("x", "rack", "me", 7), "Match user me\n IdentityFile /mine\nHost rack\n User x\n Port 1\n")
    assert (end.user, end.port) == ("me", 7)


def test_a_chain_of_jumps_reads_the_same(read: Callable[..., Endpoint]) -> None:
    last = read(Host("x", "rack"), "Host rack\n ProxyJump u@one:2201,two\n").via
    assert last and last.via and (last.address, last.via.address, last.via.port) == ("two", "one", 2201)


def test_a_proxycommand_is_refused_by_both(read: Callable[..., Endpoint]) -> None:
    with pytest.raises(ConnectError, match="ProxyCommand"):
        read(Host("x", "rack"), "Host rack\n ProxyCommand ssh -W %h:%p bastion\n")


def test_what_does_not_parse_is_an_error_by_both(read: Callable[..., Endpoint]) -> None:
    with pytest.raises(ConnectError, match="ssh_config"):
        read(Host("x", "rack"), "Host rack\n nonsense\n")


def test_a_name_is_never_an_option_of_ssh(read: Callable[..., Endpoint], tmp_path: Path) -> None:
    name = f"-oProxyCommand=touch {tmp_path}/ran"
    with suppress(ConnectError):
        assert read(Host("x", name), "").address == name
    with suppress(ConnectError):
        read(Host("x", "-F/dev/null"), "ProxyJump none\n")
    assert not (tmp_path / "ran").exists()


def test_ssh_is_asked_once_for_a_host_and_not_before(tmp_path: Path) -> None:
    config = files(tmp_path, "")
    script = tmp_path / "ssh"
    script.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\necho hostname 10.0.0.9\n")
    script.chmod(0o755)
    asking = replace(config, ssh=(str(script),))
    transport = SshTransport(SystemClock(), files=asking)
    transport.close()
    assert not (tmp_path / "asked").exists()
    assert [resolve(Host(name, "rack"), asking).address for name in "abc"] == ["10.0.0.9"] * 3
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_ssh_is_asked_where_it_reads_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    assert UserFiles.of_this_user().ssh == (str(tmp_path / "ssh"),)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert UserFiles.of_this_user().ssh == ()
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.setenv("PATH", "/nowhere")
    assert UserFiles.of_this_user().ssh == ()
