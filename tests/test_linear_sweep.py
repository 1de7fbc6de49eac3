"""The benchmark of linear sweeps: that it trains what it says, in the smallest size."""

from benchmarks import linear_sweep


def test_both_sweeps_have_as_many_runs_at_the_same_points():
    points = list(linear_sweep.points(20))
    assert len(set(points)) == 20
    assert points[:2] == [("LL-R", 0.25), ("LL-R", 0.5)]


def test_a_run_is_measured_whole_and_without_its_start(tmp_path):
    small = ("--ss_frac_train", "0.02", "--ss_frac_val", "0.1")
    linear = (*linear_sweep.KINDS["linear"], "--linear_init", "2", *small)
    for more in (linear, (*small, "--num_epochs", "1")):
        seconds, trained = linear_sweep.train(tmp_path, "LL-Cp", 1, more)
        assert 0 < trained < seconds
    assert len(list((tmp_path / "cache").glob("features_*.npy"))) == 2
