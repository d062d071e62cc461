"""The queue: first in, first out, exact where it wraps, kept through a save."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from torch.nn.functional import normalize

from sslbench.core import artifacts
from sslbench.methods.parts.queue import Queue


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def in_order(queue: Queue) -> torch.Tensor:
    """Return the rows from the oldest to the newest."""
    return queue.rows.roll(-int(queue.num_pushed % len(queue.rows)), dims=0)


@pytest.mark.parametrize(("size", "batch"), [(8, 4), (10, 4), (7, 3), (4, 4), (5, 12), (6, 1)])
def test_it_holds_what_a_plain_fifo_holds_at_any_size(size: int, batch: int) -> None:
    torch.manual_seed(0)
    queue = Queue(size, 3)
    plain = deque(queue.rows.clone(), maxlen=size)
    for step in range(6):
        pushed = rows(batch, seed=step)
        queue.push(10 * pushed)
        plain.extend(normalize(pushed, dim=1))
        assert torch.allclose(in_order(queue), torch.stack(list(plain)), atol=1e-6)


def test_it_begins_as_random_unit_rows_and_says_how_many_are_left() -> None:
    queue = Queue(10, 3)
    assert torch.allclose(queue.rows.norm(dim=1), torch.ones(10))
    assert float(queue.noise_share()) == 1.0
    noise = {tuple(row) for row in queue.rows.tolist()}
    shares = []
    for step in range(3):
        queue.push(rows(4, seed=step))
        shares.append(float(queue.noise_share()))
        left = sum(tuple(row) in noise for row in queue.rows.tolist())
        assert left == round(10 * shares[-1])
    assert shares == pytest.approx([0.6, 0.2, 0.0])


def test_rows_and_place_survive_a_save(tmp_path) -> None:
    queue, fresh = Queue(5, 3), Queue(5, 3)
    queue.push(rows(3))
    artifacts.write_tensors(tmp_path / "queue", queue.state_dict())
    fresh.load_state_dict(artifacts.read_tensors(tmp_path / "queue"))
    for one in (queue, fresh):
        one.push(rows(4, seed=1))
    assert torch.equal(fresh.rows, queue.rows)
    assert torch.equal(fresh.num_pushed, queue.num_pushed)


def test_a_loss_keeps_the_rows_that_it_used() -> None:
    queue = Queue(4, 3)
    queries = rows(2).requires_grad_()
    expected = queue.rows.sum(dim=0).expand(2, 3).clone()
    loss = (queries @ queue.rows.T).sum()
    queue.push(queries)
    loss.backward()
    assert torch.allclose(queries.grad, expected)
    assert not queue.rows.requires_grad


def test_half_precision_rows_are_stored_in_float32() -> None:
    queue = Queue(2, 3)
    queue.push(rows(1).bfloat16())
    assert queue.rows.dtype == torch.float32
    assert float(queue.rows[0].norm()) == pytest.approx(1.0, abs=1e-6)
