"""The classifier on every backbone, frozen or not, and weights from files of all kinds."""

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import models
from cli import UserError
from losses import build_scheme
from models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageClassifier,
    boost_lu,
    build_model,
    load_tensors,
    parameter_groups,
)


def pictures(size=64, count=2):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=rng)


def equal(first, second):
    """Whether two state dicts hold the same."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# features and places of the last map for images of 64 pixels
MAPS = {
    "resnet18": (512, 2),
    "resnet34": (512, 2),
    "resnet50": (2048, 2),
    "resnet101": (2048, 2),
    "resnet152": (2048, 2),
    "resnet8": (128, 16),
}


@pytest.mark.parametrize("arch", MAPS)
def test_shapes_of_every_resnet(arch):
    """On the meta device, which computes shapes alone: the large ones take no time there."""
    features, places = MAPS[arch]
    with torch.device("meta"):
        model, images = build_model(arch, num_classes=3), torch.empty(2, 3, 64, 64)
    assert model.feature_map(images).shape == (2, features, places, places)
    assert model.class_maps(images).shape == (2, 3, places, places)
    assert model.features(images).shape == (2, features)
    assert model(images).shape == (2, 3)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnet8"])
@torch.inference_mode()
def test_logits_are_the_mean_of_the_class_maps(arch):
    torch.manual_seed(0)
    model = build_model(arch, num_classes=3).eval()
    maps, logits = model.class_maps(pictures()), model(pictures())
    torch.testing.assert_close(logits, maps.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)
    assert maps.std(dim=(2, 3)).min() > 0


@torch.inference_mode()
def test_the_network_is_torchvisions():
    """The same weights give the same logits as torchvision's own forward pass."""
    reference = torchvision.models.resnet18(num_classes=5).eval()
    model = build_model("resnet18", num_classes=5).eval()
    state = reference.state_dict()
    model.head.load_state_dict({"weight": state.pop("fc.weight"), "bias": state.pop("fc.bias")})
    model.backbone.load_state_dict(state)
    normal = torchvision.transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    expected = reference(normal(pictures() / 255))
    torch.testing.assert_close(model(pictures()), expected, rtol=1e-3, atol=1e-4)


def test_normalisation_is_torchvisions():
    model = ImageClassifier(nn.Identity(), num_features=3, num_classes=2)
    normal = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    torch.testing.assert_close(model.feature_map(pictures()), normal(pictures() / 255))


@pytest.mark.parametrize(("count", "size"), [(1, 24), (3, 37)])
def test_images_of_any_size(count, size):
    model, images = build_model("resnet8", 4).eval(), pictures(size, count)
    assert model.features(images).shape == (count, 128)
    assert model(images).shape == (count, 4)
    torch.testing.assert_close(model.head(model.features(images)), model(images))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_stays_what_it_is(frozen):
    model = build_model("resnet8", 3, frozen=frozen)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(pictures(24)).square().mean().backward()
    optimizer.step()
    changed = {
        key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    }
    assert {"head.weight", "head.bias"} <= changed
    of_the_backbone = {key for key in changed if key.startswith("backbone.")}
    assert of_the_backbone == (set() if frozen else {k for k in before if k.startswith("backbone")})
    assert all((p.grad is None) == frozen for p in model.backbone.parameters())
    assert model.head.training
    assert model.backbone.training != frozen


def test_evaluation_mode_reaches_every_part():
    for frozen in (True, False):
        model = build_model("resnet8", 3, frozen=frozen).train().eval()
        assert not any(module.training for module in model.modules())


def test_parameter_groups_have_their_rates():
    model, scheme = build_model("resnet8", 3), build_scheme("LL-R", num_classes=3)
    groups = {group["name"]: group for group in parameter_groups(model, scheme, 0.002, 10)}
    assert {name: group["lr"] for name, group in groups.items()} == {
        "backbone": 0.002,
        "head": pytest.approx(0.02),
    }
    everything = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())


def test_a_frozen_backbone_is_not_optimised_and_a_scheme_may_be():
    scheme = nn.Module()
    scheme.estimator = nn.Parameter(torch.zeros(4))
    frozen = build_model("resnet8", 3, frozen=True)
    groups = {group["name"]: group["lr"] for group in parameter_groups(frozen, scheme, 0.5, 2)}
    assert groups == {"head": 1.0, "scheme": 0.5}
    scheme.lr_factor = 10.0
    assert parameter_groups(frozen, scheme, 0.5, 2)[1]["lr"] == 5.0


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_the_labels_that_a_scheme_learns_do_not_decay(kind):
    scheme = nn.Module()
    scheme.labels = nn.Parameter(torch.ones(4))
    groups = parameter_groups(build_model("resnet8", 3), scheme, 0.5, 2)
    optimizer = kind(groups, weight_decay=0.1)
    decays = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {"backbone": 0.1, "head": 0.1, "scheme": 0.0}
    scheme.labels.grad = torch.zeros(4)
    optimizer.step()
    assert torch.equal(scheme.labels, torch.ones(4))


# Weights from a file


def full_network(backbone):
    """A whole network's state dict: our backbone's weights and a classifier of 1,000 classes."""
    return {**backbone, "fc.weight": torch.ones(1000, 128), "fc.bias": torch.ones(1000)}


LAYOUTS = {
    "backbone": lambda b: b,
    "with a classifier": full_network,
    "OrderedDict": lambda b: OrderedDict(full_network(b)),
    "data parallel": lambda b: {f"module.{key}": v for key, v in full_network(b).items()},
    "in state_dict": lambda b: {"epoch": 3, "state_dict": full_network(b)},
    "data parallel in state_dict": lambda b: {
        "state_dict": {f"module.{key}": v for key, v in b.items()},
    },
    "bestmodel.pt": lambda b: {
        "model": {
            **{f"backbone.{key}": v for key, v in b.items()},
            "head.weight": torch.ones(2, 128),
            "head.bias": torch.ones(2),
        },
        "classes": ["a", "b"],
        "epoch": 4,
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_from_a_file(tmp_path, layout):
    """The backbone is the file's, the head is new, whatever the number of classes."""
    source = build_model("resnet8", 2)
    path = tmp_path / "weights.pt"
    torch.save(LAYOUTS[layout](source.backbone.state_dict()), path)
    model = build_model("resnet8", 2, weights=str(path))
    assert equal(model.backbone.state_dict(), source.backbone.state_dict())
    assert not torch.equal(model.head.weight, torch.ones(2, 128))


def test_a_whole_torchvision_state_dict(tmp_path):
    reference = torchvision.models.resnet18()
    torch.save(reference.state_dict(), tmp_path / "resnet18.pth")
    model = build_model("resnet18", 4, weights=str(tmp_path / "resnet18.pth"))
    state = {k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    assert equal(model.backbone.state_dict(), state)


def test_our_own_best_model_is_a_source(tmp_path):
    source = build_model("resnet8", 7)
    torch.save({"model": source.state_dict(), "classes": ["x"] * 7, "epoch": 1}, tmp_path / "b.pt")
    model = build_model("resnet8", 3, weights=str(tmp_path / "b.pt"))
    assert equal(model.backbone.state_dict(), source.backbone.state_dict())


def without(state, key):
    return {k: v for k, v in state.items() if k != key}


UNFIT = [
    (lambda s: without(s, "0.0.weight"), ["1 missing: 0.0.weight"]),
    (lambda s: {**s, "extra.weight": torch.ones(1)}, ["1 unexpected: extra.weight"]),
    (lambda s: {**s, "0.0.weight": torch.ones(2, 2)}, ["1 of another shape: 0.0.weight"]),
    (lambda s: {**s, "0.0.weight": "text"}, ["1 of another shape: 0.0.weight"]),
    (
        lambda s: {**without(s, "0.0.weight"), "zz": torch.ones(1)},
        ["1 missing: 0.0.weight; ", "1 unexpected: zz"],
    ),
    (lambda s: {}, ["missing: 0.0.weight, 0.1.weight, 0.1.bias, ..."]),
    (lambda s: {3: torch.ones(1)}, ["missing: 0.0.weight", "1 unexpected: 3"]),
]


@pytest.mark.parametrize(("spoil", "words"), UNFIT)
def test_weights_that_do_not_fit_are_named(tmp_path, spoil, words):
    path = tmp_path / "weights.pt"
    torch.save(spoil(build_model("resnet8", 2).backbone.state_dict()), path)
    with pytest.raises(UserError) as caught:
        build_model("resnet8", 2, weights=str(path))
    message = str(caught.value)
    assert message.startswith(f"--weights: {path} does not fit the backbone: ")
    assert all(word in message for word in words)
    assert len(message.splitlines()) == 1


def test_weights_of_another_backbone_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(UserError, match=r"does not fit the backbone: 80 missing: layer1.2.conv1"):
        build_model("resnet34", 2, weights=str(tmp_path / "resnet18.pth"))


@pytest.mark.parametrize("weights", ["IMAGENET1K_V9", "nowhere.pth", "", "."])
def test_unknown_weights_are_refused(weights):
    with pytest.raises(UserError) as caught:
        build_model("resnet50", 2, weights=weights)
    message = f"--weights: {weights!r} is no file and no weights of resnet50 (published: IMAGENET1K"
    assert str(caught.value).startswith(message)


def test_resnet8_has_no_published_weights():
    with pytest.raises(UserError, match=r"no weights of resnet8 \(published: none\)"):
        build_model("resnet8", 2, weights="IMAGENET1K_V1")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Where PyTorch looks for the weights of resnet18 before it fetches them."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    name = Path(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url).name
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / name


def test_published_weights_are_those_of_torchvision(cached):
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), cached)
    wanted = network.conv1.state_dict()
    model = build_model("resnet18", 2, weights="IMAGENET1K_V1")
    assert equal(model.backbone[0].state_dict(), wanted)
    assert not equal(build_model("resnet18", 2).backbone[0].state_dict(), wanted)


def test_no_network_costs_one_line(cached, monkeypatch):
    def download(*args, **kwargs):
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(UserError, match="--weights: IMAGENET1K_V1 of resnet18 cannot be fetched"):
        build_model("resnet18", 2, weights="IMAGENET1K_V1")


@pytest.mark.parametrize("content", ["a payload", b"", b"garbage"])
def test_what_others_put_in_the_cache_is_not_run(tmp_path, cached, content):
    if content == "a payload":
        torch.save({"conv1.weight": Payload(tmp_path / "ran")}, cached)
    else:
        cached.write_bytes(content)
    with pytest.raises(UserError, match=f"remove {cached} if it is there") as caught:
        build_model("resnet18", 2, weights="IMAGENET1K_V1")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


# Files that are no state dicts


class Payload:
    """What a malicious file holds: unpickling it makes the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [torch.save, legacy, plain_pickle])
def test_a_payload_is_not_run(tmp_path, save):
    path = tmp_path / "weights.pt"
    save({"0.0.weight": Payload(tmp_path / "ran")}, path)
    with pytest.raises(UserError, match="damaged, or holds more than tensors: not loaded"):
        build_model("resnet8", 2, weights=str(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"some text\n",
        b"\x00" * 64,
        b"\xff" * 64,
        b"PK\x03\x04",
        b"\x80",
        b"\x80\x02",
        b"[" * 99,
    ],
)
def test_a_file_of_something_else_costs_one_line(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} is damaged, or holds more than tensors") as caught:
        load_tensors(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("save", [torch.save, legacy])
def test_a_file_cut_off_anywhere_costs_one_line(tmp_path, save):
    """As an interrupted download leaves it, in PyTorch's file format of today and of 2018."""
    path = tmp_path / "weights.pt"
    save({"weight": torch.zeros(9), "rows": [{"epoch": 1, "val_map": None}]}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(len(whole) // 60, 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="is damaged"):
            load_tensors(path)


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], 5])
def test_a_file_of_another_type_is_named(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=f"holds a {type(content).__name__} where a state dict"):
        load_tensors(tmp_path / "a.pt")


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"a.pt is missing"):
        load_tensors(tmp_path / "a.pt")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_tensors(tmp_path)


def test_models_start_from_torchs_seed_alone():
    first, second = (torch.manual_seed(3) and models.build_model("resnet8", 2) for _ in range(2))
    assert equal(first.state_dict(), second.state_dict())
    assert not equal(models.build_model("resnet8", 2).state_dict(), first.state_dict())


def test_scores_are_float32_under_autocast():
    """bfloat16 has 8 significant bits: thousands of negatives would share a score."""
    model = build_model("resnet8", 3)
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.feature_map(images).dtype == torch.bfloat16
        logits = model(images)
    assert logits.dtype == torch.float32
    logits.sum().backward()
    assert model.head.weight.grad.abs().sum() > 0


# BoostLU


def test_boosted_logits_by_hand():
    """Two places, one feature of 3 and of 1; the head 2x - 4 makes 2 and -2 of them, and -4."""
    images = torch.tensor([3, 1], dtype=torch.uint8).expand(1, 3, 1, 2)
    for boost, boosted in ((1.0, 2.0), (5.0, 10.0), (2.5, 5.0)):
        unit = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}
        model = ImageClassifier(nn.Identity(), 3, 2, boost=boost, **unit)
        model.head.weight.data = torch.tensor([[2.0, 0, 0], [0, 0, 0]])
        model.head.bias.data = torch.tensor([-4.0, -4.0])
        expected = torch.tensor([[[[boosted, -2.0]], [[-4.0, -4.0]]]])
        torch.testing.assert_close(model.class_maps(images), expected)
        torch.testing.assert_close(model(images), torch.tensor([[boosted / 2 - 1, -4.0]]))


def test_boost_lu_multiplies_what_is_positive():
    maps = torch.tensor([[-2.0, -0.0, 0.5, 3.0]])
    assert boost_lu(maps, 5.0).tolist() == [[-2.0, 0.0, 2.5, 15.0]]
    assert torch.equal(boost_lu(maps, 1.0), maps)


@pytest.mark.parametrize("arch", ["resnet18", "resnet8", "shufflenet_v2_x0_5", "squeezenet1_1"])
@torch.inference_mode()
def test_boosted_logits_are_the_mean_of_the_boosted_class_maps(arch):
    torch.manual_seed(0)
    plain = build_model(arch, 3, image_size=64).eval()
    boosted = build_model(arch, 3, image_size=64, boost=5.0).eval()
    boosted.load_state_dict(plain.state_dict())
    maps = plain.class_maps(pictures())
    assert torch.equal(plain(pictures()), plain.head(plain.features(pictures())))
    torch.testing.assert_close(plain(pictures()), maps.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)
    many = torch.where(maps > 0, 5 * maps, maps)
    torch.testing.assert_close(boosted.class_maps(pictures()), many)
    torch.testing.assert_close(boosted(pictures()), many.mean(dim=(2, 3)))
    assert torch.equal(boosted.features(pictures()), plain.features(pictures()))


def test_boosted_scores_are_float32_under_autocast():
    model = build_model("resnet8", 3, boost=5.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert logits.dtype == torch.float32
