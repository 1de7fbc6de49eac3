"""Numbers that are none are noticed, in the step and by the name."""

import pytest
import torch

from finite import LossWatch, NotFinite, not_finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_step_of_a_bad_loss_is_named(bad):
    watch = LossWatch()
    watch.see(torch.tensor(0.5))
    watch.see(torch.tensor(3e38))
    with pytest.raises(NotFinite) as caught:
        watch.see(torch.tensor(bad))
    assert (caught.value.step, str(caught.value.loss)) == (3, str(bad))


def test_losses_that_are_numbers_pass():
    watch = LossWatch()
    for loss in (0.0, -1.0, 1e30):
        watch.see(torch.tensor(loss, requires_grad=True))
    watch.finish()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_bad_loss_is_noticed_by_the_end_at_the_latest():
    watch = LossWatch()
    with pytest.raises(NotFinite, match="step 2"):  # noqa: PT012 - it may come at any call
        for loss in (1.0, float("nan"), 1.0):
            watch.see(torch.tensor(loss, device="cuda"))
        watch.finish()


def test_tensors_with_bad_numbers_are_named():
    good, bad = torch.zeros(2, 3), torch.zeros(2, 3)
    bad[1, 2] = float("nan")
    tensors = {"a": good, "b": bad, "count": torch.tensor(3), "c": torch.tensor(float("inf"))}
    assert not_finite(tensors) == ["b", "c"]
    assert not_finite({"a": good}) == not_finite({"count": torch.tensor(3)}) == not_finite({}) == []
