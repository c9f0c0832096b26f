"""Typed settings, from `CAMREEL_*` environment variables or `.env`. They stop at the edge."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

import limits
from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.authority import host_pattern, parse_origin


def _parted(text: object) -> object:
    return (
        [part.strip() for part in text.split(",") if part.strip()]
        if isinstance(text, str)
        else text
    )


def _rate(text: str) -> str:
    try:
        limits.parse(text)
    except ValueError as error:
        raise ValueError("a number a second, minute, hour or day, as in 3000/minute") from error
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
    for text in texts:
        if text != "*":
            ipaddress.ip_network(text)
    return texts


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parted)]
Rate = Annotated[str, AfterValidator(_rate)]


class Settings(BaseSettings):
    """Where things are kept, where the service listens, how many runs train at once."""

    model_config = SettingsConfigDict(env_prefix="CAMREEL_", env_file=".env", extra="ignore")

    state_dir: Path = Field(Path("camreel-data"), description="Folder of the default database.")
    data_dir: Path | None = Field(
        None,
        description="Datasets: MNIST in `MNIST/raw`. Default: `datasets` in the state folder.",
    )
    database_url: str | None = Field(
        None, description="Any SQLAlchemy URL. Default: SQLite, `camreel.db` in the state folder."
    )
    blobs: str = Field(
        "sql", description="Where checkpoints live: `sql` (the database) or `file:<folder>`."
    )
    executor: Literal["processes", "inline"] = Field(
        "processes", description="Where runs train: worker processes, or the caller's own."
    )
    max_parallel_runs: PositiveInt = Field(
        1, le=64, description="Runs that train at once; others queue."
    )
    lease_seconds: float = Field(
        30.0, ge=1, le=600, description="A worker not heard of for so long is lost."
    )
    max_attempts: PositiveInt = Field(
        3, le=1000, description="Workers that a run may lose; then it has failed."
    )
    quota_bytes: PositiveInt | None = Field(
        None, description="What database and checkpoints may hold together. Default: no bound."
    )
    min_free_bytes: int = Field(
        2**28, ge=0, description="Free disk below which nothing new is stored."
    )
    max_queued_runs: PositiveInt = Field(
        100, le=100_000, description="Runs that may wait; beyond it POST /runs answers 429."
    )
    max_upload_bytes: int = Field(
        10 * 2**20, ge=2**10, le=2**30, description="Largest body of POST /images."
    )
    max_upload_pixels: int = Field(
        40_000_000, ge=2**10, le=10**9, description="Most pixels of an image in POST /images."
    )
    upload_days: PositiveInt = Field(
        30, le=36_500, description="Uploads that nothing used for so long may be removed."
    )
    header_seconds: float = Field(
        10, gt=0, le=3600, description="Time that a request's head may take to come in."
    )
    idle_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="Time that a connection may stay silent, and that a body may take.",
    )
    max_connections: PositiveInt = Field(
        4096, le=1_000_000, description="Connections open at once; others are closed at once."
    )
    max_streams: PositiveInt = Field(
        1000, le=100_000, description="Event streams open at once; beyond it they answer 429."
    )
    max_client_streams: PositiveInt = Field(
        100,
        le=100_000,
        description="Event streams open at once of one token, or of an address without one.",
    )
    memory_bytes: int = Field(
        2**30, ge=2**26, description="What making maps may hold at once, besides the maps."
    )
    interactive_threads: PositiveInt = Field(
        4, le=64, description="Single maps and small atlases computed at once."
    )
    batch_threads: PositiveInt = Field(
        2, le=64, description="Evaluations, sheets, reports and other long work done at once."
    )
    max_waiting_requests: int = Field(
        32, ge=0, le=10_000, description="Requests that wait for either; beyond it 503."
    )
    max_jobs: PositiveInt = Field(
        200, le=100_000, description="Jobs kept; the oldest ended one makes room for a new one."
    )
    job_seconds: PositiveInt = Field(
        3600, le=31_536_000, description="Time that an ended job and its result are kept."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")

    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "",
        description="Path below which a proxy shows the service, as in /camreel; stripped or not.",
    )

    auth: Literal["auto", "required"] = Field(
        "auto",
        description="Whether a token is asked for: `auto`, as soon as there is one; `required`.",
    )
    bootstrap_token_file: Path | None = Field(
        None, description="A file that holds an administrator's token, made at the start."
    )
    allowed_hosts: Annotated[Listed, AfterValidator(_hosts)] = Field(
        (), description="Names that the service is asked by besides its address and localhost."
    )
    cors_origins: Annotated[Listed, AfterValidator(_origins)] = Field(
        (), description="Origins whose pages may use the API with a token; none by default."
    )
    trusted_proxies: Annotated[Listed, AfterValidator(_proxies)] = Field(
        (), description="Addresses of proxies whose word on client and scheme is taken."
    )
    rate_limit: Rate = Field(
        "6000/minute", description="How often a token, or an address without one, may ask."
    )
    sign_in_limit: Rate = Field("10/minute", description="How often an address may try to sign in.")
    log_requests: bool = Field(True, description="One line a request, on standard error.")

    @property
    def database(self) -> Path | str:
        """The SQLite file in the state folder, or the URL given."""
        return self.database_url or (self.state_dir / "camreel.db").absolute()

    @property
    def resolved_data_dir(self) -> Path:
        """The data directory given, or `datasets` in the state folder."""
        return self.data_dir or self.state_dir / "datasets"
