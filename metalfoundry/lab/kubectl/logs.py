"""kubectl logs, from the lines that the lab's parts have attached to pods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from metalfoundry.lab.clock import UnknownForm
from metalfoundry.lab.kubectl.args import Arguments
from metalfoundry.lab.kubectl.read import chosen, namespace_of, seconds
from metalfoundry.lab.kubectl.session import Failure, Session
from metalfoundry.lab.kubernetes.pod_logs import Line
from metalfoundry.lab.kubernetes.resources import need
from metalfoundry.lab.kubernetes.store import NotFound


def logs(session: Session, words: Arguments) -> int:
    """Run `kubectl logs POD`, `kubectl logs pods/POD`, or `kubectl logs -l LABEL=VALUE` where no pod has it."""
    if "selector" in words.values:
        return _of_nobody(session, words)
    pod = _pod(session, words)
    lines = session.store.logs.read(pod)
    since = datetime.now(UTC) - timedelta(seconds=seconds(words.value("since", "0")))
    wanted = [line for line in lines if "since" not in words.values or line.at >= since]
    tail = int(words.value("tail", "-1"))
    for line in wanted if tail < 0 else wanted[len(wanted) - min(tail, len(wanted)) :]:
        session.out(_text(pod, line, words))
    if words.flag("follow"):
        with session.following() as stop:
            for line in session.store.logs.follow(pod, len(lines), stop):
                session.out(_text(pod, line, words))
    return 0


def _of_nobody(session: Session, words: Arguments) -> int:
    pods = need("pods")
    session.request("list", pods, "", namespace_of(words))
    if words.plain or any(map(chosen(words), session.store.list(pods.key))):
        raise UnknownForm(f"logs of pods that have the label {words.value('selector')}")
    session.err(f"No resources found in {namespace_of(words)} namespace.\n")
    return 0


def _pod(session: Session, words: Arguments) -> str:
    pods, namespace = need("pods"), namespace_of(words)
    pod = words.plain[0].removeprefix("pods/") if words.plain else ""
    if len(words.plain) != 1 or "/" in pod:
        raise UnknownForm(f"logs {' '.join(words.plain)}")
    session.request("get", pods, pod, namespace)
    try:
        if namespace != session.store.namespace:
            raise NotFound
        session.store.get(pods.key, pod)
    except NotFound:
        where = f'pods "{pod}" not found in namespace "{namespace}"'
        raise Failure(f"error: error from server (NotFound): {where}") from None
    return pod


def _text(pod: str, line: Line, words: Arguments) -> str:
    prefix = f"[pod/{pod}/{line.container or 'main'}] " if words.flag("prefix") else ""
    at = line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if words.flag("timestamps") else ""
    return f"{prefix}{at}{line.text}\n"
