"""The same net in PyTorch, channels last.

Arguments: folder of the images; "compile" for torch.compile, "eager" for none.
"""

import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.contenders.turns import Turns, batches, check_parameters, images


class Fire(nn.Module):
    """The chapter's fire module."""

    def __init__(self, channels: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[batch, channels, height, width] -> [batch, 2 * expand, height, width]."""
        squeezed = self.squeeze(inputs).relu()
        return torch.cat([self.expand1x1(squeezed).relu(), self.expand3x3(squeezed).relu()], 1)


def build_net() -> nn.Module:
    """The chapter's net for ten classes."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(Fire(64, 32, 64), Fire(128, 32, 64), nn.MaxPool2d(2)),
        *(Fire(128, 32, 128), Fire(256, 32, 128), nn.Dropout(0.5)),
        *(nn.Conv2d(256, 10, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def standardized(crops: torch.Tensor) -> torch.Tensor:
    """tf.image.per_image_standardization of [batch, 3, height, width]."""
    deviation = crops.std((1, 2, 3), correction=0, keepdim=True)
    smallest = crops[0].numel() ** -0.5
    return (crops - crops.mean((1, 2, 3), keepdim=True)) / deviation.clamp(min=smallest)


def main() -> None:
    """Trains until it is stopped."""
    turns = Turns()
    dataset = images()
    net = build_net().to(memory_format=torch.channels_last)
    check_parameters(sum(weights.numel() for weights in net.parameters()))
    optimizer = torch.optim.Adam(net.parameters(), fused=True)

    def loss_of(crops, labels):
        inputs = standardized(crops.contiguous(memory_format=torch.channels_last))
        return cross_entropy(net(inputs), labels)

    if sys.argv[2] == "compile":
        loss_of = torch.compile(loss_of)
    for crops, labels in batches(dataset):
        optimizer.zero_grad(set_to_none=True)
        loss_of(torch.from_numpy(crops), torch.from_numpy(labels).long()).backward()
        optimizer.step()
        turns.step_done()


if __name__ == "__main__":
    main()
