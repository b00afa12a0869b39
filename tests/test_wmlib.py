"""What importing the package does: environments are registered, torch stays out, threads sleep."""

import json
import os
import subprocess
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager

ASK = (
    "import json, os, sys, wmlib; from gymnasium import registry; import wmlib.scratch;"
    "print(json.dumps(['torch' in sys.modules, 'wmlib/CarRacing-v3' in registry,"
    " os.environ['OMP_WAIT_POLICY']]))"
)


def ask(**setting: str) -> list[object]:
    """Import wmlib in a fresh process, and return what it says."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=inherited | setting, capture_output=True, text=True,
        cwd=Path(__file__).parents[1], check=True,
    )  # fmt: skip
    return list(json.loads(done.stdout))


def test_threads_wait_asleep_unless_the_user_says_otherwise() -> None:
    assert ask() == [False, True, "passive"]
    assert ask(OMP_WAIT_POLICY="active") == [False, True, "active"]


def test_threads_of_kernels_wait_asleep() -> None:
    """`make setup` says so to the kernel: a chapter imports torch before wmlib."""
    assert KernelSpecManager().get_kernel_spec("python3").env["OMP_WAIT_POLICY"] == "passive"
