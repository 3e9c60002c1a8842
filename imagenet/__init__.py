"""The paper's own nets and their published ImageNet weights (docs/guide.md).

nets.py builds SqueezeNet v1.0 and v1.1 from the chapter's fire module; weights.py reads the weight
files. This module imports neither TensorFlow nor numpy, so that `--help` can list the names fast.
"""

from pathlib import Path
from typing import NamedTuple

from data.download import PublishedFile

# Published weights see the central 224 of 256 x 256 pixels. On your own photos the nets are trained
# on all of 288 x 288: more accurate, and the frozen layers' output can be computed once.
ORIGINAL_DIM, RESIZE_DIM, TRAINING_DIM = 256, 224, 288
DEFAULT_NET = "squeezenet"  # the chapter's
# Every net of this project, with the smallest crop that it can halve as often as it does.
SMALLEST_CROP = {DEFAULT_NET: 4, "squeezenet1_0": 21, "squeezenet1_1": 17}


class PublishedWeights(NamedTuple):
    """Weights for 1,000 ImageNet classes, as published by their authors."""

    net: str  # the name of the net that they fit
    file: PublishedFile  # the file to download
    resize_dim: int  # side in pixels of the crop that the weights were published for
    member: str = ""  # the file inside, if it is a zip archive
    sha1: str = ""  # of the member, hexadecimal


def tensorflowcv(net: str, release: str, member: str, sha1: str) -> PublishedWeights:
    """A file of O. Sémery's collection tensorflowcv (github.com/osmr/imgclsmob, MIT license); the
    hash is the one that its own code checks."""
    url = f"https://github.com/osmr/imgclsmob/releases/download/{release}/{member}.zip"
    return PublishedWeights(net, PublishedFile(url, None), RESIZE_DIM, member, sha1)


PUBLISHED = {
    # Top-1 60.86% and 60.82% on ImageNet's 50,000 validation images, according to the publisher.
    "squeezenet1_1": tensorflowcv(
        net="squeezenet1_1",
        release="v0.0.88",
        member="squeezenet_v1_1-1739-48945577.tf.npz",
        sha1="489455774b03affca336326665a031c380fd0068",
    ),
    "squeezenet1_0": tensorflowcv(
        net="squeezenet1_0",
        release="v0.0.128",
        member="squeezenet_v1_0-1758-fc6384ff.tf.npz",
        sha1="fc6384ff0f1294079721c28aef47ffa77265dc77",
    ),
    # S. Han and others, the paper's compressed model (BSD 2-Clause); top-1 57.5% (paper, table 2).
    "squeezenet1_0_compressed": PublishedWeights(
        net="squeezenet1_0",
        file=PublishedFile(
            "https://github.com/songhan/SqueezeNet-Deep-Compression/raw/master/"
            "compressed_SqueezeNet.net",
            "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",
        ),
        resize_dim=227,
    ),
}


def is_published(path: Path) -> bool:
    """Whether a path is no file or folder, but the name of published weights."""
    return str(path) in PUBLISHED and not path.exists()


def class_names() -> list[str]:
    """ImageNet's 1,000 classes in the order of the nets' outputs; no name occurs twice."""
    return Path(__file__).with_name("categories.txt").read_text("utf-8").splitlines()
