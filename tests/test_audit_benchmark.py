"""The benchmark of --audit labels, in the smallest size."""

from benchmarks import audit


def test_both_kinds_are_measured_in_pairs():
    small = ("--ss_frac_train", "0.02", "--ss_frac_val", "0.1")
    result = audit.measure(1, 1, small)
    assert result["ratio"] == result["ratios"][0] > 0
    assert min(result["seconds"].values()) > 0
    assert 0 < result["bytes_an_epoch"] < 48 * 10 * 3 + 1000
