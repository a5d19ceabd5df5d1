import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from vialign.contrastive import contrastive_loss


def test_contrastive_loss_equals_numpy_and_its_gradient_is_right():
    rng = np.random.default_rng(0)
    logits, weights = rng.normal(size=(5, 5)) * 3, rng.uniform(0.5, 2, size=5)
    to_text, to_image = -np.diag(log_softmax(logits, axis=1)), -np.diag(log_softmax(logits, axis=0))
    expected = np.mean(weights * (to_text + to_image) / 2)
    tensor = torch.tensor(logits)
    assert float(contrastive_loss(tensor, torch.tensor(weights))) == pytest.approx(expected, abs=1e-12)
    assert float(contrastive_loss(tensor)) == pytest.approx(np.mean(to_text + to_image) / 2, abs=1e-12)
    assert torch.autograd.gradcheck(lambda x: contrastive_loss(x, torch.tensor(weights)), tensor.requires_grad_())
