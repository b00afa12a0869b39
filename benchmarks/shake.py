"""Shake the chapters: does what they assert hold on another processor, with another rounding?

    python benchmarks/shake.py                          every chapter, every variant (hours)
    python benchmarks/shake.py --variants 2 --changed   two variants of what changed since (CI)
    python benchmarks/shake.py book/03-memory.ipynb --variants default-1,nudge-3 --values

A trained network is a chaotic system: a rounding in the last bit of its first step becomes another
network in the end. So a page that asserts what one run did fails on the next machine. This program
runs a chapter many times under changed arithmetic, and changes it from outside the library:

- ``ATEN_CPU_CAPABILITY``, ``DNNL_MAX_CPU_ISA``, ``MKL_CBWR``: the widths of vector instructions
  that PyTorch and the libraries below it may use, hence the order in which sums are rounded;
- one, two and four threads;
- *nudged* numbers: each weight is moved by up to a ten-millionth of itself when its optimiser is
  made, and so is each normal draw of a NumPy generator.

Every assertion is evaluated, not only the first to fail: a failed one does not end the run. One row
of ``benchmarks/results/shake.json`` is one run: chapter, the digest of its code, variant, how many
assertions were evaluated, and those that failed with the values they compared.
"""

import argparse
import ast
import contextlib
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path("benchmarks", "results", "shake.json")

# What a variant sets: variables of the environment, and by how much numbers are nudged (0: not).
Variant = tuple[dict[str, str], int]


def variants() -> dict[str, Variant]:
    """Return the variants by name, the most telling first: the first few make sense alone."""
    table: dict[str, Variant] = {}
    for threads in (1, 2, 4):
        for width in ("default", "avx2", "avx512"):
            table[f"{width}-{threads}"] = (
                {"ATEN_CPU_CAPABILITY": width, "OMP_NUM_THREADS": str(threads)},
                0,
            )
    isa = {"DNNL_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    table["isa-sse41"] = ({**isa, "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}, 0)
    isa = {"DNNL_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
    table["isa-avx2"] = ({**isa, "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"}, 0)
    for nudge in range(1, 13):
        width = ("avx2", "default", "avx512")[nudge % 3]
        setting = {"ATEN_CPU_CAPABILITY": width, "OMP_NUM_THREADS": "1"}
        table[f"nudge-{nudge}"] = (setting, nudge)
    # The first two are what CI runs: the narrowest arithmetic, and other numbers altogether.
    first = ("default-1", "nudge-1")
    return {name: table[name] for name in (*first, *(n for n in table if n not in first))}


# ------------------------------------------------------------------------- one run, in this process


def nudged(value: Any, key: int) -> Any:
    """Return numbers moved by up to 1e-7 of themselves, as a pure function of number and key."""
    wave = (1e6 * value + key).cos() if hasattr(value, "cos") else _cos(1e6 * value + key)
    return value * (1 + 1e-7 * wave)


def _cos(value: Any) -> Any:
    import numpy as np

    return np.cos(value)


def nudge(key: int) -> None:
    """Nudge weights as optimisers are made, and NumPy's normal draws, from now on."""
    import numpy as np
    import torch

    add_group = torch.optim.Optimizer.add_param_group

    def add_nudged(self: Any, group: dict[str, Any]) -> None:
        add_group(self, group)
        with torch.no_grad():
            for parameter in self.param_groups[-1]["params"]:
                # In double precision and rounded once: some weights move by a bit, others stay.
                parameter.copy_(nudged(parameter.double(), key).to(parameter.dtype))

    torch.optim.Optimizer.add_param_group = add_nudged  # type: ignore[method-assign]

    class Nudged(np.random.Generator):
        def standard_normal(self, *args: Any, **kwargs: Any) -> Any:
            draw = super().standard_normal(*args, **kwargs)
            if kwargs.get("out") is not None:
                kwargs["out"][...] = nudged(draw, key)
                return kwargs["out"]
            dtype = getattr(draw, "dtype", None)
            moved = nudged(np.asarray(draw, float), key)
            return moved.astype(dtype) if dtype is not None else float(moved)

        def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
            loc, scale = np.asarray(loc), np.asarray(scale)
            if size is None:
                size = np.broadcast_shapes(loc.shape, scale.shape) or None
            return loc + scale * nudged(super().normal(0.0, 1.0, size), key)

    plain = np.random.default_rng

    def default_rng(seed: Any = None) -> np.random.Generator:
        made = plain(seed)
        return made if made is seed else Nudged(made.bit_generator)

    np.random.default_rng = default_rng  # type: ignore[assignment]


class Checked(ast.NodeTransformer):
    """Turn ``assert test`` into ``__checked__(source, parts)``, which records and goes on."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        parts = [node.test]
        if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And):
            parts = node.test.values
        thunks = [self.thunk(part) for part in parts]
        call = ast.Call(
            ast.Name("__checked__", ast.Load()),
            [ast.Constant(ast.unparse(node.test)), ast.List(thunks, ast.Load())],
            [],
        )
        return ast.copy_location(ast.Expr(call), node)

    @staticmethod
    def thunk(test: ast.expr) -> ast.expr:
        """Return a lambda for the value of `test`, and one for what its comparison compares."""
        nothing = ast.arguments([], [], None, [], [], None, [])
        sides: list[ast.expr] = []
        if isinstance(test, ast.Compare):
            sides = [test.left, *test.comparators]
        compared = ast.Tuple(sides, ast.Load())
        return ast.Tuple([ast.Lambda(nothing, test), ast.Lambda(nothing, compared)], ast.Load())


def number(value: Any) -> Any:
    """Return `value` as what JSON can hold: a number, or a short text."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        return float(f"{float(value):.6g}")
    return repr(value)[:120]


class Record:
    """What one run of a chapter asserted, compared and printed in its text."""

    def __init__(self) -> None:
        self.assertions = 0
        self.failures: list[dict[str, Any]] = []
        self.compared: dict[str, list[Any]] = {}
        self.glued: dict[str, Any] = {}

    def check(self, source: str, parts: Iterable[tuple[Callable[[], Any], Any]]) -> None:
        self.assertions += 1
        seen: list[Any] = []
        try:
            held = True
            for test, sides in parts:
                held = bool(test()) and held
                seen += [number(side) for side in sides()]
        except Exception as error:
            held, seen = False, [f"{type(error).__name__}: {error}"[:200]]
        self.compared[source] = seen
        if not held:
            self.failures.append({"assertion": source, "values": seen})

    def glue(self, name: str, value: Any, display: bool = True) -> None:
        self.glued[name] = number(value)


def run_chapter(chapter: Path, key: int) -> dict[str, Any]:
    """Run the cells of `chapter` in this process, one after another, as a kernel would."""
    os.environ.setdefault("MPLBACKEND", "agg")
    if key:
        nudge(key)
    import myst_nb
    from IPython.core.interactiveshell import InteractiveShell

    record = Record()
    myst_nb.glue = record.glue
    os.chdir(chapter.parent)
    shell = InteractiveShell.instance(history_manager=None, colors="nocolor")
    shell.ast_transformers.append(Checked())
    shell.user_ns["__checked__"] = record.check
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    started = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):
        for index, cell in enumerate(cells):
            if cell["cell_type"] != "code":
                continue
            result = shell.run_cell("".join(cell["source"]))
            error = result.error_before_exec or result.error_in_exec
            if error is not None:
                what = f"{type(error).__name__}: {error}"[:300]
                record.failures.append({"assertion": f"cell {index} runs", "values": [what]})
            matplotlib = sys.modules.get("matplotlib.pyplot")
            if matplotlib is not None:
                matplotlib.close("all")
    return {
        "assertions": record.assertions,
        "failures": record.failures,
        "seconds": round(time.monotonic() - started, 1),
        "compared": record.compared,
        "glued": record.glued,
    }


# ------------------------------------------------------------------------------------ many runs


def digest(chapter: Path) -> str:
    """Return a digest of the code of `chapter`: prose may change without another shaking.

    So may docstrings, empty lines, where a name is imported from, and which numbers are handed to
    the text: they change no arithmetic.
    """
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    lines = code.split("\n")
    for node in ast.walk(ast.parse(code)):
        alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        handed = isinstance(node, ast.Expr) and ast.unparse(node).startswith(("keep(", "glue("))
        if alone or handed or isinstance(node, ast.Import | ast.ImportFrom):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return hashlib.sha256("\n".join(filter(None, lines)).encode()).hexdigest()[:16]


def processor() -> str:
    """Return the processor's maker and widest vectors; no name of a machine."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        vendors = [line.split(":")[1].strip() for line in text.splitlines() if "vendor_id" in line]
        widest = next((flag for flag in ("amx_tile", "avx512f", "avx2") if flag in text), "")
        return f"{vendors[0]} {widest}".strip() if vendors else platform.machine()
    return platform.machine()


def shaken(chapter: Path, name: str, root: Path, timeout: float) -> dict[str, Any]:
    """Run `chapter` under the variant `name` in a process of its own: one row."""
    environment, key = variants()[name]
    row = {
        "chapter": chapter.stem,
        "digest": digest(chapter),
        "variant": name,
        "processor": processor(),
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "row.json")
        command = [sys.executable, str(Path(__file__).resolve()), "--one", str(chapter)]
        command += ["--nudge", str(key), "--row", str(out)]
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        setting = {**os.environ, **environment, "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"}
        setting |= {"OPENBLAS_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        try:
            done = subprocess.run(
                command, env=setting, capture_output=True, text=True, timeout=timeout, check=False
            )
            error = done.stderr[-400:]
        except subprocess.TimeoutExpired:
            error = f"took more than {timeout:g} seconds"
        if out.exists():
            return row | json.loads(out.read_text(encoding="utf-8"))
    failure = {"assertion": "the chapter runs", "values": [error]}
    return row | {"assertions": 0, "failures": [failure], "seconds": 0.0}


def report(rows: list[dict[str, Any]], values: bool) -> None:
    """Print a line for each chapter and each failure and, on demand, the range of every value."""
    for chapter in sorted({row["chapter"] for row in rows}):
        mine = [row for row in rows if row["chapter"] == chapter]
        failing = [row for row in mine if row["failures"]]
        count = max(row["assertions"] for row in mine)
        print(f"{chapter}: {len(mine)} runs of {count} assertions, {len(failing)} with a failure")
        for row in failing:
            for failure in row["failures"]:
                print(f"  {row['variant']}: {failure['assertion']}  {failure['values']}")
        for kind in ("compared", "glued") if values else ():
            names = {name: None for row in mine for name in row.get(kind, {})}
            print(f"  {kind}:")
            for name in names:
                seen = [row[kind][name] for row in mine if name in row.get(kind, {})]
                print(f"    {name}: {spread(seen)}")


def spread(seen: list[Any]) -> str:
    """Return what was seen, shortly: one value, or the least and the largest."""
    if seen and isinstance(seen[0], list):
        columns = zip(*seen, strict=False)
        return ", ".join(spread(list(column)) for column in columns)
    if all(isinstance(value, float | int) for value in seen):
        low, high = min(seen), max(seen)
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return " | ".join(sorted({str(value) for value in seen}))[:200]


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """Write `rows` into the results, in place of those of other code or of the same variant."""
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []

    def key(row: dict[str, Any]) -> tuple[str, ...]:
        return row["chapter"], row["variant"], row["processor"]

    digests = {row["chapter"]: row["digest"] for row in rows}
    new = {key(row) for row in rows}
    of_this_code = [r for r in kept if digests.get(r["chapter"], r["digest"]) == r["digest"]]
    kept = [row for row in of_this_code if key(row) not in new]
    for row in rows:
        kept.append({k: v for k, v in row.items() if k not in ("compared", "glued")})
    kept.sort(key=key)
    text = ",\n".join(json.dumps(row, ensure_ascii=False) for row in kept)
    partial = path.with_suffix(".partial")
    partial.write_text(f'{{"rows": [\n{text}\n]}}\n', encoding="utf-8")
    partial.replace(path)


def changed(chapters: list[Path], path: Path, enough: int = 2) -> list[Path]:
    """Return the chapters whose code, as it is now, has fewer than `enough` rows in the results."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    have = [(row["chapter"], row["digest"]) for row in rows]
    return [c for c in chapters if have.count((c.stem, digest(c))) < enough]


def chosen(text: str) -> list[str]:
    """Return the variants that `text` names: a number of them from the front, or names."""
    names = list(variants())
    if text.isdigit():
        return names[: int(text)]
    wanted = text.split(",")
    for name in wanted:
        if name not in names:
            raise SystemExit(f"shake: no variant {name!r}; there are {', '.join(names)}")
    return wanted


def main() -> int:
    parser = argparse.ArgumentParser(description="Run chapters under changed arithmetic.")
    parser.add_argument("chapters", nargs="*", type=Path, help="notebooks; default: all of book/")
    parser.add_argument("--variants", default="99", metavar="N", help="how many, or names a,b,c")
    parser.add_argument(
        "--changed", action="store_true", help="only chapters changed since their rows"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a run may take")
    parser.add_argument("--values", action="store_true", help="print every value and its range")
    parser.add_argument("--save", action="store_true", help=f"write the rows into {RESULTS}")
    parser.add_argument("--out", type=Path, help="write the rows, values included, to this file")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose book is shaken")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--nudge", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        row = run_chapter(args.one.resolve(), args.nudge)
        args.row.write_text(json.dumps(row), encoding="utf-8")
        return 0
    root = args.root.resolve()
    chapters = [c.resolve() for c in args.chapters] or sorted((root / "book").glob("*.ipynb"))
    if args.changed:
        chapters = changed(chapters, root / RESULTS)
    names = chosen(args.variants)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(args.jobs) as pool:
        work = [(chapter, name) for name in names for chapter in chapters]
        waiting = [pool.submit(shaken, c, name, root, args.timeout) for c, name in work]
        for future in as_completed(waiting):
            row = future.result()
            rows.append(row)
            state = f"{len(row['failures'])} failed" if row["failures"] else "held"
            what = f"{row['chapter']} {row['variant']}: {row['assertions']} assertions, {state}"
            print(f"{what} ({row['seconds']:.0f} s)", file=sys.stderr, flush=True)
            if args.save:
                save(rows, root / RESULTS)
            if args.out:
                args.out.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    report(rows, args.values)
    failed = sum(bool(row["failures"]) for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
