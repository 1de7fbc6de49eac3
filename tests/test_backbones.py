"""One network of every family: it is torchvision's or timm's, trains, and is saved and loaded."""

import sys
import warnings
from typing import NamedTuple

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import vision_transformer
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

import backbones
from backbones import IMAGENET_MEAN, IMAGENET_STD, build_backbone, check_arch, published
from cli import UserError
from models import ImageClassifier, build_model, fill


class Family(NamedTuple):
    """What is known of a network of torchvision."""

    size: int  # of images on which a test is short
    features: int
    side: int  # of the map that it makes of them
    linear: bool = True  # whether pooled features go straight to a linear classifier


FAMILIES = {
    "alexnet": Family(64, 256, 1, linear=False),
    "convnext_tiny": Family(64, 768, 2, linear=False),
    "densenet121": Family(64, 1024, 2),
    "efficientnet_b0": Family(64, 1280, 2),
    "googlenet": Family(64, 1024, 2),
    "inception_v3": Family(80, 2048, 1),
    "maxvit_t": Family(224, 512, 7, linear=False),
    "mnasnet0_5": Family(64, 1280, 2),
    "mobilenet_v2": Family(64, 1280, 2),
    "mobilenet_v3_small": Family(64, 576, 2, linear=False),
    "regnet_y_400mf": Family(64, 440, 2),
    "resnet18": Family(64, 512, 2),
    "resnext50_32x4d": Family(64, 2048, 2),
    "shufflenet_v2_x0_5": Family(64, 1024, 2),
    "squeezenet1_1": Family(64, 512, 3, linear=False),
    "swin_t": Family(64, 768, 2),
    "swin_v2_t": Family(64, 768, 2),
    "vgg11": Family(64, 512, 2, linear=False),
    "vit_b_32": Family(64, 48, 2, linear=False),  # by SmallViT
}
NORMAL = torchvision.transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)


def pictures(size, count=2):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=rng)


def assert_close(ours, theirs):
    """Equal to 1e-4 of the largest value: that of new networks may be far from 1."""
    assert theirs.std() > 0
    scale = theirs.abs().max().item()
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-4)


def original(arch, size):
    """torchvision's own network, new."""
    options = {"image_size": size} if arch.startswith("vit") else {}
    if arch in ("googlenet", "inception_v3"):
        options = {"init_weights": True, "transform_input": True}
    return torchvision.models.get_model(arch, weights=None, **options).eval()


def file_of(network, path):
    """A state dict of torchvision's layout; of large classifiers, which are dropped, a piece."""
    state = network.state_dict()
    torch.save({key: v[:9].clone() if v.numel() > 1e7 else v for key, v in state.items()}, path)
    return str(path)


class SmallViT(VisionTransformer):
    """torchvision's, two layers deep and narrow: the true ones take seconds to make."""

    def __init__(self, **options):
        small = {"num_layers": 2, "num_heads": 2, "hidden_dim": 48, "mlp_dim": 96}
        super().__init__(**{**options, **small})


@pytest.fixture(scope="module", autouse=True)
def small_vit():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision_transformer, "VisionTransformer", SmallViT)
        yield


class Case(NamedTuple):
    arch: str
    family: Family
    network: nn.Module  # torchvision's
    model: ImageClassifier  # ours, with its weights

    @property
    def images(self):
        return pictures(self.family.size)


@pytest.fixture(scope="module", params=FAMILIES)
def case(request, tmp_path_factory):
    """A network of torchvision and our model from a file of its weights."""
    torch.manual_seed(0)
    arch, family = request.param, FAMILIES[request.param]
    network = original(arch, family.size)
    path = file_of(network, tmp_path_factory.mktemp(arch) / "network.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build_model(arch, 3, path, image_size=family.size)
    return Case(arch, family, network, model)


@torch.inference_mode()
def test_a_map_and_logits(case):
    model, images, side = case.model.eval(), case.images, case.family.side
    assert model.feature_map(images).shape == (2, case.family.features, side, side)
    assert model.class_maps(images).shape == (2, 3, side, side)
    assert model.features(images).shape == (2, case.family.features)
    assert model(images).shape == (2, 3)


@torch.inference_mode()
def test_the_map_is_what_the_original_network_pools(case):
    """Of it, the first module that ours leaves out is given the map, or its mean."""
    ours = case.model.eval().feature_map(case.images)
    given = []
    for name, child in case.network.named_children():
        if name not in dict(case.model.backbone.named_children()):
            child.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    if case.arch.startswith("vit"):
        case.network.encoder.register_forward_hook(
            lambda module, args, tokens: given.insert(0, tokens[:, 1:].mT.reshape(ours.shape))
        )
    case.network(NORMAL(case.images / 255))
    assert_close(ours if given[0].dim() == 4 else ours.mean(dim=(2, 3)), given[0])


@torch.inference_mode()
def test_logits_are_those_of_the_original_network(case):
    if not case.family.linear:
        pytest.skip(f"the classifier of {case.arch} is more than a linear layer")
    linear = [m for m in case.network.modules() if isinstance(m, nn.Linear)][-1]
    features = case.model.eval().features(case.images)
    assert_close(linear(features), case.network(NORMAL(case.images / 255)))


def test_a_step_trains_every_parameter_and_a_run_is_saved_and_loaded(case, tmp_path):
    model = case.model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(case.images).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    optimizer.step()
    after = model.state_dict()
    assert not torch.equal(after["head.weight"], before["head.weight"])
    assert any(
        not torch.equal(after[f"backbone.{k}"], before[f"backbone.{k}"]) for k in names(model)
    )

    torch.save({"model": after, "classes": ["a", "b", "c"], "epoch": 1}, tmp_path / "best.pt")
    size = case.family.size
    again = build_model(case.arch, 3, str(tmp_path / "best.pt"), image_size=size).eval()
    state = again.backbone.state_dict()
    assert all(torch.equal(state[name], after[f"backbone.{name}"]) for name in state)
    again.load_state_dict(after)
    with torch.inference_mode():
        assert torch.equal(again(case.images), model.eval()(case.images))


def names(model):
    return dict(model.backbone.named_parameters())


def test_the_keys_are_torchvisions(case):
    theirs = case.network.state_dict()
    assert set(case.model.backbone.state_dict()) <= set(theirs)


@pytest.mark.parametrize("arch", ["resnet8", "squeezenet1_1", "vit_b_32"])
def test_what_a_backbone_says_of_itself(arch):
    features, side = {"resnet8": (128, 16), **{k: f[1:3] for k, f in FAMILIES.items()}}[arch]
    built = build_backbone(arch, 64)
    assert (built.num_features, built.places) == (features, side**2)
    assert built.module.training
    again = build_backbone(arch, 64).module.state_dict()
    assert not all(torch.equal(value, again[key]) for key, value in built.module.named_parameters())


def test_vit_has_the_features_of_its_name(monkeypatch):
    monkeypatch.setattr(vision_transformer, "VisionTransformer", VisionTransformer)
    with torch.device("meta"):
        built = build_backbone("vit_b_16", 448)
    assert (built.num_features, built.places) == (768, 28**2)


def test_maxvit_is_built_for_the_image_size():
    with torch.device("meta"):
        assert build_backbone("maxvit_t", 448).places == 14**2


# ViT, whose position embeddings belong to one image size


@torch.inference_mode()
def test_vit_at_another_image_size(tmp_path):
    """torchvision's file of 64 pixels, and a run's, at 96: position embeddings between."""
    torch.manual_seed(0)
    small, large = original("vit_b_32", 64), original("vit_b_32", 96)
    state = small.state_dict()
    path = file_of(small, tmp_path / "vit.pth")
    large.load_state_dict(interpolate_embeddings(96, 32, small.state_dict()))
    model = build_model("vit_b_32", 2, path, image_size=96).eval()
    expected = []
    large.encoder.register_forward_hook(lambda module, args, tokens: expected.append(tokens))
    large(NORMAL(pictures(96) / 255))
    assert_close(model.feature_map(pictures(96)), expected[0][:, 1:].mT.unflatten(2, (3, 3)))
    ours = model.backbone.encoder.pos_embedding
    assert ours.shape == (1, 10, 48)
    corners, of_file = ours[0, 1:].unflatten(0, (3, 3)), state["encoder.pos_embedding"][0, 1:]
    torch.testing.assert_close(corners[[0, 0, 2, 2], [0, 2, 0, 2]], of_file)

    fill(model.backbone, {f"backbone.{k}": v for k, v in state.items() if "heads" not in k}, (), "")
    torch.testing.assert_close(model.backbone.encoder.pos_embedding, ours)


@pytest.mark.parametrize(
    "given", ["text", torch.ones(1, 6, 48), torch.ones(5), torch.ones(1, 5, 9)]
)
def test_position_embeddings_of_something_else_are_refused(given):
    with torch.device("meta"):
        module = build_backbone("vit_b_32", 96).module
    state = {**module.state_dict(), "encoder.pos_embedding": given}
    with pytest.raises(UserError, match=r"X does not .* 1 of another shape: encoder.pos_embedding"):
        fill(module, state, ("heads",), "X")


# Files


LEGACY = {
    "densenet121": [(".norm1.", ".norm.1."), (".conv2.", ".conv.2.")],
    "vit_b_32": [(".mlp.0.", ".mlp.linear_1."), (".mlp.3.", ".mlp.linear_2.")],
}


@pytest.mark.parametrize("arch", LEGACY)
def test_the_names_of_torchvisions_published_files(arch):
    module, *_ = build_backbone(arch, 64)
    source, *_ = build_backbone(arch, 64)
    state = source.state_dict()
    for today, then in LEGACY[arch]:
        assert any(today in key for key in state)
        state = {key.replace(today, then): value for key, value in state.items()}
    fill(module, state, (), "")
    ours, theirs = module.state_dict(), source.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_published_weights_of_another_normalisation_are_left_out():
    assert published("vgg16") == ["IMAGENET1K_V1", "DEFAULT"]
    assert published("vit_h_14")[0] == "IMAGENET1K_SWAG_E2E_V1"
    assert published("resnet8") == []
    assert all("IMAGENET1K_V1" in published(arch) for arch in FAMILIES)


@pytest.mark.parametrize(
    ("arch", "size", "half"),
    [("efficientnet_v2_l", 32, True), ("efficientnet_v2_s", 32, False), ("googlenet", 32, True)],
)
def test_pixels_are_normalised_as_the_weights_want_them(arch, size, half):
    with torch.device("meta"):
        built = build_backbone(arch, size)
    normal = ((0.5,) * 3, (0.5,) * 3) if half else (IMAGENET_MEAN, IMAGENET_STD)
    assert (built.mean, built.std) == normal


# Mistakes


@pytest.mark.parametrize(
    ("arch", "size", "own"),
    [
        ("vit_b_32", 50, 224),
        ("vit_b_16", 8, 224),
        ("maxvit_t", 100, 224),
        ("alexnet", 16, 224),
        ("inception_v3", 64, 299),
        ("densenet121", 8, 224),
    ],
)
def test_images_that_a_network_cannot_take_cost_one_line(arch, size, own):
    with pytest.raises(UserError) as caught:
        build_model(arch, 2, image_size=size)
    message = str(caught.value)
    assert message.startswith(f"--arch {arch} cannot take images of --image_size {size} (")
    assert message.endswith(f"): give another size, its own is {own}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("arch", "meant"),
    [
        ("resnet51", ", did you mean resnet50?"),
        ("ResNet50", ", did you mean resnet50?"),
        ("vit_b16", ", did you mean vit_b_16?"),
        ("", ""),
        ("fasterrcnn", ""),
        ("raft_large", ""),
    ],
)
@pytest.mark.parametrize("use", [check_arch, published, lambda arch: build_model(arch, 2)])
def test_unknown_names_are_refused(arch, meant, use):
    with pytest.raises(UserError) as caught:
        use(arch)
    assert str(caught.value).startswith(f"--arch: {arch!r} is no backbone{meant} (known: resnet8, ")


def test_timm_is_named_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError) as caught:
        build_model("timm.resnet10t", 2)
    assert str(caught.value) == "--arch timm.resnet10t needs a package: pip install timm"


# timm


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


IN_TIMM = {
    "resnet10t": (64, 512, 2),
    "test_vit": (80, 64, 5),
    "vit_tiny_patch16_224.augreg_in21k": (48, 192, 3),
    "test_convnext": (64, 64, 2),
    "swin_tiny_patch4_window7_224": (96, 768, 3),
    "mobilenetv3_small_050": (64, 288, 2),
    "deit_tiny_distilled_patch16_224": (64, 192, 4),
}


@pytest.mark.parametrize("name", IN_TIMM)
def test_a_network_of_timm(timm, name, tmp_path):
    """Built, trained for a step, filled from a file of timm's and from a run's."""
    size, features, side = IN_TIMM[name]
    torch.manual_seed(0)
    model = build_model(f"timm.{name}", 3, image_size=size)
    assert model.feature_map(pictures(size)).shape == (2, features, side, side)
    model(pictures(size)).square().mean().backward()
    assert sum(p.grad is not None for p in model.parameters()) > 10
    given = timm.get_pretrained_cfg(name)
    torch.testing.assert_close(model.mean.flatten(), torch.tensor(given.mean) * 255)
    torch.testing.assert_close(model.std.flatten(), torch.tensor(given.std) * 255)

    inner = model.backbone.network
    whole = timm.create_model(name, **({"img_size": size} if hasattr(inner, "patch_embed") else {}))
    torch.save(whole.state_dict(), tmp_path / "timm.pt")
    torch.save({"model": model.state_dict()}, tmp_path / "best.pt")
    for file, source in (("timm.pt", whole), ("best.pt", inner)):
        again = build_model(f"timm.{name}", 3, str(tmp_path / file), image_size=size)
        state, wanted = again.backbone.network.state_dict(), source.state_dict()
        assert all(torch.equal(state[key], wanted[key]) for key in state)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "swin_tiny_patch4_window7_224"])
def test_the_map_is_timms(timm, name):
    """Pooled over its places, it is what timm's own average pool makes of the features."""
    size = IN_TIMM[name][0]
    model = build_model(f"timm.{name}", 3, image_size=size).eval()
    normal = (pictures(size).float() - model.mean) / model.std
    network = model.backbone.network
    tokens = network.forward_features(normal)
    if name == "test_vit":
        theirs = tokens[:, network.num_prefix_tokens :].mean(dim=1)
    else:
        theirs = network.forward_head(tokens, pre_logits=True)
    assert_close(model.features(pictures(size)), theirs)
    if name != "resnet10t":  # places lie where they lie in the image: rows first
        tokens = tokens if tokens.dim() == 3 else tokens.flatten(1, 2)
        first = model.feature_map(pictures(size))[:, :, 0, 1]
        assert_close(first, tokens[:, getattr(network, "num_prefix_tokens", 0) + 1])


def test_pretrained_is_the_name_of_timms_own_weights(timm, monkeypatch):
    create, made = timm.create_model, []

    def fetched(name, pretrained, **options):
        network = create(name, pretrained=False, **options)
        if pretrained:
            made.append(network)
        return network

    monkeypatch.setattr(timm, "create_model", fetched)
    assert published("timm.test_vit") == ["pretrained"]
    model = build_model("timm.test_vit", 2, "pretrained", image_size=80)
    state, wanted = model.backbone.network.state_dict(), made[0].state_dict()
    assert len(made) == 1
    assert all(torch.equal(state[key], wanted[key]) for key in state)


def test_weights_of_timm_that_are_not_to_be_had_cost_one_line(timm, monkeypatch):
    def offline(*args):
        raise OSError("no\nnetwork")

    def create(name, pretrained, create=timm.create_model, **options):
        return offline() if pretrained else create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(
        UserError, match=r"those of timm.test_vit cannot be fetched \(no network\): "
    ):
        build_model("timm.test_vit", 2, "pretrained", image_size=80)
    with pytest.raises(UserError, match=r"no weights of timm.test_vit \(published: pretrained\)"):
        build_model("timm.test_vit", 2, "IMAGENET1K_V1", image_size=80)


@pytest.mark.parametrize(
    ("arch", "size", "message"),
    [
        ("timm.resnet10", 64, r"--arch: 'timm.resnet10' is no backbone, did you mean timm.resnet1"),
        ("timm.test_vit.nowhere", 64, "--arch: 'timm.test_vit.nowhere' is no backbone, did you "),
        ("timm.hf-hub:timm/resnet10t", 64, "is no backbone"),
        ("timm.crossvit_9_240", 240, "--arch timm.crossvit_9_240 makes no single map of features"),
        ("timm.coat_lite_tiny", 224, "--arch timm.coat_lite_tiny makes no single map of features"),
        ("timm.inception_v3", 20, r"cannot take images of --image_size 20 .*its own is 299"),
    ],
)
def test_mistakes_about_timm_cost_one_line(timm, arch, size, message):
    with pytest.raises(UserError, match=message) as caught:
        build_model(arch, 2, image_size=size)
    assert len(str(caught.value).splitlines()) == 1


def test_the_command_line_pays_for_no_timm():
    assert "timm" not in vars(backbones)
