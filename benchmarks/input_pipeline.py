"""Measures the CPU time to prepare a training image: python -m benchmarks.input_pipeline

Compares, for random images of CIFAR-10's size and over all threads together, the chapter's
`image_preprocessing`, image by image through Dataset.map (A), with this project's pipeline and its
standardization (B), in alternation: A B A B.
"""

import statistics
import time
from functools import partial

import numpy as np

from data import Dataset, Split
from training.runtime import load_tensorflow_quietly

IMAGES = 50_000
BATCH_SIZE = 128
ROUNDS = 20
STEPS = 20  # per turn


def main() -> None:
    """Prints the medians of both, and their ratio."""
    load_tensorflow_quietly()
    from squeezenet_model import SqueezeNetModel, tf
    from training.input_pipeline import TrainingBatches, standardized
    from training.recipe import make_schedule
    from training.runtime import session_config

    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, [IMAGES, 3 * 32 * 32], np.uint8)
    split = Split(records, np.zeros(IMAGES, np.int32))
    dataset = Dataset(split, split, ("one", "other"), 32, 24, mirrored=True)
    model = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        one_by_one = tf.data.Dataset.from_tensor_slices(records).repeat()
        one_by_one = one_by_one.map(lambda record: model.image_preprocessing(record, True))
        chapter = tf.data.make_initializable_iterator(one_by_one.batch(BATCH_SIZE))
        ours = TrainingBatches(dataset, make_schedule(IMAGES, 1.0, batch_size=BATCH_SIZE))
        session.run(chapter.initializer)
        ours.start_at(session, 0)
        crops = ours.next_batch.crops
        inputs = {"chapter": chapter.get_next(), "ours": standardized(crops, model)}
        costs = {name: [] for name in inputs}
        for _ in range(ROUNDS + 1):
            for name, batch in inputs.items():
                costs[name].append(cpu_microseconds(partial(session.run, batch.op)))
    costs = {name: own[1:] for name, own in costs.items()}  # drops the first turn, a warm-up
    for name, own in costs.items():
        low, median, high = statistics.quantiles(own, n=4)
        print(f"{name:<8} {median:6.1f} us an image (half of the turns {low:.1f} to {high:.1f})")
    ratios = [a / b for a, b in zip(*costs.values(), strict=True)]
    print(f"ratio    {statistics.median(ratios):6.1f}")


def cpu_microseconds(step) -> float:
    """CPU time of this process per image, over several steps."""
    started = time.process_time()
    for _ in range(STEPS):
        step()
    return 1e6 * (time.process_time() - started) / (STEPS * BATCH_SIZE)


if __name__ == "__main__":
    main()
