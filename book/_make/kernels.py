"""The kernels of the denoiser in the page, compiled anew: `python book/_make/kernels.py`.

It takes a Python that has Zig's C compiler: `pip install ziglang==0.17.1`, in an environment of its
own, since it is large. What it writes is committed, so nobody needs a compiler who does not change
kernels.c. The module says of which source it was made, and a test compares.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "wmlib" / "demos" / "diffusion_drive" / "kernels.c"
COMPILE = [
    sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-msimd128", "-O3",
    "-nostdlib", "-Wall", "-Wextra", "-Werror", "-Wl,--no-entry", "-Wl,--export=__heap_base",
    "-Wl,-z,stack-size=4096", "-Wl,--strip-all",
]  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "kernels.wasm")
        done = subprocess.run([*COMPILE, SOURCE, "-o", made], capture_output=True, encoding="utf-8")
        if done.returncode:
            sys.exit(f"kernels: {done.stderr.strip()}")
        data = base64.b64encode(made.read_bytes()).decode()
    SOURCE.with_suffix(".wasm.js").write_text(
        "// Made by `python book/_make/kernels.py` from kernels.c, whose SHA-256 is\n"
        f"// {hashlib.sha256(SOURCE.read_bytes()).hexdigest()}.\n"
        f'export default "{data}";\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
