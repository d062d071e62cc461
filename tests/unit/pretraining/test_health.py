import math

import pytest
import torch

from sslbench.core.errors import UserError
from sslbench.pretraining import health


def test_random_directions_have_spread_one_and_full_rank():
    features = torch.randn(4096, 32, generator=torch.Generator().manual_seed(0))
    assert health.measure(features)["feature_std"] == pytest.approx(1, abs=0.02)
    assert health.effective_rank(features) == pytest.approx(32, rel=0.01)


def test_collapsed_features_have_no_spread_and_rank_one():
    features = torch.ones(64, 32)
    assert health.measure(features)["feature_std"] == pytest.approx(0, abs=1e-5)
    assert health.effective_rank(features) == pytest.approx(1, abs=1e-3)


def test_effective_rank_is_exp_entropy_of_singular_values():
    features = torch.diag(torch.tensor([3.0, 1.0]))
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert health.effective_rank(features) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_loss_names_its_step_and_a_mend(bad):
    losses = torch.tensor([1.0, 1.0, bad, 1.0])
    with pytest.raises(UserError, match=r"pretrain byol: the loss became \w+ at step 12; lower"):
        health.refuse_non_finite(losses, 10, "byol")
    health.refuse_non_finite(losses[:2], 10, "byol")


def test_collapse_is_said_aloud_and_health_is_not():
    assert health.collapse_warning({"feature_std": 0.9, "effective_rank": 20.0}, "byol", 3) is None
    text = health.collapse_warning({"feature_std": 0.01, "effective_rank": 1.1}, "byol", 3)
    assert "pretrain byol: features look collapsed after epoch 3" in text
