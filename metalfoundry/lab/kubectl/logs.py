"""kubectl logs, from the lines that the lab's parts have attached to pods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from metalfoundry.lab.kinds import Kind, need
from metalfoundry.lab.kubectl.args import Unknown, Words
from metalfoundry.lab.kubectl.read import chosen, namespace_of, seconds, targets
from metalfoundry.lab.kubectl.session import Failure, Session
from metalfoundry.lab.podlogs import Line
from metalfoundry.lab.store import NotFound, Object

_TAIL_OF_SELECTED = 10


def logs(session: Session, words: Words) -> int:
    """Run `kubectl logs` for a pod, a TYPE/NAME that owns pods, or a selector."""
    pods = _pods(session, words)
    since = _since(words)
    tail = _tail(words)
    for pod in pods:
        lines = session.store.logs.read(pod)
        mine = [line for line in lines if _shown(line, words, since)]
        for line in mine if tail is None else mine[len(mine) - min(tail, len(mine)) :]:
            session.out(_text(pod, line, words))
        if words.flag("follow") and len(pods) == 1:
            _follow(session, words, pod, len(lines))
    if words.flag("follow") and len(pods) > 1:
        raise Unknown("logs -f of several pods")
    return 0


def _follow(session: Session, words: Words, pod: str, seen: int) -> None:
    with session.following() as stop:
        for line in session.store.logs.follow(pod, seen, stop):
            if _shown(line, words, None):
                session.out(_text(pod, line, words))


def _pods(session: Session, words: Words) -> list[str]:
    namespace, pods = namespace_of(words), need("pods")
    if "selector" in words.values:
        if words.plain:
            raise Failure("error: only a selector (-l) or a POD name is allowed")
        session.request("list", pods, "", namespace)
        found = _selected(session, namespace, chosen(words))
        if not found:
            session.err(f"No resources found in {namespace} namespace.\n")
        return found
    if not words.plain:
        raise Failure("error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.")
    word = words.plain[0] if "/" in words.plain[0] else f"pods/{words.plain[0]}"
    target = targets((word,))[0][0]
    obj = _object(session, target.kind, target.name, namespace)
    if target.kind.plural == "pods":
        return [target.name]
    labels = obj.get("spec", {}).get("selector", {}).get("matchLabels", {})
    found = _selected(session, namespace, lambda pod: labels.items() <= (pod["metadata"].get("labels") or {}).items())
    if not found or not labels:
        raise Failure(f"error: timed out waiting for the condition: no pods of {word}")
    if len(found) > 1:
        session.err(f"Found {len(found)} pods, using pod/{found[0]}\n")
    return found[:1]


def _object(session: Session, kind: Kind, name: str, namespace: str) -> Object:
    session.request("get", kind, name, namespace)
    try:
        if namespace != session.store.namespace:
            raise NotFound
        return session.store.get(kind.key, name)
    except NotFound:
        where = f'{kind.resource} "{name}" not found in namespace "{namespace}"'
        raise Failure(f"error: error from server (NotFound): {where}") from None


def _selected(session: Session, namespace: str, fits: Callable[[Object], bool]) -> list[str]:
    if namespace != session.store.namespace:
        return []
    return [pod["metadata"]["name"] for pod in session.store.list("pods") if fits(pod)]


def _tail(words: Words) -> int | None:
    default = str(_TAIL_OF_SELECTED) if "selector" in words.values else "-1"
    tail = int(words.value("tail", default))
    return None if tail < 0 else tail


def _since(words: Words) -> datetime | None:
    if "since" in words.values:
        return datetime.now(UTC) - timedelta(seconds=seconds(words.value("since")))
    if "since-time" in words.values:
        return datetime.fromisoformat(words.value("since-time"))
    return None


def _shown(line: Line, words: Words, since: datetime | None) -> bool:
    container = words.value("container")
    return (not container or line.container in ("", container)) and (since is None or line.at >= since)


def _text(pod: str, line: Line, words: Words) -> str:
    prefix = f"[pod/{pod}/{line.container or 'main'}] " if words.flag("prefix") else ""
    at = line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if words.flag("timestamps") else ""
    return f"{prefix}{at}{line.text}\n"
