"""Work that Ray Data hands out to actors: processes that hold the networks, and are started again when they fail."""

import importlib.util
import json
import logging
import math
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from dsn_lightning.errors import UsageError

Job: TypeAlias = Any
"""What is to be done, as plain values of JSON; one job is one block of the data set."""
Work: TypeAlias = Callable[[Job], Any]
"""Does a job; the result is plain values of JSON."""

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # it would upload the working folder
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong is an exception in this process
}
_OF_THIS_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # it listens on the loopback interface alone
_STORE_BYTES = 2**28  # jobs and results are small


def require_ray() -> None:
    """Raise `UsageError` unless Ray Data is installed."""
    missing = [name for name in ("ray", "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"engine=ray: needs {' and '.join(missing)}: pip install 'dsn-lightning[ray]'")


@dataclass(frozen=True)
class RayCluster:
    """Actors of a Ray cluster; a context, which connects when something is to be done and disconnects at its end.

    Attributes:
        address: None: a cluster of this machine alone, which ends with the context; ``auto``, or HOST:PORT.
        actors: their number.
        cpus, gpus: cores and GPUs of each.
    """

    address: str | None
    actors: int
    cpus: float
    gpus: float

    def __enter__(self) -> Self:
        """Return this cluster."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; the actors end, and a cluster of this machine alone, too."""
        if "ray" in sys.modules:  # importing it takes seconds
            sys.modules["ray"].shutdown()

    def results(self, make: Callable[[], Work], jobs: Sequence[Job]) -> Iterator[Any]:
        """Yield the result of each job, in the order in which they are done.

        Args:
            make: called once in each actor; it and what it returns may raise `UsageError`.
            jobs: each is done once, and again as often as its actor has ended meanwhile.

        Raises:
            UsageError: see `connect`; or ``make`` or a job raised it.
        """
        self.connect()

        import ray.data

        rows = [{"job": json.dumps(job)} for job in jobs]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            JobActor,
            fn_constructor_args=(make, os.getcwd()),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.actors, len(rows))),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )
        for batch in done.iter_batches(batch_size=None):
            for text in batch["result"]:
                result = json.loads(text)
                if "error" in result:
                    raise UsageError(result["error"])
                yield result["result"]

    def connect(self) -> None:
        """Connect to the cluster, or start one, unless that is done already.

        Raises:
            UsageError: there is no such cluster, or this machine has too few GPUs.
        """
        os.environ.update(_ENVIRONMENT | (_OF_THIS_MACHINE if self.address is None else {}))

        import ray
        import ray.data

        if ray.is_initialized():
            return
        logging.getLogger("ray").setLevel(logging.ERROR)
        scripts = Path(ray.__file__).parent / "_private" / "workers"
        try:
            if self.address is not None:
                _check_listens(self.address)
            with chdir(scripts):  # the actors look for modules in this folder
                self._start_or_join(ray)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(f"engine.address={self.address}: cannot connect to this Ray cluster ({reason})") from error
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the exception says it
        ray.data.DataContext.get_current().enable_progress_bars = False
        gpus = ray.cluster_resources().get("GPU", 0)
        if self.address is None and gpus < self.actors * self.gpus:
            raise UsageError(f"engine.actors={self.actors} engine.gpus={self.gpus:g}: this machine has {gpus:g} GPUs")

    def _start_or_join(self, ray: Any) -> None:
        quiet = {"configure_logging": False, "log_to_driver": False, "include_dashboard": False}
        if self.address is None:
            cores = math.ceil(self.actors * self.cpus)
            ray.init(address="local", num_cpus=cores, object_store_memory=_STORE_BYTES, **quiet)
        else:
            ray.init(address=self.address, **quiet)


def _check_listens(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class JobActor:
    """Does jobs in a process of its own.

    Args:
        make: returns what does them.
        folder: that paths are relative to.
    """

    def __init__(self, make: Callable[[], Work], folder: str) -> None:
        self.problem: str | None = None
        try:
            os.chdir(folder)
            self.work = make()
        except UsageError as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = f"engine=ray: {folder}: {error.strerror}; all machines need the same folders"

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Do the jobs of a batch; a `UsageError` becomes a result."""
        return {"result": [json.dumps(self._result(json.loads(job))) for job in batch["job"]]}

    def _result(self, job: Job) -> dict[str, Any]:
        if self.problem is not None:
            return {"error": self.problem}
        try:
            return {"result": self.work(job)}
        except UsageError as error:
            return {"error": str(error)}
