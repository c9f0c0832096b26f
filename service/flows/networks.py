"""Networks of recorded runs: received once, read often."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core import recorded_networks
from service.core.epoch_manifests import EpochManifest
from service.core.recorded_networks import NetworkDescription, ProgramNetwork
from service.errors import NetworkNotFound
from service.flows.cache import Cache
from service.flows.checkpoints import load_verified_checkpoint, read_verified_tensor
from service.store import networks
from service.store.epochs import Epoch
from service.store.networks import StoredNetwork
from service.store.store import Store

MAX_CACHED_NETWORKS = 100


@dataclass(frozen=True)
class Networks:
    """The networks of a store. Thread-safe."""

    store: Store
    _descriptions: Cache[NetworkDescription] = field(
        default_factory=lambda: Cache(MAX_CACHED_NETWORKS, lambda _: 1)
    )

    def add(self, content: bytes) -> tuple[NetworkDescription, bool]:
        """Store the network of a program's JSON; False if it is stored already.

        Raises InvalidValue for an invalid program, and StoreFull.
        """
        # What was verified when it was stored, in its canonical form, is not verified again.
        known_network = self._find(hashlib.sha256(content).hexdigest())
        network = known_network or recorded_networks.verify_network(content)
        stored_network = StoredNetwork(network.id, network.program.to_json(), network.default_layer)
        with self.store.write_session() as session:
            self.store.quota.check(session, len(stored_network.program))
            is_new = networks.add(session, stored_network)
        return network, is_new

    def get(self, network_id: str) -> NetworkDescription:
        """The network of that identity. Raises NetworkNotFound."""
        network = self._find(network_id)
        if network is None:
            raise NetworkNotFound(network_id)
        return network

    def load_epoch(self, epoch: Epoch) -> ProgramNetwork:
        """The network of a recorded epoch with its tensors, each verified.

        Raises EpochQuarantined if one of them is missing or damaged.
        """
        manifest = EpochManifest.decode(load_verified_checkpoint(self.store, epoch))
        network = self.get(manifest.network)

        def read_tensors() -> Iterator[tuple[str, bytes]]:
            for name, sha256 in manifest.tensors.items():
                yield name, read_verified_tensor(self.store, epoch, sha256)

        return recorded_networks.build_network(network, read_tensors())

    def _find(self, network_id: str) -> NetworkDescription | None:
        description = self._descriptions.get(network_id)
        if description is not None:
            return description
        with self.store.read_session() as session:
            stored_network = networks.get(session, network_id)
        if stored_network is None:
            return None
        description = recorded_networks.read_network(stored_network.program)
        self._descriptions.put(network_id, description)
        return description
