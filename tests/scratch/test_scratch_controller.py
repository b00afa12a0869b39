"""C against torch's linear layer, and its parameters there and back."""

import numpy as np
import pytest
import torch

from wmlib.scratch import Controller


def controller(seed=0):
    C = Controller(z_dim=3, h_dim=5, a_dim=2)
    C.set_params(np.random.default_rng(seed).standard_normal(18))
    return C


def test_the_papers_controller_has_867_parameters():
    assert Controller(32, 256, 3).get_params().size == 867


def test_acts_as_a_linear_layer_with_tanh():
    C, rng = controller(), np.random.default_rng(1)
    z, h = rng.standard_normal((4, 6, 3)), rng.standard_normal((4, 6, 5))
    x = torch.tensor(np.concatenate([z, h], axis=-1))
    expected = torch.tanh(torch.nn.functional.linear(x, torch.tensor(C.W), torch.tensor(C.b)))
    np.testing.assert_allclose(C.act(z, h), expected, rtol=1e-12)
    np.testing.assert_allclose(C.act(z[1, 2], h[1, 2]), expected[1, 2], rtol=1e-12)


def test_parameters_go_there_and_back():
    C, p = Controller(3, 5, 2), np.arange(18.0)
    C.set_params(p)
    assert np.array_equal(C.get_params(), p)
    assert np.array_equal(C.W, p[:16].reshape(2, 8))
    assert np.array_equal(C.b, p[16:])


def test_parameters_are_copies_both_ways():
    C, p = Controller(3, 5, 2), np.arange(18.0)
    C.set_params(p)
    p[:] = -1
    C.get_params()[:] = -2
    assert np.array_equal(C.get_params(), np.arange(18.0))


def test_bad_input_is_named():
    C, z, h = controller(), np.zeros((2, 3)), np.zeros((2, 5))
    for call, words in [
        (lambda: Controller(0), "z_dim"),
        (lambda: Controller(a_dim=0), "a_dim"),
        (lambda: C.act(h, h), r"z must have shape \(..., 3\), got \(2, 5\)"),
        (lambda: C.act(z, h[0]), r"h must have shape \(2, 5\), got \(5,\)"),
        (lambda: C.act(z * np.nan, h), "z must be finite"),
        (lambda: C.set_params(np.zeros(17)), r"p must have shape \(..., 18\), got \(17,\)"),
        (lambda: C.set_params(np.zeros((2, 18))), r"p must have shape \(18,\), got \(2, 18\)"),
        (lambda: C.set_params(np.full(18, np.inf)), "p must be finite"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
