"""Texts with a secret in them, in every form of data/secrets.yaml, bare and in what else may hold a text."""

from __future__ import annotations

import base64
import gzip
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

CORPUS: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent / "data/secrets.yaml").read_text(encoding="utf-8"))
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
TOKEN = LETTERS + "!%*+._~^-"


@dataclass(frozen=True)
class Planted:
    """`text` with secrets in it: no one of the `words` may be left."""

    form: str
    text: str
    words: tuple[str, ...]


def planted(form: str, secret: str) -> Planted:
    """The form with this secret in it."""
    row = CORPUS[form]
    text = row if isinstance(row, str) else row["text"]
    config = f"#cloud-config\npassword: {secret}\nruncmd:\n- {'x' * 200}\n".encode()
    plain, packed = base64.b64encode(config).decode(), base64.b64encode(gzip.compress(config, mtime=0)).decode()
    letters = "".join(character for character in secret if character in LETTERS)
    key = textwrap.wrap(base64.b64encode((letters * 40).encode()).decode(), 64)
    margin = text.partition("{key}")[0].rpartition("\n")[2]
    stands_for = {
        "{secret}": (secret, [secret]),
        "{secret letters}": (letters + "a" * 12, [letters + "a" * 12]),
        "{base64}": (plain, [plain[40:80]]),
        "{base64 lines}": ("\n    ".join(textwrap.wrap(plain, 76)), textwrap.wrap(plain, 76)[:2]),
        "{gzip}": (packed, [packed[40:80]]),
        "{auth}": (auth := base64.b64encode(f"bob:{secret}".encode()).decode(), [auth]),
        "{hash}": (f"$6$rounds=4096$salty${letters * 3}", [letters * 3]),
        "{age}": ((letters * 9).upper()[:58], [(letters * 9).upper()[:58]]),
        "{key}": (f"\n{margin}".join(key), [line[:16] for line in key]),
    }
    words: list[str] = []
    for place, (value, parts) in stands_for.items():
        if place in text:
            text = text.replace(place, value)
            words += parts
    return Planted(form, text, tuple(words))


def secrets(form: str) -> st.SearchStrategy[str]:
    """What may stand in this form: eight characters and more, letters at both ends."""
    row = CORPUS[form]
    middle = st.text(TOKEN + ("" if isinstance(row, str) else row["may"]), min_size=6, max_size=20)
    ends = st.text(LETTERS, min_size=3, max_size=3)
    return st.builds(lambda first, inner, last: first + inner + last, ends, middle, ends)


any_planted = st.sampled_from(sorted(CORPUS)).flatmap(
    lambda form: secrets(form).map(lambda secret: planted(form, secret))
)


def holders(text: str) -> dict[str, str]:
    """The same text as other texts hold it."""
    indented = textwrap.indent(text, "      ")
    return {
        "bare": text,
        "in a log line of JSON": json.dumps({"level": "info", "msg": text, "worker": "00:00:5e:00:53:4b"}),
        "in YAML": f"spec:\n  userData: |\n{indented}\nnext: 1\n",
        "in an annotation": json.dumps({"metadata": {"annotations": {"last-applied": json.dumps({"spec": text})}}}),
    }


def left(where: str, words: tuple[str, ...]) -> list[str]:
    """The words that are still there, also as JSON writes them."""
    return [word for word in words if word in where or json.dumps(word)[1:-1] in where]
