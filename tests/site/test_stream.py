"""Watches that cannot work are an error with a cause; those that were cut off, or told that the API is away, go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from metalfoundry.commands.kubectl import HARDWARE, WORKFLOWS
from metalfoundry.model.bus import Bus
from metalfoundry.model.errors import CommandError, LinkLost, WatchBroken
from metalfoundry.model.inventory import Inventory, Server
from metalfoundry.model.site_config import JumpConfig, SiteConfig
from metalfoundry.site.overview import surveys
from metalfoundry.site.site import Site, inline
from metalfoundry.site.stream import QUICK_ENDS, QUICK_SECONDS, stream
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.gates import Gated
from tests.fakes import FakeTransport, Line

EVENT = '{"type": "MODIFIED", "object": {"kind": "Workflow", "metadata": {"name": "w", "resourceVersion": "2"}}}'
AWAY = "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"


def refused(words: str) -> CommandError:
    return CommandError("a followed command ended", exit_status=1, stderr=words)


def site(transport: FakeTransport) -> Site:
    servers = {"anvil": Server(name="anvil", hardware="anvil")}
    inventory = Inventory(site=SiteConfig(jump=JumpConfig(host="jump")), servers=servers, path=Path("/inventory.yaml"))
    gated = Gated(transport, (), transport.clock)
    return Site(
        inventory, gated, gated, transport.clock, Bus(lambda: transport.clock.now().wall, []), background=inline
    )


def watching(scripts: list[list[Line]]) -> tuple[FakeTransport, Site]:
    transport = FakeTransport()
    rule = transport.on("-w --output-watch-events", lines=scripts[0])
    rule.scripts = list(scripts)
    transport.on("sh -s", reply="")
    return transport, site(transport)


@pytest.mark.parametrize("kind", [WORKFLOWS, HARDWARE])
def test_three_watches_that_end_at_once_are_an_error_that_quotes_them(kind: str) -> None:
    transport, here = watching([[refused("warning\nUnmatched ''.\n")]])
    with pytest.raises(WatchBroken, match=r"cannot be watched: Unmatched ''\.") as caught:
        list(stream(here, kind, "w", Deadline.after(transport.clock, 60)))
    assert sum(said.followed for said in transport.said) == QUICK_ENDS
    assert "kubectl get" in caught.value.next


def test_watches_that_end_without_a_word_are_noticed_as_well() -> None:
    transport, here = watching([[]])
    with pytest.raises(WatchBroken, match="ends without a word"):
        list(stream(here, WORKFLOWS, "w", Deadline.after(transport.clock, 60)))


def test_an_overview_notices_it_too() -> None:
    transport, here = watching([[refused("no")]])
    transport._rules[-1].replies = [OBJECTS]
    with pytest.raises(WatchBroken):
        list(surveys(here, Deadline.after(transport.clock, 60)))


@pytest.mark.parametrize("end", [refused(AWAY), LinkLost("cut")])
def test_an_api_or_a_link_that_is_away_is_waited_for(end: BaseException) -> None:
    transport, here = watching([[end], [end], [end], [end], [EVENT, None], [None] * 1000])
    seen = [each for each in stream(here, WORKFLOWS, "w", Deadline.after(transport.clock, 60)) if each]
    assert [event for event, _ in seen] == ["MODIFIED"]


@pytest.mark.parametrize("good", [[EVENT], [None] * int(QUICK_SECONDS / 0.25 + 1)])
def test_a_watch_that_told_something_or_stood_a_while_is_no_strike(good: list[Line]) -> None:
    bad: list[Line] = [refused("odd")]
    transport, here = watching([bad, bad, good, bad, bad, good, [None] * 1000])
    list(stream(here, WORKFLOWS, "w", Deadline.after(transport.clock, 60)))
    assert sum(said.followed for said in transport.said) == 7


OBJECTS = (
    "@@metalfoundry m objects out\n"
    '{"kind": "List", "items": []}\n'
    "\n@@metalfoundry m objects err\n\n@@metalfoundry m objects exit 0\n"
)
