"""The formats that a trained net is exported to: formats.py writes and runs them.

This module imports nothing, so that `--help` lists the names fast.
"""

# The packages that a format needs besides TensorFlow.
PACKAGES: dict[str, tuple[str, ...]] = {
    "saved_model": (),
    "frozen_graph": (),
    "tflite": ("ai_edge_litert",),
    "tflite_int8": ("ai_edge_litert",),
    "onnx": ("tf2onnx", "onnxruntime"),
}
