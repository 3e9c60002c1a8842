"""Turns weights from elsewhere into an ordinary run's folder, which every command accepts.

These are published ImageNet weights (by a name in `imagenet.PUBLISHED`), a .npz file, or a
checkpoint of another TF1 program. The folder is temporary: it is deleted when the program ends.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

import imagenet
from base import UserError, reason
from base.files import write_json
from base.runtime import session_config
from imagenet.nets import NETS, describe, variable_shapes
from imagenet.weights import Weights, load_published, read_npz
from saved.checkpoints import CHECKPOINT_NAME, find_damage, without_ending

CIFAR10_DIMS = 32, 24  # of the chapter's net, if nothing else specifies the size of its images


def imported_run(path: Path) -> Path | None:
    """The folder of a temporary run with weights from elsewhere; None if there are none.

    Args:
      path: a name in `imagenet.PUBLISHED`; a .npz file; a checkpoint (any of its files, or its path
        without extension), or a folder with one.

    Raises:
      UserError: the file does not hold weights, they cannot be downloaded, or they fit no net.
    """
    if imagenet.is_published(path):
        resize_dim = imagenet.PUBLISHED[str(path)].resize_dim
        return write_run(load_published(str(path)), path, "imagenet", resize_dim)
    if path.suffix == ".npz":
        return write_run(read_npz(path), path, path.stem)
    checkpoint = without_ending(path)
    if (path / "checkpoint").is_file():  # TensorFlow's index file, which says which is the newest
        with contextlib.suppress(ValueError):  # it is damaged
            checkpoint = tf.train.latest_checkpoint(str(path))
    files = checkpoint, f"{checkpoint}.index"  # the format of TensorFlow 0, and that of later ones
    if not checkpoint or not any(map(os.path.isfile, files)):
        return None
    return write_run(read_checkpoint(checkpoint), path, path.stem)


def read_checkpoint(checkpoint: str) -> Weights:
    """The float32 variables in a bare checkpoint; everything else in it is ignored.

    Raises:
      UserError: it is damaged.
    """
    if damage := find_damage(checkpoint, is_of_run=False):
        raise UserError(f"{checkpoint}: is not an intact checkpoint ({damage}); give another one.")
    reader = tf.train.NewCheckpointReader(checkpoint)
    types = reader.get_variable_to_dtype_map()
    return {name: reader.get_tensor(name) for name in types if types[name] == tf.float32}


def fitting_net(path: Path, weights: Weights) -> str:
    """The name of the net that weights fit, by their names and shapes.

    Args:
      path: where the weights come from, for the message.

    Raises:
      UserError: they fit none.
    """
    shapes = {name: array.shape for name, array in weights.items()}
    classes = max([1, *shapes.get("final_conv/kernel", ())[-1:]])
    misfits = {}
    for name, net in NETS.items():
        expected = variable_shapes(net, classes)
        wrong = [variable for variable in expected if shapes.get(variable) != expected[variable]]
        if not wrong:
            return name
        misfits[name] = wrong[0], expected[wrong[0]], len(wrong)
    closest = min(misfits, key=lambda name: misfits[name][-1])
    variable, shape, _ = misfits[closest]
    found = f"has shape {shapes[variable]}" if variable in shapes else "is missing"
    raise UserError(
        f"{path}: does not fit any of the nets {', '.join(NETS)}; for {closest}, {variable} "
        f"{found} where it needs {shape}; docs/imagenet.md shows how to name and arrange the "
        "variables."
    )


def write_run(weights: Weights, path: Path, dataset: str, resize_dim: int | None = None) -> Path:
    """Writes a temporary run at step 0: a checkpoint with these variables and a global_step, and
    settings.json; returns its folder.

    Args:
      path: where the weights come from.
      dataset: what they were trained on, as far as that is known.
      resize_dim: side in pixels of the crop that the net sees; None for the net's usual one.
    """
    net, classes = fitting_net(path, weights), len(weights["final_conv/bias"])
    dims = CIFAR10_DIMS
    if net != imagenet.DEFAULT_NET:
        dims = imagenet.ORIGINAL_DIM, resize_dim or imagenet.RESIZE_DIM
    names = imagenet.class_names()
    settings = {
        **describe(NETS[net](*dims, classes)),
        "dataset": dataset,
        "class_names": names if classes == len(names) else [f"class {i}" for i in range(classes)],
        "source": str(path),
    }
    run_dir = Path(tempfile.mkdtemp(prefix="squeezenet-"))
    atexit.register(shutil.rmtree, run_dir, ignore_errors=True)
    variables = {**weights, "global_step": np.int64(0)}
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        # The operation behind tf.train.Saver, without having to create variables.
        save = tf.raw_ops.SaveV2(
            prefix=str(run_dir / f"{CHECKPOINT_NAME}-0"),
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=[tf.constant(array) for array in variables.values()],
        )
        try:
            session.run(save)
        except tf.errors.OpError as error:
            raise UserError(
                f"{run_dir}: cannot be written ({reason(error)}); free some space there."
            ) from error
    write_json(run_dir / "settings.json", settings)
    return run_dir
