"""A trained net outside of training: its graph, and each format it is exported to and read from.

Every format takes images as they are stored and has the chapter's preprocessing inside, so that
no caller can get it wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorflow import image as image_v2  # only its resize filters what it shrinks

from reporting.figures import png, records_to_images
from tools.labels import add_labels, with_labels
from training.checkpoints import CHECKPOINT_NAME, check_fits
from training.input_pipeline import preprocessed
from training.run_dir import read_json, write_json
from training.runtime import CHATTER, filtered_stderr, session_config
from training.saved_run import Run, load_run

CONVERTERS_CHATTER = rf"{CHATTER}|fully_quantize:|INFO: Created TensorFlow Lite"
ONNX_OPSET = 18
FILES_DIFFER = (
    "the SavedModel reads JPEG, PNG, GIF, BMP and WebP, but neither TIFF nor AVIF; it does not "
    "turn photos upright as their EXIF data say, and transparent parts of a GIF become black"
)
MACHINES_OWN = {"data_dir", "run_dir", "init_from"}  # settings

Probabilities = Callable[[np.ndarray], np.ndarray]


class ServingNet:
    """The net of a run with the weights of its checkpoint; a context manager that ends it.

    Args:
      run: what `load_run` found.

    Attributes:
      run: the same.
      class_names: one per class, in the order of the probabilities.
      images: placeholder, float32 [N, original_dim, original_dim, 3], 0..255.
      probs: float32 [N, classes], each row sums to 1.
      global_step: int64 scalar, of the checkpoint.
      session: TensorFlow's; its graph has the chapter's names.
    """

    def __init__(self, run: Run):
        self.run = run
        self.class_names = run.settings["class_names"]
        dim = run.model.original_dim
        with tf.Graph().as_default():
            self.images = tf.placeholder(tf.float32, [None, dim, dim, 3], name="images")
            self.probs = self.build(self.images)
            self.global_step = tf.train.get_or_create_global_step()
            self.saver = tf.train.Saver(save_relative_paths=True)  # so that a folder can be moved
            check_fits(run.checkpoint, tf.trainable_variables())
            self.session = tf.Session(config=session_config())
            self.saver.restore(self.session, run.checkpoint)

    def __enter__(self) -> ServingNet:
        return self

    def __exit__(self, *exc_info) -> None:
        self.session.close()

    def build(self, images: tf.Tensor) -> tf.Tensor:
        """The net on [N, original_dim, original_dim, 3] of 0..255; probabilities [N, classes]."""
        model = self.run.model
        with tf.name_scope("preprocessing"):
            channels_first = tf.transpose(images, [0, 3, 1, 2])
            inputs = preprocessed(
                tf.reshape(channels_first, [-1, 3 * model.original_dim**2]), model
            )
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            return tf.nn.softmax(model.model_layers(inputs, is_training=False), name="probs")

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """How probable each class is; may be called from several threads at once.

        Args:
          images: uint8 or float32 [N, original_dim, original_dim, 3], 0..255.

        Returns:
          float32 [N, classes].
        """
        return self.session.run(self.probs, {self.images: images})

    def probabilities_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, and for each image final_conv's map of its most probable class.

        Returns:
          float32 [N, classes]; float32 [N, height, width], 0 or more.
        """
        final_conv = self.session.graph.get_tensor_by_name("final_conv/Relu:0")
        probs, maps = self.session.run([self.probs, final_conv], {self.images: images})
        return probs, maps[np.arange(len(maps)), ..., probs.argmax(axis=1)]

    def frozen(self) -> tf.GraphDef:
        """The graph from images to probs, with the variables as constants."""
        graph_def = self.session.graph.as_graph_def()
        return tf.graph_util.convert_variables_to_constants(
            self.session, graph_def, [self.probs.op.name]
        )


def decoded(files: tf.Tensor, dim: int) -> tf.Tensor:
    """Image files as pixels: the central square on white, resized (bicubic), as in `data.images`.

    FILES_DIFFER says where TensorFlow reads files in another way.

    Args:
      files: string [N], the files' content.
      dim: side of the result in pixels.

    Returns:
      float32 [N, dim, dim, 3], whole numbers of 0..255.
    """

    def decode(file):
        image = tf.io.decode_image(file, expand_animations=False)
        height, width, channels = tf.unstack(tf.shape(image))  # 1 or 3 of color, 0 or 1 of opacity
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = tf.cast(image[top : top + side, left : left + side], tf.float32)
        color = tf.gather(square, tf.minimum(tf.range(3), (channels - 1) // 2 * 2), axis=2)
        has_opacity = tf.equal(channels % 2, 0) & tf.not_equal(tf.strings.substr(file, 0, 2), "BM")
        opacity = tf.where_v2(has_opacity, square[..., -1:] / 255, 1.0)  # a BMP's means nothing
        square = 255 + opacity * (color - 255)
        resized = image_v2.resize(square, [dim, dim], "bicubic", antialias=True)
        return tf.ensure_shape(tf.clip_by_value(tf.round(resized), 0, 255), [dim, dim, 3])

    return tf.map_fn(decode, files, fn_output_signature=tf.float32)


def write_saved_model(net: ServingNet, path: Path, calibration: np.ndarray | None) -> None:
    """A SavedModel whose signature serving_default takes files, and `images` takes pixels."""
    with net.session.graph.as_default(), tf.name_scope("serving"):
        files = tf.placeholder(tf.string, [None], name="files")
        names = tf.constant(net.class_names)
        probs_of_files = net.build(decoded(files, net.run.model.original_dim))
        signatures = {
            key: tf.saved_model.predict_signature_def(
                {name: tensor},
                {
                    "probabilities": probs,
                    "label": tf.gather(names, tf.argmax(probs, axis=-1)),
                    "class_names": names,
                },
            )
            for key, name, tensor, probs in (
                ("serving_default", "files", files, probs_of_files),
                ("images", "images", net.images, net.probs),
            )
        }
        builder = tf.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            net.session, [tf.saved_model.SERVING], signatures, saver=net.saver
        )
        builder.save()


def read_saved_model(path: Path) -> dict[str, Probabilities]:
    """Both signatures, called as a client would."""
    session = tf.Session(graph=tf.Graph())
    with session.graph.as_default():
        loaded = tf.saved_model.load(session, [tf.saved_model.SERVING], str(path))

    def call(key, values):
        signature = loaded.signature_def[key]
        (placeholder,) = signature.inputs.values()
        return session.run(signature.outputs["probabilities"].name, {placeholder.name: values})

    def from_files(images):
        return call("serving_default", [png(Image.fromarray(image)) for image in images])

    return {
        "saved_model (files)": from_files,
        "saved_model (images)": lambda images: call("images", images),
    }


def write_frozen_graph(net: ServingNet, path: Path, calibration: np.ndarray | None) -> None:
    """A GraphDef with placeholder `images`, result `probs`, and the chapter's names between."""
    path.write_bytes(net.frozen().SerializeToString())


def read_frozen_graph(path: Path) -> dict[str, Probabilities]:
    """The graph in a session of its own."""
    graph_def = tf.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default():
        tf.import_graph_def(graph_def, name="")
        session = tf.Session()
    return {
        "frozen_graph": lambda images: session.run("probs:0", {"images:0": images}),
    }


def write_tflite(net: ServingNet, path: Path, calibration: np.ndarray | None) -> None:
    """For phones, float32."""
    path.write_bytes(with_labels(converted(converter(net)), net.class_names))


def write_tflite_int8(net: ServingNet, path: Path, calibration: np.ndarray) -> None:
    """For phones, weights and values in 8 bits; uint8 images in, uint8 probabilities out."""
    images = records_to_images(calibration, net.run.model.original_dim)
    int8 = converter(net)
    int8.optimizations = [tf.lite.Optimize.DEFAULT]
    int8.representative_dataset = lambda: ([np.float32(image)[None]] for image in images)
    int8.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    int8.inference_input_type = int8.inference_output_type = tf.uint8
    path.write_bytes(with_labels(converted(int8), net.class_names))


def converter(net: ServingNet) -> tf.lite.TFLiteConverter:
    """TFLite's converter of the frozen graph."""
    return tf.lite.TFLiteConverter(net.frozen(), [net.images], [net.probs])


def converted(converter: tf.lite.TFLiteConverter) -> bytes:
    """What the converter makes, without what it logs."""
    with filtered_stderr(CONVERTERS_CHATTER):
        return converter.convert()


def read_tflite(path: Path) -> dict[str, Probabilities]:
    """LiteRT's interpreter, as on a phone."""
    from ai_edge_litert.interpreter import Interpreter

    with filtered_stderr(CONVERTERS_CHATTER):
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        interpreter.resize_tensor_input(taken["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], images.astype(taken["dtype"]))
        interpreter.invoke()
        probs = interpreter.get_tensor(given["index"])
        scale, zero_point = given["quantization"]
        return probs if scale == 0 else (probs.astype(np.float32) - zero_point) * scale

    return {path.name: run}


def write_onnx(net: ServingNet, path: Path, calibration: np.ndarray | None) -> None:
    """For all other runtimes; the same names as the frozen graph's, with TensorFlow's :0."""
    with filtered_stderr(CONVERTERS_CHATTER):
        import tf2onnx

        model, _ = tf2onnx.convert.from_graph_def(
            net.frozen(),
            input_names=[net.images.name],
            output_names=[net.probs.name],
            opset=ONNX_OPSET,
        )
    add_labels(model, net.class_names)
    path.write_bytes(model.SerializeToString())


def read_onnx(path: Path) -> dict[str, Probabilities]:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    return {"onnx": lambda images: session.run([given.name], {taken.name: np.float32(images)})[0]}


def write_checkpoint(net: ServingNet, path: Path, calibration: np.ndarray | None) -> None:
    """A run's folder with only the weights of one checkpoint, its settings and its results."""
    path.mkdir()
    source = Path(net.run.checkpoint).parent
    step = net.session.run(net.global_step)
    name = str(path / CHECKPOINT_NAME)
    with net.session.graph.as_default():  # or the saver would save eagerly
        saved = net.saver.save(net.session, name, step, write_meta_graph=False)
    # Folders of the machine that it was trained on mean nothing elsewhere.
    settings = {k: v for k, v in net.run.settings.items() if k not in MACHINES_OWN}
    settings["dataset"] = Path(settings["dataset"]).name
    write_json(path / "settings.json", settings)
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        results = read_json(source / "results.json")
        if results["steps"] == step:
            write_json(path / "results.json", {**results, "checkpoint": Path(saved).name})


def read_checkpoint(path: Path) -> dict[str, Probabilities]:
    """The folder as any other run's."""
    return {"checkpoint alone": ServingNet(load_run(path)).probabilities}


# Format -> how it is written, and what to call after reading it again. Only int8 is calibrated: on
# records, uint8 [N, 3 * original_dim * original_dim], whose values say what range each layer's
# whole numbers stand for.
WRITERS = {
    "saved_model": write_saved_model,
    "frozen_graph": write_frozen_graph,
    "tflite": write_tflite,
    "tflite_int8": write_tflite_int8,
    "onnx": write_onnx,
    "checkpoint": write_checkpoint,
}
READERS = {
    "saved_model": read_saved_model,
    "frozen_graph": read_frozen_graph,
    "tflite": read_tflite,
    "tflite_int8": read_tflite,
    "onnx": read_onnx,
    "checkpoint": read_checkpoint,
}
