"""How closely two computations of the same sum agree: the one place that tolerances of tests come from.

A processor adds the terms of a sum in its own order, by its vector width, its cache and its threads, and rounds after
each step. So two right results differ, and a test may ask only for what the precision and the length of its sums allow:

    torch.testing.assert_close(found, expected, atol=close(torch.float32, 64), rtol=0)

Tests of exact results (a count, a copy, the same code on the same machine) need no tolerance and use none. Tolerances
of another kind, such as the noise of a simulation or the steps of an iteration, are stated where they are used.
"""

import math

import numpy as np
import torch

DEVIATIONS = 8
"""λ below: a sum strays further with a probability under 2 exp(-λ²/2), that is 3 in 10^14."""


def close(dtype: torch.dtype | type[np.floating], length: int, scale: float = 1.0) -> float:
    """Largest difference between two computations of a sum of `length` terms whose absolute values add up to `scale`.

    Let u = eps/2 be the unit roundoff. However the terms x_i are ordered and grouped, a computed sum of n of them, and
    a dot product of n factors, is off by at most n u Σ|x_i| (Higham, Accuracy and Stability of Numerical Algorithms,
    2002, section 3.1). Roundings that do not conspire, as random walks do not, stay below λ √n u Σ|x_i| but for a
    probability of 2 exp(-λ²/2) (Higham and Mary 2019, SIAM J. Sci. Comput. 41(5), theorem 2.4). The smaller of the two
    holds for either computation, so their difference is within twice of it:

        min(n, λ √n) · eps · Σ|x_i|

    `length` counts the roundings on the way to a number, so what is computed in steps has the sum of their lengths
    (`transformer` counts a tower's). `scale` is 1 for the dot product of unit vectors (Cauchy-Schwarz), for weighted
    means of numbers up to 1, and for entries of unit vectors; for a function of a sum it is multiplied by the largest
    slope of that function. With length 1 this is the rounding of a number of this size that is only stored.
    """
    eps = torch.finfo(dtype).eps if isinstance(dtype, torch.dtype) else float(np.finfo(dtype).eps)
    return min(length, DEVIATIONS * math.sqrt(length)) * eps * scale


def transformer(width: int, layers: int) -> int:
    """Roundings on the way through a transformer of this width to its unit embedding, for `close`.

    A block adds over `width` numbers in its attention's two projections, in the first layer of its perceptron and in
    two norms, over 4 `width` in its second layer, and over tokens, of which the small towers of tests have fewer than
    `width`; the embedding of the input, the last norm and the projection add one block more. Norms keep the numbers of
    a block near one, so that roundings pass through it without growing.
    """
    return 10 * width * (layers + 1)
