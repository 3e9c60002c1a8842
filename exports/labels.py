"""The names of the classes as text, and in TFLite files, where phones look for them."""

import io
import zipfile
from collections.abc import Sequence

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

LABELS_NAME = "labels.txt"
# Of tflite-support's metadata_schema.fbs: its file identifier, and the type of a file with a label
# for each value of an output tensor.
IDENTIFIER, TENSOR_AXIS_LABELS = b"M001", 2


def labels_text(class_names: Sequence[str]) -> str:
    """A line for each class, in the order of the probabilities."""
    return "".join(" ".join(name.split()) + "\n" for name in class_names)


def with_labels(model: bytes, class_names: Sequence[str]) -> bytes:
    """A TFLite model with TFLite metadata: labels.txt, in a zip archive behind the model.

    This is what Android's and MediaPipe's image classifiers read; `unzip model.tflite` shows it
    too, and interpreters that know nothing of it pass it over.
    """
    described = flatbuffer_utils.convert_bytearray_to_object(model)
    metadata = schema.MetadataT("TFLITE_METADATA", len(described.buffers))
    described.metadata = [*(described.metadata or []), metadata]
    described.buffers.append(schema.BufferT(list(labels_metadata())))
    file = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(described))
    with zipfile.ZipFile(file, "a") as archive:  # an entry without a date can be repeated
        archive.writestr(zipfile.ZipInfo(LABELS_NAME), labels_text(class_names))
    return file.getvalue()


def labels_metadata() -> bytes:
    """A ModelMetadata flatbuffer: one input, and one output whose labels are in labels.txt."""
    builder = flatbuffers.Builder()

    def table(offsets: dict[int, int], kind: int = 0) -> int:
        builder.StartObject(8)  # slots; those of the schema's largest table
        for slot, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.PrependInt8Slot(2, kind, 0)
        return builder.EndObject()

    def vector(offset: int) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    text = builder.CreateString
    file = table({0: text(LABELS_NAME)}, kind=TENSOR_AXIS_LABELS)
    output = table({0: text("probs"), 6: vector(file)})
    subgraph = table({2: vector(table({0: text("images")})), 3: vector(output)})
    version = text("1.0.0")  # of the parser that it needs
    model = table({0: text("SqueezeNet"), 3: vector(subgraph), 7: version})
    builder.Finish(model, IDENTIFIER)
    return bytes(builder.Output())
