"""One call of the lab's kubectl, from its words to its exit status."""

from __future__ import annotations

from collections.abc import Callable

from metalfoundry.lab.clock import UnknownForm
from metalfoundry.lab.kubectl import access, logs, read, write
from metalfoundry.lab.kubectl.args import Arguments, parse
from metalfoundry.lab.kubectl.client_script import UNKNOWN_FORM
from metalfoundry.lab.kubectl.jsonpath import PathError
from metalfoundry.lab.kubectl.session import ApiUnreachable, Failure, Session
from metalfoundry.lab.kubernetes.store import StoreError


def run(session: Session, argv: list[str]) -> int:
    """Do what `kubectl ARGV` says; the exit status is kubectl's, or 64 for a form not known here."""
    try:
        words = parse(argv)
        return _VERBS[words.verb](session, words)
    except UnknownForm as error:
        session.err(f"kubectl of metalfoundry's lab: not known here: {error}\n  in: kubectl {' '.join(argv)}\n")
        return UNKNOWN_FORM
    except ApiUnreachable:
        session.err(
            f"The connection to the server {session.server} was refused - did you specify the right host or port?\n"
        )
    except StoreError as error:
        session.err(session.refused(error) + "\n")
    except Failure as error:
        session.err(f"{error}\n")
    except PathError as error:
        session.err(f"error: {error}\n")
    return 1


_VERBS: dict[str, Callable[[Session, Arguments], int]] = {
    "get": read.get,
    "patch": write.patch,
    "apply": write.apply,
    "create": write.create,
    "delete": write.delete,
    "logs": logs.logs,
    "auth": access.can_i,
    "version": read.version,
}
