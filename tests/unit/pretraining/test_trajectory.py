"""Kept epochs: what training would have ended with, no trace in the run, whole after a kill."""

from __future__ import annotations

import shutil

import pytest
import torch

from sslbench.core import artifacts, trajectory_file
from sslbench.core.errors import UserError
from sslbench.evaluation.features.model import load_backbone
from sslbench.pretraining import loop
from sslbench.pretraining.trajectory import Trajectory
from tests.memory import peak_bytes
from tests.unit.pretraining import test_pretrain
from tests.unit.pretraining.test_pretrain import BUDGET, data, run

__all__ = ["data"]


@pytest.fixture
def pretrain(data, tmp_path, monkeypatch):
    """Return a function that pretrains under a changed budget and returns the folder."""

    def made(name, where, **budget):
        monkeypatch.setattr(test_pretrain, "BUDGET", {**BUDGET, **budget})
        run(name, data, tmp_path / where)
        return tmp_path / where

    return made


def weights(folder, epoch=None):
    return load_backbone(folder, epoch=epoch)[0].state_dict()


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("every", "epochs", "kept"), [(1, 4, [1, 2, 3]), (2, 5, [2, 4]), (2, 3, [2])]
)
def test_epochs_are_kept_as_often_as_asked_but_not_the_last(pretrain, every, epochs, kept):
    folder = pretrain("rotation", "out", epochs=epochs, keep_every_epochs=every)
    assert trajectory_file.epochs_of(folder / trajectory_file.NAME) == kept
    assert not (folder / "scratch").exists()


def test_keeping_leaves_training_as_it_was(pretrain):
    plain = pretrain("relative_patch", "plain", epochs=3)
    watched = pretrain("relative_patch", "watched", epochs=3, keep_every_epochs=1)
    for name in (artifacts.BACKBONE, artifacts.METHOD, artifacts.HISTORY):
        assert (plain / name).read_bytes() == (watched / name).read_bytes()
    kept = [weights(watched, 1), weights(watched, 2), weights(watched)]
    assert not same(kept[0], kept[1])
    assert not same(kept[1], kept[2])


@pytest.mark.parametrize("name", ["rotation", "byol", "relative_patch"])
def test_a_kept_epoch_is_the_backbone_that_the_run_had_then(name, pretrain, monkeypatch):
    """Also of a method whose backbone is changed at the end: its batch norms are measured again."""
    seen = []
    row = loop.Loop._row

    def spy(self, epoch, *rest):
        seen.append({k: v.clone() for k, v in self.method.evaluation_backbone.state_dict().items()})
        return row(self, epoch, *rest)

    monkeypatch.setattr(loop.Loop, "_row", spy)
    folder = pretrain(name, "out", epochs=2, keep_every_epochs=1)
    first = weights(folder, 1)
    learned = [key for key in first if "running" not in key and "num_batches" not in key]
    assert same({key: first[key] for key in learned}, seen[0])
    assert same(first, seen[0]) == (name != "relative_patch")


def test_a_killed_run_ends_with_the_same_file(pretrain, monkeypatch):
    whole = pretrain("rotation", "whole", epochs=4, keep_every_epochs=1, checkpoint_every_epochs=2)
    row = loop.Loop._row

    def killed(self, epoch, *rest):
        if epoch == 3:
            raise KeyboardInterrupt
        return row(self, epoch, *rest)

    budget = {"epochs": 4, "keep_every_epochs": 1, "checkpoint_every_epochs": 2}
    monkeypatch.setattr(loop.Loop, "_row", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain("rotation", "cut", **budget)
    monkeypatch.setattr(loop.Loop, "_row", row)
    resumed = pretrain("rotation", "cut", **budget)
    for name in (artifacts.BACKBONE, trajectory_file.NAME):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes()


def test_without_being_asked_nothing_is_kept_and_the_reader_says_how_to_ask(pretrain):
    path = pretrain("rotation", "out", epochs=2) / trajectory_file.NAME
    assert path.stat().st_size < 100
    with pytest.raises(UserError, match=r"no earlier epoch was kept.*keep_every_epochs"):
        trajectory_file.epochs_of(path)


def test_a_method_that_does_not_train_has_no_epochs(pretrain):
    folder = pretrain("random_init", "out", epochs=3, keep_every_epochs=1)
    assert trajectory_file.epochs_of(folder / trajectory_file.NAME) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "file not found"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "damaged file"),
        (
            lambda path: artifacts.write_tensors(
                path, {"first/w": torch.ones(1)}, {"keep_every_epochs": "1"}
            ),
            "without an epoch",
        ),
    ],
)
def test_a_damaged_file_is_refused(pretrain, spoil, message):
    path = pretrain("rotation", "out", epochs=2, keep_every_epochs=1) / trajectory_file.NAME
    spoil(path)
    with pytest.raises(UserError, match=message):
        trajectory_file.epochs_of(path)


@pytest.mark.parametrize("every", [0, -1, 3, 50])
def test_a_budget_that_would_keep_nothing_is_refused(pretrain, every):
    with pytest.raises(UserError, match="must be null, or at least 1 and below epochs"):
        pretrain("rotation", "out", epochs=3, keep_every_epochs=every)


def test_a_lost_epoch_says_what_to_remove(pretrain, tmp_path, monkeypatch):
    budget = {"epochs": 4, "keep_every_epochs": 1, "checkpoint_every_epochs": 2}
    write = trajectory_file.write
    monkeypatch.setattr(trajectory_file, "write", None)  # killed at the very end
    with pytest.raises(TypeError):
        pretrain("rotation", "cut", **budget)
    monkeypatch.setattr(trajectory_file, "write", write)
    scratch = tmp_path / "cut/scratch"
    (scratch / "epoch1.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=rf"a kept epoch is lost.*remove {scratch}"):
        pretrain("rotation", "cut", **budget)
    shutil.rmtree(scratch)
    folder = pretrain("rotation", "cut", **budget)
    assert trajectory_file.epochs_of(folder / trajectory_file.NAME) == [1, 2, 3]


def test_a_transformer_is_kept_too(pretrain):
    folder = pretrain("mae", "out", epochs=2, keep_every_epochs=1)
    assert not same(weights(folder, 1), weights(folder))


def test_many_epochs_are_written_without_being_held(tmp_path):
    """Six epochs of 16 MB each pass through a few MB: every array is a map of its own file."""
    trajectory = Trajectory(tmp_path, 1, 7)
    for epoch in trajectory.kept:
        trajectory.keep(epoch, torch.nn.Linear(2048, 2048))
    assert peak_bytes(lambda: trajectory.write(tmp_path / "out", is_trained=True)) < 40 * 2**20
