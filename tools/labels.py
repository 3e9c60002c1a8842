"""Class names inside the files of tools.export, where each format's own readers look for them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import flatbuffers

if TYPE_CHECKING:
    from onnx import ModelProto

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
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    described = flatbuffer_utils.convert_bytearray_to_object(model)
    metadata, buffer = schema.MetadataT(), schema.BufferT()
    metadata.name, metadata.buffer = "TFLITE_METADATA", len(described.buffers)
    buffer.data = list(labels_metadata())
    described.buffers.append(buffer)
    described.metadata = [*(described.metadata or []), metadata]
    file = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(described))
    with zipfile.ZipFile(file, "a") as archive:
        entry = zipfile.ZipInfo(LABELS_NAME)  # of no date, so that an export can be repeated
        archive.writestr(entry, labels_text(class_names))
    return file.getvalue()


def labels_metadata() -> bytes:
    """A ModelMetadata flatbuffer: one input, and one output whose labels are in labels.txt."""
    builder = flatbuffers.Builder()

    def table(slots: int, offsets: dict[int, int], numbers: dict[int, int] | None = None) -> int:
        builder.StartObject(slots)
        for slot, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in (numbers or {}).items():
            builder.PrependInt8Slot(slot, number, 0)
        return builder.EndObject()

    def vector(offset: int) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    name = builder.CreateString(LABELS_NAME)
    file = table(4, {0: name}, {2: TENSOR_AXIS_LABELS})
    output = table(7, {0: builder.CreateString("probs"), 6: vector(file)})
    image = table(7, {0: builder.CreateString("images")})
    subgraph = table(7, {2: vector(image), 3: vector(output)})
    version = builder.CreateString("1.0.0")  # of the parser that it needs
    model = table(8, {0: builder.CreateString("SqueezeNet"), 3: vector(subgraph), 7: version})
    builder.Finish(model, IDENTIFIER)
    return bytes(builder.Output())


def add_labels(model: ModelProto, class_names: Sequence[str]) -> None:
    """Gives an ONNX model the entry `class_names` in metadata_props, a JSON list."""
    model.metadata_props.add(key="class_names", value=json.dumps(list(class_names)))
