"""Probe images: stored once, also if several runs share them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import func, select

from service.store import images
from service.store.images import StoredImage
from service.store.rows import ImageRow, ProbeRow

PNG = bytes(range(256))
SEVEN = StoredImage("digits", "test:7", 7, PNG)
ZERO = StoredImage("digits", "test:0", 0, b"zero")
UNLABELED = StoredImage("digits", "upload:a", None, b"upload")


def count(store, table: type) -> int:
    with store.read_session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_probes_keep_their_order(store, new_run):
    run = new_run()
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN, UNLABELED, ZERO])
    with store.read_session() as session:
        assert images.list_probes(session, run.id) == [SEVEN, UNLABELED, ZERO]
        assert images.get(session, "digits", "test:7") == SEVEN
        assert images.get(session, "digits", "upload:a") == UNLABELED


def test_missing_image_is_none(store, new_run):
    run = new_run()
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN])
    with store.read_session() as session:
        assert images.get(session, "digits", "test:8") is None
        assert images.get(session, "mnist", "test:7") is None
        assert images.list_probes(session, run.id + 1) == []


def test_setting_probes_again_changes_nothing(store, new_run):
    run = new_run()
    for probes in ([SEVEN, ZERO], [SEVEN, ZERO], [ZERO, UNLABELED]):
        with store.write_session() as session:
            images.set_probes(session, run.id, probes)
    with store.read_session() as session:
        assert images.list_probes(session, run.id) == [SEVEN, ZERO]
    assert (count(store, ImageRow), count(store, ProbeRow)) == (2, 2)


def test_two_runs_share_their_images(store, new_run):
    first, second = new_run(), new_run()
    with store.write_session() as session:
        images.set_probes(session, first.id, [SEVEN, ZERO])
    with store.write_session() as session:
        images.set_probes(session, second.id, [UNLABELED, SEVEN])
    with store.read_session() as session:
        assert images.list_probes(session, first.id) == [SEVEN, ZERO]
        assert images.list_probes(session, second.id) == [UNLABELED, SEVEN]
    assert (count(store, ImageRow), count(store, ProbeRow)) == (3, 4)


def test_same_reference_in_two_datasets_is_two_images(store, new_run):
    run = new_run()
    mnist_image = StoredImage("mnist", "test:7", 9, b"another")
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN, mnist_image])
    with store.read_session() as session:
        assert images.get(session, "mnist", "test:7") == mnist_image
        assert images.get(session, "digits", "test:7") == SEVEN


def test_eight_runs_adding_the_same_images_at_once_share_them(store, new_run):
    created = [new_run() for _ in range(8)]
    barrier = Barrier(8)

    def set_probes(i: int) -> None:
        barrier.wait()
        with store.write_session() as session:
            images.set_probes(session, created[i].id, [SEVEN, ZERO])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(set_probes, range(8)))
    assert (count(store, ImageRow), count(store, ProbeRow)) == (2, 16)
