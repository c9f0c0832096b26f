"""From a server's name, processes on the same machine determine whether it is dead."""

import subprocess
import sys

from service.flows.server_names import is_dead, server_name

PRINT_NAME = "from service.flows.server_names import server_name; print(server_name())"


def test_names_are_unique_and_fit_the_column() -> None:
    assert len({server_name() for _ in range(10)}) == 10
    assert len(server_name()) <= 64


def test_running_process_is_not_dead_and_an_ended_one_is() -> None:
    assert not is_dead(server_name())
    process = subprocess.run([sys.executable, "-c", PRINT_NAME], capture_output=True, check=True)
    assert is_dead(process.stdout.decode().strip())


def test_another_process_with_the_same_id_is_distinguished() -> None:
    machine, process_id, start_time, unique = server_name().split(":")
    assert is_dead(f"{machine}:{process_id}:{int(start_time) + 1}:{unique}")


def test_processes_of_other_machines_are_not_considered_dead() -> None:
    _, process_id, start_time, unique = server_name().split(":")
    assert not is_dead(f"{'0' * 16}:{process_id}:{int(start_time) + 1}:{unique}")
    assert not is_dead(f"-:{process_id}:{start_time}:{unique}")
    assert not is_dead("an older name")
