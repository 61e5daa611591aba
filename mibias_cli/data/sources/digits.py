"""scikit-learn's 1,797 handwritten digits, coloured: the data set that needs no file and no network."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits as sklearn_digits

from mibias_cli.data.annotations import SPLITS
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.groups import split_by_fractions
from mibias_cli.data.inputs import IDENTITY, Transforms
from mibias_cli.data.sources.colour import ColouredReader, coloured_data, colours, random_colours
from mibias_cli.seeds import derived_generator

__all__ = ["load_digits"]


def load_digits(
    *,
    variance: float = 0.02,
    colour_seed: int = 0,
    size: int | None = None,
    validation_fraction: float = 0.1,
    audit_fraction: float = 0.3,
    transforms: Transforms = IDENTITY,
    seed: int = 0,
) -> BiasedData:
    """The bundled digits (8 × 8) in biased colours for training and validation, in random colours for the audit.

    Args:
        variance: Variance σ² of a colour around its mean.
        colour_seed: Seed of the colours; what it draws for an image does not depend on `seed`.
        size: Side to which images are resized (bilinear), or None.
        validation_fraction: Share of the images that are not audited.
        audit_fraction: Share of all images.
        transforms: What the backbone asks for.
        seed: Seed of the split (stratified by digit) and of augmentation.

    Raises:
        DataError: A split is empty.

    Example:
        >>> data = load_digits()
        >>> data.input_shape, len(data.train) + len(data.validation) + len(data.audit)
        ((3, 8, 8), 1797)
    """
    bunch = sklearn_digits()
    grey, digits = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    kept = 1.0 - audit_fraction
    fractions = (kept * (1.0 - validation_fraction), kept * validation_fraction, audit_fraction)
    role = split_by_fractions(digits, None, fractions, seed=seed)
    drawn = colours(digits, variance, derived_generator(colour_seed, 0))
    # both are drawn for all images, so that an image's colour does not depend on the split
    shuffled = random_colours(len(digits), variance, derived_generator(colour_seed, 1))
    in_audit = role == SPLITS.index("audit")
    drawn[in_audit] = shuffled[in_audit]
    reader = ColouredReader(grey=grey, colours=drawn, peak=16.0, size=size, transforms=transforms, seed=seed)
    return coloured_data(reader, digits, role)
