"""Permutation sets: distinct, the same at each call, and as far apart as the greedy rule gets."""

from __future__ import annotations

import itertools

import pytest
import torch

from sslbench.methods.parts.permutations import hamming_permutations


def distances(permutations: torch.Tensor) -> torch.Tensor:
    """Hamming distances of all pairs."""
    table = (permutations[:, None] != permutations[None]).sum(dim=2)
    first, second = torch.triu_indices(len(table), len(table), offset=1)
    return table[first, second]


@pytest.mark.parametrize(("num_tiles", "count"), [(4, 24), (9, 30), (2, 2)])
def test_they_are_distinct_permutations(num_tiles: int, count: int) -> None:
    found = hamming_permutations(num_tiles, count)
    assert found.shape == (count, num_tiles)
    assert torch.equal(found.sort(dim=1).values, torch.arange(num_tiles).expand(count, -1))
    assert len({tuple(row) for row in found.tolist()}) == count


def test_all_of_four_tiles() -> None:
    found = distances(hamming_permutations(4, 24))
    assert int(found.min()) == 2
    assert float(found.float().mean()) == pytest.approx(3.13, abs=0.005)


@pytest.mark.parametrize(("count", "least", "mean"), [(30, 7, None), (100, 6, 8.08)])
def test_figures_measured_for_nine_tiles(count: int, least: int, mean: float | None) -> None:
    found = distances(hamming_permutations(9, count))
    assert int(found.min()) >= least
    if mean is not None:
        assert float(found.float().mean()) == pytest.approx(mean, abs=0.02)


def test_each_one_is_the_farthest_from_those_before_it() -> None:
    """The rule restated by brute force, whatever the order among equals."""
    found = [tuple(row) for row in hamming_permutations(5, 12).tolist()]

    def score(candidate: tuple[int, ...], chosen: list[tuple[int, ...]]) -> tuple[int, int]:
        apart = [sum(a != b for a, b in zip(candidate, one, strict=True)) for one in chosen]
        return min(apart), sum(apart)

    for position in range(1, len(found)):
        chosen = found[:position]
        best = max(score(each, chosen) for each in itertools.permutations(range(5)))
        assert score(found[position], chosen) == best


def test_the_set_is_the_same_at_every_call_and_draws_nothing() -> None:
    before = torch.get_rng_state()
    first = hamming_permutations.__wrapped__(4, 10)
    assert torch.equal(first, hamming_permutations.__wrapped__(4, 10))
    assert torch.equal(before, torch.get_rng_state())


def test_a_smaller_set_is_the_start_of_a_larger_one() -> None:
    assert torch.equal(hamming_permutations(9, 100)[:30], hamming_permutations(9, 30))
