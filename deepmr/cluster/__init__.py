"""The same blocks of work on several processes or machines: association in threads, processes, or on a Dask cluster."""

from deepmr.cluster.association import associate_on, scan_tasks, shard_numbers, take_shard
from deepmr.cluster.backends import Run, backend
from deepmr.cluster.tasks import cut_tasks

__all__ = ["Run", "associate_on", "backend", "cut_tasks", "scan_tasks", "shard_numbers", "take_shard"]
