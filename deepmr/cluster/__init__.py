"""The same blocks of work on several processes or machines: association in threads, processes, or on a Dask cluster."""

from deepmr.cluster.association import associate_on, take_shard

__all__ = ["associate_on", "take_shard"]
