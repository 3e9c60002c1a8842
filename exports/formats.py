"""Each format of `exports`: a function that writes it, and reads it again as a user would.

All formats take images as they are stored, with values of 0..255, and have the chapter's
preprocessing inside, so that no caller can get it wrong. Each function is given the net, the path
to write, the names of the classes, and photos for int8 to be calibrated on, uint8 [N, original_dim,
original_dim, 3].
"""

import functools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.compat import v2 as tf2
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from base.files import writing
from evaluation.inference import InferenceNet

# What a user can call, by what it is given: uint8 images [N, original_dim, original_dim, 3] ->
# float32 [N, classes].
Readers = dict[str, Callable[[np.ndarray], np.ndarray]]
LABELS_NAME = "labels.txt"
GRAYS = bytes(value for gray in range(256) for value in (gray, gray, gray, 0))  # a BMP's palette


def frozen(net: InferenceNet) -> tf.GraphDef:
    """The graph from images to probs, with the variables as constants."""
    return tf.graph_util.convert_variables_to_constants(
        net.session, net.session.graph.as_graph_def(), [net.model.probs.op.name]
    )


def checked(file: tf.Tensor) -> tf.Tensor:
    """The same file, string [], unless TensorFlow's decoders would crash on it or misread it: an
    animated WebP; a BMP in colors of a palette, of 16 bits, compressed, or with masks for its bits.
    """
    head = tf2.io.decode_raw(file, tf.uint8, fixed_length=54 + len(GRAYS))  # filled up with zeros

    def has(content: bytes, start: int) -> tf.Tensor:
        return tf.reduce_all(tf.equal(head[start : start + len(content)], [*content]))

    is_plain = (  # 24 or 32 bits, or gray of 8; not compressed; and a header with these numbers
        (has(b"\x18\0", 28) | has(b"\x20\0", 28) | has(b"\x08\0", 28) & has(GRAYS, 54))
        & (has(bytes(4), 30) & tf.greater_equal(head[14], 40))
    )
    with tf.control_dependencies(
        [
            tf.Assert(
                ~(has(b"RIFF", 0) & has(b"VP8X", 12) & tf.equal(head[20] // 2 % 2, 1)),
                ["an animated WebP cannot be read; give one image of it"],
            ),
            tf.Assert(
                ~has(b"BM", 0) | is_plain,
                ["a BMP can only be read in gray or 24-bit color, uncompressed; convert it to PNG"],
            ),
        ]
    ):
        return tf.identity(file)  # which decoding has to wait for


def decoded(files: tf.Tensor, dim: int) -> tf.Tensor:
    """The content of image files, string [N], as pixels: the central square on white, resized
    (bicubic) as in `data.images`; float32 [N, dim, dim, 3], whole numbers of 0..255.

    TensorFlow reads JPEG, PNG, GIF, BMP and WebP (but see `checked`), but neither TIFF, AVIF nor
    HEIF; it does not turn photos upright as their EXIF data say, and where the first image of a GIF
    is transparent, or smaller than the whole, there is black.
    """

    def decode(file: tf.Tensor) -> tf.Tensor:
        image = tf.cond(
            tf.strings.regex_full_match(file, r"\CPNG\C*tRNS\C*"),  # of which only decode_png makes
            lambda: tf.io.decode_png(file, channels=4),  # opacity; without it, 4 is odd for gray
            lambda: tf.io.decode_image(file, expand_animations=False),
        )
        height, width, channels = tf.unstack(tf.shape(image))  # 1 or 3 of color, 0 or 1 of opacity
        side = tf.minimum(height, width)
        square = tf.cast(tf.image.resize_with_crop_or_pad(image, side, side), tf.float32)
        color = tf.gather(square, tf.minimum(tf.range(3), (channels - 1) // 2 * 2), axis=2)
        has_opacity = tf.equal(channels % 2, 0) & tf.not_equal(tf.strings.substr(file, 0, 2), "BM")
        opacity = tf.where_v2(has_opacity, square[..., -1:] / 255, 1.0)  # a BMP's means nothing
        on_white = 255 + opacity * (color - 255)
        resized = tf2.image.resize(on_white, [dim, dim], "bicubic", antialias=True)
        return tf.ensure_shape(tf.clip_by_value(tf.round(resized), 0, 255), [dim, dim, 3])

    return tf.map_fn(lambda file: decode(checked(file)), files, fn_output_signature=tf.float32)


def saved_model(net: InferenceNet, path: Path, class_names: list[str], *_: object) -> Readers:
    """A SavedModel whose signature serving_default takes files, and `images` takes pixels; both are
    called as a client with TensorFlow 2 would."""
    with net.session.graph.as_default(), tf.name_scope("serving"):
        files = tf.placeholder(tf.string, [None], name="files")
        names = tf.constant(class_names)
        probs_of_files = net.build(decoded(files, net.model.original_dim))
        signatures = {
            key: tf.saved_model.predict_signature_def(
                {name: inputs},
                {
                    "probabilities": probs,
                    "label": tf.gather(names, tf.argmax(probs, axis=-1)),
                    "class_names": names,
                },
            )
            for key, name, inputs, probs in (
                ("serving_default", "files", files, probs_of_files),
                ("images", "images", net.images, net.model.probs),
            )
        }
        builder = tf.saved_model.Builder(str(path))
        with writing(f"{path}:", "free some space, or fix the disk", (tf.errors.OpError,)):
            builder.add_meta_graph_and_variables(net.session, [tf.saved_model.SERVING], signatures)
            builder.save()
    loaded = tf2.saved_model.load(str(path))

    def call(key: str, inputs: tf.Tensor) -> np.ndarray:
        return loaded.signatures[key](inputs)["probabilities"].numpy()

    return {
        "saved_model (files)": lambda images: call("serving_default", tf.io.encode_png(images)),
        "saved_model (images)": lambda images: call("images", tf.cast(images, tf.float32)),
    }


def frozen_graph(net: InferenceNet, path: Path, *_: object) -> Readers:
    """A GraphDef with placeholder `images`, result `probs`, and the chapter's names between."""
    path.write_bytes(frozen(net).SerializeToString())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(tf.GraphDef.FromString(path.read_bytes()), name="")
    session = tf.Session(graph=graph)
    return {"frozen_graph": lambda images: session.run("probs:0", {"images:0": images})}


def tflite(
    net: InferenceNet, path: Path, class_names: list[str], photos: np.ndarray, is_int8: bool = False
) -> Readers:
    """For phones, read by LiteRT's interpreter: float32, or weights and values in 8 bits, which
    take uint8 images and give uint8 probabilities; photos show which range of values each layer's 8
    bits stand for."""
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter(frozen(net), [net.images], [net.model.probs])
    if is_int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [photo[None].astype(np.float32)] for photo in photos
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    write_tflite(path, converter.convert(), class_names)
    interpreter = Interpreter(str(path))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = given["quantization"]  # 0, 0 of float32

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(taken["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], images.astype(taken["dtype"]))
        interpreter.invoke()
        return (np.float32(interpreter.get_tensor(given["index"])) - zero_point) * (scale or 1)

    return {path.name: run}


def labels_text(class_names: list[str]) -> str:
    """A line for each class, in the order of the probabilities."""
    return "".join(" ".join(name.split()) + "\n" for name in class_names)


def write_tflite(path: Path, content: bytes, class_names: list[str]) -> None:
    """Writes a TFLite model with TFLite metadata: labels.txt, in a zip archive behind the model.

    This is what Android's and MediaPipe's image classifiers read; `unzip model.tflite` shows it
    too, and interpreters that know nothing of it pass it over.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    model.metadata.append(schema.MetadataT("TFLITE_METADATA", len(model.buffers)))
    model.buffers.append(schema.BufferT(list(labels_metadata())))
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(path, "a") as archive:  # an entry without a date can be repeated
        archive.writestr(zipfile.ZipInfo(LABELS_NAME), labels_text(class_names))


def labels_metadata() -> bytes:
    """A ModelMetadata flatbuffer (tflite-support's metadata_schema.fbs, from which the numbers of
    the fields are): one input, RGB images as they are stored, and one output, with labels.txt."""
    builder = flatbuffers.Builder()
    text = builder.CreateString

    def table(offsets: dict[int, int], kind: tuple[int, int] = (0, 0)) -> int:
        builder.StartObject(8)  # slots; those of the schema's largest table
        for slot, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.PrependInt8Slot(*kind, 0)  # slot and number of an enum or of a union's type
        return builder.EndObject()

    def vector(value: float, prepend: Callable = builder.PrependUOffsetTRelative) -> int:
        builder.StartVector(4, 1, 4)
        prepend(value)
        return builder.EndVector()

    unchanged = table(  # by normalization: mean 0, standard deviation 1
        {1: table({n: vector(x, builder.PrependFloat32) for n, x in enumerate((0.0, 1.0))})},
        kind=(0, 1),
    )
    rgb = table({1: table({}, kind=(0, 1))}, kind=(0, 2))  # ImageProperties
    images = table({0: text("images"), 3: rgb, 4: vector(unchanged)})
    file = table({0: text(LABELS_NAME)}, kind=(2, 2))  # a label for each value of an output tensor
    output = table({0: text("probs"), 6: vector(file)})
    subgraph = table({2: vector(images), 3: vector(output)})
    # 1.0.0 is the version of the parser that it needs; M001 identifies the schema.
    builder.Finish(table({0: text("SqueezeNet"), 3: vector(subgraph), 7: text("1.0.0")}), b"M001")
    return bytes(builder.Output())


def onnx(net: InferenceNet, path: Path, class_names: list[str], *_: object) -> Readers:
    """For all other runtimes; the same names as the frozen graph's, with TensorFlow's :0.

    The entry class_names of its metadata is a JSON list.
    """
    import onnxruntime
    import tf2onnx

    model, _ = tf2onnx.convert.from_graph_def(
        frozen(net), input_names=[net.images.name], output_names=[net.model.probs.name], opset=18
    )
    model.metadata_props.add(key="class_names", value=json.dumps(class_names))
    path.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return {"onnx": lambda images: session.run(["probs:0"], {"images:0": np.float32(images)})[0]}


# The name of each format's file or folder, and its function.
FORMATS: dict[str, tuple[str, Callable[..., Readers]]] = {
    "saved_model": ("saved_model", saved_model),
    "frozen_graph": ("frozen_graph.pb", frozen_graph),
    "tflite": ("squeezenet.tflite", tflite),
    "tflite_int8": ("squeezenet_int8.tflite", functools.partial(tflite, is_int8=True)),
    "onnx": ("squeezenet.onnx", onnx),
}
