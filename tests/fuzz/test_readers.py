"""Every reader of what a host prints, by itself: whatever the text, it is read, without what is malformed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalfoundry.commands import claims, gather, guard, kubernetes, log_parser, machine, smee
from metalfoundry.commands.kubectl import read_event
from metalfoundry.commands.rights import missing_rights, wanted
from metalfoundry.commands.script import Outcome, read_script
from metalfoundry.lab.fixtures import hardware
from metalfoundry.model.resources import Hardware
from tests.fuzz.place import EXAMPLES, METAL, STORY, anything, facts, listed, note, pairs, rows, text

printed = st.one_of(facts, rows, pairs, anything, listed, text)


def _smee(said: str) -> dict[str, int]:
    return smee.read_answers({"smee0": Outcome(0, said, ""), "smee1": Outcome(0, said, "")}, METAL.mac)


READERS: dict[str, Callable[[str], Any]] = {
    "machine facts": machine.read_facts,
    "guard": guard.read_status,
    "guard's words": guard.read_words,
    "clock": lambda said: gather.read_clock(Outcome(0, said, "")),
    "smee": _smee,
    "containers": kubernetes.read_containers,
    "parts": read_script,
    "watch": read_event,
    "rights": lambda said: missing_rights(Outcome(0, said, ""), wanted()),
    "log": lambda said: [line.time for line in log_parser.read_log("agent", said)],
}


def numbers(value: Any) -> list[float]:
    """Every number in what a reader gave back."""
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif hasattr(type(value), "__dataclass_fields__"):
        value = [getattr(value, name) for name in type(value).__dataclass_fields__]
    elif isinstance(value, str) or not hasattr(value, "__iter__"):
        return []
    return [number for item in value for number in numbers(item)]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_whatever_is_printed_is_read(reader: Callable[[str], Any]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(printed)
    def ask(said: str) -> None:
        assert all(math.isfinite(number) for number in numbers(reader(said)))

    ask()


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(note.map(str))
def test_whatever_an_annotation_holds_is_read(written: str) -> None:
    obj: dict[str, Any] = hardware(METAL, STORY, allow_workflow=True)
    keys = (claims.RUN, claims.WINDOW, claims.BROKEN, claims.OLD_SYSTEMS)
    obj["metadata"]["annotations"] = dict.fromkeys(keys, written)
    seen = Hardware.of(obj)
    assert isinstance(claims.broken(seen), str)
    assert all(system.marks for system in claims.old_systems(seen))
    claim = claims.claim_of(seen)
    assert (claim is None) == (written == "")
