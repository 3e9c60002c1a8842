"""The same nets in PyTorch, channels last."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy, group_norm

from benchmarks.contenders.process import PARAMETERS, Runner

DIM, CLASSES = 224, 1000  # of v1.1


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


def build(parameters: int, *layers: nn.Module) -> nn.Module:
    """A net of these layers and the end of both nets, with so many parameters."""
    end = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net = nn.Sequential(*layers, *end).to(memory_format=torch.channels_last)
    assert sum(weights.numel() for weights in net.parameters()) == parameters
    return net


def chapter_net() -> nn.Module:
    """The chapter's net for ten classes."""
    return build(
        PARAMETERS,
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(Fire(64, 32, 64), Fire(128, 32, 64), nn.MaxPool2d(2)),
        *(Fire(128, 32, 128), Fire(256, 32, 128), nn.Dropout(0.5), nn.Conv2d(256, 10, 1)),
    )


def v1_1() -> nn.Module:
    """The authors' v1.1."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return build(
        1_235_496,
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), pool),
        *(Fire(64, 16, 64), Fire(128, 16, 64), pool),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
        *(nn.Dropout(0.5), nn.Conv2d(512, CLASSES, 1)),
    )


def train(runner: Runner) -> float:
    """Adam with PyTorch's own one-cycle schedule; returns the accuracy."""
    torch.manual_seed(runner.job.seed)
    net, rate = chapter_net(), runner.job.learning_rate
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, runner.total_steps)

    def logits_of(crops):
        inputs = torch.from_numpy(crops).contiguous(memory_format=torch.channels_last)
        return forward(group_norm(inputs, 1)).float()  # tf.image.per_image_standardization

    if "compiled" in runner.job.options:
        net.compile()
    forward = in_precision(net, runner)
    for crops, labels in runner.batches():
        optimizer.zero_grad()
        cross_entropy(logits_of(crops), torch.from_numpy(labels).long()).backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.inference_mode():
        return runner.accuracy(lambda crops: logits_of(crops).numpy())


def train_v1_1(runner: Runner) -> None:
    """Adam on all layers, on a batch in memory."""
    net, images = v1_1(), random_images(runner.job.batch_size)
    labels = torch.randint(CLASSES, [len(images)])
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-4, fused=True)
    forward = in_precision(net, runner)
    for _ in runner.steps():
        optimizer.zero_grad()
        cross_entropy(forward(images).float(), labels).backward()
        optimizer.step()


def classify_v1_1(runner: Runner) -> None:
    """The forward pass of single images on one thread."""
    torch.set_num_threads(1)
    classify, image = in_precision(v1_1().eval(), runner), random_images(1)
    with torch.inference_mode():
        for _ in runner.steps():
            classify(image)


def in_precision(net: nn.Module, runner: Runner) -> Callable[[torch.Tensor], torch.Tensor]:
    """The forward pass, in PyTorch's own mixed precision if the job asks for bfloat16."""
    is_bfloat16 = "bfloat16" in runner.job.options
    return torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16)(net)


def random_images(count: int) -> torch.Tensor:
    """Standardized images for v1.1."""
    return torch.randn(count, 3, DIM, DIM).contiguous(memory_format=torch.channels_last)
