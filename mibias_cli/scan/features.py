"""What a backbone's features tell of the shortcuts that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.transforms import transforms_of
from mibias_cli.data.batch import Split
from mibias_cli.data.files.images import FileImages, ImageReader
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, AuditInput, Features
from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.progress import Progress
from mibias_cli.scan.ranking import CONFIDENCE, Codes

__all__ = ["embed_images", "feature_bits"]

_BATCH = 32


def embed_images(backbone: Backbone, paths: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Pooled features (n, d) of image files, each by a name for errors, on a GPU where there is one."""
    n = len(paths)
    split = Split(
        name="scanned",
        y=np.zeros(n, dtype=np.int64),
        c={},
        known={},
        group=None,
        rows=np.arange(n),
        row_names=list(names),
        reader=ImageReader(FileImages(paths), transforms_of(backbone), 0, names),
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return embed(Extractor(backbone.module, backbone.n_features), split, batch_size=_BATCH, device=device).features


def feature_bits(
    features: np.ndarray, found: Mapping[str, Codes], group: np.ndarray | None, *, seed: int, progress: Progress
) -> dict[str, Interval]:
    """I(z; property) in bits of each column by the audit's logistic probe, on rows that it was not fitted on."""
    if not found:
        return {}
    everyone = np.zeros(len(features), dtype=np.int64)
    inputs = AuditInput(
        before=None,
        after=Features(train=features[:0], audit=features),
        train_y=everyone[:0],
        audit_y=everyone,
        class_names=("all",),
        attributes=tuple(
            AuditedAttribute(
                name=name,
                channels=(name,),
                class_names=(column.names,),
                c=column.codes[:, None],
                known=np.ones(len(features), dtype=bool),
            )
            for name, column in found.items()
        ),
        group=group,
        target=AuditedTarget(kind="none", names=(), train=everyone[:0, None], audit=everyone[:, None]),
    )
    # one quick probe: which of the found ones matter, not how low their leakage is
    settings = AuditSettings(probes=("logistic",), n_permutations=0, confidence=CONFIDENCE)
    findings = audit(inputs, settings, seed=seed, progress=progress)
    return {name: attribute.after.leakage_bits for name, attribute in findings.attributes.items()}
