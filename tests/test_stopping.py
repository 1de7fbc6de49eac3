"""Stop signals, in processes of their own: when they take effect, and what they end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
AT_STEPS = """
import signal, sys, time
import cli, stopping

def main(argv):
    with stopping.at_next_step():
        for step in range(int(argv[0])):
            stopping.check()
            if step == 0:
                print("ready", flush=True)
            time.sleep(float(argv[1]))
        print("done", flush=True)

sys.exit(cli.run(main))
"""
ANYWHERE = """
import sys, time
import cli

def main(argv):
    print("ready", flush=True)
    time.sleep(60)

sys.exit(cli.run(main))
"""

ON_THE_WAY_OUT = """
import os, signal, sys
import cli

def main(argv):
    print("ready", flush=True)
    raise cli.UserError("a mistake")

def set_handler(number, handler, set_handler=signal.signal):
    if number == signal.SIGINT and handler is not cli.stopping._receive:
        os.kill(os.getpid(), int(sys.argv[1]))
    return set_handler(number, handler)

signal.signal = set_handler
sys.exit(cli.run(main))
"""


def start(program, *words, **options):
    """The process of a program that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_the_first_signal_takes_effect_at_the_next_step(number, status):
    process = start(AT_STEPS, 1000, 0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (status, "")
    assert err.splitlines() == [
        "stopping at the next step; once more stops at once",
        f"stopped by {number.name}",
    ]


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_the_second_signal_ends_a_long_step_at_once(number, status):
    process = start(AT_STEPS, 2, 60)
    assert process.stderr is not None
    process.send_signal(number)
    assert process.stderr.readline().startswith("stopping at the next step")
    process.send_signal(number)  # the first one again, by way of a script that passes it on
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.7)
    process.send_signal(number)
    assert process.wait(timeout=30) == status
    assert process.communicate() == ("", "")


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_outside_of_the_steps_the_first_signal_stops_at_once(number, status):
    process = start(ANYWHERE)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (status, "", f"stopped by {number.name}\n")


def test_a_signal_after_the_last_step_still_counts():
    """Else a loop of runs in a shell would go on after a Ctrl-C."""
    process = start(AT_STEPS, 1, 1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "done\n")


@pytest.mark.parametrize(("number", "status"), STATUS.items())
def test_a_signal_on_the_way_out_is_no_traceback(number, status):
    """As torchrun sends it to a process that ends because another one has."""
    process = start(ON_THE_WAY_OUT, int(number))
    out, err = process.communicate(timeout=30)
    said = ["error: a mistake", f"stopped by {number.name}"]
    assert (process.returncode, out, err.splitlines()) == (status, "", said)


def test_what_the_parent_wanted_ignored_stays_ignored():
    """A shell starts its background jobs so: a Ctrl-C is for the job in front."""
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    process = start(AT_STEPS, 3, 0.05, **ignoring)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "done\n", "")


def test_handlers_are_put_back():
    import cli

    before = [signal.getsignal(number) for number in STATUS]
    assert cli.run(lambda argv: 0, []) == 0
    assert [signal.getsignal(number) for number in STATUS] == before


def test_standard_output_that_takes_no_more_is_one_line():
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    program = "import cli, sys; sys.exit(cli.run(lambda argv: print('result')))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_ends_is_no_mistake(lines):
    """Whether it is noticed as the lines are written, or in the end."""
    program = f"import cli, sys; sys.exit(cli.run(lambda argv: print('result\\n' * {lines})))"
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_another_fault_is_told_though_the_reader_has_ended():
    program = (
        "import cli, sys\ndef main(argv):\n    raise OSError(5, 'bad disk')\n"
        "sys.exit(cli.run(main))"
    )
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        process.stdout.close()
        assert process.stderr.read().endswith(b"OSError: [Errno 5] bad disk\n")
    assert process.returncode == 1
