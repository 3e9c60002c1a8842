"""SqueezeNet v1.1 at 224 pixels in PyTorch, channels last, on images already in memory.

Arguments: a folder, which is ignored; "train" for batches of 32, Adam and all layers, or "classify"
for one image at a time on one thread.
"""

import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.contenders.pytorch import Fire
from benchmarks.contenders.turns import SEED, Turns

BATCH_SIZE, DIM, CLASSES = 32, 224, 1000
PARAMETERS = 1_235_496


def build_net() -> nn.Module:
    """The authors' v1.1, layer by layer."""

    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    net = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), pool()),
        *(Fire(64, 16, 64), Fire(128, 16, 64), pool()),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool()),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
        *(nn.Dropout(0.5), nn.Conv2d(512, CLASSES, 1), nn.ReLU(inplace=True)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    if (count := sum(weights.numel() for weights in net.parameters())) != PARAMETERS:
        raise ValueError(f"the net has {count:,} parameters, not {PARAMETERS:,}")
    return net.to(memory_format=torch.channels_last)


def main() -> None:
    """Runs until it is stopped."""
    torch.manual_seed(SEED)
    net, is_training = build_net(), sys.argv[2] == "train"
    size = BATCH_SIZE if is_training else 1
    images = torch.randn(size, 3, DIM, DIM).contiguous(memory_format=torch.channels_last)
    turns = Turns(size)
    if not is_training:
        torch.set_num_threads(1)
        net.eval()
        with torch.inference_mode():
            while True:
                net(images)
                turns.step_done()
    labels = torch.randint(CLASSES, [size])
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-4, fused=True)
    while True:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(net(images), labels).backward()
        optimizer.step()
        turns.step_done()


if __name__ == "__main__":
    main()
