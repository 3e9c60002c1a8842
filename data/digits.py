"""Handwritten digits without a download: scikit-learn's copy of 1,797 scanned 8 x 8 digits.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998), the part
that scikit-learn ships (`sklearn.datasets.load_digits`).
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from data import Dataset, Split


def load(data_dir: Path | None = None, may_download: bool = True) -> Dataset:
    """1,500 train and 297 test images of 32 x 32, gray in three channels; a stratified split, the
    same every time. They come with scikit-learn, so the arguments are not used.
    """
    digits = load_digits()
    gray = np.round(digits.images * (255 / 16)).astype(np.uint8)  # stored as 0..16
    # Enlarged to 24 x 24, the size that the net sees, and padded so that random crops shift it.
    padded = np.pad(gray.repeat(3, axis=1).repeat(3, axis=2), [(0, 0), (4, 4), (4, 4)])
    train_records, test_records, train_labels, test_labels = train_test_split(
        np.tile(padded.reshape(len(padded), -1), 3),
        digits.target.astype(np.int32),
        test_size=297,
        stratify=digits.target,
        random_state=0,
    )
    return Dataset(
        name="digits",
        train=Split(train_records, train_labels),
        test=Split(test_records, test_labels),
        class_names=tuple("0123456789"),
        original_dim=32,
        resize_dim=24,
        mirrored=False,
    )
