"""The tests; `tests.releases` makes the tiny official releases that some of them read."""
