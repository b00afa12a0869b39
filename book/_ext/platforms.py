"""Refuse a machine for which the pinned packages do not exist, before anything is installed.

`make setup` runs this file with the Python that it is to use, whatever that is: so nothing here
needs a package, or a Python that is new.
"""

import platform
import sys

KNOWN = "Linux on x86-64 (that of Windows, WSL, too) and macOS on Apple silicon"
MISSING = {"Linux": "box2d 2.3.10", "Darwin": "torch 2.13.0"}  # for other processors than these:
PROCESSORS = {"Linux": ("x86_64", "amd64"), "Darwin": ("arm64",)}


def complaint(system: str, machine: str, version: tuple) -> str:
    """What stands in the way of the book on such a machine; empty if nothing is known to."""
    if not (3, 11) <= version <= (3, 13):
        found = f"{sys.executable} is Python {version[0]}.{version[1]}"
        return (
            f"this book needs Python 3.11, 3.12 or 3.13, but {found}. "
            "Name another one: make PYTHON=python3.12 ..."
        )
    here = f"{'macOS' if system == 'Darwin' else system} on {machine}"
    if system not in PROCESSORS:
        return f"this book does not run on {here}. It runs on {KNOWN}."
    if machine.lower() not in PROCESSORS[system]:
        return (
            f"this book needs {MISSING[system]}, which has no wheel for {here}. It runs on {KNOWN}."
        )
    return ""


if __name__ == "__main__":
    reason = complaint(platform.system(), platform.machine(), sys.version_info[:2])
    sys.exit(f"make: {reason}" if reason else 0)
