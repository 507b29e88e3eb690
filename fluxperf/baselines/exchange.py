"""One directory in the place of another in one step, so that whoever looks finds either and never none."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

_ASIDE = ".earlier"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What kernels and file systems say that cannot do it, network file systems above all (renameat2(2)).
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP)


def put_in_place(new: Path, place: Path) -> Path | None:
    """Makes `new` the directory at `place`; returns where the one that was there is now, None if there was none.

    Where the file system cannot swap two directories there is none at `place` for an instant; after a crash in it
    `recover` finds the earlier one. Raises OSError.
    """
    if not place.exists():
        new.rename(place)
        return None
    if _swap(new, place):
        return new
    aside = new.with_name(f".{place.name}{_ASIDE}")
    shutil.rmtree(aside, ignore_errors=True)
    place.rename(aside)
    try:
        new.rename(place)
    except OSError:
        aside.rename(place)
        raise
    return aside


def recover(folder: Path) -> None:
    """Puts back what a crash has left aside in the folder. Raises OSError."""
    for aside in folder.glob(f".*{_ASIDE}"):
        place = aside.with_name(aside.name.removesuffix(_ASIDE)[1:])
        if place.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(place)


def _swap(one: Path, other: Path) -> bool:
    """Exchanges the names of two directories; False: that cannot be done here. Raises OSError."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library without it
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(other))
