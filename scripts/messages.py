"""docs/messages.md: the help of every task, and the text of every error and notice, as the source has them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from metalfoundry.fab import ns
from metalfoundry.model import errors
from metalfoundry.ui.tasks.command_line import help_text

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "messages.md"
HEAD = """\
# Messages

All that metalfoundry says to a user. `make docs` writes this page from the source; read it from top to bottom when a
text has changed. `{…}` stands for what is filled in, and `A / B` for one of two texts. The findings of a diagnosis are
listed in [troubleshooting.md](troubleshooting.md).
"""
CLASSES = {name: kind for name, kind in vars(errors).items() if getattr(kind, "exit_code", None) is not None}


Names = dict[str, list[ast.expr]]


def text_of(node: ast.expr | None, names: Names | None = None) -> str:
    """The text that this expression makes, as far as the source says it; `names` are the function's own texts."""
    names = names or {}
    match node:
        case None:
            return ""
        case ast.Name(id=name) if name in names:
            return " / ".join(dict.fromkeys(text_of(value) for value in names[name]))
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part, names) for part in parts)
        case ast.FormattedValue(value=inner):
            return text_of(inner, names)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left, names) + text_of(right, names)
        case ast.IfExp(body=body, orelse=other):
            return " / ".join(text for text in (text_of(body, names), text_of(other, names)) if text)
        case ast.Call(args=[first, *words]) if _is_ours(node):
            return " ".join(("fab", *(text_of(word, names) for word in (first, *words))))
        case _:
            return f"{{{ast.unparse(node)}}}"


def _is_ours(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ours"


def calls() -> Iterator[tuple[str, str]]:
    """Class and text of each error and notice that is made anywhere in the package."""
    package = ROOT / "metalfoundry"
    for path in sorted(package.rglob("*.py")):
        if "lab" in path.relative_to(package).parts[:1]:
            continue
        functions = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
        ]
        for function in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and _kind(node) and node.args:
                    names = texts_before(node, function, functions)
                    yield _kind(node), message(path.relative_to(package).as_posix(), node, names)


def _kind(call: ast.Call) -> str:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    return name if name in CLASSES or name == "Notice" else ""


def texts_before(call: ast.Call, function: ast.FunctionDef, functions: list[ast.FunctionDef]) -> Names:
    """The texts that the function has given a name before this call: those since the last raise, else all."""
    last = max((node.lineno for node in ast.walk(function) if isinstance(node, ast.Raise) and node.lineno < call.lineno
                and call not in ast.walk(node)), default=0)  # fmt: skip
    every: Names = {}
    recent: Names = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and node.lineno <= call.lineno:
            for name, value in _named(node, functions):
                every.setdefault(name, []).append(value)
                if node.lineno > last:
                    recent.setdefault(name, []).append(value)
    return every | recent


def _named(node: ast.Assign, functions: list[ast.FunctionDef]) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            if isinstance(value, ast.JoinedStr | ast.IfExp | ast.BinOp) or _is_ours(value) or _is_text(value):
                yield name, value
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Call(func=ast.Name(id=called))):
            for function in functions:
                if function.name == called:
                    for pair in (pair for pair in ast.walk(function) if isinstance(pair, ast.Tuple)):
                        for target, value in zip(targets, pair.elts, strict=False):
                            if isinstance(target, ast.Name) and isinstance(
                                value, ast.JoinedStr | ast.Constant | ast.Call
                            ):
                                yield target.id, value


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def message(file: str, call: ast.Call, names: Names) -> str:
    """One error or notice as a user reads it, and where it comes from."""
    given = {word.arg: text_of(word.value, names) for word in call.keywords}
    lines = [text_of(call.args[0], names)]
    lines += [
        f"  {label:<7}{given[name]}" for name, label in (("where", "where:"), ("next", "now:")) if given.get(name)
    ]
    return "\n".join(line.replace("\n", "\n         ") for line in [*lines, f"  [{file}]"])


def page() -> str:
    """The whole text."""
    parts = [HEAD, "## Tasks\n"]
    for context in sorted(ns.to_contexts(), key=lambda each: str(each.name)):
        text = help_text(context, cleandoc(ns[str(context.name)].__doc__ or ""))
        parts.append(f"```text\n{text}```\n")
    found: dict[str, set[str]] = {}
    for kind, text in calls():
        found.setdefault(kind, set()).add(text)
    for kind in sorted(found, key=lambda each: (getattr(CLASSES.get(each), "exit_code", 999), each)):
        code = f" ({CLASSES[kind].exit_code})" if kind in CLASSES else ""
        parts.append(f"## {kind}{code}\n\n```text\n" + "\n\n".join(sorted(found[kind])) + "\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Write it."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
