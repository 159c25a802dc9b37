"""`fab rbac.*`: the rights of an operator in the cluster."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.options import INVENTORY, opened, task, words


@task(
    name="print",
    help=words(
        "inventory",
        user="a user, as the API server knows it",
        group="a group of users",
        service_account="a ServiceAccount of the namespace, or of another one: NAMESPACE:NAME",
    ),
)
def print_(c: Context, user: str = "", group: str = "", service_account: str = "", inventory: str = INVENTORY) -> None:
    """Print the Role of an operator, and its binding.

    Example: fab rbac.print --user alice > operator.yaml
    """
    with opened(inventory, quiet=True) as foundry:
        say(foundry.operator_role(user=user, group=group, service_account=service_account), end="")


def collection() -> Collection:
    """The tasks as `rbac.*`."""
    return Collection("rbac", print_)
