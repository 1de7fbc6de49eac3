"""The training labels: look-up by index, corrections beside the human labels, counts."""

import numpy as np
import pytest
import torch

from label_store import LabelStore
from losses import build_scheme

HUMAN = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0], [0, 0, 0]], np.int8)
TRUTH = np.array([[1, 1, -1], [-1, 1, 1], [1, 1, 0], [-1, 1, 1]], np.int8)  # (1, 2): a mistake
FALSE_NEGATIVES = 5  # (0, 1) (1, 1) (2, 0) (3, 1) (3, 2)


def chosen(*places):
    """A selection bool [2, 3] of these (row, column)."""
    selected = torch.zeros(2, 3, dtype=torch.bool)
    for place in places:
        selected[place] = True
    return selected


def everything(store):
    return store.observed(torch.arange(4)).tolist()


def test_labels_are_looked_up_by_index():
    store = LabelStore(HUMAN, TRUTH)
    index = torch.tensor([2, 0])
    assert store.observed(index).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert store.human(index).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert store.truth(index).tolist() == [[1, 1, 0], [1, 1, -1]]
    assert store.observed(index).dtype == store.human(index).dtype == torch.float32
    assert store.truth(index).dtype == torch.int8


def test_an_unknown_truth_is_0_everywhere():
    store = LabelStore(HUMAN, None)
    assert store.truth(torch.arange(4)).tolist() == np.zeros((4, 3)).tolist()
    assert store.false_negatives() == 0


def test_a_correction_is_seen_from_the_next_look_up_on_and_by_its_image_alone():
    store = LabelStore(HUMAN, TRUTH)
    index = torch.tensor([3, 1])
    before = store.observed(index)
    store.correct(index, chosen((0, 2), (1, 1)))
    assert before.tolist() == [[0, 0, 0], [0, 0, -1]]
    assert everything(store) == [[1, 0, 0], [0, 1, -1], [0, 1, 0], [0, 0, 1]]


def test_corrections_add_up_and_lie_beside_the_human_labels():
    human = HUMAN.copy()
    store = LabelStore(human, TRUTH)
    store.correct(torch.tensor([0, 3]), chosen((0, 1), (1, 0)))
    store.correct(torch.tensor([3, 2]), chosen((0, 1)))
    store.correct(torch.tensor([0, 3]), chosen())
    assert everything(store) == [[1, 1, 0], [0, 0, -1], [0, 1, 0], [1, 1, 0]]
    assert store.human(torch.arange(4)).tolist() == HUMAN.tolist()
    np.testing.assert_array_equal(human, HUMAN)


def test_counts_of_false_negatives_by_hand():
    store = LabelStore(HUMAN, TRUTH)
    assert store.false_negatives() == FALSE_NEGATIVES
    assert store.corrected_false_negatives() == 0
    # (0, 1) and (3, 2) are false negatives, (0, 2) is a true one, of (2, 2) the truth is unknown
    store.correct(torch.tensor([0, 2]), chosen((0, 1), (0, 2), (1, 2)))
    store.correct(torch.tensor([3, 1]), chosen((0, 2)))
    assert store.corrected_false_negatives() == 2
    assert store.false_negatives() == FALSE_NEGATIVES  # of the human labels


def test_corrections_go_through_a_checkpoint(tmp_path):
    store = LabelStore(HUMAN, TRUTH)
    store.correct(torch.tensor([3, 1]), chosen((0, 2), (1, 0)))
    torch.save(store.state_dict(), tmp_path / "labels.pt")
    other = LabelStore(HUMAN, TRUTH)
    other.load_state_dict(torch.load(tmp_path / "labels.pt", weights_only=True))
    assert everything(other) == everything(store) != HUMAN.tolist()
    other.correct(torch.tensor([0, 2]), chosen((0, 2)))
    assert everything(other) != everything(store)


@pytest.mark.parametrize("seed", range(3))
def test_against_plain_dictionaries(seed):
    """Random batches of corrections of unobserved labels, remembered in a set."""
    rng = np.random.RandomState(seed)
    human = rng.choice([-1, 0, 0, 0, 1], (30, 7)).astype(np.int8)
    truth = np.where(human == 0, rng.choice([-1, 0, 1], human.shape), human).astype(np.int8)
    store, corrected = LabelStore(human, truth), set()
    for _ in range(12):
        index = rng.permutation(30)[:8]
        selected = (human[index] == 0) & (rng.rand(8, 7) < 0.1)
        store.correct(torch.from_numpy(index), torch.from_numpy(selected))
        corrected |= {(index[i], j) for i, j in zip(*np.nonzero(selected), strict=True)}
        for i, row in enumerate(store.observed(torch.arange(30)).tolist()):
            assert row == [1 if (i, j) in corrected else human[i, j] for j in range(7)]
    assert store.corrected_false_negatives() == sum(truth[place] == 1 for place in corrected)
    assert store.false_negatives() == ((truth == 1) & (human == 0)).sum()


def test_ll_cp_never_corrects_a_label_twice_nor_an_observed_one():
    store = LabelStore(HUMAN, TRUTH)
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
