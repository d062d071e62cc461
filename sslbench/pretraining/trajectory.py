"""Keeps the backbone as it is after some epochs, for the protocols that follow training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sslbench.backbones.base import Backbone
from sslbench.core import artifacts, trajectory_file
from sslbench.core.errors import UserError


@dataclass(frozen=True)
class Trajectory:
    """Collects the weights of epochs, and makes one file of them at the end.

    Attributes:
        scratch: where a kept epoch waits; a run that was killed finds it there.
        every: how often an epoch is kept; None for never.
        epochs: of the whole run. The last is the checkpoint itself and is not kept again.
    """

    scratch: Path
    every: int | None
    epochs: int

    @property
    def kept(self) -> list[int]:
        """The epochs that are kept, counted from 1."""
        return [] if self.every is None else list(range(self.every, self.epochs, self.every))

    def keep(self, epoch: int, backbone: Backbone) -> None:
        """Keep the backbone as it is after an epoch, counted from 1."""
        artifacts.write_tensors(self._path(epoch), backbone.state_dict())

    def write(self, out: Path, *, is_trained: bool) -> Path:
        """Write the file of all kept epochs into a checkpoint's folder and return it.

        Args:
            out: the folder.
            is_trained: False for a method without epochs.

        Raises:
            UserError: a kept epoch is gone or damaged.
        """
        epochs = self.kept if is_trained else []
        path = out / trajectory_file.NAME
        try:
            weights = {epoch: artifacts.read_arrays(self._path(epoch)) for epoch in epochs}
        except UserError as error:
            # The state that a run resumes from lies beyond that epoch: it would not come again.
            mend = f"remove {self.scratch}, and run the stage again from its start"
            raise UserError(f"a kept epoch is lost ({error})", mend=mend) from None
        trajectory_file.write(path, weights, self.every)
        return path

    def _path(self, epoch: int) -> Path:
        return self.scratch / f"epoch{epoch}.safetensors"
