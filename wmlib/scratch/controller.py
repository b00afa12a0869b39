"""C, the controller of the article's section 4: one linear layer."""

import numpy as np
import numpy.typing as npt

from wmlib.scratch.checks import Array, same, vectors
from wmlib.typed import NonNegativeInt, PositiveInt, typed


class Controller:
    """Tiny linear policy: action = tanh(W @ [z, h] + b), in (-1, 1).

    It has a_dim * (z_dim + h_dim) + a_dim parameters, all zero at first.
    Raises ValueError for a wrong shape or a value that is not finite.
    """

    @typed
    def __init__(
        self,
        z_dim: PositiveInt = 8,
        h_dim: NonNegativeInt = 64,
        a_dim: PositiveInt = 2,
    ) -> None:
        self.z_dim = z_dim
        self.h_dim = h_dim
        self.W = np.zeros((a_dim, z_dim + h_dim))
        self.b = np.zeros(a_dim)

    def act(self, z: npt.ArrayLike, h: npt.ArrayLike) -> Array:
        """The action (..., A) for z (..., Z) and h (..., H)."""
        z = vectors("z", z, self.z_dim)
        h = vectors("h", h, self.h_dim, like=z)
        return np.tanh(np.concatenate([z, h], axis=-1) @ self.W.T + self.b)

    def get_params(self) -> Array:
        """A copy of all parameters in one vector: W row by row, then b."""
        return np.concatenate([self.W.ravel(), self.b])

    def set_params(self, p: npt.ArrayLike) -> None:
        """Take over (a copy of) what `get_params` returned."""
        n = self.W.size
        p = vectors("p", p, n + self.b.size).copy()
        same("p", p.shape, (n + self.b.size,))
        self.W = p[:n].reshape(self.W.shape)
        self.b = p[n:]
