"""Two processes that train one network by gloo, without and with recorders."""

import copy
import os
from pathlib import Path
from typing import Any

import camreel
import torch
import torch.distributed
from torch import nn

from tests.recorder.trainer import CONTEXT, network_after

RANKS = 2
EPOCHS = 2


def train_in_two_processes(root: Path) -> list[int]:
    """The exit statuses; 0 if the states of both trainings are equal in each process."""
    processes = [CONTEXT.Process(target=_compare, args=(rank, root)) for rank in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode if process.exitcode is not None else -1 for process in processes]


def _compare(rank: int, root: Path) -> None:
    from tests.recorder.test_recorder_neutrality import assert_equal_bits

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{root / 'rendezvous'}", rank=rank, world_size=RANKS
    )
    alone = copy.deepcopy(_train(rank, None))
    assert_equal_bits(_train(rank, root / "spools"), alone)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)


def _train(rank: int, spool: Path | None) -> dict[str, Any]:
    network = nn.parallel.DistributedDataParallel(network_after(-1))
    torch.manual_seed(rank)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    recorder = None
    if spool is not None:
        recorder = camreel.Recorder(
            network, probes=torch.zeros(1, 3, 8, 8), spool=spool, strict=True
        )
        assert recorder.status.is_recording == (rank == 0)
    losses = []
    for epoch in range(EPOCHS):
        for _ in range(3):
            loss = nn.functional.cross_entropy(
                network(torch.rand(4, 3, 8, 8)), torch.randint(0, 3, (4,))
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        if recorder is not None:
            assert recorder.epoch(loss=loss) == (epoch if rank == 0 else None)
    if recorder is not None:
        recorder.close()
    return {
        "weights": dict(network.state_dict()),
        "optimizer": optimizer.state_dict(),
        "losses": losses,
        "random": torch.get_rng_state(),
    }
