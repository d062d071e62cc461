"""A queue holds the newest rows, wraps row by row, and is saved."""

from __future__ import annotations

import pytest
import torch

from sslbench.methods.parts.queue import Queue


def held(queue: Queue) -> list[float]:
    return sorted(queue.rows[:, 0].tolist())


def push(queue: Queue, start: int, count: int) -> None:
    queue.push(torch.arange(start, start + count).float()[:, None].expand(-1, 2))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 7])
def test_the_last_rows_are_held_whatever_the_batch(batch: int) -> None:
    queue = Queue(5, 2)
    for start in range(0, 10 * batch, batch):
        push(queue, start, batch)
    assert held(queue) == [10 * batch - 5 + offset for offset in range(5)]


def test_the_oldest_row_goes_first() -> None:
    queue = Queue(4, 2)
    for start in range(6):
        push(queue, start, 1)
    assert queue.rows[:, 0].tolist() == [4, 5, 2, 3]


def test_rows_and_place_survive_a_resume_and_carry_no_gradient() -> None:
    queue, fresh = Queue(5, 2), Queue(5, 2)
    queue.push(torch.ones(3, 2, requires_grad=True) * 9)
    fresh.load_state_dict(queue.state_dict())
    for one in (queue, fresh):
        push(one, 0, 4)
        assert not one.rows.requires_grad
    assert torch.equal(queue.rows, fresh.rows)
