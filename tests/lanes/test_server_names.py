"""A server's name tells other processes of its machine whether it has died."""

import subprocess
import sys

from service.flows.server_names import is_dead, server_name

PRINT_NAME = "from service.flows.server_names import server_name; print(server_name())"


def test_names_are_unique_and_fit_the_column() -> None:
    assert len({server_name() for _ in range(10)}) == 10
    assert len(server_name()) <= 64


def test_a_living_process_is_not_dead_and_an_ended_one_is() -> None:
    assert not is_dead(server_name())
    printed = subprocess.run([sys.executable, "-c", PRINT_NAME], capture_output=True, check=True)
    assert is_dead(printed.stdout.decode().strip())


def test_another_process_under_the_same_number_is_told_apart() -> None:
    machine, process_id, start_time, unique = server_name().split(":")
    assert is_dead(f"{machine}:{process_id}:{int(start_time) + 1}:{unique}")


def test_nothing_is_known_of_other_machines() -> None:
    _, process_id, start_time, unique = server_name().split(":")
    assert not is_dead(f"{'0' * 16}:{process_id}:{int(start_time) + 1}:{unique}")
    assert not is_dead(f"-:{process_id}:{start_time}:{unique}")
    assert not is_dead("an older name")
