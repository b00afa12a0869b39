"""IRIS: a world told in words (Micheli et al. 2023).

A frame becomes a few words of a learned book, a transformer writes on what follows an action, and
an actor-critic learns to play in the frames that are painted from it.
"""

from wmlib.agents.iris.agent import IRIS, IRISConfig, Spaces
from wmlib.agents.iris.dream import Dream, State
from wmlib.agents.iris.forecast import Foretold, foretell
from wmlib.agents.iris.tokenizer import Tokenizer, TokenizerConfig, Usage, passed
from wmlib.agents.iris.train import train_iris
from wmlib.agents.iris.world_model import WorldModel, WorldModelConfig

__all__ = [
    "IRIS",
    "Dream",
    "Foretold",
    "IRISConfig",
    "Spaces",
    "State",
    "Tokenizer",
    "TokenizerConfig",
    "Usage",
    "WorldModel",
    "WorldModelConfig",
    "foretell",
    "passed",
    "train_iris",
]
