"""World models from scratch: small, typed pieces of V, M and C, and the environments they learn.

Importing the package registers its environments with Gymnasium (``wmlib/CarRacing-v3``). It
imports neither torch nor pygame: those arrive with the modules that need them.
"""

import os

# PyTorch's threads wait for one another many times an update: asleep, not turning in a loop on a
# core that another program could use (benchmarks/threads.py). It counts when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from wmlib import envs as envs

__version__ = "0.1.0"
