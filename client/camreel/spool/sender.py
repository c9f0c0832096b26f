"""Sends a spool to a service: what is recorded, and not committed there yet, in order."""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from camreel.errors import InvalidSpool, Refused, RunEnded
from camreel.spool.destination import Destination, EpochContent, RunLease, TensorSource
from camreel.spool.epoch_files import manifest_digest
from camreel.spool.files import sync_file
from camreel.spool.folder import Spool, SpooledEpoch


@dataclass
class Sender:
    """Sends one spool, whose sender lock the caller holds. Not thread-safe."""

    spool: Spool
    destination: Destination
    deletes_sent_weights: bool = True
    lease: RunLease | None = None

    def send_pending(self) -> int:
        """Send all that is recorded; how many epochs the service has committed by this call.

        Raises Unavailable, after which a later call continues, and Refused.
        """
        if self.spool.is_done():
            return 0
        lease = self._connect()
        if lease is None:
            return 0
        count = 0
        for epoch in self.spool.pending_epochs():
            self._send_epoch(lease, epoch)
            count += 1
            if self.deletes_sent_weights:
                self.spool.delete_sent_weights()
        self._send_late_metrics(lease)
        self._send_end(lease)
        return count

    def heartbeat(self) -> None:
        """Report that the recorder is alive. Raises like `send_pending`."""
        if self.lease is not None:
            self.destination.heartbeat(self.lease)

    def _connect(self) -> RunLease | None:
        """The lease of the run, which is created if the service does not have it.

        None if the service has already ended the run as the spool states.
        """
        if self.lease is not None:
            return self.lease
        service = self.spool.service()
        if service is None:
            lease = self._create_run()
        else:
            if service["service"] != self.destination.name:
                raise Refused(f"{self.spool.folder} belongs to the service {service['service']}")
            try:
                lease = self.destination.take_over(
                    service["run_id"], is_reopened=bool(service.get("reopen"))
                )
            except RunEnded:
                if self.spool.end() is None or self.spool.pending_epochs():
                    raise
                self.spool.mark_sent(self.spool.end_path)
                return None
        for position, probe in enumerate(self.spool.probes()):
            self.destination.put_probe(lease, position, probe.png, probe.label)
        self.spool.set_service(self.destination.name, lease.run_id)
        self.lease = lease
        return lease

    def _create_run(self) -> RunLease:
        description = self.spool.description
        body: dict[str, Any] = {
            "source": "recorded",
            "network": self.destination.add_network(self.spool.program),
            "class_names": list(description.class_names),
            "input": description.input,
            "name": description.name,
            "tags": list(description.tags),
            "config": dict(description.config),
            "epochs": description.epochs,
            "weights": description.weights,
        }
        return self.destination.create_run(body, description.recording_id)

    def _send_epoch(self, lease: RunLease, epoch: SpooledEpoch) -> None:
        # With `durable="process"`, the content may be in memory only until now.
        with suppress(PermissionError):
            sync_file(epoch.path)
        file = epoch.read()
        hashes = {tensor.name: tensor.sha256() for tensor in file.tensors}
        metrics = json.loads(file.metadata["metrics"])
        content = EpochContent(hashes, metrics, json.loads(file.metadata.get("steps", "{}")))
        sources = {
            hashes[tensor.name]: TensorSource(hashes[tensor.name], tensor.size_bytes, tensor.read)
            for tensor in file.tensors
        }
        missing_hashes = self.destination.put_epoch(lease, epoch.index, content)
        while missing_hashes:
            for sha256 in missing_hashes:
                if sha256 not in sources:
                    raise Refused(f"the service asks for the tensor {sha256}, which no one has")
                self.destination.put_tensor(sources[sha256])
            # Others may have deleted a tensor meanwhile: the answer counts.
            missing_hashes = self.destination.put_epoch(lease, epoch.index, content)
        number = int(file.metadata["number"])
        self.spool.mark_epoch_sent(epoch.index, number, list(metrics), manifest_digest(hashes))

    def _send_late_metrics(self, lease: RunLease) -> None:
        for metrics in self.spool.late_metrics():
            if not self.spool.is_sent(metrics.path):
                self.destination.put_metrics(lease, metrics.index, metrics.read())
                self.spool.mark_sent(metrics.path)

    def _send_end(self, lease: RunLease) -> None:
        end = self.spool.end()
        if end is None or self.spool.is_sent(self.spool.end_path):
            return
        # An epoch may have been recorded since; the end is sent after all of them.
        if self.spool.pending_epochs():
            return
        try:
            self.destination.end(lease, end["status"], end["detail"])
        except KeyError as error:
            raise InvalidSpool(f"{self.spool.end_path} has no {error}") from error
        self.spool.mark_sent(self.spool.end_path)
