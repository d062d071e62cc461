"""Whether a lock is what is installed here, and what is done where it is not."""

from importlib import metadata

import pytest

from sslbench.commands import _environment
from sslbench.core.errors import UserError


def lock_in(folder, *lines):
    (folder / "requirements.lock").write_text("# exactly\n" + "\n".join(lines) + "\n")
    return folder


def test_the_same_packages_need_no_other_python(tmp_path):
    folder = lock_in(tmp_path, f"numpy=={metadata.version('numpy')}")
    assert _environment.python_for(folder, install=True) == _environment.PYTHON


def test_other_packages_are_told_one_by_one(tmp_path):
    folder = lock_in(tmp_path, "numpy==0.1", "nowhere-to-be-found==2.0")
    told = _environment.differences(folder / "requirements.lock")
    here = metadata.version("numpy")
    assert told == [f"numpy 0.1, here {here}", "nowhere-to-be-found 2.0, here none"]


def test_without_installing_it_goes_on_here_and_says_so(tmp_path, capsys):
    folder = lock_in(tmp_path, "numpy==0.1")
    assert _environment.python_for(folder, install=False) == _environment.PYTHON
    assert "1 differ: numpy 0.1" in capsys.readouterr().out


def test_packages_are_installed_into_the_copy(tmp_path, monkeypatch):
    """From nowhere, so that it fails; but in the copy's own Python."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder = lock_in(tmp_path, "nowhere-to-be-found==2.0")
    with pytest.raises(UserError, match="cannot install the recorded packages"):
        _environment.python_for(folder, install=True)
    assert (folder / ".venv/bin/python").exists()
