"""Turns weights from elsewhere into an ordinary run's folder, which every command accepts.

These are published ImageNet weights (by a name in `imagenet.PUBLISHED`), a .npz file, or a
checkpoint of another TF1 program.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

import imagenet
from data import DataError
from data.download import DEFAULT_DIR, work_dir
from imagenet.nets import NETS, describe, variable_shapes
from imagenet.weights import Weights, load, read_npz
from training import RunError
from training.checkpoints import CHECKPOINT_NAME, reason
from training.run_dir import write_json, write_text
from training.runtime import session_config

CIFAR10_DIMS = 32, 24  # of the chapter's net, if nothing else specifies the size of its images


def published_run(name: str) -> Path:
    """The run folder of published weights, created on first use.

    Args:
      name: one of `imagenet.PUBLISHED`.

    Raises:
      DataError: the weights cannot be downloaded; the message says where to put the file by hand.
    """
    run_dir = DEFAULT_DIR / name
    if run_dir.exists():
        return run_dir
    published = imagenet.PUBLISHED[name]
    try:
        with work_dir(DEFAULT_DIR, name) as work:
            if run_dir.exists():  # another process has created it meanwhile
                return run_dir
            weights = load(name, DEFAULT_DIR, work)
            dims = imagenet.ORIGINAL_DIM, published.resize_dim
            settings = {
                **describe(NETS[published.net](*dims, len(imagenet.class_names()))),
                "dataset": "imagenet",
                "class_names": imagenet.class_names(),
                "source": published.file.url,
            }
            write_run(work / name, weights, settings)
            write_text(work / name / "README.md", model_card(name, published))
            (work / name).rename(run_dir)
    except (OSError, tf.errors.OpError) as error:
        raise DataError(
            f"{getattr(error, 'filename', None) or run_dir}: the weights cannot be stored there "
            f"({getattr(error, 'strerror', None) or reason(error)}); free some space or fix the "
            "folder."
        ) from error
    return run_dir


def model_card(name: str, published: imagenet.PublishedWeights) -> str:
    """The text of README.md for published weights."""
    return f"""# {name}

SqueezeNet v{published.net[-3:].replace("_", ".")} (arXiv 1602.07360) for ImageNet's 1,000 classes,
converted by this project.

- **Source**: {published.source},
  <{published.file.url}>
- **License of the weights**: {published.license}
- **Accuracy**: {published.accuracy};
  not measured by this project.
- **Image**: the central square of a photo, resized to 256 x 256 pixels; the net sees the central
  {published.resize_dim} x {published.resize_dim} of it.
- **Preprocessing**: {published.preprocessing}.
- **ImageNet's terms**: {imagenet.TERMS}
- **Not suitable for**: anything that affects people. The net answers with one of its 1,000 classes
  whatever it is shown, and its training photos do not represent the world.
"""


def temporary_run(path: Path, net: str | None = None) -> Path:
    """A run folder with the weights of a .npz file or a bare checkpoint; deleted at exit.

    Args:
      path: the file, or a checkpoint with or without the extension .index, or a folder with one.
      net: the net that the weights must fit, a name in NETS; None for any.

    Raises:
      DataError: the file does not hold weights.
      RunError: they fit no net, or not the given one.
    """
    weights = read_npz(path) if path.suffix == ".npz" else read_checkpoint(path)
    net = fitting_net(path, weights, net)
    classes = len(weights["final_conv/bias"])
    names = imagenet.class_names()
    settings = {
        **describe(NETS[net](*dims_of(net), classes)),
        "dataset": path.stem,
        "class_names": names if classes == len(names) else [f"class {i}" for i in range(classes)],
        "source": str(path),
    }
    folder = Path(tempfile.mkdtemp(prefix="squeezenet-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_run(folder / "run", weights, settings)
    return folder / "run"


def bare_checkpoint(path: Path) -> str | None:
    """The checkpoint at a path or the newest in a folder, without extension; None if there is none.

    (The newest is what TensorFlow's index file `checkpoint` says.)
    """
    if path.is_dir():
        return tf.train.latest_checkpoint(str(path))
    checkpoint = str(path).removesuffix(".index")
    return checkpoint if tf.train.checkpoint_exists(checkpoint) else None


def read_checkpoint(path: Path) -> Weights:
    """The float32 variables in a bare checkpoint; everything else in it is ignored.

    Raises:
      RunError: it is damaged.
    """
    checkpoint = bare_checkpoint(path)
    try:
        reader = tf.train.NewCheckpointReader(checkpoint)
        types = reader.get_variable_to_dtype_map()
        return {name: reader.get_tensor(name) for name in types if types[name] == tf.float32}
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        raise RunError(
            f"{checkpoint}: is not an intact checkpoint ({reason(error)}); give another one."
        ) from None


def fitting_net(path: Path, weights: Weights, net: str | None) -> str:
    """The name of the net that weights fit, by their names and shapes.

    Args:
      path: where the weights come from, for the message.
      net: the only net to try; None for all.

    Raises:
      RunError: they fit none.
    """
    shapes = {name: array.shape for name, array in weights.items()}
    classes = max([1, *shapes.get("final_conv/kernel", ())[-1:]])
    misfits = {}
    for name in [net] if net else NETS:
        expected = variable_shapes(NETS[name], classes)
        wrong = [variable for variable in expected if shapes.get(variable) != expected[variable]]
        if not wrong:
            return name
        misfits[name] = wrong[0], expected[wrong[0]], len(wrong)
    closest = min(misfits, key=lambda name: misfits[name][-1])
    variable, shape, _ = misfits[closest]
    found = f"has shape {shapes[variable]}" if variable in shapes else "is missing"
    nets = f"the net {net}" if net else f"any of the nets {', '.join(NETS)}"
    raise RunError(
        f"{path}: does not fit {nets}; for {closest}, {variable} {found} where it needs {shape}; "
        "docs/imagenet.md shows how to name and arrange the variables."
    )


def dims_of(net: str) -> tuple[int, int]:
    """The sides of a stored image and of the net's crop, for weights that do not specify them."""
    return CIFAR10_DIMS if net == "squeezenet" else (imagenet.ORIGINAL_DIM, imagenet.RESIZE_DIM)


def write_run(run_dir: Path, weights: Weights, settings: dict) -> None:
    """Writes a run at step 0: model.ckpt-0 with these variables and a global_step, settings.json.

    Raises:
      OSError, RunError, tf.errors.OpError: the folder cannot be written.
    """
    run_dir.mkdir()
    variables = {**weights, "global_step": np.int64(0)}
    name = f"{CHECKPOINT_NAME}-0"
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        # The operation behind tf.train.Saver, without having to create variables.
        save = tf.raw_ops.SaveV2(
            prefix=str(run_dir / name),
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=[tf.constant(array) for array in variables.values()],
        )
        session.run(save)
    tf.train.update_checkpoint_state(str(run_dir), name)  # relative, since the folder may be moved
    write_json(run_dir / "settings.json", settings)
