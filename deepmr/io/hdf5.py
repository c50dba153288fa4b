"""What every HDF5 file of ours has in common: plain types, built-in filters, readable since HDF5 1.10."""

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import pandas as pd

LIBVER = ("earliest", "v110")
FILTERS = {"compression": "gzip", "compression_opts": 1, "shuffle": True}  # built into every HDF5, no plugin


def create_array(
    parent: h5py.Group, name: str, shape: tuple[int, ...], chunk: tuple[int, ...], axes: str, *, dtype: str = "f4"
) -> h5py.Dataset:
    """Create a compressed array, extensible along the first axis so that a chunk may be longer than it.

    Parameters
    ----------
    parent : file or group.
    name : of the array.
    shape : of the array.
    chunk : of the array; later axes are cut to the shape.
    axes : names of the axes, space separated.
    dtype : of the numbers.
    """
    chunks = (max(1, chunk[0]), *(max(1, min(c, s)) for c, s in zip(chunk[1:], shape[1:], strict=True)))
    data = parent.create_dataset(name, shape, dtype, chunks=chunks, maxshape=(None, *shape[1:]), **FILTERS)
    label_axes(data, axes)
    return data


def label_axes(data: h5py.Dataset, axes: str) -> None:
    """Name the axes of an array."""
    for k, axis in enumerate(axes.split()):
        data.dims[k].label = axis


def copy_chunks(source: h5py.Dataset, target: h5py.Dataset, at: tuple[int, ...]) -> None:
    """Copy the compressed chunks of an array into a larger one with the same chunks, without unpacking them.

    Parameters
    ----------
    source, target : made by `create_array` with the same chunk.
    at : where the source begins in the target, on the corner of a chunk.
    """
    for k in range(source.id.get_num_chunks()):
        offset = source.id.get_chunk_info(k).chunk_offset
        skipped_filters, packed = source.id.read_direct_chunk(offset)
        place = tuple(a + o for a, o in zip(at, offset, strict=True))
        target.id.write_direct_chunk(place, packed, skipped_filters)


def write_frame(parent: h5py.Group, name: str, frame: pd.DataFrame) -> None:
    """Write a frame as a group of equally long columns, text as variable-length UTF-8; their order is an attribute."""
    group = parent.create_group(name)
    group.attrs["columns"] = ",".join(frame.columns)
    for column in frame.columns:
        values = frame[column]
        if pd.api.types.is_numeric_dtype(values):
            group.create_dataset(column, data=values.to_numpy())
        else:
            group.create_dataset(column, data=values.astype(str).tolist(), dtype=h5py.string_dtype())


def read_frame(group: h5py.Group) -> pd.DataFrame:
    """Read what `write_frame` wrote."""
    columns = {name: group[name] for name in group.attrs["columns"].split(",")}
    return pd.DataFrame(
        {name: data.asstr()[:] if h5py.check_string_dtype(data.dtype) else data[:] for name, data in columns.items()}
    )


def write_attrs(target: h5py.Group, attrs: Mapping[str, Any]) -> None:
    """Write attributes as numbers and text; anything else as JSON text."""
    for name, value in attrs.items():
        plain = isinstance(value, str | int | float | np.generic) and not isinstance(value, bool)
        target.attrs[name] = (
            value if plain else int(value) if isinstance(value, bool) else json.dumps(value, default=str)
        )
