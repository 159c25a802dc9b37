"""The words of one kubectl command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from metalfoundry.lab.clock import UnknownForm

_GLOBAL = {"-n": "namespace", "--namespace": "namespace", "--request-timeout": "request-timeout"}
_GLOBAL |= {"--kubeconfig": "kubeconfig", "--context": "context"}
_OUTPUT = {"-o": "output", "--output": "output"}
_SELECTOR = {"-l": "selector", "--selector": "selector"}
_FILE = {"-f": "filename", "--filename": "filename"}
_WRITE = _OUTPUT | {"--field-manager": "field-manager"}

_VALUES: dict[str, dict[str, str]] = {
    "get": _OUTPUT | _SELECTOR | {"--field-selector": "field-selector", "--raw": "raw"},
    "patch": _WRITE | {"--type": "type", "-p": "patch", "--patch": "patch", "--patch-file": "patch-file"},
    "apply": _WRITE | _FILE,
    "create": _WRITE | _FILE,
    "delete": _OUTPUT | _FILE,
    "logs": _SELECTOR | {"--tail": "tail", "--since": "since"},
    "auth": {},
    "version": _OUTPUT,
}
_FLAGS: dict[str, dict[str, str]] = {
    "get": {"-w": "watch", "--watch": "watch", "--ignore-not-found": "ignore-not-found"}
    | {"-A": "all-namespaces", "--all-namespaces": "all-namespaces"}
    | {"--output-watch-events": "output-watch-events"},
    "patch": {},
    "apply": {"--validate": "validate"},
    "create": {"--validate": "validate"},
    "delete": {"--ignore-not-found": "ignore-not-found", "--wait": "wait"},
    "logs": {"-f": "follow", "--follow": "follow", "--timestamps": "timestamps", "--prefix": "prefix"}
    | {"--all-containers": "all-containers"},
    "auth": {"-q": "quiet", "--quiet": "quiet"},
    "version": {"--client": "client"},
}
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was said: the verb, its plain words, and its options by long name."""

    verb: str
    plain: tuple[str, ...] = ()
    values: dict[str, str] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)

    def value(self, name: str, default: str = "") -> str:
        """An option's value."""
        return self.values.get(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """Whether a switch is on."""
        return self.flags.get(name, default)


def parse(argv: list[str]) -> Arguments:
    """Sort the words; raises UnknownForm for a verb or an option that is not known here."""
    words, values, flags = list(argv), dict[str, str](), dict[str, bool]()
    verb, plain = "", list[str]()
    while words:
        word = words.pop(0)
        if word == "--" and verb:
            plain += words
            break
        if not word.startswith("-") or word == "-":
            if verb:
                plain.append(word)
            elif word in _VALUES:
                verb = word
            else:
                raise UnknownForm(f"no verb {word!r}")
            continue
        _option(word, words, verb, values, flags)
    if not verb:
        raise UnknownForm("no verb")
    return Arguments(verb, tuple(plain), values, flags)


def _option(word: str, words: list[str], verb: str, values: dict[str, str], flags: dict[str, bool]) -> None:
    name, equals, value = word.partition("=")
    with_value = _GLOBAL | _VALUES.get(verb, {})
    switches = _FLAGS.get(verb, {})
    if not word.startswith("--") and len(word) > 2 and not equals and word[:2] in with_value:
        name, equals, value = word[:2], "=", word[2:]
    elif not word.startswith("--") and len(name) > 2 and name[:2] in switches:
        flags[switches[name[:2]]] = True
        _option("-" + word[2:], words, verb, values, flags)
        return
    if name in switches:
        if equals and value not in _TRUTH:
            raise UnknownForm(f"{word!r} wants true or false")
        flags[switches[name]] = _TRUTH[value] if equals else True
    elif name in with_value:
        if not equals and not words:
            raise UnknownForm(f"{name} wants a value")
        values[with_value[name]] = value if equals else words.pop(0)
    else:
        raise UnknownForm(f"no option {word!r}" + (f" for {verb}" if verb else " before the verb"))
