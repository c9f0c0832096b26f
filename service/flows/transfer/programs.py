"""Import of a program and its tensors, which other runs may share."""

from typing import Any

from service.core.epoch_manifests import EpochManifest
from service.core.network_descriptions import NetworkDescription
from service.flows.tensor_uploads import TensorReceiver
from service.flows.transfer.archive import Archive
from service.flows.transfer.manifest import Member
from service.store import networks, tensors
from service.store.networks import StoredNetwork
from service.store.store import Store


def import_network(store: Store, network: NetworkDescription, run_id: int) -> None:
    """Store the network if it is not stored yet, as that of the run."""
    stored_network = StoredNetwork(network.id, network.program.to_json(), network.default_layer)
    with store.write_session() as session:
        networks.add(session, stored_network)
        networks.set_of_run(session, run_id, network.id)


def import_tensor(store: Store, archive: Archive, member: Member) -> None:
    """Store a tensor that is not stored yet. Raises StoreFull."""
    receiver = TensorReceiver(store, member.sha256, 0, member.bytes)
    if receiver.begin() is None:
        receiver.add(archive.read_member(member))
        receiver.store_parts()
        receiver.finish()


def refer_to_tensors(session: Any, run_id: int, epoch: int, manifest: bytes) -> None:
    """Record the tensors of an imported epoch, so that they stay as long as it does."""
    hashes = set(EpochManifest.decode(manifest).tensors.values())
    tensors.lock_many(session, hashes)
    tensors.add_references(session, run_id, epoch, hashes)
