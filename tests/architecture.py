"""Reads a module of the package with `ast` and names every breach of the rules of docs/design.md.

`breaches("site/window.py", text)` gives one line for each: `12: what is wrong`. `python -m tests.architecture` prints
the hints for a review: modules and functions that have grown long.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

PACKAGE = "metalfoundry"
ROOMS = ("model", "records", "commands", "transport", "site", "diagnosis", "runs", "foundry", "ui")
FRONT = ("ui", "fab", "__main__")  # the program is made of the tasks, and the tasks are shown by ui
MODULE_LINES, FUNCTION_LINES = 300, 40

# What a part of the world may be touched by: a folder, or one file.
DOORS = {
    "rich": ("ui/output/", "ui/tasks/"),
    "fabric": ("transport/", "ui/tasks/", "fab.py"),
    "paramiko": ("transport/",),
    "invoke": ("ui/tasks/", "fab.py"),
    "asyncssh": ("lab/",),
    "time": ("transport/clock.py", "lab/"),
    "subprocess": ("lab/", "transport/local.py", "transport/this_computer.py", "transport/ssh_options.py"),
    "asyncio": ("lab/",),
    "urllib.request": ("lab/",),
    "http": ("lab/",),
}
NO_SSH = tuple(f"transport/{name}.py" for name in ("base", "clock", "gates", "merge", "follow", "host_keys"))
PRINTING = ("print", "input", "breakpoint")
DRAWING = ("Console", "Table")
OUTPUT, FROM_OUTPUT = "ui/output/", ("foundry", "ui.tasks", "fab")  # what is drawn is handed in
LISTING = ("runs/provision.py", "runs/plan.py")  # who puts phases in an order
SAYING, PAPER = "ui/output/plain.py", "ui/output/tables.py"  # where foreign text is made visible
HIDDEN = "an import that nobody can read here"
READING_TIME = ("now", "utcnow", "today")


def breaches(path: str, text: str) -> list[str]:
    """Every breach in the module that stands at `path` in the package."""
    tree = ast.parse(text)
    found = [*_imports(path, tree), *_calls(path, tree)]
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def hints(text: str) -> list[str]:
    """What a reviewer should look at in a module: no breach, for a limit of lines bends the design around it."""
    return [f"{line}: {what}" for line, what in sorted(_length(ast.parse(text), text))]


def room(path: str) -> str:
    """The room of a module, by its path in the package; "" for the package's own front page."""
    first = PurePosixPath(path).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported(path: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names that an import statement may load, with what a relative one means written out."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    here = [PACKAGE, *PurePosixPath(path).parent.parts]
    start = [*here[: len(here) - node.level + 1], *filter(None, [node.module])] if node.level else [node.module or ""]
    return [".".join([*start, alias.name]) for alias in node.names]


def circles(texts: Mapping[str, str]) -> list[str]:
    """Every circle of imports at the top of the modules `texts` (text by path), as `a.py > b.py > a.py`."""
    found: list[str] = []
    done: set[str] = set()

    def follow(path: str, way: list[str]) -> None:
        if path in way:
            found.append(" > ".join([*way[way.index(path) :], path]))
        elif path not in done:
            for other in sorted(_neighbours(path, texts)):
                follow(other, [*way, path])
            done.add(path)

    for path in sorted(texts):
        follow(path, [])
    return found


def _neighbours(path: str, texts: Mapping[str, str]) -> set[str]:
    statements = [node for node in ast.parse(texts[path]).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [name.split(".")[1:] for node in statements for name in imported(path, node)]
    files = [f"{'/'.join(part)}.py" for name in names for part in (name, name[:-1])]
    return {file for file in files if file in texts}


def may_import(own: str, other: str) -> bool:
    """Whether a module of the room `own` may import from the room `other`."""
    if own == other:
        return True
    if own == "":
        return other in (*ROOMS, "lab")
    if own == "lab":
        return False
    if own in FRONT:
        return other in (*ROOMS, *FRONT, "lab")
    return own in ROOMS and other in ROOMS and ROOMS.index(other) < ROOMS.index(own)


def _imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield node.lineno, "imports *"
        for name in imported(path, node):
            top, _, rest = name.partition(".")
            door = next((each for each in DOORS if f"{name}.".startswith(f"{each}.")), "")
            if top == PACKAGE:
                own, other = room(path), rest.partition(".")[0]
                if rest.startswith("runs.phases.") and path not in LISTING:
                    yield node.lineno, f"a phase is imported by {' and '.join(LISTING)} alone"
                elif path.startswith(OUTPUT) and f"{rest}.".startswith(tuple(f"{each}." for each in FROM_OUTPUT)):
                    yield node.lineno, f"ui/output imports from {other}"
                elif not may_import(own, other):
                    yield node.lineno, f"{own or 'the front page'} imports from {other or 'the front page'}"
            elif door and not path.startswith(DOORS[door]):
                yield node.lineno, f"{door} belongs to {', '.join(DOORS[door])}"
            elif door in ("fabric", "paramiko") and path in NO_SSH:
                yield node.lineno, f"{door} belongs to ssh.py and the modules that serve it"


def _calls(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    shown = path.startswith("ui/")
    flags = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    timed = path.startswith(DOORS["time"])
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield node.lineno, "a global is changed"
        elif isinstance(node, ast.Name) and node.id in PRINTING and path != SAYING and node.id not in flags:
            yield node.lineno, f"{node.id} belongs to {SAYING}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in DRAWING and path != PAPER:
            yield node.lineno, f"{ast.unparse(node.func)} belongs to {PAPER}"
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield node.lineno, HIDDEN
        elif isinstance(node, ast.Attribute):
            written = ast.unparse(node)
            if written in ("sys.stdout", "sys.stderr") and not shown:
                yield node.lineno, f"{written} belongs to ui/"
            if written.endswith(".import_module") and path != "__init__.py":
                yield node.lineno, HIDDEN
            if node.attr in READING_TIME and written.split(".")[-2] in ("datetime", "date") and not timed:
                yield node.lineno, f"{written} belongs to transport/clock.py"


def _length(tree: ast.Module, text: str) -> Iterator[tuple[int, str]]:
    lines = len(text.splitlines())
    if lines > MODULE_LINES:
        yield lines, f"{lines} lines, more than {MODULE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            long = node.end_lineno - node.lineno + 1
            if long > FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {long} lines, more than {FUNCTION_LINES}"


if __name__ == "__main__":
    for module in sorted(Path(PACKAGE).rglob("*.py")):
        for hint in hints(module.read_text(encoding="utf-8")):
            print(f"{module}:{hint}")
