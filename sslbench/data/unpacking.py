"""Archives that a library unpacks for us."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def inside_its_folder() -> Iterator[None]:
    """Let no tar file write, or link, outside of the folder that it is unpacked into.

    torchvision knows no hash of FGVC-Aircraft's, so that any file of its name is unpacked. This is
    Python's rule for archives of unknown origin, set as its documentation says where a library
    calls `extractall`; zip files are held to it anyway.
    """
    before = getattr(tarfile.TarFile, "extraction_filter", None)
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
