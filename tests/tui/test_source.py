"""The TUI's source read as text: foreign text goes through the boundary; private names of Textual are known ones."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen
from textual.widgets import TextArea

import workbench.tui

SOURCES = sorted(Path(workbench.tui.__file__).parent.rglob("*.py"))
SAFE = {"safe", "safe_cell", "cell", "clean", "escape", "_shown", "Text", "Content"}
SHOWING_CALLS = {"Static", "Label", "notify", "add_row", "Hit", "DiscoveryHit", "Option", "Button", "Checkbox"}
SHOWING_NAMES = {"border_title", "border_subtitle", "tooltip", "placeholder"}
PRIVATE = {
    App: {"_fatal_error", "_exit_renderables", "_close_messages_no_wait", "_exception", "_exit"},
    Screen: {"_compositor"},
    TextArea: {"_on_key"},
    LinuxDriver: {"_get_terminal_size"},
}


def is_safe(node: ast.expr, known: set[str]) -> bool:
    """A literal, a call of the boundary, a name that was given by one, or a combination of such."""
    match node:
        case ast.Constant():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in SAFE
        case ast.Attribute(value=value, attr="plain"):
            return is_safe(value, known)
        case ast.Call(func=ast.Attribute(value=value)):
            return is_safe(value, known)
        case ast.Name(id=name):
            return name in known
        case ast.BinOp(left=left, right=right):
            return is_safe(left, known) and is_safe(right, known)
        case ast.IfExp(body=body, orelse=orelse):
            return is_safe(body, known) and is_safe(orelse, known)
        case _:
            return False


def shown_values(tree: ast.AST) -> Iterator[tuple[int, str, ast.expr]]:
    """(line, where, value) of everything that is handed to a widget that would parse markup."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in SHOWING_CALLS:
                for value in node.args if name != "Hit" else node.args[1:2]:
                    yield node.lineno, name, value
                for keyword in node.keywords:
                    if keyword.arg in {"help", "text", "renderable", "content"}:
                        yield node.lineno, f"{name}({keyword.arg}=)", keyword.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in SHOWING_NAMES:
                    yield node.lineno, target.attr, node.value


def names_made_safe(tree: ast.AST) -> set[str]:
    """Names that are only ever given values from the boundary."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
    return {name for name, values in given.items() if all(is_safe(value, set()) for value in values)}


def unsafe(source: str) -> list[tuple[int, str]]:
    """What is shown without going through the boundary."""
    tree = ast.parse(source)
    known = names_made_safe(tree)
    return [(line, where) for line, where, value in shown_values(tree) if not is_safe(value, known)]


def begun_too_early(source: str) -> list[int]:
    """Lines where a worker is given a coroutine: cancelled before its turn it would never be awaited."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    given = [call.args[0] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "run_worker"]
    return [work.lineno for work in given if isinstance(work, ast.Call) and ast.unparse(work.func) != "partial"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_worker_is_given_a_function_and_no_coroutine(path: Path) -> None:
    assert begun_too_early(path.read_text()) == []


def test_the_lint_of_workers_sees_what_it_should() -> None:
    given = ["self.run_worker(work())", "self.run_worker(partial(work, 1))", "self.run_worker(work)"]
    assert [begun_too_early(line) for line in given] == [[1], [], []]


# Values that cannot be foreign: a renderable made of safe cells, a callable, or what is typed as Content already.
KNOWN = {("help.py", "Static"), ("commands.py", "DiscoveryHit"), ("commands.py", "Hit"), ("reading.py", "Static")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_what_is_shown_goes_through_the_display_boundary(path: Path) -> None:
    found = [(line, where) for line, where in unsafe(path.read_text()) if (path.name, where) not in KNOWN]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "Static(message.content)",
        "app.notify(f'{name} failed')",
        "box.border_title = title",
        "yield Label(str(error))",
        "table.add_row(row.prompt, 'x')",
        "Hit(score, name, run, help='x')",
    ],
)
def test_the_lint_sees_what_it_should(line: str) -> None:
    assert unsafe(f"def f():\n    {line}") != []


@pytest.mark.parametrize(
    "line",
    ["Static('plain')", "Static(safe(text))", "Label(safe_cell(a) + 'b')", "Static(id='x')", "box.tooltip = 'Help'"],
)
def test_the_lint_lets_safe_lines_pass(line: str) -> None:
    assert unsafe(f"def f():\n    {line}") == []


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in PRIVATE.items() for name in sorted(names)], ids=str
)
def test_a_private_name_that_is_relied_on_is_still_there(kind: type, name: str) -> None:
    source = inspect.getsource(kind)
    assert re.search(rf"\b{name}\b", source), f"{kind.__name__}.{name} is gone: look at what replaced it"


def test_textual_still_ends_in_the_methods_that_are_overridden() -> None:
    assert "self._fatal_error()" in inspect.getsource(App._handle_exception)
    assert "get_line_filters" in inspect.getsource(App)
    assert inspect.iscoroutinefunction(TextArea._on_key)


def test_no_widget_of_textual_that_cannot_hold_many_rows_or_streams_is_used() -> None:
    forbidden = re.compile(r"\b(DataTable|ListView|RichLog|MarkdownViewer|textual\.widgets import .*\bMarkdown\b)")
    assert [path.name for path in SOURCES if forbidden.search(path.read_text())] == []
