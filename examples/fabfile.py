"""Tasks of your own beside metalfoundry's; `fab --list` shows both."""

from invoke.context import Context
from invoke.tasks import Task

from metalfoundry.fab import ns, open_foundry


def reinstall(c: Context, names: str, reason: str = "") -> None:
    """Re-install these servers, one after the other, without a question; end at the first that fails."""
    from metalfoundry import Options  # here, so that `fab --list` stays quick

    with open_foundry() as foundry:
        for server in foundry.servers(names):
            report = foundry.provision(server, Options(reason=reason)).raise_for_error()
            print(f"{report.server} took {report.seconds:.0f} s")


ns.add_task(Task(reinstall))
