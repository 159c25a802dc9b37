"""`fab inventory.*`: a first one, its check, and what may stand in it."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.model.plain_text import json_text
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import INVENTORY, finish, opened, task, words


@task(
    name="new",
    help={
        "jump": "the jump host: [USER@]HOST[:PORT], or an alias of ~/.ssh/config",
        "output": "the file to write (default: inventory.yaml)",
        "namespace": "Tinkerbell's namespace (default: the one that has Hardware)",
        "kubectl": "how kubectl is called there (default: kubectl, k3s kubectl, or either with sudo)",
        "smee": "Smee's URL as the jump host reaches it (default: by the cluster's Services)",
        "user": "who logs in to the servers (default: root)",
        "identity": "the private key to log in with (default: your agent and usual keys)",
        "known_hosts": "where known host keys stand (default: ~/.ssh/known_hosts)",
        "yes": "take unknown host keys as they are shown, without asking",
        "overwrite": "replace the file where there is one",
    },
)
def new(
    c: Context,
    jump: str = "",
    output: str = "inventory.yaml",
    namespace: str = "",
    kubectl: str = "",
    smee: str = "",
    user: str = "",
    identity: str = "",
    known_hosts: str = "",
    yes: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a first inventory, of what stands at a site.

    Example: fab inventory.new --jump ubuntu@192.0.2.10
    """
    with boundary():
        from metalfoundry.ui.tasks import new_inventory as body

        given = {"user": user, "identity": identity, "known_hosts": known_hosts}
        wanted = body.InventoryWords(
            jump, output, namespace, kubectl, smee, {key: word for key, word in given.items() if word}
        )
        body.new(wanted, ask=not yes, overwrite=overwrite)


@task(help=words("inventory", live="also look at the site and every server, as `fab doctor` does"))
def check(c: Context, inventory: str = INVENTORY, live: bool = False) -> None:
    """Say what is wrong with inventory.yaml.

    Example: fab inventory.check --live
    """
    with opened(inventory, quiet=True) as foundry:
        from metalfoundry.ui.tasks import doctor as body

        say(f"{foundry.inventory.source} has no fault: {len(foundry.inventory.servers)} servers")
        if live:
            finish(body.doctor(foundry, foundry.servers(None), all=False, json=False))


@task(name="schema")
def schema(c: Context) -> None:
    """Print the JSON Schema of inventory.yaml.

    Example: fab inventory.schema > inventory.schema.json
    """
    with boundary():
        from metalfoundry.model import inventory_reader

        say(json_text(inventory_reader.schema(), indent=2))


def collection() -> Collection:
    """The tasks as `inventory.*`."""
    return Collection("inventory", new, check, schema)
