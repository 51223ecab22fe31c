"""CIFAR-10: 32 x 32 photographs of ten classes."""

from __future__ import annotations

from typing import ClassVar

from lossybench.data import _cifar


class Cifar10(_cifar.Cifar):
    """60,000 images. The published test batch is test, and val is cut from the training batches."""

    name = "cifar10"
    folder = "cifar-10-batches-bin"
    names = "batches.meta.txt"
    label_bytes = 1
    classes: ClassVar[list[str]] = [
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ]  # fmt: skip
    facts = _cifar.facts(
        "CIFAR-10",
        """
        https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz 170052171
        sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd by TensorFlow Datasets
        """,
    )
