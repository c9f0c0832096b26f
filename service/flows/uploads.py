"""Uploaded images: read, kept once, and used wherever an image of a dataset is taken."""

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta

from service.core.datasets import DATASETS
from service.core.images import to_png
from service.core.uploads import read_upload
from service.errors import UnknownName
from service.store import request_keys, uploads
from service.store.images import StoredImage
from service.store.request_keys import RequestKey
from service.store.store import Store
from service.store.uploads import Upload

ID_BYTES = 16
"""128 random bits: who was not told an upload's id does not find it."""


@dataclass(frozen=True)
class Uploads:
    """Takes in images up to `max_pixels`; those that nothing used for `kept` may go."""

    store: Store
    max_pixels: int
    kept: timedelta

    def take(
        self, dataset: str, data: bytes, *, invert: bool = False, asked: RequestKey | None = None
    ) -> tuple[Upload, bool]:
        """Keep the picture as the dataset's are; what came before is returned as it was kept.

        True beside it where `asked` was answered before. Raises UnknownName, UnsupportedImage,
        ImageTooLarge, InvalidValue, KeyReused, StoreFull.
        """
        if dataset not in DATASETS:
            raise UnknownName("dataset", dataset, DATASETS)
        source = DATASETS[dataset]
        pixels, choices = read_upload(
            data, source.image_shape, source.background, max_pixels=self.max_pixels, invert=invert
        )
        reference = f"upload:{secrets.token_urlsafe(ID_BYTES)}"
        made = Upload(StoredImage(dataset, reference, None, to_png(pixels)), asdict(choices))
        # Of what came, not of its pixels: two files of the same pixels differ in what was done.
        digest = hashlib.sha256(b"inverted" * invert + b"\0" + data).hexdigest()
        with self.store.writing() as session:
            earlier = request_keys.earlier_answer(session, asked) if asked else None
            uploads.remove_unused(session, self.kept)
            if earlier is None:
                self.store.room.check(session, len(data))
            kept = uploads.keep(session, digest, made)
            if asked and earlier is None:
                request_keys.answered(session, asked, kept.image.reference)
        return kept, earlier is not None
