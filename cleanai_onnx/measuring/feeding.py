"""From a suite of images to whoever takes their batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cleanai_onnx import inputs
from cleanai_onnx.errors import ImageError
from cleanai_onnx.provenance import RunRecord
from cleanai_onnx.result import SkippedImage

if TYPE_CHECKING:
    from cleanai_onnx.graph import ImageInput

__all__ = ["Consumer", "Progress", "feed", "resolve", "thumbnail_if_any"]

LOG = logging.getLogger(__name__)
Progress = Callable[[int], Callable[[int], None]]
"""Called with the number of images; what it returns is called with how many of them are done."""


class Consumer(Protocol):
    """Takes batches, once it knows their shape and has been started."""

    record: RunRecord

    @property
    def batch_size(self) -> int:
        """How many inputs it takes at once, after `prepare`."""

    def prepare(self, item_shape: Sequence[int], most: int | None = None) -> None:
        """Get to know the shape of one input, and how many there will be at most."""

    def start(self) -> None:
        """Make everything ready that the first batch needs."""

    @property
    def update(self) -> Callable[..., None]:
        """Takes a batch, names and indexes, and hashes where they are asked for."""


def resolve(
    image_input: ImageInput,
    metadata: Mapping[str, str],
    model: object,
    suite: inputs.Suite,
    *,
    preset: str | None,
    preprocessing: Mapping[str, Any] | None,
    preprocessing_file: str | Path | None,
    preprocessing_config: Mapping[str, Any] | None,
) -> inputs.ResolvedPreprocessing:
    """Say how the images of a suite become inputs of a model.

    Parameters
    ----------
    image_input, metadata
        Of the loaded model; `model` is what the user gave, a path beside which settings may lie.
    suite
    preset, preprocessing, preprocessing_file, preprocessing_config
        See `cleanai_onnx.analyze`.
    """
    resolved = inputs.resolve_preprocessing(
        image_input,
        given=preprocessing or {},
        config=preprocessing_config,
        preset=preset,
        file=None if preprocessing_file is None else Path(preprocessing_file),
        model_path=Path(model) if isinstance(model, str | Path) else None,
        metadata=metadata,
        suite=suite,
    )
    LOG.info("%d images from %s", len(suite), suite.source)
    for field in resolved.fields:
        LOG.info("%s: %s (%s)", field.name, field.value, field.origin)
    return resolved


def feed(
    consumer: Consumer,
    suite: inputs.Suite,
    preprocessing: inputs.Preprocessing | inputs.Unchanged,
    *,
    strict: bool = False,
    manifest: inputs.Manifest | None = None,
    progress: Progress | None = None,
    enough: Callable[[], bool] | None = None,
    start: inputs.Position | None = None,
    after_batch: Callable[[inputs.Position], None] | None = None,
) -> tuple[SkippedImage, ...]:
    """Give all images of a suite to a consumer, and return those that were skipped.

    Parameters
    ----------
    consumer, suite, preprocessing
    strict, progress
        See `cleanai_onnx.analyze`.
    manifest
        With one, images are hashed while they are read: it gets the hashes, and so does the
        consumer's `update`, as `hashes`.
    enough
        Asked after each batch; where it says so, the rest is left.
    start
        Go on from there: the consumer has the images before it already.
    after_batch
        Called after each batch with how far the consumer is.

    Raises
    ------
    ImageError
        If no image can be used, or one cannot and `strict` is set.
    """
    consumer.prepare(preprocessing.item_shape, most=len(suite))
    done = progress(len(suite)) if progress is not None else None
    # Decoding starts here, and goes on while the session and the kernels are made.
    with inputs.stream(
        suite,
        preprocessing,
        consumer.batch_size,
        strict=strict,
        hashing=manifest is not None,
        start=start,
    ) as batches:
        consumer.start()
        while True:
            with consumer.record.phase("wait for images"):
                batch = next(batches, None)
            if batch is None:
                break
            further = {}
            if manifest is not None:
                manifest.add(batch.indexes, batch.hashes)
                further["hashes"] = batch.hashes
            consumer.update(batch.data[: batch.valid], batch.names, batch.indexes, **further)
            if done is not None:
                done(batches.used + len(batches.skipped))
            if after_batch is not None:
                after_batch(batches.position)
            if enough is not None and enough():
                break
        return batches.skipped


def thumbnail_if_any(suite: inputs.Suite, index: int, size: int = 96) -> bytes | None:
    """Return a thumbnail of an image; None where it cannot be read any more."""
    try:
        return inputs.thumbnail(suite, index, size)
    except ImageError:
        # The image was there when it was measured. A report without its picture is still a report.
        return None
