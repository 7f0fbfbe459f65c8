"""Write the bundled digits: 20 of each class from the test split, as PNG files.

    python models/make_digits.py

The first 20 of each class in a seeded shuffle of the test split, whether the models get them right
or not. ``digits/7/mnist_07011.png`` is a seven, number 7011 of ``mnist_10k.npz``. Needs numpy and
Pillow only.
"""

import argparse
from pathlib import Path

import numpy as np
from digits_data import DEFAULT_DATA, HERE, load
from PIL import Image

SEED = 1998
PER_CLASS = 20


def main() -> None:
    """Parse the arguments and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="mnist_10k.npz")
    parser.add_argument("--output", type=Path, default=HERE / "digits", help="folder to write to")
    options = parser.parse_args()
    digits = load(options.data)
    shuffled = np.random.default_rng(SEED).permutation(digits.test)
    for label in range(10):
        folder = options.output / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        for index in shuffled[digits.labels[shuffled] == label][:PER_CLASS]:
            path = folder / f"mnist_{index:05}.png"
            Image.fromarray(digits.images[index]).save(path, optimize=True)
    print(f"{10 * PER_CLASS} digits in {options.output}")


if __name__ == "__main__":
    main()
