"""MuZero: search in a model that was never told the rules (Schrittwieser et al. 2020).

Three networks: representation h makes a hidden state of an observation, dynamics g says what an
action leads to, prediction f what is worth doing there and what that is worth. `search` grows a
tree of them. Nothing in it paints: a hidden state need not say what the world looks like.
"""

from wmlib.agents.muzero.agent import MuZero, MuZeroPlayer, MuZeroPolicy, losses
from wmlib.agents.muzero.buffer import Batch, Buffer, Played
from wmlib.agents.muzero.config import CONNECT_FOUR, ONE_PLAYER, MuZeroConfig, Spaces, usual
from wmlib.agents.muzero.gym_world import GymWorld
from wmlib.agents.muzero.networks import NetworkConfig, Networks, Support
from wmlib.agents.muzero.search import Root, Searched, Step, masked, search, with_noise
from wmlib.agents.muzero.self_play import World, play
from wmlib.agents.muzero.train import train_muzero

__all__ = [
    "CONNECT_FOUR",
    "ONE_PLAYER",
    "Batch",
    "Buffer",
    "GymWorld",
    "MuZero",
    "MuZeroConfig",
    "MuZeroPlayer",
    "MuZeroPolicy",
    "NetworkConfig",
    "Networks",
    "Played",
    "Root",
    "Searched",
    "Spaces",
    "Step",
    "Support",
    "World",
    "losses",
    "masked",
    "play",
    "search",
    "train_muzero",
    "usual",
    "with_noise",
]
