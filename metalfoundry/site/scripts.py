"""A script for the jump host: sent, read, and, where it was left on its way, seen to its end."""

from __future__ import annotations

from metalfoundry.commands import ssh
from metalfoundry.commands.command import Command
from metalfoundry.commands.script import Outcome, read_script, read_time, settling
from metalfoundry.model.errors import PreflightError
from metalfoundry.site.refused import api_away, script_unrun
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

LOOK_SECONDS, ANSWER_SECONDS = 8, 20.0


def run_script(site: Site, command: Command, deadline: Deadline, *, tested: bool = True) -> dict[str, Outcome]:
    """What its parts left, by name. `tested`: it may come too late without harm, for it tests the claim, or only reads.

    Raises TransportError, ApiAway among them, and PreflightError where no shell ran it.
    """
    if tested:
        result = site.transport.run(site.jump, command, deadline)
    else:
        with site.left.sending(command) as ticketed:
            result = site.transport.run(site.jump, ticketed, deadline)
    outcomes = read_script(result.stdout)
    if not outcomes:
        raise script_unrun(site, result)
    site.take_time(read_time(result.stdout))
    if silence := api_away(site, outcomes, command.effect):
        raise silence
    return outcomes


def settle(site: Site, deadline: Deadline) -> None:
    """See that what was left on its way has ended on the jump host, or will never begin: from then on what is read is
    what came of it. Raises PreflightError where it still runs at `deadline`.
    """
    while tickets := site.left.tickets:
        seconds = int(max(1.0, min(deadline.remaining(), LOOK_SECONDS)))
        asked = deadline.within(seconds + ANSWER_SECONDS)
        settled = run_script(site, settling(tickets, seconds), asked).get("settled")
        if settled and settled.ok:
            site.left.forget(tickets)
        elif deadline.expired():
            raise PreflightError(
                "what was sent to the jump host has not ended there, and may take effect yet",
                where=site.jump.name,
                next=ssh.remotely(site.jump, ("ps", "-ef")),
            )
