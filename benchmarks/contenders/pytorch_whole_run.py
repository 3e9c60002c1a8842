"""A whole training of the net in PyTorch: Adam with torch's own one-cycle schedule."""

import itertools

import torch
from torch.nn.functional import cross_entropy

from benchmarks.contenders.pytorch import build_net, standardized
from benchmarks.contenders.turns import batches
from benchmarks.contenders.whole_run import answer, evaluation_batches, read_arguments


def main() -> None:
    """Trains, then prints the accuracy."""
    run = read_arguments()
    torch.manual_seed(run.seed)
    net = build_net().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.learning_rate, run.total_steps)

    def logits(crops):
        crops = torch.from_numpy(crops).contiguous(memory_format=torch.channels_last)
        return net(standardized(crops))

    for crops, labels in itertools.islice(batches(run.dataset, run.seed), run.total_steps):
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(logits(crops), torch.from_numpy(labels).long()).backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        correct = sum(
            (logits(crops).argmax(1).numpy() == labels).sum()
            for crops, labels in evaluation_batches(run.dataset)
        )
    answer(correct, run.dataset)


if __name__ == "__main__":
    main()
