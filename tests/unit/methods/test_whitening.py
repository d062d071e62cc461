"""PCA-whitening against the singular value decomposition."""

from __future__ import annotations

import torch

from sslbench.methods.parts.whitening import pca_whiten


def rows(count: int = 200, dim: int = 6) -> torch.Tensor:
    stream = torch.Generator().manual_seed(0)
    mixing = torch.randn(dim, dim, generator=stream)
    return torch.randn(count, dim, generator=stream) @ mixing + 3.0


def test_axes_have_mean_0_variance_1_and_no_correlation() -> None:
    white = pca_whiten(rows(), 4)
    assert torch.allclose(white.mean(dim=0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(white.T @ white / 200, torch.eye(4), atol=1e-5)


def test_axes_are_those_of_largest_variance() -> None:
    """Inner products are those of the left singular vectors, whatever the signs."""
    centred = rows().double() - rows().double().mean(dim=0)
    left = torch.linalg.svd(centred, full_matrices=False).U[:, :4]
    white = pca_whiten(rows(), 4).double()
    assert torch.allclose(white @ white.T, 200 * left @ left.T, atol=1e-4)


def test_axes_without_variance_become_0() -> None:
    flat = rows()
    flat[:, 2] = flat[:, 1]
    white = pca_whiten(flat, 6)
    assert torch.isfinite(white).all()
    variances = white.var(dim=0, unbiased=False)
    assert torch.allclose(variances, torch.tensor([0.0, 1, 1, 1, 1, 1]), atol=1e-4)
    assert not pca_whiten(torch.ones(5, 3), 2).any()
