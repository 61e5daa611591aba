"""What trains: learning rates by hand, frozen stages and BatchNorm that do not move."""

import copy
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.trainable import (
    bears_channels_last,
    checkpoint_gradients,
    choose_trainable,
    head_groups,
    last_stages,
    parameter_groups,
    refuse_no_checkpointing,
)
from mibias_cli.errors import BackboneError


def extractor_of(name: str = "test_resnet", bottleneck: int | None = None) -> Extractor:
    backbone = create_backbone(name, input_size=32)
    return Extractor(backbone.module, backbone.n_features, bottleneck=bottleneck)


def group_with(groups: Sequence[dict[str, Any]], parameter: nn.Parameter) -> dict[str, Any]:
    found = [g for g in groups if any(p is parameter for p in g["params"])]
    assert len(found) == 1
    return found[0]


def test_layer_decay_by_hand_for_a_timm_model() -> None:
    extractor = extractor_of(bottleneck=4)
    groups = parameter_groups(extractor, learning_rate=0.1, layer_decay=0.5, weight_decay=0.01)
    net = extractor.backbone
    for stage, module in enumerate((net.conv1, net.layer1, net.layer2, net.layer3, net.layer4)):
        for parameter in module.parameters():
            group = group_with(groups, parameter)
            assert group["lr"] == pytest.approx(0.1 * 0.5 ** (4 - stage))
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 else 0.0)
    assert group_with(groups, extractor.bottleneck[0].weight)["lr"] == 0.1
    assert sum(len(g["params"]) for g in groups) == len(list(extractor.parameters()))
    torch.optim.AdamW(groups)


def test_layer_decay_by_hand_for_the_digit_network() -> None:
    extractor = extractor_of("digit_cnn")
    groups = parameter_groups(extractor, learning_rate=1.0, layer_decay=0.1)
    net = extractor.backbone
    rates = [group_with(groups, m.weight)["lr"] for m in (net.conv1, net.conv2, net.fc1, net.fc2)]
    assert rates == pytest.approx([1e-3, 1e-2, 1e-1, 1.0])


def test_without_layer_decay_there_are_two_groups() -> None:
    groups = parameter_groups(extractor_of(), learning_rate=0.1, weight_decay=0.01)
    assert sorted(g["weight_decay"] for g in groups) == [0.0, 0.01]
    assert len(parameter_groups(extractor_of(), learning_rate=0.1)) == 1


def test_listed_parameters_get_no_weight_decay() -> None:
    backbone = create_backbone("test_vit")
    extractor = Extractor(backbone.module, backbone.n_features)
    groups = parameter_groups(extractor, learning_rate=0.1, weight_decay=0.01)
    assert backbone.module.pos_embed.ndim == 3
    assert group_with(groups, backbone.module.pos_embed)["weight_decay"] == 0.0


def step(extractor: Extractor, groups: list[dict[str, Any]]) -> None:
    optimizer = torch.optim.SGD(groups, lr=0.1)
    torch.manual_seed(0)
    extractor(torch.rand(8, 3, 32, 32)).features.square().sum().backward()
    optimizer.step()


def moved(extractor: Extractor, before: dict[str, torch.Tensor]) -> set[str]:
    return {k for k, v in extractor.state_dict().items() if not torch.equal(v, before[k])}


def test_only_named_stages_move() -> None:
    extractor = extractor_of(bottleneck=4)
    groups = parameter_groups(extractor, train=["layer4", "layer3.0.conv2"], learning_rate=0.1)
    extractor.train()
    before = copy.deepcopy(extractor.state_dict())
    step(extractor, groups)
    stages = {k.removeprefix("backbone.").rpartition(".")[0] for k in moved(extractor, before)}
    assert all(s.startswith(("layer4", "layer3.0.conv2", "bottleneck")) for s in stages)
    assert any(s.startswith("layer4") for s in stages)
    assert extractor.backbone.layer4[0].bn1.training
    assert not extractor.backbone.layer3[0].bn1.training
    assert not extractor.backbone.layer2[0].bn1.training


def test_none_trains_the_bottleneck_alone() -> None:
    extractor = extractor_of(bottleneck=4)
    groups = parameter_groups(extractor, train="none", learning_rate=0.1)
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in extractor.bottleneck.parameters()}
    extractor.train()
    assert not any(m.training for m in extractor.backbone.modules())
    assert parameter_groups(extractor_of(), train="none", learning_rate=0.1) == []


def test_all_thaws_again() -> None:
    extractor = extractor_of()
    choose_trainable(extractor, train="none")
    choose_trainable(extractor, train="all")
    extractor.train()
    assert all(p.requires_grad for p in extractor.parameters())
    assert all(m.training for m in extractor.modules())


def test_frozen_batchnorm_stays_as_loaded() -> None:
    extractor = extractor_of()
    groups = parameter_groups(extractor, learning_rate=0.1, batchnorm_frozen=True)
    extractor.train()
    before = copy.deepcopy(extractor.state_dict())
    step(extractor, groups)
    norms = {n for n, m in extractor.named_modules() if isinstance(m, nn.BatchNorm2d)}
    changed = {k.rpartition(".")[0] for k in moved(extractor, before)}
    assert norms
    assert changed
    assert not norms & changed
    assert extractor.backbone.layer1[0].conv1.weight.requires_grad
    extractor.eval()
    extractor.train()
    assert not any(m.training for m in extractor.modules() if isinstance(m, nn.BatchNorm2d))
    assert copy.deepcopy(extractor).train().kept_in_eval == extractor.kept_in_eval


def test_batchnorm_moves_unless_it_is_frozen() -> None:
    extractor = extractor_of()
    groups = parameter_groups(extractor, learning_rate=0.1)
    extractor.train()
    before = copy.deepcopy(extractor.state_dict())
    step(extractor, groups)
    assert any(k.endswith("running_mean") for k in moved(extractor, before))
    choose_trainable(extractor, batchnorm_frozen=True)
    before = copy.deepcopy(extractor.state_dict())
    extractor(torch.rand(8, 3, 32, 32))
    assert moved(extractor, before) == set()


def test_unknown_stages_are_named() -> None:
    with pytest.raises(
        BackboneError, match=r"no module 'layer9', did you mean 'layer\d'.*layer1, layer2, layer3, layer4"
    ):
        parameter_groups(extractor_of(), train=["layer9"], learning_rate=0.1)
    with pytest.raises(BackboneError, match="'maxpool' holds no parameters"):
        parameter_groups(extractor_of(), train=["maxpool"], learning_rate=0.1)


def test_the_bottleneck_may_have_a_weight_decay_of_its_own() -> None:
    """AdamW without a gradient only decays: weights by 1 − rate · decay a step, biases not at all."""
    extractor = extractor_of(bottleneck=4)
    groups = parameter_groups(extractor, learning_rate=2e-3, weight_decay=0.01, with_bottleneck=False)
    groups += head_groups([extractor.bottleneck, None], learning_rate=2e-3, weight_decay=10.0)
    assert sum(len(g["params"]) for g in groups) == len(list(extractor.parameters()))
    layer = extractor.bottleneck[0]
    before = {k: v.detach().clone() for k, v in layer.named_parameters()}
    for parameter in extractor.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.AdamW(groups).step()
    torch.testing.assert_close(layer.weight, 0.98 * before["weight"])
    assert torch.equal(layer.bias, before["bias"])


def test_a_model_whose_matcher_has_no_coarse_groups_is_grouped_by_its_modules() -> None:
    class FineOnly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = nn.Linear(3, 4), nn.Linear(4, 4)

        def group_matcher(self, coarse: bool = False) -> dict[str, str]:
            assert not coarse, "as timm's rdnet says"
            return {"stem": "^stem"}

    extractor = Extractor(FineOnly(), 4)
    groups = parameter_groups(extractor, learning_rate=1.0, layer_decay=0.5)
    assert {group["name"]: group["lr"] for group in groups} == {"stage 0": 0.5, "stage 1": 1.0}


class Stages(nn.Module):
    """Convolutions in a chain of chains, made in another order than they are called in, and a wide layer at the end."""

    def __init__(self, sizes: Sequence[Sequence[int]], *, wide: int = 1) -> None:
        super().__init__()
        width = sizes[-1][-1]
        self.head = nn.Conv2d(width, wide, 1, bias=False)
        self.stem = nn.Conv2d(3, sizes[0][0], 1, bias=False)
        self.stages, before = nn.ModuleList(), sizes[0][0]
        for own in sizes:
            blocks = nn.Sequential()
            for size in own:
                blocks.append(nn.Sequential(nn.Conv2d(before, size, 1, bias=False), nn.ReLU()))
                before = size
            self.stages.append(nn.ModuleDict({"blocks": blocks}))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage["blocks"](x)
        return self.head(x.mean((2, 3), keepdim=True)).flatten(1)


IMAGE = torch.zeros(1, 3, 4, 4)


def test_last_stages_are_the_last_that_are_called() -> None:
    # 12 + 16 · 7 weights, and 4 in the head, which was made first
    assert last_stages(Stages([(4, 4, 4, 4, 4, 4, 4)]), IMAGE) == [
        *(f"stages.0.blocks.{k}" for k in (3, 4, 5, 6)),
        "head",
    ]


def test_what_stands_behind_the_pooling_does_not_count() -> None:
    """A wide layer on pooled features holds most parameters of a small network; no map is learned in it."""
    # 12 + 16 · 4 weights before it
    blocks = [f"stages.0.blocks.{k}" for k in (1, 2, 3)]
    assert last_stages(Stages([(4, 4, 4, 4)], wide=1000), IMAGE) == [*blocks, "head"]
    # mobilenetv3_small has 52 % there
    with torch.device("meta"):
        network = timm.create_model("mobilenetv3_small_050", num_classes=0).eval()
        assert last_stages(network, torch.empty(1, 3, 224, 224)) == ["blocks.4", "blocks.5", "conv_head"]


def test_a_stage_of_nearly_all_parameters_is_divided() -> None:
    with torch.device("meta"):
        network = timm.create_model("poolformer_s12", num_classes=0).eval()
        assert last_stages(network) == ["stages.2", "stages.3", "head.norm"]  # 96 %
        assert last_stages(network, torch.empty(1, 3, 224, 224)) == ["stages.2.blocks.5", "stages.3", "head.norm"]
        # blocks of regnety_002's last stage are modules of no list
        network = timm.create_model("regnety_002", num_classes=0).eval()
        assert last_stages(network, torch.empty(1, 3, 224, 224)) == [f"s4.b{k}" for k in (4, 5, 6, 7)]


def test_blocks_that_are_called_in_turns_with_others() -> None:
    """twins: lists of lists of blocks, with position encodings between them that are made behind them all."""
    with torch.device("meta"):
        network = timm.create_model("twins_svt_small", num_classes=0).eval()
        found = last_stages(network, torch.empty(1, 3, 224, 224))
    assert found == ["blocks.3.0", "pos_block.3", "blocks.3.1", "blocks.3.2", "blocks.3.3", "norm"]


def test_networks_that_torch_cannot_train_with_channels_last() -> None:
    """On CPUs it ends the process in RepVGG's first stage, unless that does not train; other first stages are fine."""
    cpu = torch.device("cpu")
    with torch.device("meta"):
        repvgg, *others = (timm.create_model(name) for name in ("repvgg_a0", "resnet18", "vit_tiny_patch16_224"))
    assert all(bears_channels_last(network, cpu) for network in others)
    assert not bears_channels_last(repvgg, cpu)
    assert bears_channels_last(repvgg, torch.device("cuda"))
    repvgg.stem.requires_grad_(False)
    assert bears_channels_last(repvgg, cpu)


@pytest.mark.parametrize(("name", "layer"), [("test_vit", "blocks.0"), ("test_resnet", "layer2.0")])
def test_activations_that_are_computed_again_give_the_same_and_need_less_memory(name: str, layer: str) -> None:
    """Two backward passes through one graph, as some rules of `debias.gradients` take them, from an inner layer too."""

    def gradients(again: bool) -> tuple[list[Tensor], int]:
        torch.manual_seed(0)
        backbone = create_backbone(name, input_size=None if name == "test_vit" else 32, seed=0)
        refuse_no_checkpointing(name, backbone.module)
        extractor = Extractor(backbone.module, backbone.n_features, layers=[layer]).train()
        if again:
            checkpoint_gradients(extractor)
            # as the second stage does to a copy of the first one's
            extractor = deepcopy(extractor)
            checkpoint_gradients(extractor)
        kept: dict[int, int] = {}

        def keep(saved: Tensor) -> Tensor:
            kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
            return saved

        side = 160 if name == "test_vit" else 32
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
            found = extractor(torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(1)))
        parameters = [p for p in extractor.parameters() if p.requires_grad]
        first = torch.autograd.grad(
            found.features.square().mean(), parameters, retain_graph=True, materialize_grads=True
        )
        second = torch.autograd.grad(found.taps[layer].square().mean(), parameters, materialize_grads=True)
        # BatchNorm's running statistics too, though the batch was computed two more times
        statistics = [value for name, value in extractor.named_buffers() if "running" in name]
        assert all(m.momentum == 0.1 for m in extractor.modules() if isinstance(m, nn.BatchNorm2d))
        return [*first, *second, *statistics], sum(kept.values())

    (plain, plain_bytes), (again, again_bytes) = gradients(False), gradients(True)
    assert any(bool(g.any()) for g in plain)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert again_bytes < 0.7 * plain_bytes


def test_a_backbone_that_cannot_compute_its_activations_again_is_refused() -> None:
    with pytest.raises(BackboneError, match="digit_cnn cannot compute its activations again; set it to false"):
        refuse_no_checkpointing("digit_cnn", create_backbone("digit_cnn").module)


def test_a_stage_that_is_not_called_as_a_whole_is_told_with_what_to_name() -> None:
    backbone = create_backbone("test_resnet", input_size=32)
    extractor = Extractor(backbone.module, backbone.n_features, layers=["layer2"]).train()
    checkpoint_gradients(extractor)
    with pytest.raises(BackboneError, match="'layer2' takes no part .* name one of its blocks"):
        extractor(torch.rand(2, 3, 32, 32))
