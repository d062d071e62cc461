"""Optimisers from a recipe: the fused kernels do what the plain loops do."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from sslbench.core.errors import UserError
from sslbench.pretraining import optimizers
from sslbench.pretraining.settings import OptimizerSettings
from tests.contract import harness

BETAS = (0.9, 0.95)
PLAIN = {
    "sgd": lambda groups: SGD(groups, momentum=0.9, nesterov=True, fused=False, foreach=False),
    "adam": lambda groups: Adam(groups, betas=BETAS, fused=False, foreach=False),
    "adamw": lambda groups: AdamW(groups, betas=BETAS, fused=False, foreach=False),
}


def settings(name, **changes):
    values = {"learning_rate": 0.01, "weight_decay": 0.1, "momentum": 0.9, "betas": BETAS}
    return OptimizerSettings(name=name, **(values | changes))


def trained(make):
    """Train a method's parameters on fixed gradients with an optimiser; return them."""
    method = harness.build_method("simclr")
    optimizer = make(method)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for parameter in method.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return nn.utils.parameters_to_vector(method.parameters())


@pytest.mark.parametrize("name", PLAIN)
def test_fused_steps_equal_plain_ones(name):
    def fused(method):
        return optimizers.build(method, settings(name))["main"]

    def plain(method):
        groups = [
            {"params": group["params"], "lr": group["lr"], "weight_decay": group["weight_decay"]}
            for group in fused(method).param_groups
        ]
        return PLAIN[name](groups)

    torch.testing.assert_close(trained(fused), trained(plain), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("name", "missing"), [("adamw", "betas"), ("sgd", "momentum")])
def test_a_recipe_that_lacks_a_number_names_it(name, missing):
    with pytest.raises(UserError, match=f"{name} needs {missing}"):
        optimizers.build(harness.build_method("simclr"), settings(name, **{missing: None}))


def test_the_schedule_moves_the_groups_that_follow_it():
    optimizer = optimizers.build(harness.build_method("simsiam"), settings("sgd"))["main"]
    optimizers.set_learning_rate(optimizer, 0.25)
    rates = {group["is_scheduled"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {True: pytest.approx(0.0025), False: pytest.approx(0.01)}
