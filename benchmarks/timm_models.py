"""Which timm architectures train, export and reload: two steps each at a small size, one row per architecture.

python benchmarks/timm_models.py [--onnx] [--out benchmarks/results/timm_models.csv] [NAME …]

Random weights, images of noise, a batch of four. A model passes where its features after two steps are those of the
reloaded export (to 1e-6), in ONNX to 1e-4 of the largest; what is refused says why. A family is a module of timm.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import timm
import torch
from torch.nn import functional

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.trainable import parameter_groups
from mibias_cli.errors import MibiasError
from mibias_cli.export.export import write_export
from mibias_cli.export.onnx_file import ONNX_FILE
from mibias_cli.heads.target import TargetHead
from mibias_cli.progress import Silent

# the smallest, or nearly so, of each family
NAMES = [
    "resnet10t", "resnet18", "resnet26d", "resnetv2_18", "resnext26ts", "seresnext26ts", "wide_resnet50_2",
    "resnest14d", "res2net50_14w_8s", "skresnet18", "legacy_seresnet18", "ecaresnet26t", "gcresnext26ts",
    "regnetx_002", "regnety_002", "regnetz_005", "densenet121", "dla34", "dla46_c", "vgg11", "vgg11_bn",
    "darknet17", "cspresnet50", "cspdarknet53", "cs3darknet_s", "vovnet39a", "ese_vovnet19b_dw", "selecsls42",
    "rexnet_100", "rdnet_tiny", "mobilenetv1_100", "mobilenetv2_050", "mobilenetv3_small_050",
    "mobilenetv4_conv_small", "mobilenet_edgetpu_v2_xs", "mnasnet_small", "efficientnet_b0", "efficientnet_lite0",
    "tf_efficientnetv2_b0", "mixnet_s", "fbnetc_100", "spnasnet_100", "semnasnet_050", "lcnet_035", "tinynet_e",
    "ghostnet_050", "ghostnetv2_100", "hardcorenas_a", "hgnet_tiny", "hgnetv2_b0", "nfnet_l0", "nf_resnet26",
    "dm_nfnet_f0", "inception_v3", "inception_next_atto", "xception41", "legacy_xception",
    "convnext_atto", "convnextv2_atto", "convmixer_768_32", "repvgg_a0", "repghostnet_050", "fastvit_t8",
    "mobileone_s0", "starnet_s1", "focalnet_tiny_srf", "poolformer_s12", "poolformerv2_s12", "caformer_s18",
    "convformer_s18", "vit_tiny_patch16_224", "vit_small_patch32_224", "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224", "cait_xxs24_224", "xcit_nano_12_p16_224",
    "beit_base_patch16_224", "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256",
    "swin_s3_tiny_224", "twins_pcpvt_small", "pvt_v2_b0", "levit_128s", "levit_conv_128s", "crossvit_tiny_240",
    "coat_lite_tiny", "convit_tiny", "pit_ti_224", "tnt_s_legacy_patch16_224", "visformer_tiny", "mvitv2_tiny",
    "maxvit_rmlp_pico_rw_256", "coatnet_nano_rw_224", "gcvit_xxtiny", "davit_tiny", "edgenext_xx_small",
    "mobilevit_xxs", "mobilevitv2_050", "efficientformer_l1", "efficientformerv2_s0", "efficientvit_b0",
    "efficientvit_m0", "repvit_m0_9", "tiny_vit_5m_224", "nest_tiny", "sequencer2d_s", "mixer_s32_224",
    "resmlp_12_224", "gmlp_ti16_224", "volo_d1_224", "nextvit_small", "hiera_tiny_224", "hieradet_small",
    "shvit_s1", "swiftformer_xs", "csatv2", "botnet26t_256", "halonet26t", "lambda_resnet26t",
    "eca_botnext26ts_256", "sehalonet33ts", "bat_resnext26ts", "lamhalobotnet50ts_256", "tresnet_m",
    "hrnet_w18_small", "mambaout_femto",
]  # fmt: skip
# tried in turn: many take any size, others only their own
SIZES = (64, 96, 128, None)


def tried(name: str, *, onnx: bool) -> dict[str, object]:
    """The row of one architecture: its size, and how far it comes."""
    family = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    row: dict[str, object] = {
        "name": name,
        "family": family,
        "size": "",
        "trains": "",
        "exports": "",
        "onnx": "",
        "why": "",
    }
    backbone = None
    for size in SIZES:
        try:
            backbone = create_backbone(name, input_size=size, seed=0)
            break
        except MibiasError as error:
            row["why"] = str(error).splitlines()[0]
    if backbone is None:
        return {**row, "trains": "refused"}
    row |= {"size": "×".join(map(str, backbone.input_shape)), "why": ""}
    try:
        torch.manual_seed(0)
        extractor = Extractor(backbone.module, backbone.n_features, bottleneck=8)
        head = TargetHead(extractor.features_dim, 2)
        groups = parameter_groups(extractor, train="all", learning_rate=1e-3, layer_decay=0.9)
        optimizer = torch.optim.SGD([*groups, dict[str, object](params=list(head.parameters()))], lr=1e-3)
        x, y = torch.randn(4, *backbone.input_shape), torch.tensor([0, 1, 0, 1])
        for _ in range(2):
            optimizer.zero_grad()
            functional.cross_entropy(head(extractor.train()(x).features), y).backward()
            optimizer.step()
        row["trains"] = "yes"
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "export"
            # it is read back and compared before this returns
            write_export(
                out, backbone=backbone, extractor=extractor, head=head, class_names=("a", "b"), layers=("features",),
                report=None, report_folder=None, sample_inputs=x, formats=("safetensors", *(["onnx"] if onnx else [])),
                progress=Silent(),
            )  # fmt: skip
            row["exports"] = "yes"
            row["onnx"] = ("yes" if (out / ONNX_FILE).is_file() else "no") if onnx else ""
    except Exception as error:  # whatever it is, it is what the table is to show
        row["why"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.names:
        rows.append(tried(name, onnx=options.onnx))
        print(*rows[-1].values(), sep="\t", file=sys.stderr, flush=True)
    target = options.out.open("w", newline="") if options.out else sys.stdout
    writer = csv.DictWriter(target, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


if __name__ == "__main__":
    main()
