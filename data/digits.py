"""Handwritten digits without a download: scikit-learn's copy of 1,797 scanned 8 x 8 digits.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998), the part
that scikit-learn ships (`sklearn.datasets.load_digits`).
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from data import Dataset, Split

SCALE = 3  # 8 x 8 is enlarged to 24 x 24, the size that the net sees ...
BORDER = 4  # ... and padded to CIFAR-10's 32 x 32, so that random crops shift the digit
TEST_SIZE = 297  # leaves 1,500 to train on


def load(data_dir: Path | None = None, may_download: bool = True) -> Dataset:
    """The digits in CIFAR-10's record layout, gray copied to three channels.

    The images come with scikit-learn, so the arguments are not used.

    Returns:
      1,500 train and 297 test images of 32 x 32, the same stratified split every time.
    """
    digits = load_digits()
    gray = np.round(digits.images * (255 / 16)).astype(np.uint8)  # stored as 0..16
    drawn = gray.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    padded = np.pad(drawn, [(0, 0), (BORDER, BORDER), (BORDER, BORDER)])
    records = np.tile(padded.reshape(len(padded), -1), 3)
    labels = digits.target.astype(np.int32)
    train_records, test_records, train_labels, test_labels = train_test_split(
        records, labels, test_size=TEST_SIZE, stratify=labels, random_state=0
    )
    return Dataset(
        name="digits",
        train=Split(train_records, train_labels),
        test=Split(test_records, test_labels),
        class_names=tuple(str(name) for name in digits.target_names),
        original_dim=32,
        resize_dim=24,
        mirrored=False,
    )
