"""World models from scratch: small, typed pieces of V, M and C, and the environments they learn.

Importing the package registers its environments with Gymnasium (``wmlib/CarRacing-v3``). It
imports neither torch nor pygame: those arrive with the modules that need them.
"""

from wmlib import envs as envs

__version__ = "0.1.0"
