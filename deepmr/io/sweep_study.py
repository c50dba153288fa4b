"""The study of a sweep: an Optuna study in an SQLite file, with all its runs."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from deepmr.errors import InputError
from deepmr.io.files import sync_folder
from deepmr.io.locks import NumberedLocks
from deepmr.io.sweep_config import SweepConfig, config_from_json, config_to_json
from deepmr.io.sweep_parameters import SweepParameter, Value

STUDY, LOCKS, NAME = "study.db", ".study.lock", "deepmr"
WAIT_S = 300  # that a process waits for the others to let the file go


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An open study.

    Attributes
    ----------
    config : what it was made from.
    checksums : of the data files, by name.
    token : of this study alone: what an earlier one has left in the same folder has another.
    """

    config: SweepConfig
    checksums: Mapping[str, str]
    token: str
    storage: RDBStorage
    study: optuna.Study
    study_id: int
    locks: NumberedLocks

    def close(self) -> None:
        """Let go of the files, and of all runs that were taken."""
        self.storage.remove_session()
        self.storage.engine.dispose()
        self.locks.close()


def create_study(config: SweepConfig, runs: Sequence[Mapping[str, Value]], checksums: Mapping[str, str]) -> None:
    """Write a study with all its runs waiting, whole or not at all; one that is there already stays.

    Parameters
    ----------
    config : of the sweep; its folder is made where there is none.
    runs : parameters of each.
    checksums : of the data files, by name.
    """
    folder = config.folder
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from error
    path, unfinished = folder / STUDY, folder / f".{STUDY}.{secrets.token_hex(4)}"
    storage = _storage(unfinished, safe=False)
    try:
        study = optuna.create_study(storage=storage, study_name=NAME, direction="minimize")
        study.set_user_attr("config", config_to_json(config))
        study.set_user_attr("checksums", dict(checksums))
        study.set_user_attr("token", secrets.token_hex(8))
        study_id = storage.get_study_id_from_name(NAME)
        kinds = _distributions(config, runs)
        for run in runs:
            chosen = {name: kinds[name] for name in run}
            storage.create_new_trial(
                study_id, create_trial(state=TrialState.WAITING, params=dict(run), distributions=chosen)
            )
        storage.remove_session()
        storage.engine.dispose()
        with unfinished.open("rb") as handle:
            os.fsync(handle.fileno())
        try:
            os.link(unfinished, path)  # unlike a rename, never in place of a study that another process has begun
        except FileExistsError:
            return
        except OSError:  # a file system without links
            if not path.exists():
                unfinished.rename(path)
        sync_folder(folder)
    finally:
        storage.engine.dispose()
        unfinished.unlink(missing_ok=True)


def open_study(path: Path) -> Study:
    """Open a study.

    Parameters
    ----------
    path
        `study.db` in the folder of a sweep.

    Raises
    ------
    InputError
        When there is no such file, or it is no study of a sweep.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no study; make one from a configuration: deepmr iv sweep config.toml")
    try:
        with path.open("rb") as handle:
            if handle.read(15) != b"SQLite format 3":
                raise InputError(f"{path}: not a study: it is no SQLite file")
        storage = _storage(path)
        study = optuna.load_study(study_name=NAME, storage=storage)
        attributes = study.user_attrs
        config = config_from_json(attributes["config"], path.parent)
        checksums, token = attributes["checksums"], str(attributes["token"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, RuntimeError, sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise InputError(f"{path}: not a study of deepmr iv sweep: {' '.join(str(error).split())[:200]}") from error
    return Study(
        config=config,
        checksums=checksums,
        token=token,
        storage=storage,
        study=study,
        study_id=storage.get_study_id_from_name(NAME),
        locks=NumberedLocks(path.parent / LOCKS),
    )


def _storage(path: Path, *, safe: bool = True) -> RDBStorage:
    """Open the file; one that is thrown away when it is not finished need not be safe against a loss of power."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    engine = {"connect_args": {"timeout": WAIT_S}}
    if not safe:
        engine["poolclass"] = sqlalchemy.pool.StaticPool  # type: ignore[assignment]
    storage = RDBStorage(sqlalchemy.engine.URL.create("sqlite", database=str(path)).render_as_string(), engine)
    if not safe:
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
    return storage


def _distributions(config: SweepConfig, runs: Sequence[Mapping[str, Value]]) -> dict[str, BaseDistribution]:
    """Return what Optuna calls the values that each parameter can have."""
    found: dict[str, BaseDistribution] = {one.name: _distribution(one) for one in config.parameters}
    for name in {name for run in runs for name in run}:
        if isinstance(found.get(name, CategoricalDistribution([0])), CategoricalDistribution):
            values = dict.fromkeys((type(run[name]), run[name]) for run in runs if name in run)
            found[name] = CategoricalDistribution([value for _, value in values])
    return found


def _distribution(parameter: SweepParameter) -> BaseDistribution:
    if parameter.kind == "integer":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    if parameter.kind == "float":
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return CategoricalDistribution(list(parameter.values))
