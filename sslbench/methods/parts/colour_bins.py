"""Colour as classes: the ab plane of Lab in square cells, and what two colour methods share."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.backbones.colour_space import rgb_to_lab
from sslbench.backbones.lab_resnet import LabResNet
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo
from sslbench.views.policy import View

_LEVELS = 256  # of a channel in images of bytes
# Of the annealed mean (arXiv 1603.08511, section 2.3); it decodes for a health figure only.
_TEMPERATURE = 0.38


class ColourBins(nn.Module):
    """The cells of a grid over ab that some sRGB colour falls into, and codes over them.

    Attributes:
        centres: (num_bins, 2) ab of each cell's middle, a multiple of the cell's side.
    """

    centres: Tensor

    def __init__(self, bin_size: float) -> None:
        super().__init__()
        self.register_buffer("centres", torch.tensor(cells_in_gamut(bin_size)))

    def __len__(self) -> int:
        """Return the number of bins."""
        return len(self.centres)

    def hard_codes(self, ab: Tensor) -> Tensor:
        """Return the nearest bin (rows,) of colours (rows, 2)."""
        return self._distances(ab).argmin(dim=1)

    def soft_codes(self, ab: Tensor, neighbours: int, sigma: float) -> Tensor:
        """Return distributions (rows, num_bins): a Gaussian over the nearest bins of each colour.

        Source: Zhang et al. 2016, https://arxiv.org/abs/1603.08511, section 2.2.

        Args:
            ab: (rows, 2).
            neighbours: bins that get a share.
            sigma: of the Gaussian, in units of ab.
        """
        distances, bins = self._distances(ab).topk(neighbours, dim=1, largest=False)
        shares = torch.softmax(-distances.square() / (2 * sigma**2), dim=1)
        return ab.new_zeros(len(ab), len(self)).scatter(1, bins, shares)

    def decode(self, logits: Tensor, temperature: float = _TEMPERATURE) -> Tensor:
        """Return ab (rows, 2): the mean colour of logits (rows, num_bins) sharpened first.

        The annealed mean of the same paper, eq. 5; 1 is the mean, towards 0 the mode.
        """
        return torch.softmax(logits.float() / temperature, dim=1) @ self.centres

    def _distances(self, ab: Tensor) -> Tensor:
        # Exact: through a matrix product, distances near zero would lose their digits.
        mode = "donot_use_mm_for_euclid_dist"
        return torch.cdist(ab, self.centres.to(ab.dtype), compute_mode=mode)


@cache
def cells_in_gamut(bin_size: float) -> tuple[tuple[float, float], ...]:
    """Return the middles of the cells that a colour of the RGB cube rounds to, in order.

    The cube's surface is enough: along a line of equal ab the gamut ends on it.
    """
    ab = rgb_to_lab(_cube_surface())[0, 1:].flatten(1).T  # (colours, 2)
    cells = torch.unique((ab / bin_size).round(), dim=0) * bin_size
    return tuple((float(a), float(b)) for a, b in cells)


def _cube_surface() -> Tensor:
    """Return the colours of the RGB cube's six faces as one image (1, 3, 6 * levels, levels)."""
    level = torch.linspace(0, 1, _LEVELS, dtype=torch.float64)
    first, second = torch.meshgrid(level, level, indexing="ij")
    faces = []
    for axis in range(3):
        for end in (0.0, 1.0):
            channels = [first, second]
            channels.insert(axis, torch.full_like(first, end))
            faces.append(torch.stack(channels))
    return torch.cat(faces, dim=1)[None]


def by_position(maps: Tensor) -> Tensor:
    """Return maps (batch, channel, height, width) as rows (batch * height * width, channel)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def lab_backbone(backbone: Backbone, sees: str, data: DataInfo, method: str) -> LabResNet:
    """Return the backbone, told by what images are normalised.

    Raises:
        UserError: it does not see the part of a colour that the method shows it.
    """
    if not isinstance(backbone, LabResNet) or backbone.sees != sees:
        mend = f"set recipes.{method}.backbone to {{family: lab_resnet, sees: {sees}, ...}}"
        raise UserError("needs a backbone that sees Lab", where=method, mend=mend)
    backbone.set_normalisation(data.mean, data.std)
    return backbone


def refuse_changed_colours(views: Iterable[View], method: str) -> None:
    """Refuse views that change the very colours to be predicted.

    Raises:
        ValueError: a view jitters, greys or solarises.
    """
    if any(view.jitter is not None or view.grey or view.solarise for view in views):
        raise ValueError(f"the views of {method} must keep colours: no jitter, grey or solarise")
