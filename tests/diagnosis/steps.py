"""A small backtracking matcher over `re`'s own parse tree, as `re` goes about it, which counts its steps.

What `re` needs cannot be seen from outside but by a clock, which tells more of the computer than of the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

parser: Any = import_module("re._parser")
_CLASSES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w", "CATEGORY_NOT_SPACE": r"\S"}
Groups = dict[int, tuple[int, int]]
State = tuple[int, Groups]


class Matcher:
    """Searches one pattern in texts of ASCII; `steps` counts every item that was tried."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._tree = list(parser.parse(pattern.pattern, pattern.flags))
        self._any_case = bool(pattern.flags & re.IGNORECASE)
        self.steps = 0
        self._text = ""

    def search_all(self, text: str) -> list[tuple[int, int]]:
        """The spans that `finditer` gives."""
        self._text = text
        spans, at = [], 0
        while at <= len(text):
            end = next((end for end, _ in self._sequence(self._tree, at, {})), None)
            if end is not None:
                spans.append((at, end))
            at = max(at + 1, end or 0)
        return spans

    def _sequence(self, items: list[Any], at: int, groups: Groups) -> Iterator[State]:
        if not items:
            yield at, groups
            return
        for end, after in self._item(items[0], at, groups):
            yield from self._sequence(items[1:], end, after)

    def _item(self, item: Any, at: int, groups: Groups) -> Iterator[State]:
        self.steps += 1
        name, given = str(item[0]), item[1]
        if name in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
            if at < len(self._text) and self._fits(name, given, self._text[at]):
                yield at + 1, groups
            return
        handlers: dict[str, Callable[[Any, int, Groups], Iterator[State]]] = {
            "BRANCH": self._branch,
            "SUBPATTERN": self._group,
            "MAX_REPEAT": self._greedy,
            "MIN_REPEAT": self._lazy,
            "POSSESSIVE_REPEAT": self._possessive,
            "ATOMIC_GROUP": self._atomic,
            "ASSERT": self._ahead,
            "ASSERT_NOT": self._not_ahead,
            "AT": self._place,
            "GROUPREF": self._again,
            "GROUPREF_EXISTS": self._condition,
        }
        yield from handlers[name](given, at, groups)

    def _fits(self, name: str, given: Any, character: str) -> bool:
        cases = {character, character.lower(), character.upper()} if self._any_case else {character}
        if name == "ANY":
            return True
        if name == "IN":
            negated = str(given[0][0]) == "NEGATE"
            return negated != any(self._in(str(kind), value, case) for kind, value in given for case in cases)
        return (name == "LITERAL") is (chr(given) in cases)

    @staticmethod
    def _in(kind: str, value: Any, character: str) -> bool:
        if kind == "LITERAL":
            return character == chr(value)
        if kind == "RANGE":
            return bool(value[0] <= ord(character) <= value[1])
        if kind != "CATEGORY":
            return False
        classes = {
            "CATEGORY_DIGIT": r"\d",
            "CATEGORY_SPACE": r"\s",
            "CATEGORY_WORD": r"\w",
            "CATEGORY_NOT_SPACE": r"\S",
        }
        return re.match(classes[str(value)], character) is not None

    def _branch(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        for branch in given[1]:
            yield from self._sequence(list(branch), at, groups)

    def _group(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        for end, after in self._sequence(list(given[3]), at, groups):
            yield end, ({**after, given[0]: (at, end)} if given[0] else after)

    def _ends(self, given: Any, at: int, groups: Groups, greedy: bool) -> Iterator[State]:
        least, most, body = int(given[0]), int(given[1]), list(given[2])
        if len(body) == 1 and str(body[0][0]) in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
            yield from self._row(body[0], least, most, at, groups, greedy)
            return
        stack: list[Iterator[State]] = [iter([(at, groups)])]
        held: list[State] = []
        while stack:
            state = next(stack[-1], None)
            if state is None:
                stack.pop()
                if held:
                    ended = held.pop()
                    if greedy and len(stack) >= least + 1:
                        yield ended
                continue
            count = len(stack) - 1
            if not greedy and count >= least:
                yield state
            if count < most and (count == 0 or state[0] > held[-1][0]):
                held.append(state)
                stack.append(self._sequence(body, *state))
            elif greedy and count >= least:
                yield state

    def _row(self, item: Any, least: int, most: int, at: int, groups: Groups, greedy: bool) -> Iterator[State]:
        count = 0
        while count < most and at + count < len(self._text):
            if not greedy and count >= least:
                yield at + count, groups
            self.steps += 1
            if not self._fits(str(item[0]), item[1], self._text[at + count]):
                break
            count += 1
        else:
            if not greedy and count >= least:
                yield at + count, groups
        while greedy and count >= least:
            yield at + count, groups
            count -= 1

    def _greedy(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        yield from self._ends(given, at, groups, True)

    def _lazy(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        yield from self._ends(given, at, groups, False)

    def _possessive(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        """Round after round, each by its first way; none is taken back."""
        least, most, body = int(given[0]), int(given[1]), list(given[2])
        for count in range(most + 1):
            state = next(self._sequence(body, at, groups), None) if count < most else None
            if state is None or state[0] == at:
                if count >= least:
                    yield at, groups
                return
            at, groups = state

    def _atomic(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        """Its first way alone."""
        state = next(self._sequence(list(given), at, groups), None)
        if state is not None:
            yield state

    def _ahead(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        if self._holds(given, at, groups):
            yield at, groups

    def _not_ahead(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        if not self._holds(given, at, groups):
            yield at, groups

    def _holds(self, given: Any, at: int, groups: Groups) -> bool:
        direction, body = given
        start = at - body.getwidth()[0] if direction < 0 else at
        return start >= 0 and any(direction > 0 or end == at for end, _ in self._sequence(list(body), start, groups))

    def _place(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        text = self._text
        word = [0 <= place < len(text) and re.match(r"\w", text[place]) is not None for place in (at - 1, at)]
        holds = {
            "AT_BEGINNING": at == 0 or text[at - 1] == "\n",
            "AT_END": at == len(text) or text[at] == "\n",
            "AT_END_STRING": at == len(text),
            "AT_BOUNDARY": word[0] != word[1],
        }
        if holds[str(given)]:
            yield at, groups

    def _again(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        start, end = groups[given]
        if self._text.startswith(self._text[start:end], at):
            yield at + end - start, groups

    def _condition(self, given: Any, at: int, groups: Groups) -> Iterator[State]:
        number, yes, no = given
        yield from self._sequence(list((yes if number in groups else no) or []), at, groups)
