"""The words of a command line: what fits is handed on, and what does not is refused with the right line."""

from __future__ import annotations

import pytest
from fabric import task
from invoke.collection import Collection
from invoke.context import Context
from invoke.parser.context import ParserContext

from metalfoundry.fab import ns
from metalfoundry.model.errors import UsageError
from metalfoundry.ui.tasks.command_line import NAMED, HelpWanted, checked, help_text, usage
from metalfoundry.ui.tasks.program import REFUSED, Program

TASKS = {name: context for context in ns.to_contexts() for name in (str(context.name), *context.aliases)}
CORE: ParserContext = Program(namespace=ns).initial_context


def check(line: str) -> list[str]:
    return list(checked(line.split(), TASKS, CORE))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "status",
        "provision anvil --yes",
        "provision --yes anvil",
        "provision --name anvil",
        "provision status --reason provision",
        "netboot.open anvil --minutes 5 netboot.close anvil",
        "netboot.open anvil --minutes=5",
        "status --watch --server anvil",
        "status -i key -t 5",
        "status -ikey",
        "status -pw",
        "logs anvil --since -5",
        "runs",
        "completion --shell bash",
    ],
)
def test_what_fits_is_handed_on(line: str) -> None:
    assert check(line) == line.split()


@pytest.mark.parametrize("name", NAMED)
def test_the_optional_name_is_the_value_of_server(name: str) -> None:
    assert check(f"{name} --inventory=x.yaml anvil,bellows") == [
        name,
        "--inventory=x.yaml",
        "--server",
        "anvil,bellows",
    ]
    assert check(f"{name} runs") == [name, "runs"]
    assert check(f"{name} --server runs runs") == [name, "--server", "runs", "runs"]


@pytest.mark.parametrize(
    ("line", "what", "now"),
    [
        ("provisoin anvil", "there is no task provisoin; did you mean provision?", "fab --list"),
        ("xyzzy", "there is no task xyzzy", "fab --list"),
        ("provision", "provision needs a server's name", "fab provision NAME[,NAME…]"),
        ("provision --yes", "provision needs a server's name", "fab provision NAME[,NAME…]"),
        ("init status netboot.close", "netboot.close needs a server's name", "fab netboot.close NAME[,NAME…]"),
        ("report", "report needs a run", "fab report RUN"),
        ("provision ,", "',' is not a name", "fab provision NAME[,NAME…]"),
        ("provision a b", "'b' is one argument too many; join names with commas", "fab provision NAME[,NAME…]"),
        ("status --server a b", "'b' is one argument too many; join names with commas", "fab status [NAME[,NAME…]]"),
        ("status a b", "'b' is one argument too many; join names with commas", "fab status [NAME[,NAME…]]"),
        ("lab.up anvil", "lab.up takes no name, and there is no task anvil", "fab lab.up"),
        (
            "runs lab.don",
            "runs.list takes no name, and there is no task lab.don; did you mean lab.down?",
            "fab runs.list",
        ),
        ("provision --yse", "provision has no option --yse; did you mean --yes?", "fab --help provision"),
        ("provision anvil --yse", "provision has no option --yse; did you mean --yes?", "fab --help provision"),
        ("--bogus", "there is no option --bogus", "fab --help"),
        (
            "netboot.open a --minutes x",
            "--minutes needs a whole number, not 'x'",
            "fab netboot.open NAME[,NAME…] --minutes 10",
        ),
        ("logs a --tail=1.5", "--tail needs a whole number, not '1.5'", "fab logs NAME --tail 10"),
        ("status -t soon", "-t needs a whole number, not 'soon'", "fab status [NAME[,NAME…]] -t 10"),
        ("provision a --reason", "--reason needs a value", "fab provision NAME[,NAME…] --reason REASON"),
        ("provision a --reason --yes", "--reason needs a value", "fab provision NAME[,NAME…] --reason REASON"),
        ("status -i", "-i needs a value", "fab status [NAME[,NAME…]] -i VALUE"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_right_line(line: str, what: str, now: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(line)
    assert (caught.value.what, caught.value.next) == (what, now)


GIVEN = [(name, flag) for name, context in TASKS.items() for flag, argument in context.flags.items()
         if argument.takes_value and flag not in context.inverse_flags]  # fmt: skip


@pytest.mark.parametrize(("name", "flag"), GIVEN)
def test_an_empty_value_is_refused_wherever_it_could_mean_something(name: str, flag: str) -> None:
    rest = ["x" for _ in TASKS[name].positional_args if f"--{_.name}" != flag]
    for value in ("", " ", ","):
        for words in ([name, *rest, flag, value], [name, *rest, f"{flag}={value}"]):
            if flag == "--reason":
                assert list(checked(words, TASKS, CORE)) == words
                continue
            with pytest.raises(UsageError) as caught:
                list(checked(words, TASKS, CORE))
            assert flag in caught.value.what
            assert flag in caught.value.next or caught.value.next == usage(TASKS[name])


def test_a_task_of_the_users_own_may_take_an_empty_value() -> None:
    @task  # type: ignore[untyped-decorator]
    def move(c: Context, tag: str = "") -> None:
        """Move it."""

    own = {str(context.name): context for context in Collection(move).to_contexts()}
    words = ["move", "--tag", ""]
    assert list(checked(words, own, CORE, {"move"})) == words


def test_a_task_of_the_users_own_may_take_more() -> None:
    @task(positional=["rack", "unit"], optional=["log"])  # type: ignore[untyped-decorator]
    def move(c: Context, rack: str, unit: str, log: str | None = None) -> None:
        """Move it."""

    own = {str(context.name): context for context in Collection(move).to_contexts()}
    for line in (
        "move r1 u2",
        "move r1 --log file u2",
        "move r1 u2 --log",
        "move --unit u2 r1",
        "move r1 u2 move r3 u4",
    ):
        assert list(checked(line.split(), own, CORE)) == line.split()
    with pytest.raises(UsageError, match="move needs a unit") as caught:
        list(checked(["move", "r1"], own, CORE))
    assert caught.value.next == "fab move RACK UNIT"
    with pytest.raises(UsageError, match="too many"):
        list(checked(["move", "r1", "u2", "u3"], own, CORE))
    assert help_text(own["move"], "Move it.").startswith("Usage: fab move RACK UNIT [OPTIONS]\n")


@pytest.mark.parametrize("line", ["provision --help", "provision anvil -h", "status --watch --help", "runs -h"])
def test_a_task_is_asked_for_its_help(line: str) -> None:
    with pytest.raises(HelpWanted) as caught:
        check(line)
    assert caught.value.task == str(TASKS[line.split()[0]].name)


@pytest.mark.parametrize("name", sorted(ns.task_names))
def test_every_option_says_what_it_does(name: str) -> None:
    for _ in range(2):  # Invoke takes the texts away when they are read
        text = help_text(TASKS[name], "What it does.")
        assert text.startswith(f"Usage: {usage(TASKS[name])}")
        options = [line for line in text.splitlines() if line.startswith("  ")]
        assert all(len(line.split(maxsplit=1)) == 2 for line in options)
        assert all(len(line) <= 140 for line in options)
        for context in ns.to_contexts():
            assert all(argument.help for argument in context.args.values()), context.name


def test_each_of_fabrics_options_is_heeded_or_refused() -> None:
    heeded = {"complete", "config", "debug", "help", "list", "list-depth", "list-format", "list-agent-keys"}
    heeded |= {"print-completion-script", "version", "write-pyc"}
    assert {
        argument.names[-1] if len(argument.names[0]) == 1 else argument.names[0] for argument in CORE.flags.values()
    } == (heeded | set(REFUSED))
