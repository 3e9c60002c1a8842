"""Turns weights from elsewhere into an ordinary run's folder, which every command accepts.

These are published ImageNet weights (by a name in `imagenet.PUBLISHED`), a .npz file, or a
checkpoint of another TF1 program. The folder is temporary: it is deleted when the program ends.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path, PureWindowsPath

import numpy as np
import tensorflow.compat.v1 as tf

import imagenet
from base import UserError
from base.files import write_json, writing
from base.runtime import session_config
from imagenet.nets import NETS, describe, variable_shapes
from imagenet.weights import Weights, load_published, read_npz
from saved.checkpoints import find_damage, intact_checkpoint
from saved.run_dir import CHECKPOINT_NAME, ENDING


def imported_run(path: Path) -> Path:
    """The folder of a temporary run with weights from elsewhere.

    They come from a name in `imagenet.PUBLISHED`; a .npz file; or a checkpoint (its folder, any of
    its files, or its path without extension), of which only the float32 variables count.

    Raises UserError if there are none, or they are damaged, cannot be downloaded, or fit no net.
    """
    if imagenet.is_published(path):
        resize_dim = imagenet.PUBLISHED[str(path)].resize_dim
        return write_run(load_published(str(path)), path, "imagenet", resize_dim)
    if path.suffix.lower() == ".npz":
        return write_run(read_npz(path), path, path.stem)
    checkpoint = newest_in(path) if path.is_dir() else path
    name = ENDING.sub("", str(checkpoint))
    is_first_format = os.path.isfile(name) and not find_damage(name, is_of_run=False)
    if not os.path.isfile(f"{name}.index") and not is_first_format:  # that of TensorFlow 0
        raise UserError(
            f"{path}: is neither a run, nor a TensorFlow checkpoint, nor a .npz file, nor one of "
            f"{', '.join(imagenet.PUBLISHED)}; check the spelling, or see docs/guide.md for how "
            "to convert other weights."
        )
    reader = tf.train.NewCheckpointReader(intact_checkpoint(checkpoint, is_of_run=False))
    types = reader.get_variable_to_dtype_map()
    weights = {name: reader.get_tensor(name) for name in types if types[name] == tf.float32}
    return write_run(weights, path, path.stem)


def newest_in(folder: Path) -> Path:
    """The newest checkpoint in a folder of another program: the one that TensorFlow's index file
    names, wherever the folder was then, or else the last one written; the folder if there is none.
    """
    with contextlib.suppress(ValueError):  # the index file is damaged
        if state := tf.train.get_checkpoint_state(str(folder)):
            # It may have been written on another system.
            named = folder / PureWindowsPath(state.model_checkpoint_path).name
            if os.path.isfile(f"{named}.index") or named.is_file():
                return named
    return max(folder.glob("*.index"), key=os.path.getmtime, default=folder)


def fitting_net(path: Path, weights: Weights) -> str:
    """The name of the net that weights fit, by their names and shapes.

    Raises UserError, which names the path that they come from, if they fit none.
    """
    shapes = {name: array.shape for name, array in weights.items()}
    classes = max([1, *shapes.get("final_conv/kernel", ())[-1:]])
    misfits = {
        name: [item for item in variable_shapes(net, classes).items() if item not in shapes.items()]
        for name, net in NETS.items()
    }
    closest = min(misfits, key=lambda name: len(misfits[name]))
    if misfits[closest]:
        variable, shape = misfits[closest][0]
        found = f"has shape {shapes[variable]}" if variable in shapes else "is missing"
        raise UserError(
            f"{path}: does not fit any of the nets {', '.join(NETS)}; for {closest}, {variable} "
            f"{found} where it needs {shape}; docs/guide.md shows how to name and arrange the "
            "variables."
        )
    return closest


def write_run(weights: Weights, path: Path, dataset: str, resize_dim: int | None = None) -> Path:
    """Writes a temporary run at step 0, and returns its folder.

    The weights come from `path` and were trained on `dataset`, as far as that is known; resize_dim
    is the side in pixels of the crop that the net sees, None for the net's usual one.
    """
    net, classes = fitting_net(path, weights), len(weights["final_conv/bias"])
    is_chapters = net == imagenet.DEFAULT_NET  # whose images are CIFAR-10's, for all that is known
    dims = (32, 24) if is_chapters else (imagenet.ORIGINAL_DIM, resize_dim or imagenet.RESIZE_DIM)
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
        with writing(f"{run_dir}:", "free some space there", (tf.errors.OpError,)):
            session.run(save)
    write_json(run_dir / "settings.json", settings)
    return run_dir
