"""The paper's own nets and their published ImageNet weights (docs/imagenet.md).

nets.py builds SqueezeNet v1.0 and v1.1 from the chapter's fire module; weights.py reads the weight
files. This module imports neither TensorFlow nor numpy, so that `--help` can list the names fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from data.download import PublishedFile

# Photos for these nets are stored as squares of 256 x 256 pixels; the nets see crops of 224 x 224.
ORIGINAL_DIM, RESIZE_DIM = 256, 224

TERMS = (
    "ImageNet grants researchers and educators access to its images for non-commercial research "
    "and educational purposes only (image-net.org/download). Whether and how these terms extend "
    "to weights trained on the images is between ImageNet and whoever uses them."
)
MEAN_AND_STD = (
    "RGB values are scaled to 0..1, then mean (0.485, 0.456, 0.406) is subtracted and the result "
    "divided by (0.229, 0.224, 0.225)"
)


class PublishedWeights(NamedTuple):
    """Weights for 1,000 ImageNet classes, as published by their authors.

    Attributes:
      net: the name of the net that they fit, "squeezenet1_0" or "squeezenet1_1".
      file: the file to download.
      member: the file inside, if it is a zip archive; otherwise None.
      member_hash: SHA-1 of the member, hexadecimal; None without one.
      resize_dim: side in pixels of the crop that the weights were published for.
      source: who made them, and where they are described.
      license: of the weights.
      accuracy: top-1 and who measured it, as text.
      preprocessing: the input that the published values expect, as text.
    """

    net: str
    file: PublishedFile
    member: str | None
    member_hash: str | None
    resize_dim: int
    source: str
    license: str
    accuracy: str
    preprocessing: str


def tensorflowcv(net: str, release: str, member: str, sha1: str, top1: str) -> PublishedWeights:
    """A file of the collection tensorflowcv; the hash is the one that its own code checks."""
    url = f"https://github.com/osmr/imgclsmob/releases/download/{release}/{member}.zip"
    return PublishedWeights(
        net=net,
        file=PublishedFile(url, size=None, hashes={}),
        member=member,
        member_hash=sha1,
        resize_dim=RESIZE_DIM,
        source="O. Sémery, tensorflowcv (github.com/osmr/imgclsmob)",
        license="MIT",
        accuracy=f"top-1 {top1} on ImageNet's 50,000 validation images, according to its publisher",
        preprocessing=MEAN_AND_STD,
    )


PUBLISHED = {
    "squeezenet1_1": tensorflowcv(
        net="squeezenet1_1",
        release="v0.0.88",
        member="squeezenet_v1_1-1739-48945577.tf.npz",
        sha1="489455774b03affca336326665a031c380fd0068",
        top1="60.86%",
    ),
    "squeezenet1_0": tensorflowcv(
        net="squeezenet1_0",
        release="v0.0.128",
        member="squeezenet_v1_0-1758-fc6384ff.tf.npz",
        sha1="fc6384ff0f1294079721c28aef47ffa77265dc77",
        top1="60.82%",
    ),
    "squeezenet1_0_compressed": PublishedWeights(
        net="squeezenet1_0",
        file=PublishedFile(
            url="https://github.com/songhan/SqueezeNet-Deep-Compression/raw/master/"
            "compressed_SqueezeNet.net",
            size=675_763,
            hashes={"sha256": "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261"},
        ),
        member=None,
        member_hash=None,
        resize_dim=227,
        source="S. Han and others, the paper's compressed model "
        "(github.com/songhan/SqueezeNet-Deep-Compression)",
        license="BSD 2-Clause",
        accuracy="top-1 57.5% on ImageNet's validation images, according to the paper (table 2)",
        preprocessing="as published, BGR values of 0..255 minus (104, 117, 123); here this is "
        f"folded into conv1, so that the net takes the same input as the other two: {MEAN_AND_STD}",
    ),
}


def class_names() -> list[str]:
    """ImageNet's 1,000 classes in the order of the nets' outputs; no name occurs twice."""
    path = Path(__file__).with_name("categories.txt")
    return path.read_text(encoding="utf-8").splitlines()
