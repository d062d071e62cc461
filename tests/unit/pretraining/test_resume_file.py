"""A resume file is taken whole or not at all."""

import random

import torch
from torch import nn

from sslbench.pretraining import checkpoint

HISTORY = [{"epoch": 0, "loss": 0.5}]


def trained(seed=0):
    torch.manual_seed(seed)
    method = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(method.parameters())
    method(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    return method, {"main": optimizer}


def saved(folder):
    method, optimizers = trained()
    checkpoint.save(folder, 0, method, optimizers, HISTORY)
    return method, folder / checkpoint.STATE


def test_a_whole_file_is_resumed_from(tmp_path):
    method, _ = saved(tmp_path)
    fresh, optimizers = trained(seed=1)
    assert checkpoint.restore(tmp_path, fresh, optimizers) == (1, HISTORY)
    assert all(
        torch.equal(a, b) for a, b in zip(method.parameters(), fresh.parameters(), strict=True)
    )


def test_a_changed_bit_anywhere_starts_over_and_changes_nothing(tmp_path, capsys):
    _, path = saved(tmp_path)
    whole = path.read_bytes()
    draws = random.Random(0)
    for place in [0, 7, 8, len(whole) - 1, *draws.sample(range(len(whole)), 60)]:
        content = bytearray(whole)
        content[place] ^= 1 << draws.randrange(7)
        path.write_bytes(content)
        fresh, optimizers = trained(seed=1)
        before = [value.clone() for value in fresh.state_dict().values()]
        assert checkpoint.restore(tmp_path, fresh, optimizers) == (0, []), place
        assert all(
            torch.equal(a, b) for a, b in zip(before, fresh.state_dict().values(), strict=True)
        )
        assert not path.exists(), "it is not stumbled over again"
    assert "damaged; training starts over" in capsys.readouterr().err


def test_a_file_cut_short_anywhere_starts_over(tmp_path):
    _, path = saved(tmp_path)
    whole = path.read_bytes()
    for length in (0, 5, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert checkpoint.restore(tmp_path, *trained(seed=1)) == (0, [])
