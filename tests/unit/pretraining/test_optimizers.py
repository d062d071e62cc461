"""Optimisers from a recipe: the fused kernels do what the plain loops do."""

import pytest
import torch
from torch.optim import SGD, Adam, AdamW

from sslbench.core.errors import UserError
from sslbench.pretraining import checkpoint, optimizers
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


def trained(make, layout):
    """Train a method's parameters on fixed gradients with an optimiser; return them."""
    method = harness.build_method("simclr").to(memory_format=layout)
    optimizer = make(method)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for parameter in method.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.grad = torch.empty_like(parameter).copy_(drawn)  # autograd's layout
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in method.parameters()])


LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


@LAYOUTS
@pytest.mark.parametrize("name", PLAIN)
def test_fused_steps_equal_plain_ones(name, layout):
    def fused(method):
        return optimizers.build(method, settings(name))["main"]

    def plain(method):
        groups = [
            {"params": group["params"], "lr": group["lr"], "weight_decay": group["weight_decay"]}
            for group in fused(method).param_groups
        ]
        return PLAIN[name](groups)

    torch.testing.assert_close(trained(fused, layout), trained(plain, layout), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("name", "missing"), [("adamw", "betas"), ("sgd", "momentum")])
def test_a_recipe_that_lacks_a_number_names_it(name, missing):
    with pytest.raises(UserError, match=f"{name} needs {missing}"):
        optimizers.build(harness.build_method("simclr"), settings(name, **{missing: None}))


def test_the_schedule_moves_the_groups_that_follow_it():
    optimizer = optimizers.build(harness.build_method("simsiam"), settings("sgd"))["main"]
    optimizers.set_learning_rate(optimizer, 0.25)
    rates = {group["is_scheduled"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {True: pytest.approx(0.0025), False: pytest.approx(0.01)}


@LAYOUTS
@pytest.mark.parametrize("name", PLAIN)
def test_a_restored_optimiser_goes_on_bit_for_bit(name, layout, tmp_path):
    """Fused kernels walk through memory: a moment laid out unlike its filter is scrambled."""

    def step(method, optimizer, seed):
        for position, parameter in enumerate(method.parameters()):
            stream = torch.Generator().manual_seed(1000 * seed + position)
            drawn = torch.randn(parameter.shape, generator=stream)
            parameter.grad = torch.empty_like(parameter).copy_(drawn)
        optimizer.step()

    def make(seed):
        method = harness.build_method("simclr", seed).to(memory_format=layout)
        return method, optimizers.build(method, settings(name))

    whole, whole_optimizers = make(0)
    step(whole, whole_optimizers["main"], 1)
    checkpoint.save(tmp_path, 0, whole, whole_optimizers, [])
    fresh, fresh_optimizers = make(1)
    checkpoint.restore(tmp_path, fresh, fresh_optimizers)
    for method, optimizer in ((whole, whole_optimizers["main"]), (fresh, fresh_optimizers["main"])):
        step(method, optimizer, 2)
    for old, new in zip(whole.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(old, new)
