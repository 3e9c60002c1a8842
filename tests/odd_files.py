"""Files that must not be read: reading them would never end, or fill the memory."""

import os

import pytest

of_all_kinds = pytest.mark.parametrize(
    "make_odd",
    [
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.mkdir(),
        lambda path: (path.touch(), os.truncate(path, 1 << 40)),  # takes no space
    ],
    ids=["pipe", "device", "link to itself", "folder", "terabyte"],
)
