"""The ensemble, against torch.distributions, looped members, and data of known noise."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wmlib.agents.pets.ensemble import Ensemble, EnsembleConfig, bootstrap_batches
from wmlib.training import seeded

SMALL = EnsembleConfig(members=3, layers=2, units=8, epochs=2)
WIDTH, ACTIONS = 3, 2


def steps(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scale, shift = np.array([1.0, 10.0, 0.1]), np.array([0.0, -30.0, 5.0])
    before = shift + scale * rng.normal(size=(n, WIDTH))
    actions = 4 * rng.normal(size=(n, ACTIONS)) + 1
    after = before + 0.3 * scale * np.tanh(actions.sum(1, keepdims=True)) + 0.02 * shift
    return before.astype(np.float32), actions.astype(np.float32), after.astype(np.float32)


def small(config: EnsembleConfig = SMALL, learnt: bool = True) -> Ensemble:
    ensemble = seeded(1, lambda: Ensemble(WIDTH, ACTIONS, config))
    if learnt:
        ensemble.learn(*steps(50), seed=0)
    return ensemble


def examples(n: int = 7) -> list[Tensor]:
    """(E, B, ...) of observations, actions and next observations: others for each member."""
    arrays = steps(SMALL.members * n, seed=9)
    return [torch.from_numpy(array).view(SMALL.members, n, -1) for array in arrays]


@pytest.mark.parametrize("probabilistic", [True, False])
def test_one_batched_product_is_a_network_for_each_member(probabilistic: bool) -> None:
    ensemble = small(replace(SMALL, probabilistic=probabilistic))
    before, actions, _ = examples()
    together = ensemble(before, actions)
    for e in range(SMALL.members):
        layers: list[nn.Module] = []
        for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
            linear = nn.Linear(*weight.shape[1:])
            linear.weight.data, linear.bias.data = weight[e].T, bias[e, 0]
            layers += [linear, nn.SiLU()]
        inputs = (torch.cat([before[e], actions[e]], 1) - ensemble.input_mean) / (
            ensemble.input_scale
        )
        out = nn.Sequential(*layers[:-1])(inputs)  # (B, O) or (B, 2 O)
        change = out[:, :WIDTH] * ensemble.target_scale + ensemble.target_mean
        torch.testing.assert_close(together.mean[e], before[e] + change)
        if probabilistic:
            top, bottom = ensemble.max_logvar, ensemble.min_logvar
            logvar = top - nn.Softplus()(top - out[:, WIDTH:])
            logvar = bottom + nn.Softplus()(logvar - bottom) + 2 * ensemble.target_scale.log()
            torch.testing.assert_close(together.logvar[e], logvar)
        else:
            assert together.logvar is None


def test_examples_without_an_axis_of_members_go_to_all_of_them() -> None:
    ensemble, (before, actions, _) = small(), examples()
    shared = ensemble(before[0], actions[0])
    each = ensemble(before[:1].expand(3, -1, -1), actions[:1].expand(3, -1, -1))
    for ours, theirs in zip(shared, each, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert shared.mean.shape == (3, 7, WIDTH)


def test_the_loss_is_the_likelihood_of_torch_distributions() -> None:
    ensemble, (before, actions, after) = small(), examples()
    mean, logvar = ensemble(before, actions)
    log_prob = torch.distributions.Normal(mean, (logvar / 2).exp()).log_prob(after)
    nll = -log_prob - ensemble.target_scale.log()  # of the normalised changes
    expected = sum((2 * nll[e] - math.log(2 * math.pi)).mean() for e in range(SMALL.members))
    losses = ensemble.loss(before, actions, after)
    torch.testing.assert_close(losses["fit"], expected, rtol=1e-4, atol=1e-3)
    decay = 0.5 * SMALL.weight_decay * sum((w**2).sum() for w in ensemble.weights)
    bounds = 0.01 * (ensemble.max_logvar.sum() - ensemble.min_logvar.sum())
    torch.testing.assert_close(losses["total"], losses["fit"] + decay + bounds)


def test_without_variances_the_loss_is_the_squared_error() -> None:
    ensemble = small(replace(SMALL, probabilistic=False, weight_decay=0.0))
    before, actions, after = examples()
    errors = (ensemble(before, actions).mean - after) / ensemble.target_scale
    losses = ensemble.loss(before, actions, after)
    torch.testing.assert_close(losses["fit"], 3 * (errors**2).mean(), rtol=1e-3, atol=1e-5)
    assert losses["total"] == losses["fit"]
    assert not hasattr(ensemble, "max_logvar")


def test_log_variances_stay_in_their_bounds_wherever_one_asks() -> None:
    ensemble = small()
    with torch.no_grad():
        ensemble.weights[-1].mul_(1000)
    far = 1e4 * torch.randn(3, 100, WIDTH + ACTIONS, generator=torch.Generator().manual_seed(0))
    logvar = ensemble(far[..., :WIDTH], far[..., WIDTH:]).logvar - 2 * ensemble.target_scale.log()
    # softplus rounds the corners: the upper bound may be passed by exp(min - max), a trifle
    assert (logvar > ensemble.min_logvar - 1e-3).all()
    assert (logvar < ensemble.max_logvar + 1e-3).all()
    assert logvar.max() - logvar.min() > 10  # both are reached


def test_new_weights_are_cut_off_gaussians_that_shrink_with_the_inputs() -> None:
    ensemble = seeded(0, lambda: Ensemble(60, 40, EnsembleConfig(layers=1, units=300)))
    sd = 0.5 / math.sqrt(100)
    first = ensemble.weights[0]
    assert first.abs().max() <= 2 * sd
    assert first.std().item() == pytest.approx(0.8796 * sd, rel=0.01)  # of one cut off at 2
    assert not any(bias.any() for bias in ensemble.biases)


def test_every_member_has_its_own_bootstrap() -> None:
    config = EnsembleConfig(members=4, batch=64, epochs=3)
    batches = list(bootstrap_batches(1000, config, np.random.default_rng(0)))
    assert [b.shape for b in batches] == ([(4, 64)] * 15 + [(4, 40)]) * 3
    epochs = np.stack([np.concatenate(batches[i : i + 16], 1) for i in (0, 16, 32)])  # (3, E, N)
    assert (np.sort(epochs, 2) == np.sort(epochs[:1], 2)).all()  # the same rows every epoch
    assert (epochs[0] != epochs[1]).any()  # in another order
    for e in range(4):
        unique = len(np.unique(epochs[0, e])) / 1000
        assert unique == pytest.approx(1 - 1 / math.e, abs=0.04)
        for other in range(e):
            assert set(epochs[0, e]) != set(epochs[0, other])
            assert (epochs[0, e] != epochs[0, other]).mean() > 0.9  # nor the same order


def test_a_member_alone_sees_every_row_once_an_epoch() -> None:
    config = EnsembleConfig(members=1, batch=7, epochs=2)
    batches = list(bootstrap_batches(10, config, np.random.default_rng(0)))
    for epoch in (batches[:2], batches[2:]):
        assert sorted(np.concatenate(epoch, 1)[0]) == list(range(10))


def test_it_learns_means_and_noise_and_disagrees_where_it_saw_nothing() -> None:
    """s' = s + 2 a + noise, whose standard deviation is 0.2 exp(a)."""
    rng = np.random.default_rng(0)
    before, actions = rng.uniform(-1, 1, (2, 1000, 1)).astype(np.float32)
    sd = 0.2 * np.exp(actions)
    after = (before + 2 * actions + sd * rng.normal(size=sd.shape)).astype(np.float32)
    config = EnsembleConfig(members=3, layers=2, units=32, epochs=20, learning_rate=4e-3)
    ensemble = seeded(0, lambda: Ensemble(1, 1, config))
    history = ensemble.learn(before, actions, after, seed=0)
    assert len(history["fit"]) == 20 * math.ceil(1000 / 32)
    assert np.mean(history["total"][-50:]) < np.mean(history["total"][:50])
    state, action = torch.tensor([[0.5], [-0.5], [0.0]]), torch.tensor([[-0.7], [0.0], [0.7]])
    with torch.no_grad():
        mean, logvar = ensemble(state, action)
        away = ensemble(20 * torch.ones(1, 1), 20 * torch.ones(1, 1)).mean
    assert torch.allclose(mean, state + 2 * action, atol=0.15)
    assert torch.allclose((logvar / 2).exp(), 0.2 * action.exp(), rtol=0.3, atol=0)
    assert away.std(0).item() > 5 * mean.std(0).max().item()


def test_what_never_changes_does_no_harm() -> None:
    before, actions, after = steps(40)
    before[:, 1] = after[:, 1] = 3.0
    ensemble = small(learnt=False)
    ensemble.learn(before, actions, after, seed=0)
    mean, _ = ensemble(torch.from_numpy(before), torch.from_numpy(actions))
    assert mean.isfinite().all()
    assert ensemble.target_scale[1] == ensemble.input_scale[1] == 1


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, again, other = small(), small(), small(learnt=False)
    other.learn(*steps(50), seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.weights[0], again.weights[0])
    assert not torch.equal(first.weights[0], other.weights[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [("members", 0), ("layers", 0), ("units", 0), ("batch", 0), ("epochs", 0),
     ("learning_rate", 0.0), ("learning_rate", float("inf")), ("weight_decay", -1.0),
     ("bound_weight", float("nan")), ("members", 2.5), ("units", "64"), ("learning_rate", None),
     ("cooldown", 1.5), ("cooldown", "0"), ("weight_decay", "x"), ("probabilistic", "yes")],
)  # fmt: skip
def test_configurations_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value!r}"):
        EnsembleConfig(**{name: value})


def test_data_that_do_not_fit_are_refused() -> None:
    for wrong in (0, 1.5, "3", None):
        for name, sizes in (("observations", (wrong, 1)), ("actions", (1, wrong))):
            with pytest.raises(
                ValueError,
                match=f"{name} must be (a whole number|at least 1)( or None)?, got {wrong!r}",
            ):
                Ensemble(*sizes)
    with pytest.raises(ValueError, match="config must be an EnsembleConfig or None, got 5"):
        Ensemble(1, 1, 5)
    ensemble, (before, actions, after) = small(learnt=False), steps(20)
    with pytest.raises(ValueError, match=r"following must be .* \(20, 3\) .*, got .* \(19, 3\)"):
        ensemble.learn(before, actions, after[:-1], seed=0)
    with pytest.raises(ValueError, match=r"actions must be .* \(20, 2\) .*, got .* \(20, 1\)"):
        ensemble.learn(before, actions[:, :1], after, seed=0)
    with pytest.raises(ValueError, match=r"observations must be .* \(N, 3\) .*, got .* \(0"):
        ensemble.learn(before[:0], actions[:0], after[:0], seed=0)
    for wrong, found in (("x", "'x'"), (None, "None"), ([[1], [2, 3]], r"\[\[1\], \[2, 3\]\]")):
        with pytest.raises(
            ValueError, match=rf"an array of shape \(N, 3\) of real numbers.*, got {found}"
        ):
            ensemble.learn(wrong, actions, after, seed=0)
    with pytest.raises(
        ValueError, match=r"seed must be (a whole number|at least 0)( or None)?, got 0\.5"
    ):
        ensemble.learn(before, actions, after, seed=0.5)
    before[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"observations must be finite, got nan at \[3, 1\]"):
        ensemble.learn(before, actions, after, seed=0)


def test_lists_are_learnt_from_as_arrays_are() -> None:
    data, (first, second) = steps(20), (small(learnt=False) for _ in range(2))
    first.learn(*data, seed=0)
    second.learn(*(array.tolist() for array in data), seed=0)
    assert torch.equal(first.weights[-1], second.weights[-1])


@pytest.mark.parametrize(
    ("observations", "actions", "words"),
    [
        (np.zeros((4, 3)), torch.zeros(4, 2), "observations must be a Tensor .*, got ndarray"),
        (torch.zeros(4, 3), None, r"actions must be a Tensor of shape \(4, 2\), got None"),
        (torch.zeros(3), torch.zeros(2), r"observations must be .*, got .* \(3,\)"),
        (torch.zeros(4, 4), torch.zeros(4, 2), r"observations must be .*, got .* \(4, 4\)"),
        (
            torch.zeros(2, 4, 3),
            torch.zeros(2, 4, 2),
            r"observations must be .*, got .* \(2, 4, 3\)",
        ),
        (torch.zeros(4, 3), torch.zeros(5, 2), r"actions must be .* \(4, 2\), got .* \(5, 2\)"),
    ],
)
def test_what_networks_cannot_read_is_named(
    observations: object, actions: object, words: str
) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        small(learnt=False)(observations, actions)
