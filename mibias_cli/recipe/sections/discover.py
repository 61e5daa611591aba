"""The recipe's `discover`: pseudo-attributes where nobody knows the bias."""

from __future__ import annotations

from pydantic import Field

from mibias_cli.recipe.values import Positive, Section

__all__ = ["DISCOVERED", "DiscoverSection"]

DISCOVERED = "discovered"
"""Name of the attribute that is discovered."""


class DiscoverSection(Section):
    """Clusters of an early-stopped model's features within each target class, taken for a bias attribute.

    A model that is stopped early has learnt what is easiest, and where a bias is easier than the task it divides the
    samples of a class by the bias. What is found is called `discovered` wherever an attribute has a name.
    """

    clusters: Positive = Field(2, description="Clusters per target class.")
    epochs: Positive = Field(1, description="Epochs of plain training before clustering; few, so that bias leads.")
