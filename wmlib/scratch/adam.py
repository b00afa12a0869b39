"""Adam (Kingma & Ba 2015, algorithm 1): how V and M follow their gradients."""

from collections.abc import Callable

import numpy as np

from wmlib.scratch.checks import Array, Positive
from wmlib.typed import PositiveInt, ProperShare, typed


class Adam:
    """Adam for any object whose weights are NumPy attributes.

    `lr` is about the largest step a weight takes in one update, in the
    weight's own unit; `beta1` and `beta2` are the decays of the running
    means of the gradient and of its square; `eps` keeps the division
    finite. The defaults are the paper's. Raises ValueError for `lr` or `eps`
    <= 0 and for decays outside [0, 1).
    """

    @typed
    def __init__(
        self,
        lr: Positive = 1e-3,
        beta1: ProperShare = 0.9,
        beta2: ProperShare = 0.999,
        eps: Positive = 1e-8,
    ) -> None:
        self.lr = lr
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.m: dict[str, Array] = {}  # running mean of the gradient
        self.v: dict[str, Array] = {}  # running mean of its square
        self.t = 0

    def step(self, model: object, grads: dict[str, Array]) -> None:
        """Move each weight `model.<name>` in place, against `grads[name]`."""
        self.t += 1
        for name, g in grads.items():
            m = self.m.get(name, np.zeros_like(g))
            v = self.v.get(name, np.zeros_like(g))
            m = self.m[name] = self.beta1 * m + (1 - self.beta1) * g
            v = self.v[name] = self.beta2 * v + (1 - self.beta2) * g**2
            m_hat = m / (1 - self.beta1**self.t)  # both began at zero:
            v_hat = v / (1 - self.beta2**self.t)  # undo that bias
            weights = getattr(model, name)
            weights -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


@typed
def descend(
    model: object,
    batch_gradients: Callable[[], tuple[float, dict[str, Array]]],
    steps: PositiveInt,
    lr: Positive,
) -> Array:
    """Take `steps` of Adam and return the loss before each of them, (steps,).

    `batch_gradients()` draws a batch and returns `(loss, grads)` at the
    model's present weights. Raises ValueError for `steps` < 1 or `lr` <= 0,
    and FloatingPointError, which names the step, for a loss that is not
    finite; the weights are then those before that step.
    """
    losses = np.zeros(steps)
    adam = Adam(lr)
    for step in range(steps):
        losses[step], grads = batch_gradients()
        if not np.isfinite(losses[step]):
            raise FloatingPointError(
                f"the loss is {losses[step]} at step {step}: try a lower lr"
            )
        adam.step(model, grads)
    return losses
