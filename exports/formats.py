"""Each format of `exports`: a function that writes it, and one that runs it as a user would.

All of them take images as they are stored, with values of 0..255, and have the chapter's
preprocessing inside, so that no caller can get it wrong.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.compat import v2 as tf2

from base import UserError, reason
from exports.labels import with_labels
from training.inference import InferenceNet

# uint8 images [N, original_dim, original_dim, 3] -> float32 [N, classes].
Probabilities = Callable[[np.ndarray], np.ndarray]


class Format(NamedTuple):
    """A format, and how to use it.

    Attributes:
      path: name of its file or folder.
      write: writes it to a path, given the net, the names of the classes, and photos for int8 to
        be calibrated on, uint8 [N, original_dim, original_dim, 3].
      run: reads it from a path; returns what a user can call, by what it is given.
    """

    path: str
    write: Callable[[InferenceNet, Path, Sequence[str], np.ndarray], object]
    run: Callable[[Path], dict[str, Probabilities]]


def frozen(net: InferenceNet) -> tf.GraphDef:
    """The graph from images to probs, with the variables as constants."""
    return tf.graph_util.convert_variables_to_constants(
        net.session, net.session.graph.as_graph_def(), [net.probs.op.name]
    )


def decoded(files: tf.Tensor, dim: int) -> tf.Tensor:
    """Image files as pixels: the central square on white, resized (bicubic), as in `data.images`.

    TensorFlow reads JPEG, PNG, GIF, BMP and WebP, but neither TIFF nor AVIF; it does not turn
    photos upright as their EXIF data say, and transparent parts of a GIF become black.

    Args:
      files: string [N], the files' content.
      dim: side of the result in pixels.

    Returns:
      float32 [N, dim, dim, 3], whole numbers of 0..255.
    """

    def decode(file: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(file, expand_animations=False)
        height, width, channels = tf.unstack(tf.shape(image))  # 1 or 3 of color, 0 or 1 of opacity
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = tf.cast(image[top : top + side, left : left + side], tf.float32)
        color = tf.gather(square, tf.minimum(tf.range(3), (channels - 1) // 2 * 2), axis=2)
        has_opacity = tf.equal(channels % 2, 0) & tf.not_equal(tf.strings.substr(file, 0, 2), "BM")
        opacity = tf.where_v2(has_opacity, square[..., -1:] / 255, 1.0)  # a BMP's means nothing
        on_white = 255 + opacity * (color - 255)
        resized = tf2.image.resize(on_white, [dim, dim], "bicubic", antialias=True)
        return tf.ensure_shape(tf.clip_by_value(tf.round(resized), 0, 255), [dim, dim, 3])

    return tf.map_fn(decode, files, fn_output_signature=tf.float32)


def write_saved_model(
    net: InferenceNet, path: Path, class_names: Sequence[str], photos: np.ndarray
) -> None:
    """A SavedModel whose signature serving_default takes files, and `images` takes pixels."""
    with net.session.graph.as_default(), tf.name_scope("serving"):
        files = tf.placeholder(tf.string, [None], name="files")
        names = tf.constant(class_names)
        signatures = {
            key: tf.saved_model.predict_signature_def(
                inputs,
                {
                    "probabilities": probs,
                    "label": tf.gather(names, tf.argmax(probs, axis=-1)),
                    "class_names": names,
                },
            )
            for key, inputs, probs in (
                (
                    "serving_default",
                    {"files": files},
                    net.build(decoded(files, net.model.original_dim)),
                ),
                ("images", {"images": net.images}, net.probs),
            )
        }
        builder = tf.saved_model.Builder(str(path))
        try:
            builder.add_meta_graph_and_variables(net.session, [tf.saved_model.SERVING], signatures)
            builder.save()
        except tf.errors.OpError as error:
            raise UserError(
                f"{path}: cannot be written ({reason(error)}); free some space, or fix the disk."
            ) from error


def run_saved_model(path: Path) -> dict[str, Probabilities]:
    """Both signatures, called as a client with TensorFlow 2 would."""
    loaded = tf2.saved_model.load(str(path))

    def call(key: str, inputs: tf.Tensor) -> np.ndarray:
        return loaded.signatures[key](inputs)["probabilities"].numpy()

    return {
        "saved_model (files)": lambda images: call("serving_default", tf.io.encode_png(images)),
        "saved_model (images)": lambda images: call("images", tf.cast(images, tf.float32)),
    }


def write_frozen_graph(
    net: InferenceNet, path: Path, class_names: Sequence[str], photos: np.ndarray
) -> None:
    """A GraphDef with placeholder `images`, result `probs`, and the chapter's names between."""
    path.write_bytes(frozen(net).SerializeToString())


def run_frozen_graph(path: Path) -> dict[str, Probabilities]:
    """The graph in a session of its own."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(tf.GraphDef.FromString(path.read_bytes()), name="")
    session = tf.Session(graph=graph)
    return {"frozen_graph": lambda images: session.run("probs:0", {"images:0": images})}


def write_tflite(
    net: InferenceNet,
    path: Path,
    class_names: Sequence[str],
    photos: np.ndarray,
    is_int8: bool = False,
) -> None:
    """For phones: float32, or weights and values in 8 bits, which take uint8 images and give uint8
    probabilities; photos show which range of values each layer's 8 bits stand for."""
    converter = tf.lite.TFLiteConverter(frozen(net), [net.images], [net.probs])
    if is_int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [photo[None].astype(np.float32)] for photo in photos
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    path.write_bytes(with_labels(converter.convert(), class_names))


def run_tflite(path: Path) -> dict[str, Probabilities]:
    """LiteRT's interpreter, as on a phone."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = given["quantization"]

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(taken["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], images.astype(taken["dtype"]))
        interpreter.invoke()
        probs = interpreter.get_tensor(given["index"])
        return (np.float32(probs) - zero_point) * scale if scale else probs

    return {path.name: run}


def write_onnx(
    net: InferenceNet, path: Path, class_names: Sequence[str], photos: np.ndarray
) -> None:
    """For all other runtimes; the same names as the frozen graph's, with TensorFlow's :0.

    The entry class_names of its metadata is a JSON list.
    """
    import tf2onnx

    model, _ = tf2onnx.convert.from_graph_def(
        frozen(net), input_names=[net.images.name], output_names=[net.probs.name], opset=18
    )
    model.metadata_props.add(key="class_names", value=json.dumps(list(class_names)))
    path.write_bytes(model.SerializeToString())


def run_onnx(path: Path) -> dict[str, Probabilities]:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return {"onnx": lambda images: session.run(["probs:0"], {"images:0": np.float32(images)})[0]}


FORMATS = {
    "saved_model": Format("saved_model", write_saved_model, run_saved_model),
    "frozen_graph": Format("frozen_graph.pb", write_frozen_graph, run_frozen_graph),
    "tflite": Format("squeezenet.tflite", write_tflite, run_tflite),
    "tflite_int8": Format(
        "squeezenet_int8.tflite", functools.partial(write_tflite, is_int8=True), run_tflite
    ),
    "onnx": Format("squeezenet.onnx", write_onnx, run_onnx),
}
