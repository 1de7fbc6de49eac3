"""The training labels: look-up by index, corrections beside the human labels, counts."""

import io
import itertools

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

import label_tables
from label_store import LabelStore
from losses import build_scheme

HUMAN = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0], [0, 0, 0]], np.int8)
TRUTH = np.array([[1, 1, -1], [-1, 1, 1], [1, 1, 0], [-1, 1, 1]], np.int8)  # (1, 2): a mistake
FALSE_NEGATIVES = 5  # (0, 1) (1, 1) (2, 0) (3, 1) (3, 2)


@pytest.fixture(params=[np.array, csr_array], ids=["dense", "sparse"])
def kind(request):
    """What makes a table of labels out of an array."""
    return request.param


def chosen(*places):
    """A selection bool [2, 3] of these (row, column)."""
    selected = torch.zeros(2, 3, dtype=torch.bool)
    for place in places:
        selected[place] = True
    return selected


def everything(store):
    return store.observed(torch.arange(4)).tolist()


def test_labels_are_looked_up_by_index(kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    index = torch.tensor([2, 0])
    assert store.observed(index).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert store.human(index).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert store.truth(index).tolist() == [[1, 1, 0], [1, 1, -1]]
    assert store.observed(index).dtype == store.human(index).dtype == torch.float32
    assert store.truth(index).dtype == torch.int8


def test_an_unknown_truth_is_0_everywhere(kind):
    store = LabelStore(kind(HUMAN), None)
    assert store.truth(torch.arange(4)).tolist() == np.zeros((4, 3)).tolist()
    assert store.false_negatives() == 0


def test_a_correction_is_seen_from_the_next_look_up_on_and_by_its_image_alone(kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    index = torch.tensor([3, 1])
    before = store.observed(index)
    store.correct(index, chosen((0, 2), (1, 1)))
    assert before.tolist() == [[0, 0, 0], [0, 0, -1]]
    assert everything(store) == [[1, 0, 0], [0, 1, -1], [0, 1, 0], [0, 0, 1]]


def test_corrections_add_up_and_lie_beside_the_human_labels(kind):
    human = kind(HUMAN)
    store = LabelStore(human, kind(TRUTH))
    store.correct(torch.tensor([0, 3]), chosen((0, 1), (1, 0)))
    store.correct(torch.tensor([3, 2]), chosen((0, 1)))
    store.correct(torch.tensor([0, 3]), chosen())
    assert everything(store) == [[1, 1, 0], [0, 0, -1], [0, 1, 0], [1, 1, 0]]
    assert store.human(torch.arange(4)).tolist() == HUMAN.tolist()
    assert (human != HUMAN).sum() == 0


def test_counts_of_false_negatives_by_hand(kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    assert store.false_negatives() == FALSE_NEGATIVES
    assert store.corrected_false_negatives() == 0
    # (0, 1) and (3, 2) are false negatives, (0, 2) is a true one, of (2, 2) the truth is unknown
    store.correct(torch.tensor([0, 2]), chosen((0, 1), (0, 2), (1, 2)))
    store.correct(torch.tensor([3, 1]), chosen((0, 2)))
    assert store.corrected_false_negatives() == 2
    assert store.false_negatives() == FALSE_NEGATIVES  # of the human labels


def test_corrections_go_through_a_checkpoint(tmp_path, kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    store.correct(torch.tensor([3, 1]), chosen((0, 2), (1, 0)))
    torch.save(store.state_dict(), tmp_path / "labels.pt")
    other = LabelStore(kind(HUMAN), kind(TRUTH))
    other.load_state_dict(torch.load(tmp_path / "labels.pt", weights_only=True))
    assert everything(other) == everything(store) != HUMAN.tolist()
    assert other.corrected_false_negatives() == store.corrected_false_negatives() == 1
    other.correct(torch.tensor([0, 2]), chosen((0, 2)))
    assert everything(other) != everything(store)


@pytest.mark.parametrize("seed", range(3))
def test_against_plain_dictionaries(seed, kind):
    """Random batches of corrections of unobserved labels, remembered in a set."""
    rng = np.random.RandomState(seed)
    human = rng.choice([-1, 0, 0, 0, 1], (30, 7)).astype(np.int8)
    truth = np.where(human == 0, rng.choice([-1, 0, 1], human.shape), human).astype(np.int8)
    store, corrected = LabelStore(kind(human), kind(truth)), set()
    for _ in range(12):
        index = rng.permutation(30)[:8]
        selected = (human[index] == 0) & (rng.rand(8, 7) < 0.1)
        store.correct(torch.from_numpy(index), torch.from_numpy(selected))
        corrected |= {(index[i], j) for i, j in zip(*np.nonzero(selected), strict=True)}
        for i, row in enumerate(store.observed(torch.arange(30)).tolist()):
            assert row == [1 if (i, j) in corrected else human[i, j] for j in range(7)]
    assert store.corrected_false_negatives() == sum(truth[place] == 1 for place in corrected)
    assert store.false_negatives() == ((truth == 1) & (human == 0)).sum()


def test_ll_cp_never_corrects_a_label_twice_nor_an_observed_one(kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    scheme = build_scheme("LL-Cp", num_classes=3, delta_rel=30)
    index, seen = torch.arange(4), torch.from_numpy(HUMAN != 0)
    logits = torch.linspace(-2, 2, 12).view(4, 3)
    sizes = []
    for epoch in (2, 3, 4):
        out = scheme(logits, store.observed(index), epoch=epoch, index=index)
        assert not (out.selected & seen).any()
        seen |= out.selected
        sizes.append(int(out.selected.sum()))
        store.correct(index, out.selected)
    assert sizes == [3, 2, 2]  # 30 % of 9, of 6, of 4, rounded up


# Sparse tables against dense ones

STEPS = ["look", "look", "look", "correct", "correct", "correct", "save", "load"]


@pytest.fixture
def small_pieces(monkeypatch):
    """Chunks and blocks so small that a few corrections fill several."""
    monkeypatch.setattr(label_tables, "_CHUNK", 5)
    monkeypatch.setattr(label_tables, "_MERGED_AT_ONCE", 3)


def through_a_file(state):
    """The state as a checkpoint gives it back."""
    packed = io.BytesIO()
    torch.save(state, packed)
    return torch.load(io.BytesIO(packed.getvalue()), weights_only=True)


def tables_of(rng, size):
    """Human labels and truth, which is unknown here and there and contradicts some of them."""
    human = rng.choice([-1, 0, 0, 0, 1], size).astype(np.int8)
    human[rng.rand(size[0]) < 0.3] = 0
    return human, np.where(rng.rand(*size) < 0.9, rng.choice([-1, 0, 1], size), human)


@pytest.mark.parametrize("truth_is", ["known", "unknown", "the same"])
@pytest.mark.parametrize("seed", range(12))
def test_dense_and_sparse_stores_do_exactly_the_same(small_pieces, seed, truth_is):
    """Any sequence of look-ups, corrections, checkpoints and returns to them."""
    rng = np.random.RandomState(seed)
    num_images, num_classes = size = rng.randint(1, 12), rng.randint(1, 9)
    human, truth = tables_of(rng, size)
    stores = []
    for kinds in itertools.product((np.array, csr_array), repeat=2):
        table = kinds[0](human)
        other = {"known": kinds[1](truth), "unknown": None, "the same": table}[truth_is]
        stores.append(LabelStore(table, other))
    states = [through_a_file(store.state_dict()) for store in stores]
    for _ in range(60):
        step = rng.choice(STEPS)
        index = torch.from_numpy(rng.permutation(num_images)[: rng.randint(1, num_images + 1)])
        selected = torch.from_numpy(rng.rand(len(index), num_classes) < rng.choice([0, 0.1, 0.6]))
        for store, state in zip(stores, states, strict=True):
            if step == "correct":
                store.correct(index, selected)
            elif step == "save":
                state.update(through_a_file(store.state_dict()))
            elif step == "load":
                store.load_state_dict(through_a_file(state))
        first, *others = stores
        assert torch.equal(first.human(index), torch.from_numpy(human)[index].float())
        for store in others:
            for name in ("false_negatives", "corrected_false_negatives", "corrections"):
                assert getattr(store, name)() == getattr(first, name)()
            for name in ("observed", "human", "truth") if step == "look" else ("human", "truth"):
                looked_up, same = getattr(store, name)(index), getattr(first, name)(index)
                assert looked_up.dtype == same.dtype
                assert torch.equal(looked_up, same)
    everything = torch.arange(num_images)
    for store in stores[1:]:
        assert torch.equal(store.observed(everything), stores[0].observed(everything))


def test_a_correction_is_seen_whenever_its_image_comes_again(kind, small_pieces):
    """After none, few or many corrections of other images."""
    store = LabelStore(kind(np.zeros((40, 7), np.int8)), None)
    expected = torch.zeros(40, 7)
    for image in range(40):
        selected = torch.rand(1, 7) < 0.5
        store.correct(torch.tensor([image]), selected)
        expected[image, selected[0]] = 1
        if image % 9 == 0:
            index = torch.tensor([image, image // 2, 39])
            assert torch.equal(store.observed(index), expected[index])
    assert torch.equal(store.observed(torch.arange(40)), expected)


def test_a_label_corrected_twice_counts_once(kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    for index in ([0, 2], [0, 2], [2, 0]):
        places = [(index.index(0), 1), (index.index(2), 1)]  # (0, 1) is missing, (2, 1) annotated
        store.correct(torch.tensor(index), chosen(*places))
        assert store.corrected_false_negatives() == 1
    assert store.observed(torch.tensor([0, 2])).tolist() == [[1, 1, 0], [0, 1, 0]]
    assert store.corrections() == 2


def test_an_annotated_negative_that_is_corrected_trains_as_positive_and_is_not_found(kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    store.correct(torch.tensor([1, 0]), chosen((0, 2)))  # observed negative, truly positive
    assert store.observed(torch.tensor([1])).tolist() == [[0, 0, 1]]
    assert store.human(torch.tensor([1])).tolist() == [[0, 0, -1]]
    assert store.corrected_false_negatives() == 0


def test_all_labels_to_train_on_are_a_dense_table_with_the_corrections(kind):
    store = LabelStore(kind(HUMAN), kind(TRUTH))
    store.correct(torch.tensor([3, 1]), chosen((0, 2), (1, 1)))
    table = store.all_observed()
    assert (table.dtype, table.layout, table.shape) == (torch.float32, torch.strided, (4, 3))
    assert table.tolist() == [[1, 0, 0], [0, 1, -1], [0, 1, 0], [0, 0, 1]] == everything(store)
    table.fill_(7)  # a copy
    assert everything(store)[0] == [1, 0, 0]


def test_counts_are_not_those_of_a_byte(kind):
    truth = np.ones((30, 20), np.int8)
    store = LabelStore(kind(np.zeros_like(truth)), kind(truth))
    assert store.false_negatives() == 600
    store.correct(torch.arange(30), torch.ones(30, 20, dtype=torch.bool))
    assert store.corrected_false_negatives() == 600


def test_the_memory_by_hand():
    """A truth that is the same object counts once; 3 bytes a sparse label, 6 a new correction."""
    human, truth = np.zeros((50, 10), np.int8), np.ones((50, 10), np.int8)
    human[:, 3] = 1
    assert LabelStore(human, truth).nbytes() == 3 * 500
    assert LabelStore(human, None).nbytes() == LabelStore(human, human).nbytes() == 2 * 500
    table, offsets, flags, count = csr_array(human), 51 * 8, 50, 8
    store = LabelStore(table, table)
    empty = 50 * 3 + offsets + offsets + flags + count
    assert store.nbytes() == LabelStore(table, None).nbytes() == empty
    assert LabelStore(table, csr_array(truth)).nbytes() == empty + 500 * 3 + offsets
    store.correct(torch.arange(50), torch.ones(50, 10, dtype=torch.bool))
    assert store.nbytes() == empty + 6 * label_tables._CHUNK
    store.observed(torch.tensor([0]))
    assert store.nbytes() == empty + 2 * 500


# Checkpoints of other data


BAD_STATES = {
    "dense": [
        {"corrected": torch.zeros(4, 2, dtype=torch.bool)},
        {"corrected": torch.zeros(5, 3, dtype=torch.bool)},
        {"corrected": torch.zeros(12, dtype=torch.bool)},
        {"corrected": None},
    ],
    "sparse": [
        {"counts": torch.tensor([1, 0, 1], dtype=torch.int32)},
        {"counts": torch.tensor([[1, 0, 1, 0]], dtype=torch.int32)},
        {"counts": torch.tensor([1, 0, 1, 1], dtype=torch.int32)},
        {"counts": torch.tensor([1, 0, 0, 0], dtype=torch.int32)},
        {"counts": torch.tensor([-1, 2, 1, 0], dtype=torch.int32)},
        {"counts": None},
        {"columns": torch.tensor([2, 3], dtype=torch.int16)},
        {"columns": torch.tensor([-1, 2], dtype=torch.int16)},
        {"columns": torch.tensor([1, 2], dtype=torch.int32)},
        {"columns": torch.tensor([1.0, 2.0])},
        {"columns": torch.tensor([[1, 2]], dtype=torch.int16)},
        {"columns": torch.tensor([], dtype=torch.int16)},
        {"columns": None},
    ],
}


def assert_refused(kind, changes):
    """A state with these tensors, or without those that are None, is refused and changes nothing.

    What stands before is one correction, of (3, 1); the state holds those of (0, 1) and (2, 2).
    """
    store, other = (LabelStore(kind(HUMAN), kind(TRUTH)) for _ in range(2))
    store.correct(torch.tensor([3, 1]), chosen((0, 1)))
    other.correct(torch.tensor([0, 2]), chosen((0, 1), (1, 2)))
    state = {**through_a_file(other.state_dict()), **changes}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    before = everything(store)
    with pytest.raises((ValueError, KeyError)):
        store.load_state_dict(state)
    assert everything(store) == before
    assert store.corrected_false_negatives() == 1
    store.load_state_dict(through_a_file(other.state_dict()))
    assert everything(store) == everything(other)


@pytest.mark.parametrize("changes", BAD_STATES["dense"])
def test_a_dense_state_of_other_data_is_refused_and_changes_nothing(changes):
    assert_refused(np.array, changes)


@pytest.mark.parametrize("changes", BAD_STATES["sparse"])
def test_a_sparse_state_of_other_data_is_refused_and_changes_nothing(changes):
    assert_refused(csr_array, changes)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (np.array, {"corrected": torch.full((4, 3), 0.5)}),
        (csr_array, {"counts": torch.tensor([0.5, 0.5, 0.5, 0.5])}),
        (
            csr_array,
            {"counts": torch.tensor([2**62] * 4), "columns": torch.tensor([], dtype=torch.int16)},
        ),
    ],
    ids=["dense", "fractions", "overflow"],
)
def test_a_state_of_another_number_type_is_refused(kind, changes):
    assert_refused(kind, changes)


def test_the_state_of_a_table_of_the_other_kind_is_refused():
    dense, sparse = (LabelStore(kind(HUMAN), None) for kind in (np.array, csr_array))
    with pytest.raises(KeyError):
        dense.load_state_dict(sparse.state_dict())
    with pytest.raises(KeyError):
        sparse.load_state_dict(dense.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_nothing_that_is_looked_up_waits_for_the_gpu(kind):
    labels = np.random.RandomState(0).choice([-1, 0, 0, 1], (50, 7)).astype(np.int8)
    table = labels if kind == "dense" else csr_array(labels)
    store = LabelStore(table, table, "cuda")
    index = torch.arange(0, 50, 3)
    selected = torch.zeros(len(index), 7, dtype=torch.bool, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [store.observed(index), store.human(index), store.truth(index)]
        store.correct(index, selected, at_most=5)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for rows in found:
        assert torch.equal(rows.cpu().to(torch.int8), torch.from_numpy(labels[::3]))
