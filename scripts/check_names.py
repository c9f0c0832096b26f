"""Fail where names do not say what their values are: bare participles, pronouns and adverbs.

    python scripts/check_names.py service benchmarks      # each such name, and their share

A name is everything that a module binds: functions, classes, parameters, variables, attributes,
exceptions and aliases. Underscores around it and constants are ignored. Words that are terms here,
such as `first` of a range or `expected` of a test, are not on the list.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_SHARE = 0.002

WORDS = frozenset(
    """
    added already also answered anybody applied asked away been before begun being both bought
    broken brought built called carried changed chosen claimed come computed counted covered dead
    described done drawn each either else elsewhere ended enough ever every everybody everything
    examined few filled flagged found further given gone good had has have here hers his how it
    joined just judged kept known late later least less listed little long looked lost made many
    marked meant measured merged mine missed more most moved much named near nearly needed never
    nobody none nothing noted now offered often old once one ones only opened other others out
    over own owned paired parsed passed past picked place placed places planned played rather
    reached really refused remembered removed replaced said same saved seen sent served shown so
    some somebody something soon sought spared spoken started stated stays still stopped stored
    such sure taken that their them then there these they thing things this those thrown told too
    touched tried turned understood until used wanted watched what whatever when where which while
    who whole whom whose why words worked written yes yet
    """.split()  # noqa: SIM905  as a list it is a line a word
)


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each name that the module binds, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


def main(folders: list[str]) -> int:
    """Print the names on the list; 1 if they are more than MAX_SHARE of all names."""
    total = 0
    offenders: list[str] = []
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*.py")):
        for name, line in bound_names(ast.parse(path.read_text(encoding="utf-8"))):
            total += 1
            if not name.isupper() and name.strip("_").lower() in WORDS:
                offenders.append(f"{path}:{line}: {name}")
    share = len(offenders) / max(1, total)
    if share > MAX_SHARE:
        print("\n".join(offenders))
    print(
        f"{len(offenders)} of {total} names ({share:.2%}) are bare words; {MAX_SHARE:.1%} allowed"
    )
    return int(share > MAX_SHARE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
