"""The article's listings made real: V, M, C and dreams in plain NumPy.

    from wmlib.scratch import VisionModel, train_vision

    V = VisionModel(obs_dim=64, latent_dim=8, seed=0)
    losses = train_vision(V, frames)  # frames (N, 64), in [0, 1]

Names, signatures and weights are the article's; what it left out comes
after them, as methods and keyword arguments: batches, seeds, checks, and
the gradients that make it learn. Nothing here reads or moves NumPy's global
random state, and nothing imports torch.

Letters: B batch, T time, D pixels, Z latent, H hidden, A action, K mixture
components. A leading `...` is any number of batch axes, none included.
"""

from wmlib.scratch.adam import Adam
from wmlib.scratch.controller import Controller
from wmlib.scratch.dream import dream_episode, dream_reward, train_in_dream
from wmlib.scratch.dyna import dyna_train, replay_train
from wmlib.scratch.evolution import cma_es
from wmlib.scratch.memory import (
    LOG_SIGMA,
    MemoryModel,
    mixture_nll,
    sigmoid,
    softmax,
    train_memory,
)
from wmlib.scratch.vision import VisionModel, train_vision, vae_loss

__all__ = [
    "LOG_SIGMA",
    "Adam",
    "Controller",
    "MemoryModel",
    "VisionModel",
    "cma_es",
    "dream_episode",
    "dream_reward",
    "dyna_train",
    "mixture_nll",
    "replay_train",
    "sigmoid",
    "softmax",
    "train_in_dream",
    "train_memory",
    "train_vision",
    "vae_loss",
]
