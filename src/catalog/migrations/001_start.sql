-- What one state folder knows. Never edit a released file: add the next number.
-- Ids are 16-byte blobs, times are milliseconds since 1970 (names ending in _ns: nanoseconds),
-- states are the names of `domain`. Folder, name and path columns are personal data.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE store (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    root       BLOB NOT NULL,
    profile    TEXT NOT NULL,
    layout     TEXT NOT NULL CHECK (layout IN ('vault', 'beside')),
    device     INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE recording (
    id              BLOB PRIMARY KEY CHECK (length(id) = 16),
    store           BLOB NOT NULL REFERENCES store (id),
    conversation    BLOB CHECK (length(conversation) = 16),
    state           TEXT NOT NULL CHECK (state IN ('found', 'settled', 'sealing', 'sealed',
                                                   'stored', 'quarantined', 'erasing', 'erased')),
    quarantine      TEXT CHECK ((quarantine IS NOT NULL) = (state = 'quarantined')),
    folder          BLOB NOT NULL, -- empty: the root of the store
    name            BLOB NOT NULL,
    device          INTEGER NOT NULL,
    inode           INTEGER NOT NULL,
    size_bytes      INTEGER NOT NULL CHECK (size_bytes >= 0),
    modified_ns     INTEGER NOT NULL,
    changed_ns      INTEGER NOT NULL,
    accessed_ns     INTEGER NOT NULL,
    mode            INTEGER NOT NULL,
    uid             INTEGER NOT NULL,
    gid             INTEGER NOT NULL,
    found_at        INTEGER NOT NULL,
    unchanged_since INTEGER NOT NULL,
    polls_unchanged INTEGER NOT NULL DEFAULT 0,
    due_at          INTEGER NOT NULL DEFAULT 0, -- not to be worked on before
    failures        INTEGER NOT NULL DEFAULT 0, -- in this state
    sealed_at       INTEGER,
    container       TEXT, -- absent: not probed
    codec           TEXT,
    duration_ms     INTEGER,
    channels        INTEGER,
    sample_rate_hz  INTEGER,
    width           INTEGER,
    height          INTEGER,
    damage          TEXT,
    overwrite         TEXT, -- absent: the original was not removed
    file_system       TEXT,
    medium            TEXT,
    overwritten_bytes INTEGER
) STRICT, WITHOUT ROWID;

-- One file, one row; a name is free again when its original is gone.
CREATE UNIQUE INDEX recording_original ON recording (store, folder, name)
    WHERE state NOT IN ('stored', 'erasing', 'erased');
-- A sidecar may come after its recording is stored.
CREATE INDEX recording_named ON recording (store, folder, name);
CREATE INDEX recording_listed ON recording (store, state, id);
CREATE INDEX recording_due_for_sealing ON recording (due_at, id) WHERE state = 'settled';
CREATE INDEX recording_due_for_removal ON recording (due_at, id) WHERE state = 'sealed';

CREATE TABLE sidecar (
    id              BLOB PRIMARY KEY CHECK (length(id) = 16),
    recording       BLOB NOT NULL REFERENCES recording (id),
    store           BLOB NOT NULL REFERENCES store (id),
    state           TEXT NOT NULL CHECK (state IN ('found', 'sealed', 'stored')),
    folder          BLOB NOT NULL,
    name            BLOB NOT NULL,
    device          INTEGER NOT NULL,
    inode           INTEGER NOT NULL,
    size_bytes      INTEGER NOT NULL CHECK (size_bytes >= 0),
    modified_ns     INTEGER NOT NULL,
    changed_ns      INTEGER NOT NULL,
    accessed_ns     INTEGER NOT NULL,
    mode            INTEGER NOT NULL,
    uid             INTEGER NOT NULL,
    gid             INTEGER NOT NULL,
    unchanged_since INTEGER NOT NULL,
    polls_unchanged INTEGER NOT NULL DEFAULT 0,
    due_at          INTEGER, -- absent: its recording comes first, or all is done
    failures        INTEGER NOT NULL DEFAULT 0,
    overwrite         TEXT,
    file_system       TEXT,
    medium            TEXT,
    overwritten_bytes INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX sidecar_original ON sidecar (store, folder, name) WHERE state != 'stored';
CREATE INDEX sidecar_of ON sidecar (recording);
CREATE INDEX sidecar_due ON sidecar (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE sealed_copy (
    vault        BLOB NOT NULL, -- empty: our own; else the store beside whose originals it lies
    path         BLOB NOT NULL,
    recording    BLOB NOT NULL REFERENCES recording (id),
    sidecar      BLOB REFERENCES sidecar (id) CHECK ((sidecar IS NOT NULL) = (kind = 'sidecar')),
    kind         TEXT NOT NULL CHECK (kind IN ('media', 'peaks', 'sidecar')),
    sealed_bytes INTEGER NOT NULL,
    plain_bytes  INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (vault, path)
) STRICT, WITHOUT ROWID;

CREATE INDEX sealed_copy_of ON sealed_copy (recording);
CREATE INDEX sealed_copy_of_sidecar ON sealed_copy (sidecar) WHERE sidecar IS NOT NULL;

-- The only place of a data key. Without its row every sealed copy is noise.
CREATE TABLE wrapped_key (
    recording  BLOB PRIMARY KEY REFERENCES recording (id),
    data_key   BLOB NOT NULL UNIQUE CHECK (length(data_key) = 16),
    version    INTEGER NOT NULL,
    bytes      BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX wrapped_key_version ON wrapped_key (version);

CREATE TRIGGER wrapped_key_kept BEFORE DELETE ON wrapped_key
WHEN (SELECT state FROM recording WHERE id = OLD.recording) NOT IN ('settled', 'erasing')
BEGIN
    SELECT RAISE(ABORT, 'the life cycle keeps this key');
END;

CREATE TRIGGER wrapped_key_not_moved BEFORE UPDATE OF recording, data_key ON wrapped_key
BEGIN
    SELECT RAISE(ABORT, 'a key is never moved');
END;

CREATE TRIGGER recording_kept BEFORE DELETE ON recording
WHEN OLD.state NOT IN ('found', 'settled')
BEGIN
    SELECT RAISE(ABORT, 'only a recording without a key is forgotten');
END;

CREATE TRIGGER recording_sealing_has_key BEFORE UPDATE OF state ON recording
WHEN NEW.state = 'sealing'
    AND NOT EXISTS (SELECT 1 FROM wrapped_key WHERE recording = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'nothing is sealed with a key that is not recorded');
END;

CREATE TRIGGER recording_sealed_has_copy BEFORE UPDATE OF state ON recording
WHEN NEW.state IN ('sealed', 'stored')
    AND NOT (EXISTS (SELECT 1 FROM wrapped_key WHERE recording = NEW.id)
        AND EXISTS (SELECT 1 FROM sealed_copy WHERE recording = NEW.id AND kind = 'media'))
BEGIN
    SELECT RAISE(ABORT, 'nothing counts as sealed without its copy and its key');
END;

CREATE TRIGGER recording_erased_has_no_key BEFORE UPDATE OF state ON recording
WHEN NEW.state = 'erased' AND EXISTS (SELECT 1 FROM wrapped_key WHERE recording = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'nothing is erased while its key exists');
END;

CREATE TRIGGER recording_erased_is_final BEFORE UPDATE OF state ON recording
WHEN OLD.state = 'erased'
BEGIN
    SELECT RAISE(ABORT, 'erased is final');
END;

-- Counted as it happens: a status page must not walk a million rows. A size counts as at most
-- 1 PiB, so that no number of sparse files overflows the sum.
CREATE TABLE tally (
    store      BLOB NOT NULL REFERENCES store (id),
    state      TEXT NOT NULL,
    recordings INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    PRIMARY KEY (store, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER tally_added AFTER INSERT ON recording
BEGIN
    INSERT INTO tally VALUES (NEW.store, NEW.state, 1, min(NEW.size_bytes, 1 << 50))
        ON CONFLICT DO UPDATE SET recordings = recordings + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER tally_removed AFTER DELETE ON recording
BEGIN
    UPDATE tally SET recordings = recordings - 1, bytes = bytes - min(OLD.size_bytes, 1 << 50)
        WHERE store = OLD.store AND state = OLD.state;
END;

CREATE TRIGGER tally_moved AFTER UPDATE OF store, state, size_bytes ON recording
BEGIN
    UPDATE tally SET recordings = recordings - 1, bytes = bytes - min(OLD.size_bytes, 1 << 50)
        WHERE store = OLD.store AND state = OLD.state;
    INSERT INTO tally VALUES (NEW.store, NEW.state, 1, min(NEW.size_bytes, 1 << 50))
        ON CONFLICT DO UPDATE SET recordings = recordings + 1, bytes = bytes + excluded.bytes;
END;

CREATE TABLE audit (
    seq              INTEGER PRIMARY KEY,
    at               INTEGER NOT NULL,
    actor            TEXT NOT NULL,
    user_name        TEXT NOT NULL,
    authenticated_by TEXT NOT NULL,
    activity         TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    detail           TEXT NOT NULL,
    recording        BLOB, -- no reference: the trail outlives what it speaks of
    conversation     BLOB,
    object           BLOB,
    hash             BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE INDEX audit_at ON audit (at);

CREATE TABLE audit_checkpoint (
    seq       INTEGER PRIMARY KEY,
    hash      BLOB NOT NULL CHECK (length(hash) = 32),
    at        INTEGER NOT NULL,
    key_id    BLOB NOT NULL CHECK (length(key_id) = 8),
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;

CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail only grows at its end');
END;

CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is never changed');
END;

CREATE TRIGGER audit_undeleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is never shortened');
END;

CREATE TRIGGER audit_checkpoint_only_grows BEFORE INSERT ON audit_checkpoint
WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM audit_checkpoint)
BEGIN
    SELECT RAISE(ABORT, 'checkpoints only grow at their end');
END;

CREATE TRIGGER audit_checkpoint_unchanged BEFORE UPDATE ON audit_checkpoint
BEGIN
    SELECT RAISE(ABORT, 'a checkpoint is never changed');
END;

CREATE TRIGGER audit_checkpoint_undeleted BEFORE DELETE ON audit_checkpoint
BEGIN
    SELECT RAISE(ABORT, 'a checkpoint is never removed');
END;

CREATE TABLE token (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    digest     BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- Padding that `Catalog::scrub` writes over old pages of the write-ahead log.
CREATE TABLE scrub (
    k   INTEGER PRIMARY KEY,
    pad BLOB NOT NULL
) STRICT;
