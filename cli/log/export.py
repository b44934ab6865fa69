"""`gatewayd log export` and `import`: an anonymised history to give away, and a log made of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter

from cli.log.reading import DataDir, program
from engine.chain import verified
from engine.portable import chained, from_line, to_line, write_rows
from engine.progress import telling
from engine.storage.reader import open_log
from engine.storage.store import Store
from errors import FatalError, InputError
from gateway.anonymous import Anonymiser


def export_log(
    data_dir: DataDir,
    file: Path,
    /,
    *,
    keep_times: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write an anonymised history of the log that a bug can be replayed with.

    Ids, keys, preimages, signatures, contracts, invoices, addresses and all text are replaced, each by the same
    stand-in wherever it appears and by another one in the next export; times are moved. Amounts, fees, the order
    of things and how long they took stay, since without them nothing balances.

    Parameters
    ----------
    file
        The file to write, one row a line; it must not exist.
    keep_times
        Leave times as they are.
    """
    machines, _ = program()
    anonymiser = Anonymiser(machines.codec, os.urandom(32), keep_times=keep_times)
    count = 0
    with open_log(data_dir) as log, _new_file(file) as out:
        for one in chained(map(anonymiser.row, verified(log.rows()))):
            out.write(to_line(one) + "\n")
            count += 1
    print(f"{count} rows in {file}; ids, secrets and text are replaced, amounts are not")


def import_log(file: Path, data_dir: Path, /) -> None:
    """Make a log of an exported history, for the other tools. No gateway can be started on it.

    Parameters
    ----------
    file
        What `gatewayd log export` wrote, or a stored history of tests/replay.
    data_dir
        A folder that does not exist, or is empty.
    """
    from migrations import SchemaSteps  # noqa: PLC0415 - only what writes needs it

    machines, read_models = program()
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise InputError(f"{data_dir} is not empty: name a folder that is not there yet")
    try:
        lines = file.open(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    with lines:
        store = Store(data_dir, SchemaSteps(), read_models)
        try:
            rows = telling(map(from_line, lines), lambda: None)
            head = write_rows(store, machines, rows)
        except FatalError as error:
            raise InputError(f"{file} is no whole history: {error}") from error
        finally:
            store.close()
    print(f"{head.position} rows in {data_dir}, the last with hash {head.hash.hex()}")


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file that appears under its name only when it is whole."""
    if path.exists():
        raise InputError(f"{path} exists already: name another file")
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            yield file
        unfinished.rename(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
