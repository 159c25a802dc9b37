"""What of the user's ssh_config is honoured, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import ConnectError, HostKeyError
from metalfoundry.model.hosts import Host, HostKeyPolicy, ServerKey
from metalfoundry.transport.ssh import SshTransport
from metalfoundry.transport.ssh_config import UserFiles, record_key, resolve
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


@pytest.mark.parametrize(
    ("included", "foo", "bar"),
    [
        ("User inner\n", "inner", "outer"),
        ("Host *\n User inner\n", "inner", "outer"),
        ("Host bar\n User inner\n", "outer", "outer"),
        ("Host bar\n User x\nHost *\n User inner\n", "inner", "outer"),
    ],
)
def test_what_a_block_includes_is_for_its_hosts_alone(tmp_path: Path, included: str, foo: str, bar: str) -> None:
    config = files(tmp_path, "Host foo\n Include more\nHost *\n User outer\n")
    (tmp_path / ".ssh/more").write_text(included)
    assert resolve(Host("x", "foo"), config).user == foo
    assert resolve(Host("x", "bar"), config).user == bar


def test_tokens_stand_for_what_openssh_says(tmp_path: Path) -> None:
    text = "Host rack\n HostName 10.0.0.1\n Port 7\n User me\n IdentityFile ~/%h\n"
    text += " UserKnownHostsFile ~/keys/%h-%n-%p-%r%%\n"
    end = resolve(Host("x", "rack"), files(tmp_path, text))
    assert end.known_hosts[0] == tmp_path / "keys/10.0.0.1-rack-7-me%"
    assert [path.name for path in end.identities] == ["10.0.0.1"]
