"""Labels and corrections on the device: sparse look-ups, their order, the memory that they hold."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

import label_tables
from label_tables import DenseCorrections, DenseTable, SparseCorrections, SparseTable


def bytes_held(owner):
    """What the tensors of an object take."""
    values = [value for value in vars(owner).values() if not isinstance(value, torch.dtype)]
    tensors = []
    while values:
        value = values.pop()
        if isinstance(value, torch.Tensor):
            tensors.append(value)
        elif isinstance(value, (list, tuple)):
            values += value
    assert sum(tensor.nbytes for tensor in owner.tensors()) == sum(t.nbytes for t in tensors)
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


# Labels

GAPS = np.zeros((6, 5), np.int8)
GAPS[1, [0, 4]], GAPS[3, 2], GAPS[4] = (1, -1), -1, (1, -1, 1, -1, 1)


@pytest.mark.parametrize(
    "labels",
    [GAPS, GAPS[::-1].copy(), GAPS[1:5], GAPS[:1], GAPS[4:5], -GAPS, np.zeros((3, 1), np.int8)],
)
def test_sparse_rows_are_those_of_the_dense_table(labels):
    """Also rows without an entry: before the first, between others, after the last."""
    dense, sparse = DenseTable(labels, "cpu"), SparseTable(csr_array(labels), "cpu")
    last = len(labels) - 1
    for index in ([0], [last], [last, 0, last], range(len(labels)), []):
        places = torch.tensor(list(index), dtype=torch.int64)
        rows = sparse.rows(places)
        assert rows.dtype == torch.int8
        assert rows.tolist() == dense.rows(places).tolist() == labels[places.numpy()].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_random_sparse_rows(seed):
    rng = np.random.RandomState(seed)
    labels = rng.choice([0, 0, 0, 0, 1, -1], (50, 30)).astype(np.int8)
    labels[rng.rand(50) < 0.4] = 0
    index = rng.randint(0, 50, 80)
    rows = SparseTable(csr_array(labels), "cpu").rows(torch.from_numpy(index))
    np.testing.assert_array_equal(rows.numpy(), labels[index])


@pytest.mark.parametrize(("num_classes", "bytes_each"), [(32_767, 3), (32_768, 5), (70_000, 5)])
def test_a_label_costs_3_or_5_bytes_and_the_last_class_is_found(num_classes, bytes_each):
    columns = [0, num_classes // 2, num_classes - 1]
    values = np.array([1, -1, 1] * 100, np.int8)
    rows = np.repeat(np.arange(100), 3)
    labels = csr_array((values, (rows, columns * 100)), shape=(100, num_classes))
    table = SparseTable(labels, "cpu")
    assert bytes_held(table) == 300 * bytes_each + 101 * 8
    found = table.rows(torch.tensor([7]))
    assert found.shape == (1, num_classes)
    assert found.nonzero()[:, 1].tolist() == columns
    assert found[0, columns].tolist() == [1, -1, 1]


def test_the_labels_on_the_device_are_a_copy():
    labels = csr_array(GAPS)
    table = SparseTable(labels, "cpu")
    table.rows(torch.arange(6)).fill_(7)
    assert table.rows(torch.arange(6)).tolist() == GAPS.tolist()


# Corrections


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(label_tables, "_CHUNK", 4)
    monkeypatch.setattr(label_tables, "_MERGED_AT_ONCE", 3)


def both(shape):
    return DenseCorrections(shape, "cpu"), SparseCorrections(shape, "cpu")


@pytest.mark.parametrize("num_classes", [1, 6, 40_000])
@pytest.mark.parametrize("seed", range(4))
def test_sparse_corrections_are_those_of_the_dense_table(small_pieces, seed, num_classes):
    """In batches of 0 to 9 images; looked up after each, or only now and then."""
    rng = np.random.RandomState(seed)
    dense, sparse = both((20, num_classes))
    share = min(0.3, 8 / num_classes)
    for step in range(30):
        index = torch.from_numpy(rng.permutation(20)[: rng.randint(10)])
        new = torch.from_numpy(rng.rand(len(index), num_classes) < share) & ~dense.rows(index)
        dense.add(index, new)
        sparse.add(index, new, at_most=int(new.sum()) + step % 3 if step % 2 else None)
        if step % (seed + 1) == 0:
            looked_up = torch.from_numpy(rng.permutation(20)[:7])
            assert torch.equal(sparse.rows(looked_up), dense.rows(looked_up))
            labels = torch.from_numpy(rng.choice([-1.0, 0, 1], (7, num_classes)))
            unmarked = labels.clone()
            marked = sparse.mark(labels, looked_up)
            assert torch.equal(marked, dense.mark(unmarked, looked_up))
            assert marked.dtype == labels.dtype
        assert sparse.count() == dense.count()
    index = torch.arange(20)
    assert torch.equal(sparse.rows(index), dense.rows(index))
    assert int(sparse.state_dict()["counts"].sum()) == int(dense.rows(index).sum()) > 0


def test_labels_are_marked_in_place():
    """-1 too, and an image without corrections keeps what it has."""
    for corrections in both((3, 2)):
        corrections.add(torch.tensor([1]), torch.tensor([[True, False]]))
        labels = torch.tensor([[-1.0, 0], [-1, 0]])
        assert corrections.mark(labels, torch.tensor([1, 2])) is labels
        assert labels.tolist() == [[1, 0], [-1, 0]]


def test_the_state_lists_the_columns_image_by_image(small_pieces):
    """The corrections of an image in the order in which they came."""
    corrections = SparseCorrections((4, 9), "cpu")
    for image, column in ((3, 8), (1, 5), (3, 0), (1, 2), (0, 7)):
        new = torch.zeros(1, 9, dtype=torch.bool)
        new[0, column] = True
        corrections.add(torch.tensor([image]), new)
        corrections.rows(torch.tensor([image]))
    state = corrections.state_dict()
    assert state["counts"].tolist() == [1, 2, 0, 2]
    assert state["columns"].tolist() == [7, 5, 2, 8, 0]


def test_new_corrections_are_put_in_order_once_an_epoch(monkeypatch):
    """As LL-Cp trains: every image is looked up once an epoch, and then corrected."""
    merges = []
    merge = SparseCorrections._merge
    monkeypatch.setattr(SparseCorrections, "_merge", lambda self: merges.append(1) or merge(self))
    corrections = SparseCorrections((32, 10), "cpu")
    for epoch in range(5):
        for index in torch.randperm(32, generator=torch.Generator().manual_seed(epoch)).split(4):
            corrections.rows(index)
            new = torch.zeros(4, 10, dtype=torch.bool)
            new[:, epoch] = True
            corrections.add(index, new)
        assert len(merges) == epoch
    assert corrections.rows(torch.arange(32)).sum(1).tolist() == [5] * 32


def test_nothing_corrected_costs_nothing():
    corrections = SparseCorrections((50, 1000), "cpu")
    empty = bytes_held(corrections)
    assert empty <= 50 * 9 + 16
    corrections.add(torch.arange(50), torch.zeros(50, 1000, dtype=torch.bool))
    assert bytes_held(corrections) == empty
    assert not corrections.rows(torch.arange(50)).any()


@pytest.mark.parametrize(("num_classes", "new_bytes", "bytes_each"), [(3072, 6, 2), (36_864, 8, 4)])
def test_a_correction_costs_6_bytes_and_2_once_in_order(num_classes, new_bytes, bytes_each):
    """3 * 2**20 corrections; of 32,768 classes and more it takes 2 bytes more."""
    num_images, per_image = 1024, 3072
    corrections = SparseCorrections((num_images, num_classes), "cpu")
    empty = bytes_held(corrections)
    new = torch.zeros(128, num_classes, dtype=torch.bool)
    new[:, -per_image:] = True
    for index in torch.arange(num_images).split(128):
        corrections.add(index, new)
    count = num_images * per_image
    assert count >= 10**6
    assert bytes_held(corrections) - empty <= new_bytes * count
    corrections.rows(torch.tensor([0]))
    assert bytes_held(corrections) - empty <= bytes_each * count
    found = corrections.rows(torch.tensor([0, 1023, 500]))
    assert torch.equal(found, new[:3])


def test_the_memory_of_a_few_corrections_is_that_of_one_chunk():
    corrections = SparseCorrections((1000, 100), "cpu")
    empty = bytes_held(corrections)
    new = torch.zeros(1000, 100, dtype=torch.bool)
    new[:, :3] = True
    corrections.add(torch.arange(1000), new)
    assert bytes_held(corrections) - empty == 6 * label_tables._CHUNK
    corrections.state_dict()
    assert bytes_held(corrections) - empty == 2 * 3000
