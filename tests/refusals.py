"""How much of the library only refuses input: the share of its code lines, for each module.

    python tests/refusals.py    each module of wmlib, the most refusing first, and the total: all
                                lines that only refuse, and those of them among other code

A line of code is one that is neither blank nor comment nor docstring. It only refuses where nothing
but an error can come of it:

- an `if` whose body is a `raise`, its condition included, and a `raise` that stands alone;
- a call of a check that stands alone (`check_...`, or anything from a module of checks);
- a loop or a branch of nothing else;
- a function that is named a check, or a `__post_init__` of nothing else, whole; it does not stand
  among other code.
"""

import ast
import io
import tokenize
from collections.abc import Iterable
from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "wmlib"
CHECKS = ("checks", "shapes", "typed")  # modules whose functions are checks, whatever their names

SILENT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> set[int]:
    """Return the numbers of the lines that hold code."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in SILENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):  # a string that stands alone is a docstring
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= span(node)
    return lines


def span(*nodes: ast.stmt | ast.expr) -> set[int]:
    """Return the numbers of the lines from the first node to the last."""
    return set(range(nodes[0].lineno, (nodes[-1].end_lineno or 0) + 1))


def is_check(name: str) -> bool:
    return name.lstrip("_").startswith("check_")


def refusing_lines(source: str, functions: bool = True) -> set[int]:
    """Return the numbers of the lines that only refuse, of whole `functions` too or not."""
    tree = ast.parse(source)
    checks = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[-1] in CHECKS
        for alias in node.names
    }

    def calls_check(node: ast.stmt) -> bool:
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            return False
        function = node.value.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        return is_check(name) or name in checks

    def refuses(node: ast.stmt) -> bool:
        """Whether nothing but an error can come of a statement."""
        if isinstance(node, ast.Raise) or calls_check(node):
            return True
        if isinstance(node, ast.If | ast.For):
            return all(refuses(one) for one in (*node.body, *node.orelse))
        return False

    def refusals(body: Iterable[ast.stmt]) -> set[int]:
        found = set()
        for node in body:
            if refuses(node):
                found |= span(node)
            elif isinstance(node, Function) and (is_check(node.name) or checks_fields(node)):
                found |= span(*node.decorator_list[:1], node) if functions else set()
            else:
                if isinstance(node, ast.If) and all(map(refuses, node.body)):
                    found |= span(node.test, *node.body)
                for name in ("body", "orelse", "finalbody"):
                    found |= refusals(getattr(node, name, ()))
                for handler in getattr(node, "handlers", ()):  # says what went wrong
                    found |= refusals(one for one in handler.body if not isinstance(one, ast.Raise))
        return found

    def checks_fields(node: Function) -> bool:
        return (
            node.name == "__post_init__"
            and any(map(refuses, node.body))
            and not any(
                isinstance(one, ast.Call) and getattr(one.func, "attr", "") == "__setattr__"
                for one in ast.walk(node)
            )
        )

    return refusals(tree.body) & code_lines(source)


def counted(paths: Iterable[Path]) -> tuple[int, int, int]:
    """Return how many lines of some modules only refuse, how many do so among other code, all."""
    sources = [path.read_text(encoding="utf-8") for path in paths]
    whole, among = (
        sum(len(refusing_lines(source, functions)) for source in sources)
        for functions in (True, False)
    )
    return whole, among, sum(len(code_lines(source)) for source in sources)


def main() -> None:
    modules = sorted(LIBRARY.rglob("*.py"))
    rows = [(counted([path]), str(path.relative_to(LIBRARY))) for path in modules]
    rows.sort(key=lambda row: -row[0][0])
    rows += [(counted((LIBRARY / name).rglob("*.py")), name or "all") for name in ("scratch", "")]
    for (refusing, among, lines), name in rows:
        if refusing:
            shares = f"{refusing / lines:6.1%} {among / lines:6.1%}"
            print(f"{refusing:5} {among:5} of {lines:4} {shares}  {name}")


if __name__ == "__main__":
    main()
