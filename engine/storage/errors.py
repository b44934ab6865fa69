"""Errors of the log's files, as sentences that say what to do."""

import errno
from pathlib import Path

import apsw

from errors import FatalError

#: An overflow in a sum, a value that its column does not take: raised of a sound file too.
_OF_A_STATEMENT = (
    apsw.SQLError,
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.TooBigError,
    apsw.RangeError,
)
_ADVICE = (
    "keep this data directory as it is, and continue from a backup "
    "with `gatewayd log restore` (docs/engine.md, 'When a log is damaged')"
)


class StorageError(FatalError):
    """What is stored cannot be read or written, or is not what was written. It alone may end a gateway at work."""


class DamagedError(StorageError):
    """The log is not what this program wrote. Nothing may be decided on it."""

    def __init__(self, what: str) -> None:
        """`what` is the beginning of the sentence; what to do follows."""
        super().__init__(f"{what}; {_ADVICE}")


def storage_error(path: Path, error: Exception) -> StorageError:
    """The end of a process that cannot read or write `path`, because of SQLite or of the system."""
    match error:
        case apsw.CorruptError() | apsw.NotADBError() | UnicodeDecodeError():
            return DamagedError(f"{path} is damaged ({error})")
        case apsw.FullError() | OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            sentence = (
                f"the disk is full, {path} cannot grow: free some space and start again; "
                "everything acknowledged is in the log"
            )
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError():
            sentence = _not_writable(path, str(error))
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS):
            sentence = _not_writable(path, str(error.strerror))
        case apsw.IOError() | OSError():
            sentence = (
                f"the disk failed while {path} was read or written ({error}): check the disk and start again; "
                "everything acknowledged is in the log, unless the disk lost what it had confirmed"
            )
        case _:
            sentence = (
                f"{path} cannot be used as a log ({type(error).__name__}: {error}): "
                f"start again; if that fails in the same way, {_ADVICE}"
            )
    return StorageError(sentence)


def is_of_storage(error: Exception) -> bool:
    """Whether SQLite or the system raised it for the sake of the file, and not of one statement or its values."""
    match error:
        case StorageError() | OSError() | UnicodeDecodeError():
            return True
        case apsw.Error():
            return not isinstance(error, _OF_A_STATEMENT)
        case _:
            return False


def _not_writable(path: Path, why: str) -> str:
    return (
        f"{path} cannot be opened for writing ({why}): "
        "give this user the directory on a writable file system and start again"
    )
