"""Tables of the log, by schema version. `migrations/` decides which step runs when; read models own theirs."""

#: Marks the file as ours (ASCII "FGwL"); `file` and other tools can tell it apart.
APPLICATION_ID = 0x4647774C

#: Streams are numbered in the order in which they begin. A row's hash has the name. Names are looked up by their hash,
#: since an index of the names themselves would be as large as all of them.
LOG_TABLES = """
CREATE TABLE stream_name (
    id                INTEGER PRIMARY KEY,
    name_hash         INTEGER NOT NULL,
    stream            TEXT    NOT NULL
) STRICT;
CREATE INDEX stream_name_by_hash ON stream_name (name_hash);
CREATE TABLE log (
    position          INTEGER PRIMARY KEY,
    append            INTEGER NOT NULL,
    stream_id         INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    kind              TEXT    NOT NULL,
    schema_version    INTEGER NOT NULL,
    epoch             INTEGER NOT NULL,
    recorded_unix_us  INTEGER NOT NULL,
    body              BLOB    NOT NULL,
    hash              BLOB    NOT NULL,
    UNIQUE (stream_id, version)
) STRICT;
CREATE TRIGGER log_is_never_updated BEFORE UPDATE ON log
    BEGIN SELECT RAISE(ABORT, 'log rows are never changed'); END;
CREATE TRIGGER log_is_never_deleted BEFORE DELETE ON log
    BEGIN SELECT RAISE(ABORT, 'log rows are never deleted'); END;
CREATE TABLE dictionary (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    bytes     BLOB    NOT NULL
) STRICT;
CREATE TABLE writer (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch     INTEGER NOT NULL
) STRICT;
INSERT INTO writer VALUES (1, 0);
CREATE TABLE read_model (
    name      TEXT PRIMARY KEY,
    version   INTEGER NOT NULL
) STRICT;
CREATE TABLE read_model_gap (
    name      TEXT    NOT NULL,
    position  INTEGER NOT NULL,
    why       TEXT    NOT NULL,
    PRIMARY KEY (name, position)
) STRICT, WITHOUT ROWID;
"""
