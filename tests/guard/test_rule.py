"""The rule: the script's, and that of the guards that are played, are both the table's."""

from __future__ import annotations

import shlex
import subprocess

from tests.guard.harness import SCRIPT
from tests.guard.rule import rows, verdict


def test_the_script_decides_as_the_table_says(shell: str) -> None:
    body = SCRIPT.rsplit('main "$@"', 1)[0]
    calls = []
    for row in rows():
        words = "".join(f"{name}={shlex.quote(value)} " for name, value in row.items() if name != "verdict")
        calls.append(f'{words}\nrule\nprintf "%s\\n" "$verdict"\n')
    done = subprocess.run(
        [*shell.split(), "-s"], input=body + "".join(calls), text=True, capture_output=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == [row["verdict"] for row in rows()]


def test_a_played_guard_decides_as_the_table_says() -> None:
    assert [verdict(row) for row in rows()] == [row["verdict"] for row in rows()]


def test_the_table_has_every_verdict() -> None:
    ends = {"RUNNING", "POST", "SUCCESS", "FAILED", "TIMEOUT", "deleted", "boot-action", "term"}
    others = {"keep", "nothing", "stray", "unpause", "close-claim-gone", "end-expired"}
    assert {row["verdict"] for row in rows()} == {f"shut-{end}" for end in ends} | others
