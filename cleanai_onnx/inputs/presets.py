"""Named presets: the preprocessing of the model collections that most ONNX models come from.

========================== =====================================================================
``unit``                   x/255
``symmetric``              (x/255 - 0.5) / 0.5, that is -1 to 1
``imagenet``               x/255, ImageNet's mean and standard deviation; size from the model
``torchvision``            the same, after resizing the shorter side to 256 and cropping 224 x 224
``keras-tf``               x/127.5 - 1 (``preprocess_input`` of Keras in mode "tf")
``keras-caffe``            BGR, minus ImageNet's mean in 0..255, unscaled (mode "caffe")
========================== =====================================================================

Where nothing else is said, they stretch images to the model's size with bilinear interpolation.

Sources: torchvision's ``ImageClassification`` transform; ``keras.applications.imagenet_utils``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["PRESETS"]

_STRETCH = {"resize": "stretch", "interpolation": "bilinear"}
_IMAGENET = {
    "scale": 1 / 255,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "channel_order": "RGB",
}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "unit": {**_STRETCH, "scale": 1 / 255, "mean": (0.0,), "std": (1.0,)},
        "symmetric": {**_STRETCH, "scale": 1 / 255, "mean": (0.5,), "std": (0.5,)},
        "imagenet": {**_STRETCH, **_IMAGENET},
        "torchvision": {
            **_IMAGENET,
            "resize": "shorter-side",
            "size": (256, 256),
            "crop": (224, 224),
            "interpolation": "bilinear",
        },
        "keras-tf": {**_STRETCH, "scale": 1 / 127.5, "mean": (1.0,), "std": (1.0,)},
        "keras-caffe": {
            **_STRETCH,
            "scale": 1.0,
            "mean": (103.939, 116.779, 123.68),
            "std": (1.0,),
            "channel_order": "BGR",
        },
    }
)
"""Preset names to settings (as `settings.read_settings` returns them)."""
