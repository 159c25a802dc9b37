"""Completion: what is offered, in the program and in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metalfoundry.fab import ns
from metalfoundry.model.errors import UsageError
from metalfoundry.ui.tasks.complete_words import FILES, candidates, server_names
from metalfoundry.ui.tasks.completion import script, table_of

TABLE = table_of(ns)
INVENTORY = """\
site: {jump: {host: 192.0.2.1}}
servers:
  anvil: {mac: 00:00:5e:00:53:c0}
  'rack-2': {}
  bellows:
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "inventory.yaml").write_text(INVENTORY)
    return tmp_path


def offered(line: str, inventory: Path | None = None) -> list[str]:
    words = line.split(" ")[1:]
    if inventory is not None:
        words[1:1] = ["--inventory", str(inventory)]
    return candidates(TABLE, words)


def test_tasks_and_flags_are_those_there_are() -> None:
    assert offered("fab prov") == ["provision"]
    assert set(ns.task_names) <= set(offered("fab "))
    assert offered("fab runs.clean --o") == ["--older"]
    assert "--resume" in offered("fab provision anvil -")
    assert "report names --html=file --json" in TABLE.splitlines()
    assert "--yes" not in offered("fab provision anvil --yes -")


@pytest.mark.parametrize("line", ["fab provision ", "fab --echo provision ", "fab status --server "])
def test_names_come_from_the_inventory(here: Path, line: str) -> None:
    words = line.split(" ")[1:]
    at = words.index(next(word for word in words if word in ns.task_names)) + 1
    assert candidates(TABLE, [*words[:at], "--inventory", str(here / "inventory.yaml"), *words[at:]]) == [
        "anvil",
        "rack-2",
        "bellows",
        "all",
    ]


def test_a_list_of_names_goes_on_after_its_comma(here: Path) -> None:
    inventory = here / "inventory.yaml"
    assert offered("fab provision anvil,", inventory) == ["anvil,rack-2", "anvil,bellows"]
    assert offered("fab status --server=an", inventory) == ["--server=anvil"]


def test_values_are_of_their_kind() -> None:
    assert offered("fab provision anvil --inventory ") == [FILES]
    assert offered("fab report anvil --html=") == [FILES]
    assert offered("fab completion --shell ") == ["bash", "zsh", "fish"]
    assert offered("fab provision anvil --reason ") == []
    assert offered("fab provision anvil --reason status --y") == ["--yes"]


def test_an_inventory_that_cannot_be_read_offers_nothing(tmp_path: Path) -> None:
    assert server_names(tmp_path / "none.yaml") == []
    for number, text in enumerate(("servers: [", "servers: [a]", "- a", "", "servers:", "\x00")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        assert server_names(path) == [], text


def test_the_manuals_inventory_is_read_as_it_is() -> None:
    assert server_names(Path(__file__).parents[2] / "inventory.yaml") == ["colo-server-01", "anvil"]


def test_a_tab_loads_neither_fabric_nor_pydantic() -> None:
    program = (
        "import sys; from metalfoundry.ui.tasks.complete_words import candidates;"
        "candidates('status names', ['status', '']);"
        "print(sorted({'fabric', 'invoke', 'pydantic', 'paramiko', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_another_shell_is_refused() -> None:
    with pytest.raises(UsageError, match="no completion for tcsh"):
        script("tcsh", ns)


ASK = {
    "bash": (
        'source {file}; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; _metalfoundry;'
        ' printf "%s\\n" "${{COMPREPLY[@]}}"'
    ),
    "zsh": (
        "compdef() {{ }}; compadd() {{ shift; print -l -- $@ }}; source {file};"
        ' line="{line}"; words=("${{(@s: :)line}}"); CURRENT=$#words; _metalfoundry'
    ),
    "fish": "source {file}; complete -C '{line}'",
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_offer_it(shell: str, here: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell}: apt-get install {shell}")
    (here / "script").write_text(script(shell, ns))

    def ask(line: str) -> list[str]:
        words = [program, "-c", ASK[shell].format(file=here / "script", line=line)]
        env = os.environ | {"HOME": str(here), "METALFOUNDRY_INVENTORY": "", "TERM": "dumb"}
        done = subprocess.run(words, cwd=here, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr == ""
        return done.stdout.split()

    assert ask("fab provision ") == (["anvil", "rack-2", "bellows", "all"] if shell != "fish" else sorted(
        ["anvil", "rack-2", "bellows", "all"]
    ))  # fmt: skip
    assert ask("metalfoundry troubleshoot anvil,r") == ["anvil,rack-2"]
    assert ask("fab netboot.au") == ["netboot.audit"]
