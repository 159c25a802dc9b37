"""Manifests as kubectl reads them."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from metalfoundry.lab.kubectl.args import Arguments
from metalfoundry.lab.kubectl.session import Failure, Session
from metalfoundry.lab.kubernetes.store import Object


def source(words: Arguments) -> str:
    """The file of `-f` as kubectl's messages call it."""
    return "STDIN" if words.value("filename") in ("-", "/dev/stdin") else words.value("filename")


def read_text(session: Session, path: str) -> str:
    """A file of the caller's, or its stdin for `-`; raises Failure where there is none."""
    data = session.read("/dev/stdin" if path == "-" else path)
    if data is None:
        raise Failure(f'error: the path "{path}" does not exist')
    return data.decode()


def documents(session: Session, path: str) -> list[Object]:
    """The objects in a manifest, Lists taken apart; raises Failure for what cannot be read."""
    if not path:
        raise Failure("error: must specify one of -f and -k")
    try:
        found = [each for each in values(read_text(session, path)) if each is not None]
    except yaml.YAMLError as error:
        source = "STDIN" if path == "-" else path
        raise Failure(f"error: error parsing {source}: error converting YAML to JSON: yaml: {error}") from error
    return [item for each in found for item in (each["items"] if each.get("kind") == "List" else [each])]


class _ManifestLoader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: no times and no base-60 numbers, so that a MAC without quotes stays a text."""


_ManifestLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("timestamp", "int", "float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_ManifestLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
_ManifestLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*)$"),
    list("-+0123456789."),
)


def values(text: str) -> list[Any]:
    """Every JSON or YAML document in `text`; raises yaml.YAMLError."""
    try:
        return [json.loads(text)]
    except ValueError:
        return list(yaml.load_all(text, Loader=_ManifestLoader))
