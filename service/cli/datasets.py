"""Datasets on the command line: list, report, add and delete."""

import shutil
from pathlib import Path

from service.cli.terminal import ValueTable, print_line, print_table
from service.counts import Count
from service.files import open_regular
from service.flows.dataset_reports import DatasetReport
from service.flows.services import open_services
from service.settings import Settings


def list_datasets(settings: Settings) -> None:
    """Print all datasets; nothing is loaded or measured."""
    table = ValueTable("name", "status", "classes", "train", "test", "image")
    for report in open_services(settings).datasets.list_all():
        table.add_values(
            report.name,
            report.status,
            str(len(report.class_names)),
            str(report.train_size),
            str(report.test_size),
            _shape_text(report),
        )
    print_table(table)


def report_dataset(settings: Settings, name: str) -> None:
    """Print the report of a dataset; the images of a folder are decoded if they are new."""
    services = open_services(settings)
    try:
        _print_report(services.datasets.get(name))
    finally:
        services.close()


def add_dataset(settings: Settings, name: str, file: Path) -> None:
    """Add an image folder from a zip archive."""
    services = open_services(settings)
    try:
        with open_regular(file) as source:
            archive = services.dataset_uploads.receive(name)
            with archive.resources:
                shutil.copyfileobj(source, archive.file)
                services.dataset_uploads.check(archive)
                report = services.dataset_uploads.add(archive)
        _print_report(report)
    finally:
        services.close()


def delete_dataset(settings: Settings, name: str) -> None:
    """Delete an image folder."""
    services = open_services(settings)
    try:
        services.dataset_uploads.delete(name)
    finally:
        services.close()
    print_line(f"Deleted {name}.")


def _print_report(report: DatasetReport) -> None:
    print_line(f"{report.name}: {report.status}, {_shape_text(report)}")
    table = ValueTable("class", "train", "test")
    for count in report.classes:
        table.add_values(count.name, str(count.train), str(count.test))
    print_table(table)
    if report.default_input is not None:
        mean, std = (
            ", ".join(f"{value:.4f}" for value in values)
            for values in (report.default_input.mean, report.default_input.std)
        )
        print_line(f"mean {mean}; standard deviation {std}")
    if report.duplicates:
        print_line(f"{Count(report.duplicates):test image is|test images are} in both splits")
    for file in report.skipped:
        print_line(f"skipped: {file.path} {file.reason}")


def _shape_text(report: DatasetReport) -> str:
    if report.image_shape is None:
        return "of various sizes" if report.class_names else ""
    channels, height, width = report.image_shape
    return f"{width} x {height}, {'gray' if channels == 1 else 'color'}"
