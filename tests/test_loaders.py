"""The order of mini-batches, loaders with and without workers."""

import itertools
import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from cli import OwnTrouble
from data.check import bad_images
from image_files import ImageFiles
from loaders import Array, BatchOrder, Purpose, batches, epoch_rng, make_loader

CPU = torch.device("cpu")


# The order of mini-batches


@pytest.mark.parametrize(("num_images", "batch_size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
@pytest.mark.parametrize("seed", [None, 0, 2**32 - 1])
def test_every_image_comes_once(num_images, batch_size, seed):
    order = BatchOrder(num_images, batch_size, seed)
    epoch = list(order)
    assert sorted(i for batch in epoch for i in batch) == list(range(num_images))
    assert {len(batch) for batch in epoch[:-1]} <= {batch_size}
    assert 1 <= len(epoch[-1]) <= batch_size
    assert len(order) == len(epoch)


def test_without_a_seed_the_order_is_that_of_the_split():
    order = BatchOrder(5, 2)
    order.epoch = 3
    assert list(order) == [[0, 1], [2, 3], [4]]


def test_the_order_depends_on_seed_epoch_and_phase_alone():
    def order_of(seed, epoch, purpose=Purpose.ORDER):
        order = BatchOrder(100, 7, seed, purpose)
        order.epoch = epoch
        return list(order)

    first = order_of(5, 3)
    keys = itertools.product(range(4), range(1, 5), (Purpose.ORDER, Purpose.LINEAR_ORDER))
    orders = [order_of(*key) for key in keys]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])
    torch.manual_seed(99)
    np.random.seed(99)
    used = BatchOrder(100, 7, 5)
    list(used)
    used.epoch = 3
    assert list(used) == first == list(used)


def test_generators_of_epochs_and_purposes_are_unlike():
    """1,000 draws each of 60 generators: no two agree, correlate, or lie a step apart."""
    keys = list(itertools.product((0, 1), range(6), Purpose))
    draws = np.stack([torch.rand(1000, generator=epoch_rng(*key)).numpy() for key in keys])
    correlation = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlation).max() < 0.2
    assert len(np.unique(draws[:, :5])) > 0.99 * 5 * len(keys)
    assert draws.mean() == pytest.approx(0.5, abs=0.01)


def test_a_generator_is_the_same_each_time_and_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    first, second = (torch.rand(5, generator=epoch_rng(3, 4, 1)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.rand(5, generator=epoch_rng(3, 4)),
                       torch.rand(5, generator=epoch_rng(3, 4, Purpose.ORDER)))  # fmt: skip


# Loaders


@pytest.fixture
def files(tmp_path):
    """Eleven pictures; each is of one colour, 20 times its place."""
    names = np.array([f"sub/{i:02d}.png" for i in range(11)])
    (tmp_path / "sub").mkdir()
    for i, name in enumerate(names):
        Image.new("RGB", (5, 4), (20 * i, 0, 255)).save(tmp_path / name)
    return ImageFiles(tmp_path, names, size=8)


def epoch_of(loader, epoch):
    loader.batch_sampler.epoch = epoch
    return [(images.clone(), index.tolist()) for images, index in batches(loader, CPU)]


def test_batches_carry_the_images_of_their_index(files):
    loader = make_loader(files, BatchOrder(11, 4, seed=1), 0, pin=False)
    sizes = []
    for images, index in epoch_of(loader, 1):
        assert (images.dtype, images.shape[1:]) == (torch.uint8, (3, 8, 8))
        assert images[:, 0, 0, 0].tolist() == [20 * i for i in index]
        sizes.append(len(index))
    assert sizes == [4, 4, 3]


def test_workers_change_nothing_but_the_speed(files):
    """Two epochs with the same two workers, in the order that the epochs have without them."""
    alone = make_loader(files, BatchOrder(11, 4, seed=1), 0, pin=False)
    helped = make_loader(files, BatchOrder(11, 4, seed=1), 2, pin=False)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    orders = []
    for epoch in (1, 2):
        expected, got = epoch_of(alone, epoch), epoch_of(helped, epoch)
        assert [index for _, index in got] == [index for _, index in expected]
        for (images, _), (same, _) in zip(got, expected, strict=True):
            assert torch.equal(images, same)
        orders.append([index for _, index in expected])
    assert orders[0] != orders[1]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_that_was_begun_early_is_the_same(files, num_workers):
    """The loader that comes next begins when the workers of this one have nothing left to do."""
    loader = make_loader(files, BatchOrder(11, 1, seed=1), num_workers, pin=False)
    expected = [index for _, index in epoch_of(loader, 2)]
    loader.batch_sampler.epoch = 1
    asked, begun = [], []
    for _, index in batches(loader, CPU, then=lambda: begun.append(len(asked))):
        asked.append(index.tolist())
    assert begun == [6 if num_workers else 10], "two mini-batches a worker are under way"
    for _ in range(2):
        loader.begin(2)
        assert (loader._begun is None) == (num_workers == 0)
        assert [index.tolist() for _, index in batches(loader, CPU)] == expected


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_workers_read_large_rows_where_a_gpu_waits_for_them(tmp_path):
    """From memory, or from a file that all of them map."""
    np.save(
        tmp_path / "rows.npy", np.arange(5 * 3 * 160 * 160, dtype=np.uint8).reshape(5, 3, 160, -1)
    )
    mapped = torch.from_numpy(np.load(tmp_path / "rows.npy", mmap_mode="c"))
    small = mapped[:, :, :9]
    cases = [(mapped, True, 2), (mapped.clone(), True, 2), (mapped, False, 0), (small, True, 0)]
    for rows, pin, workers in cases:
        loader = make_loader(Array(rows), BatchOrder(5, 2), 2, pin)
        assert loader.num_workers == min(workers, len(os.sched_getaffinity(0)))
        assert torch.equal(torch.cat([images for images, _ in batches(loader, CPU)]), rows)


def read_until_an_error(files, num_workers):
    """The index of the batches before the error, its class and its words; nothing is kept."""
    loader = make_loader(files, BatchOrder(11, 4), num_workers, pin=False)
    arrived = []
    try:
        for _, index in batches(loader, CPU):
            arrived.append(index.tolist())
    except Exception as error:
        return arrived, type(error), str(error)
    return arrived, None, ""


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named_in_one_line(files, num_workers):
    """As it is by `read_image`; with workers no traceback comes along, and they end at once."""
    path = files.folder / "sub/07.png"
    path.write_text("no picture")
    arrived, kind, words = read_until_an_error(files, num_workers)
    assert (arrived, kind) == ([[0, 1, 2, 3]], OwnTrouble)
    assert f"image {path} is no image of a known format" in words
    assert len(words.splitlines()) == 1
    assert not multiprocessing.active_children()


def test_a_part_of_the_files_is_read_by_its_own_index(files):
    some = files.take(np.array([2, 5, 8, 9])).take(np.array([3, 0, 1]))
    assert len(some) == 3
    (images, index), *rest = epoch_of(make_loader(some, BatchOrder(3, 3), 0, pin=False), 1)
    assert not rest
    assert (index, images[:, 0, 0, 0].tolist()) == ([0, 1, 2], [180, 40, 100])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_arrays_need_no_workers(dtype):
    rows = torch.arange(24).view(6, 4).to(dtype)
    part = Array(rows).take(np.array([5, 2, 0, 3])).take(np.array([0, 2, 3]))
    loader = make_loader(part, BatchOrder(3, 2), num_workers=4, pin=False)
    assert loader.num_workers == 0
    got = epoch_of(loader, 1)
    assert [index for _, index in got] == [[0, 1], [2]]
    assert torch.equal(torch.cat([images for images, _ in got]), rows[[5, 0, 3]])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_all_images_that_cannot_be_read_are_found(files, num_workers):
    (files.folder / "sub/02.png").write_text("no picture")
    (files.folder / "sub/10.png").unlink()
    found = bad_images(files, num_workers)
    assert {place: error.path for place, error in found.items()} == {
        place: files.folder / f"sub/{place:02d}.png" for place in (2, 10)
    }
    assert found[10].reason == "is missing"
    some = files.take(np.array([10, 0, 2, 3]))
    assert list(bad_images(some, num_workers)) == [0, 2]


def test_workers_leave_ctrl_c_to_the_main_process(files):
    """A terminal sends SIGINT to all of them; they end with their loader."""
    loader = make_loader(files, BatchOrder(11, 1), 2, pin=False)
    first = epoch_of(loader, 1)  # until both have begun
    steps = batches(loader, CPU)
    arrived = [next(steps)[1].tolist()]
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)
    arrived += [index.tolist() for _, index in steps]
    assert arrived == [index for _, index in first]
    del steps, loader
    assert not multiprocessing.active_children()
