"""The generated parts of the README: methods, checks, commands and keys, made from the code that they describe.

``python -m tests.docs --write`` writes them; ``tests/test_docs.py`` fails when they are stale. A part stands between
``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
_PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def methods() -> str:
    """A row for every training method."""
    from workbench.methods import GONE, find

    rows = [
        f"| `{m.name}` | {m.summary} | {', '.join(k.value for k in m.kinds)} | `{m.trainer}` | "
        f"{', '.join(p.name for p in m.presets)} |"
        for m in find().values()
    ]
    rows += [f"| {name} | not here: {reason}; {instead} | - | - | - |" for name, (reason, instead) in GONE.items()]
    return "\n".join(["| method | what it does | takes | trainer | presets |", "|---|---|---|---|---|", *rows])


def presets() -> str:
    """A row for every value of every preset, with its reason, and for what the number of rows asks for."""
    from workbench.domain.methods import knob_text
    from workbench.methods import find

    rows = [
        f"| `{method.name}` | {preset.name} | `{name}` | {knob_text(value)} | {preset.reasons[name]} |"
        for method in find().values()
        for preset in method.presets
        for name, value in preset.values.items()
    ]
    sizes = {size.name: size for method in find().values() for size in method.sizes}
    rows += [
        f"| all | auto, tiny: {size.name} | `{name}` | {knob_text(value)} | {size.reasons[name]} |"
        for size in sizes.values()
        for name, value in size.values.items()
    ]
    return "\n".join(["| method | preset | setting | value | why |", "|---|---|---|---|---|", *rows])


def adapters() -> str:
    """A row for every adapter kind."""
    from workbench.methods.adapters import find

    rows = [
        f"| `{a.name}` | {a.summary} | {', '.join(f'`{knob.name}`' for knob in a.knobs) or '-'} |"
        for a in find().values()
    ]
    return "\n".join(["| adapter | what learns | settings of its own |", "|---|---|---|", *rows])


def checks() -> str:
    """A row for every data check."""
    from workbench.checks import find

    rows = [f"| `{c.name}` | {c.summary} | {c.fix.said if c.fix else '-'} |" for c in find().values()]
    return "\n".join(["| check | finds | `--fix` |", "|---|---|---|", *rows])


def formats() -> str:
    """A row for every file format."""
    from workbench.formats import find

    rows = [
        f"| `{f.name}` | {f.summary} | {', '.join(k.value for k in f.kinds) or 'only read'} |" for f in find().values()
    ]
    return "\n".join(["| format | rows of | written for |", "|---|---|---|", *rows])


def commands() -> str:
    """A row for every command, with its verbs."""
    from workbench.cli.main import build_parser

    rows = ["| command | does |", "|---|---|"]
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            rows += [
                f"| `workbench {name}{_verbs(action.choices[name])}` | {choice.help} |"
                for name, choice in ((c.dest, c) for c in action._choices_actions)
            ]
    return "\n".join(rows)


def _verbs(parser: argparse.ArgumentParser) -> str:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return " " + "/".join(action.choices)
    return ""


def keys() -> str:
    """A row for every key that has an id, by screen."""
    rows = ["| where | key | id | does |", "|---|---|---|---|"]
    rows += [f"| {where} | {key} | `{name}` | {what} |" for where, key, name, what in _bindings()]
    return "\n".join(rows)


def _bindings() -> Iterator[tuple[str, str, str, str]]:
    from textual.binding import Binding

    from workbench.tui.app import WorkbenchApp
    from workbench.tui.panes import PANES
    from workbench.tui.widgets.frame import key_sign

    sources = [("everywhere", WorkbenchApp), *((pane.title, pane.load()) for pane in PANES)]
    for where, source in sources:
        ours = [kind for kind in source.__mro__ if kind.__module__.startswith("workbench.")]
        for binding in chain.from_iterable(kind.__dict__.get("BINDINGS", []) for kind in ours):
            if isinstance(binding, Binding) and binding.id and (binding.tooltip or binding.description):
                shown = " ".join(f"`{key_sign(key.strip())}`" for key in binding.key.split(","))
                yield where, shown.replace("|", "\\|"), binding.id, binding.tooltip or binding.description


PARTS: dict[str, Callable[[], str]] = {
    "methods": methods,
    "presets": presets,
    "adapters": adapters,
    "checks": checks,
    "formats": formats,
    "commands": commands,
    "keys": keys,
}


def rendered(text: str) -> str:
    """``text`` with every generated part made anew; raises ``KeyError`` for a part nobody makes."""
    return _PART.sub(lambda m: f"{m[1]}{PARTS[m[2]]()}\n{m[4]}", text)


def main() -> int:
    """Write the README with ``--write``; otherwise exit 1 when it is stale."""
    before = README.read_text(encoding="utf-8")
    after = rendered(before)
    if "--write" in sys.argv:
        README.write_text(after, encoding="utf-8")
        return 0
    return int(before != after)


if __name__ == "__main__":
    sys.exit(main())
