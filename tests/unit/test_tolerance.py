"""The tolerances of the tests hold for sums in any order, and are no wider than a wrong term."""

import numpy as np
import pytest
import torch

from tolerance import close, transformer


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("length", [1, 2, 10, 100, 1000])
def test_sums_in_any_order_agree_within_it_and_a_wrong_term_is_seen(dtype, length):
    """Added one by one, the worst way to do it, in forty orders, against all terms in extended precision."""
    rng = np.random.default_rng(length)
    for _ in range(40):
        terms = rng.normal(size=length)
        terms = (terms / np.abs(terms).sum()).astype(dtype)
        exact = terms.astype(np.longdouble).sum()
        added = np.cumsum(rng.permutation(terms), dtype=dtype)[-1]
        assert abs(added - exact) <= close(dtype, length) / 2  # each of two computations may be that far off
        if dtype != np.float16:  # of a hundred terms in half precision none stands out
            assert np.abs(terms).max() > 10 * close(dtype, length)


def test_it_grows_with_the_length_the_size_and_the_roundoff():
    assert close(torch.float32, 1) == torch.finfo(torch.float32).eps == close(np.float32, 1)
    assert close(torch.float32, 400) == pytest.approx(2 * close(torch.float32, 100))
    assert close(torch.float32, 9, scale=3.0) == 3 * close(torch.float32, 9)
    assert close(torch.float16, 9) > 1000 * close(torch.float32, 9) > 1e9 * close(torch.float64, 9)


def test_two_ways_through_a_tower_agree_within_it():
    """A transformer encoder in single and in double precision; half the tolerance is each side's share."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(32, 2, 128, dropout=0.0, batch_first=True, norm_first=True)
    tower = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False).eval()
    tokens = torch.randn(20, 10, 32)
    with torch.no_grad():
        single = torch.nn.functional.normalize(tower(tokens)[:, 0], dim=-1)
        double = torch.nn.functional.normalize(tower.double()(tokens.double())[:, 0], dim=-1)
    difference = float((single - double).abs().max())
    assert 0 < difference <= close(torch.float32, transformer(32, 4)) / 2
