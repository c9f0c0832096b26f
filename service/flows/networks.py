"""Networks of recorded runs: received once, read often."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core import checkpoints, network_descriptions
from service.core.epoch_manifests import EpochManifest, is_manifest
from service.core.models.network import Network
from service.core.models.stages import require_staged
from service.core.network_descriptions import NetworkDescription
from service.core.spec import RunSpec
from service.errors import CheckpointCorrupt, NetworkNotFound
from service.flows.cache import Cache
from service.flows.checkpoints import (
    Damage,
    load_verified_checkpoint,
    quarantine_epoch,
    read_verified_tensor,
)
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
        network = known_network or network_descriptions.verify_network(content)
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

    def load(self, epoch: Epoch, spec: RunSpec | None = None) -> Network:
        """The epoch's network in evaluation mode. Raises EpochQuarantined.

        `spec` is that of a run that the service trains; None: the run is read from the store.
        """
        data = load_verified_checkpoint(self.store, epoch, spec)
        if is_manifest(data):
            return self._load_program(epoch, EpochManifest.decode(data))
        try:
            return require_staged(checkpoints.decode(data)[0])
        except CheckpointCorrupt as error:
            raise quarantine_epoch(self.store, epoch, Damage.UNREADABLE) from error

    def _load_program(self, epoch: Epoch, manifest: EpochManifest) -> Network:
        network = self.get(manifest.network)

        def read_tensors() -> Iterator[tuple[str, bytes]]:
            for name, sha256 in manifest.tensors.items():
                yield name, read_verified_tensor(self.store, epoch, sha256)

        return network_descriptions.build_network(network, read_tensors())

    def _find(self, network_id: str) -> NetworkDescription | None:
        description = self._descriptions.get(network_id)
        if description is not None:
            return description
        with self.store.read_session() as session:
            stored_network = networks.get(session, network_id)
        if stored_network is None:
            return None
        description = network_descriptions.read_network(stored_network.program)
        self._descriptions.put(network_id, description)
        return description
