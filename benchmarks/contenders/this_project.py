"""This project: the unmodified command `train.py --dataset cifar10`, held after each step.

Arguments: folder of the images; then more flags for train.py.
"""

import sys
import tempfile

import train
from benchmarks.contenders.turns import Turns
from training import runtime


def main() -> None:
    """Trains until it is stopped, in a temporary folder."""
    turns = Turns()
    runtime.load_tensorflow_quietly()
    from reporting import progress

    class TurnTakingBar(progress.TrainingBar):
        def stepped(self, values, images_per_second):
            super().stepped(values, images_per_second)
            turns.step_done()

    progress.TrainingBar = TurnTakingBar
    data_dir, *flags = sys.argv[1:]
    with tempfile.TemporaryDirectory() as run_dir:
        train.main(["--dataset", "cifar10", "--data_dir", data_dir, "--run_dir", run_dir, *flags])


if __name__ == "__main__":
    main()
