"""Settings from `CAMREEL_*` environment variables or `.env`. Only app and cli import them."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

import limits
from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.authority import host_pattern, parse_origin
from service.machine_memory import memory_bytes


def _split(text: object) -> object:
    return (
        [item.strip() for item in text.split(",") if item.strip()]
        if isinstance(text, str)
        else text
    )


def _default_cache_bytes() -> int:
    """The networks of a strip of 100 epochs of the paper's network are about 470 MB."""
    return min(max(memory_bytes() // 8, 688 * 2**20), 4 * 2**30)


def _rate(text: str) -> str:
    try:
        limits.parse(text)
    except ValueError as error:
        raise ValueError("a number per second, minute, hour or day, such as 3000/minute") from error
    return text


def _root_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not re.fullmatch(r"(/(?!\.{1,2}(/|$))[\w.~@:+=-]+)+", path, re.ASCII):
        raise ValueError("a path such as /camreel, of letters, digits and . _ ~ @ : + = -")
    return path


def _hosts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(host_pattern(text) for text in texts)


def _origins(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(parse_origin(text)) for text in texts)
    except ValueError as error:
        raise ValueError("origins, as in https://notebook.example, without a path") from error


def _proxies(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        for text in texts:
            if text != "*":
                ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError("addresses or networks, as in 10.0.0.1 or 10.0.0.0/8, or *") from error
    return texts


def _paths(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(Path(text).absolute()) for text in texts)


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Rate = Annotated[str, AfterValidator(_rate)]


class Settings(BaseSettings):
    """Settings of the service and the command line."""

    model_config = SettingsConfigDict(env_prefix="CAMREEL_", env_file=".env", extra="ignore")

    state_dir: Path = Field(Path("camreel-data"), description="Folder of the default database.")
    data_dir: Path | None = Field(
        None,
        description="Datasets: MNIST in `MNIST/raw`, image folders in `folders/<name>`. Default: "
        "`datasets` in the state folder.",
    )
    database_url: str | None = Field(
        None, description="Any SQLAlchemy URL. Default: SQLite, `camreel.db` in the state folder."
    )
    blobs: str = Field(
        "sql", description="Storage of checkpoints: `sql` (the database) or `file:<folder>`."
    )
    executor: Literal["processes", "inline"] = Field(
        "processes", description="Where runs train: in worker processes, or in the calling process."
    )
    max_parallel_runs: PositiveInt = Field(
        1, le=64, description="Runs that the services of a database train at once; others queue."
    )
    lease_seconds: float = Field(
        30.0, ge=1, le=600, description="A worker without a heartbeat for this time is lost."
    )
    recorder_seconds: float = Field(
        90.0, ge=1, le=3600, description="A recorder without a heartbeat for this time is lost."
    )
    max_attempts: PositiveInt = Field(
        3, le=1000, description="Lost workers after which a run fails."
    )
    spools: Annotated[Listed, AfterValidator(_paths)] = Field(
        (),
        description="Folders whose spools of recorders are taken in as they grow, separated by "
        "commas.",
    )
    quota_bytes: PositiveInt | None = Field(
        None, description="Limit of database and checkpoints together. Default: none."
    )
    min_free_bytes: int = Field(
        2**28, ge=0, description="Free disk space below which nothing new is stored."
    )
    max_queued_runs: PositiveInt = Field(
        100,
        le=100_000,
        description="Length of the queue of runs; beyond it POST /runs answers 429.",
    )
    max_upload_bytes: int = Field(
        10 * 2**20, ge=2**10, le=2**30, description="Maximum size of the body of POST /images."
    )
    max_upload_pixels: int = Field(
        40_000_000,
        ge=2**10,
        le=10**9,
        description="Maximum number of pixels of an image in POST /images.",
    )
    max_dataset_bytes: int = Field(
        4 * 2**30,
        ge=2**20,
        le=2**32,
        description="Maximum size of the body of POST /datasets, and of the images in it.",
    )
    dataset_cache_bytes: int = Field(
        10 * 2**30,
        ge=2**20,
        description="Size of the caches of resized images; the ones unused for longest are "
        "removed.",
    )
    upload_days: PositiveInt = Field(
        30, le=36_500, description="Days without use after which an upload may be deleted."
    )
    header_seconds: float = Field(
        10, gt=0, le=3600, description="Time limit for receiving the head of a request."
    )
    idle_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="Time limit of an idle connection, and for receiving a body.",
    )
    max_connections: PositiveInt = Field(
        4096,
        le=1_000_000,
        description="Maximum number of open connections, divided among the processes; further "
        "ones are closed.",
    )
    max_streams: PositiveInt = Field(
        1000,
        le=100_000,
        description="Maximum number of open event streams, divided among the processes; further "
        "ones answer 429.",
    )
    max_client_streams: PositiveInt = Field(
        100,
        le=100_000,
        description="Maximum number of open event streams per token, or per address without one, "
        "divided among the processes.",
    )
    memory_bytes: int = Field(
        2**30,
        ge=2**26,
        description="Memory limit of each process for computing maps, besides the maps themselves.",
    )
    cache_bytes: int = Field(
        default_factory=_default_cache_bytes,
        ge=2**24,
        le=2**44,
        description="Size of the caches of networks, maps and answers, of all processes together. "
        "Default: an eighth of the memory, between 688 MiB and 4 GiB.",
    )
    interactive_threads: PositiveInt = Field(
        4, le=64, description="Threads of each process for single maps and small atlases."
    )
    batch_threads: PositiveInt = Field(
        2,
        le=64,
        description="Threads of each process for evaluations, sheets, reports and other long work.",
    )
    max_waiting_requests: int = Field(
        32,
        ge=0,
        le=10_000,
        description="Length of the queue of each; beyond it requests answer 503.",
    )
    max_jobs: PositiveInt = Field(
        200,
        le=100_000,
        description="Maximum number of stored jobs; the oldest finished ones are deleted.",
    )
    job_seconds: PositiveInt = Field(
        3600,
        le=31_536_000,
        description="Time after which a finished job and its result are deleted.",
    )
    workers: PositiveInt = Field(
        1, le=64, description="Processes that answer requests; one of them dispatches runs."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 selects a free one.")

    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "",
        description="Path under which a proxy serves the service, such as /camreel.",
    )

    auth: Literal["auto", "required"] = Field(
        "auto",
        description="When a token is required: `auto`, once one exists; `required`, always.",
    )
    bootstrap_token_file: Path | None = Field(
        None, description="File with an administrator's token, registered at the start."
    )
    allowed_hosts: Annotated[Listed, AfterValidator(_hosts)] = Field(
        (), description="Host names of the service besides its address and localhost."
    )
    cors_origins: Annotated[Listed, AfterValidator(_origins)] = Field(
        (), description="Origins whose pages may use the API with a token; none by default."
    )
    trusted_proxies: Annotated[Listed, AfterValidator(_proxies)] = Field(
        (), description="Addresses of proxies whose client address and scheme are trusted."
    )
    rate_limit: Rate = Field(
        "6000/minute", description="Request rate limit per token, or per address without one."
    )
    sign_in_limit: Rate = Field(
        "10/minute", description="Rate limit of sign-in attempts per address."
    )
    log_requests: bool = Field(True, description="Log each request on standard error.")

    @property
    def database(self) -> Path | str:
        """The SQLite file in the state folder, or the URL given."""
        return self.database_url or (self.state_dir / "camreel.db").absolute()

    @property
    def resolved_data_dir(self) -> Path:
        """The data directory given, or `datasets` in the state folder."""
        return self.data_dir or self.state_dir / "datasets"
