"""Images that runs watch are kept once, however many runs watch them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import func, select

from service.store import images
from service.store.images import StoredImage
from service.store.rows import ImageRow, ProbeRow

PNG = bytes(range(256))
SEVEN = StoredImage("digits", "test:7", 7, PNG)
ZERO = StoredImage("digits", "test:0", 0, b"zero")
UNLABELLED = StoredImage("digits", "upload:a", None, b"upload")


def count(store, table: type) -> int:
    with store.read_session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_run_watches_its_images_in_its_order(store, new_run):
    run = new_run()
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN, UNLABELLED, ZERO])
    with store.read_session() as session:
        assert images.list_probes(session, run.id) == [SEVEN, UNLABELLED, ZERO]
        assert images.get(session, "digits", "test:7") == SEVEN
        assert images.get(session, "digits", "upload:a") == UNLABELLED


def test_an_image_that_is_not_kept_is_none(store, new_run):
    run = new_run()
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN])
    with store.read_session() as session:
        assert images.get(session, "digits", "test:8") is None
        assert images.get(session, "mnist", "test:7") is None
        assert images.list_probes(session, run.id + 1) == []


def test_a_second_watch_changes_nothing(store, new_run):
    run = new_run()
    for again in ([SEVEN, ZERO], [SEVEN, ZERO], [ZERO, UNLABELLED]):
        with store.write_session() as session:
            images.set_probes(session, run.id, again)
    with store.read_session() as session:
        assert images.list_probes(session, run.id) == [SEVEN, ZERO]
    assert (count(store, ImageRow), count(store, ProbeRow)) == (2, 2)


def test_two_runs_share_their_images(store, new_run):
    first, second = new_run(), new_run()
    with store.write_session() as session:
        images.set_probes(session, first.id, [SEVEN, ZERO])
    with store.write_session() as session:
        images.set_probes(session, second.id, [UNLABELLED, SEVEN])
    with store.read_session() as session:
        assert images.list_probes(session, first.id) == [SEVEN, ZERO]
        assert images.list_probes(session, second.id) == [UNLABELLED, SEVEN]
    assert (count(store, ImageRow), count(store, ProbeRow)) == (3, 4)


def test_references_of_two_datasets_are_two_images(store, new_run):
    run = new_run()
    other = StoredImage("mnist", "test:7", 9, b"another")
    with store.write_session() as session:
        images.set_probes(session, run.id, [SEVEN, other])
    with store.read_session() as session:
        assert images.get(session, "mnist", "test:7") == other
        assert images.get(session, "digits", "test:7") == SEVEN


def test_eight_runs_that_watch_the_same_images_at_once_share_them(store, new_run):
    created = [new_run() for _ in range(8)]
    together = Barrier(8)

    def watch(i: int) -> None:
        together.wait()
        with store.write_session() as session:
            images.set_probes(session, created[i].id, [SEVEN, ZERO])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(watch, range(8)))
    assert (count(store, ImageRow), count(store, ProbeRow)) == (2, 16)
