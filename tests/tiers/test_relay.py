"""The relay as a process: what it carries, how fast, and what it does when either side goes away."""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from pytest_edgeai.tiers import relay as relays
from pytest_edgeai.tiers.relay import Direction, Target

from .peers import count_then_tell, dial, echo, peer, read_all, reset, run_module, wait_until

MODULE = "pytest_edgeai.tiers.relay"
FAST = "1e9"
# Shaping is off by what a busy host adds; the exact figures are the business of benchmarks/shaping.py.
MARGIN = 0.15


@contextmanager
def relay(target_port: int, rate: str = FAST, *options: str) -> Iterator[int]:
    """A relay process; the port it listens on."""
    command = (MODULE, "--target", f"127.0.0.1:{target_port}", "--rate-bps", rate, *options, "--exit-with-parent")
    process = run_module(*command)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"]
    finally:
        process.communicate(timeout=60)


def send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def upload_s(connection: socket.socket, size: int) -> float:
    """Seconds until `count_then_tell` has got so many bytes."""
    started = time.perf_counter()
    connection.sendall(bytes(size))
    connection.shutdown(socket.SHUT_WR)
    assert read_all(connection) == str(size).encode()
    return time.perf_counter() - started


@pytest.mark.parametrize("delay", ["0", "0.02"])
def test_bytes_arrive_as_they_were_sent_in_both_directions(delay: str) -> None:
    data = random.Random(1).randbytes(1_000_003)
    with peer(echo) as target, relay(target, FAST, "--delay-s", delay) as port, dial(port) as connection:
        sender = threading.Thread(target=send_all, args=(connection, data))
        sender.start()

        received = read_all(connection)

        sender.join()
    assert received == data


@pytest.mark.parametrize("delay", ["0", "0.02"])
def test_one_side_may_end_and_still_get_its_answer(delay: str) -> None:
    with peer(count_then_tell) as target, relay(target, FAST, "--delay-s", delay) as port, dial(port) as connection:
        upload_s(connection, 300_000)


def test_a_target_that_refuses_ends_the_connection_and_not_the_relay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        target = closed.getsockname()[1]
    with relay(target) as port:
        with dial(port) as connection:
            assert connection.recv(1) == b""

        with socket.create_server(("127.0.0.1", target)) as listener, dial(port) as connection:
            far, _ = listener.accept()
            with far:
                connection.sendall(b"x")
                assert far.recv(1) == b"x"


@pytest.mark.parametrize("delay", ["0", "0.02"])
@pytest.mark.parametrize("dies", ["near", "far"])
def test_a_side_that_dies_ends_the_other(delay: str, dies: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        relay(listener.getsockname()[1], FAST, "--delay-s", delay) as port,
        dial(port) as near,
    ):
        far, _ = listener.accept()
        far.settimeout(60)
        near.sendall(b"x")
        assert far.recv(1) == b"x"
        dying, other = (near, far) if dies == "near" else (far, near)

        reset(dying)

        with other:
            assert other.recv(1) == b""


@pytest.mark.parametrize("delay", ["0", "0.02"])
def test_a_sender_learns_that_a_receiver_which_had_nothing_more_to_say_has_died(delay: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        relay(listener.getsockname()[1], FAST, "--delay-s", delay) as port,
        dial(port) as near,
    ):
        far, _ = listener.accept()
        far.shutdown(socket.SHUT_WR)
        assert near.recv(1) == b""
        reset(far)

        def refused() -> bool:
            try:
                near.sendall(b"x")
            except OSError:
                return True
            return False

        assert wait_until(refused)


def test_the_first_bytes_of_a_connection_are_not_let_through_in_a_burst() -> None:
    with peer(count_then_tell) as target, relay(target, "1e7") as port:
        took = []
        for _ in range(3):
            with dial(port) as connection:
                took.append(upload_s(connection, 62_500))

    assert min(took) > 0.050 * (1 - MARGIN)


@pytest.mark.parametrize(
    ("rate_bps", "size"), [(1e3, 60), (1e4, 500), (1e5, 4000), (1e6, 40_000), (1e7, 400_000), (1e8, 4_000_000)]
)
def test_bytes_take_their_size_divided_by_the_rate(rate_bps: float, size: int) -> None:
    with peer(count_then_tell) as target, relay(target, str(rate_bps)) as port:
        took = []
        for _ in range(3):
            with dial(port) as connection:
                took.append(upload_s(connection, size) - 2 * 8 / rate_bps)  # the answer takes its time as well

    ideal_s = size * 8 / rate_bps
    assert ideal_s * (1 - MARGIN) < min(took) < ideal_s * (1 + MARGIN)


def test_a_gigabit_link_is_never_faster_than_that() -> None:
    with peer(count_then_tell) as target, relay(target, "1e9") as port, dial(port) as connection:
        took_s = upload_s(connection, 25_000_000)

    assert took_s > 0.2 * (1 - MARGIN)


def test_many_connections_share_the_rate_of_one_link() -> None:
    with peer(count_then_tell) as target, relay(target, "1e7") as port, ExitStack() as stack:
        connections = [stack.enter_context(dial(port)) for _ in range(5)]
        threads = [threading.Thread(target=upload_s, args=(one, 100_000)) for one in connections]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.perf_counter() - started

    assert 0.4 * (1 - MARGIN) < took_s < 0.4 * (1 + MARGIN)


def test_the_two_directions_do_not_share_their_rate() -> None:
    with peer(echo) as target, relay(target, "1e7") as port, dial(port) as connection:
        started = time.perf_counter()
        sender = threading.Thread(target=send_all, args=(connection, bytes(500_000)))
        sender.start()
        assert len(read_all(connection)) == 500_000
        took_s = time.perf_counter() - started
        sender.join()

    assert 0.4 * (1 - MARGIN) < took_s < 0.4 * (1 + MARGIN)


def test_a_delay_is_added_in_both_directions_and_takes_nothing_from_the_rate() -> None:
    with peer(echo) as target, relay(target, "1e7", "--delay-s", "0.2") as port, dial(port) as connection:
        connection.sendall(b"x")
        started = time.perf_counter()
        connection.recv(1)
        connection.sendall(b"x")
        connection.recv(1)
        round_trip_s = time.perf_counter() - started
    with peer(count_then_tell) as target, relay(target, "1e7", "--delay-s", "0.2") as port, dial(port) as connection:
        took_s = upload_s(connection, 500_000)

    assert 0.6 < round_trip_s < 0.8 * (1 + MARGIN)
    assert 0.8 * (1 - MARGIN) < took_s < 0.8 * (1 + MARGIN)


def test_a_receiver_that_reads_nothing_holds_back_the_sender_of_a_delayed_link() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        relay(listener.getsockname()[1], "8e8", "--delay-s", "0.001") as port,
        dial(port) as connection,
    ):
        far, _ = listener.accept()
        connection.settimeout(1)
        sent = 0
        with far, contextlib.suppress(TimeoutError):
            while sent < 150e6:
                sent += connection.send(bytes(2**20))

    assert sent < 100e6


def test_time_that_is_lost_while_the_relay_is_late_is_made_up_for() -> None:
    with peer(count_then_tell) as target:
        command = (MODULE, "--target", f"127.0.0.1:{target}", "--rate-bps", "1e7", "--exit-with-parent")
        process = run_module(*command)
        assert process.stdout is not None
        with dial(json.loads(process.stdout.readline())["port"]) as connection:
            sender = threading.Thread(target=send_all, args=(connection, bytes(500_000)))
            started = time.perf_counter()
            sender.start()
            for _ in range(4):
                time.sleep(0.05)
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(0.03)
                os.kill(process.pid, signal.SIGCONT)
            assert read_all(connection) == b"500000"
            took_s = time.perf_counter() - started
            sender.join()
        process.communicate(timeout=60)

    assert 0.4 * (1 - MARGIN) < took_s < 0.4 * (1 + MARGIN)


def test_a_connection_that_waits_for_its_target_keeps_no_other_waiting() -> None:
    released = threading.Event()

    class Slow(Target):
        calls = 0

        def connect(self) -> socket.socket:
            self.calls += 1
            if self.calls == 1:
                released.wait(60)
            return super().connect()

    with peer(echo) as target, socket.create_server(("127.0.0.1", 0)) as listener:
        waiting = Slow(("127.0.0.1", target))
        arguments = (listener, waiting, Direction(1e9), Direction(1e9))
        threading.Thread(target=relays.serve, args=arguments, daemon=True).start()
        port = listener.getsockname()[1]
        with dial(port) as first, dial(port) as second:
            assert wait_until(lambda: waiting.calls > 0)
            second.sendall(b"2")
            assert second.recv(1) == b"2"
            released.set()
            first.sendall(b"1")
            assert first.recv(1) == b"1"


def test_a_burst_of_a_second_lets_a_second_of_traffic_through_at_once() -> None:
    with peer(count_then_tell) as target, relay(target, "1e6", "--burst-s", "1") as port, dial(port) as connection:
        took_s = upload_s(connection, 100_000)

    assert took_s < 0.4


def test_the_target_may_be_told_on_standard_input() -> None:
    process = run_module(MODULE, "--rate-bps", FAST)
    assert process.stdin is not None
    assert process.stdout is not None
    port = json.loads(process.stdout.readline())["port"]
    with peer(echo) as target, dial(port) as connection:
        connection.sendall(b"early")
        process.stdin.write(f"127.0.0.1:{target}\n".encode())
        process.stdin.flush()
        assert connection.recv(5) == b"early"
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_relay_ends_when_its_input_does() -> None:
    process = run_module(MODULE, "--target", "127.0.0.1:1", "--rate-bps", "1e6", "--exit-with-parent")
    assert process.stdout is not None
    process.stdout.readline()

    process.communicate(timeout=60)

    assert process.returncode == 0


def _fails(*arguments: str, told: bytes = b"") -> tuple[int, str]:
    process = run_module(MODULE, *arguments)
    _, errors = process.communicate(told, timeout=60)
    return process.returncode, errors.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "nowhere", "--rate-bps", "1e6"], "'nowhere' is not HOST:PORT"),
        (["--target", "host:99999", "--rate-bps", "1e6"], "'host:99999' is not HOST:PORT"),
        (["--target", "host:80", "--rate-bps", "0"], "the rate is above 0"),
        (["--target", "host:80", "--rate-bps", "inf"], "'inf' is not a number from 0"),
        (["--target", "host:80", "--rate-bps", "1e6", "--delay-s", "nan"], "'nan' is not a number from 0"),
    ],
)
def test_arguments_that_make_no_link_are_refused_in_a_sentence(arguments: list[str], said: str) -> None:
    code, errors = _fails(*arguments)

    assert code == 2
    assert said in errors


def test_a_wrong_target_on_standard_input_is_refused_in_a_sentence() -> None:
    code, errors = _fails("--rate-bps", "1e6", told=b"nowhere\n")

    assert code == 1
    assert errors == "error: the target on standard input: 'nowhere' is not HOST:PORT\n"


def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, errors = _fails("--target", "host:80", "--rate-bps", "1e6", "--port", port)

    assert code == 1
    assert errors.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in errors
