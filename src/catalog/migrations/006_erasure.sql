-- What protects, what is owed, what was destroyed, and what was certified of it.

-- Recordings with an obligation that is not yet met. Kept by the triggers of `erasure_item`.
ALTER TABLE recording ADD COLUMN planned INTEGER NOT NULL DEFAULT 0 CHECK (planned IN (0, 1));

CREATE INDEX recording_planned ON recording (store, state, id) WHERE planned = 1;

-- The tally tells planned ones apart.
DROP TRIGGER tally_added;
DROP TRIGGER tally_removed;
DROP TRIGGER tally_moved;
DROP TABLE tally;

CREATE TABLE tally (
    store      BLOB NOT NULL REFERENCES store (id),
    state      TEXT NOT NULL,
    planned    INTEGER NOT NULL,
    recordings INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    PRIMARY KEY (store, state, planned)
) STRICT, WITHOUT ROWID;

INSERT INTO tally
    SELECT store, state, planned, count(*), sum(min(size_bytes, 1 << 50))
    FROM recording GROUP BY store, state, planned;

CREATE TRIGGER tally_added AFTER INSERT ON recording
BEGIN
    INSERT INTO tally VALUES (NEW.store, NEW.state, NEW.planned, 1, min(NEW.size_bytes, 1 << 50))
        ON CONFLICT DO UPDATE SET recordings = recordings + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER tally_removed AFTER DELETE ON recording
BEGIN
    UPDATE tally SET recordings = recordings - 1, bytes = bytes - min(OLD.size_bytes, 1 << 50)
        WHERE store = OLD.store AND state = OLD.state AND planned = OLD.planned;
END;

CREATE TRIGGER tally_moved AFTER UPDATE OF store, state, planned, size_bytes ON recording
BEGIN
    UPDATE tally SET recordings = recordings - 1, bytes = bytes - min(OLD.size_bytes, 1 << 50)
        WHERE store = OLD.store AND state = OLD.state AND planned = OLD.planned;
    INSERT INTO tally VALUES (NEW.store, NEW.state, NEW.planned, 1, min(NEW.size_bytes, 1 << 50))
        ON CONFLICT DO UPDATE SET recordings = recordings + 1, bytes = bytes + excluded.bytes;
END;

CREATE INDEX recording_of_conversation ON recording (conversation) WHERE conversation IS NOT NULL;

-- Legal holds. `reason` is a person's text: shown to those who may see holds, never logged.
CREATE TABLE hold (
    id        BLOB PRIMARY KEY CHECK (length(id) = 16),
    reason    TEXT NOT NULL,
    placed_by TEXT NOT NULL,
    placed_at INTEGER NOT NULL,
    until     INTEGER,
    lifted_by TEXT,
    lifted_at INTEGER CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX hold_ends ON hold (until) WHERE until IS NOT NULL AND lifted_at IS NULL;

-- A target is a recording or a conversation: both have ids that never meet.
CREATE TABLE hold_on (
    target BLOB NOT NULL CHECK (length(target) = 16),
    hold   BLOB NOT NULL REFERENCES hold (id),
    PRIMARY KEY (target, hold)
) STRICT, WITHOUT ROWID;

CREATE INDEX hold_on_of ON hold_on (hold);

CREATE TRIGGER hold_lifted_once BEFORE UPDATE ON hold WHEN OLD.lifted_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a lifted hold stays lifted');
END;

CREATE TRIGGER hold_kept BEFORE DELETE ON hold
BEGIN
    SELECT RAISE(ABORT, 'holds are lifted, not deleted');
END;

-- What protects besides holds: compliance tags, and MiFID recordings until their date.
CREATE TABLE protection (
    target    BLOB NOT NULL CHECK (length(target) = 16),
    kind      TEXT NOT NULL CHECK (kind IN ('tag', 'mifid')),
    code      TEXT NOT NULL, -- of a tag: which; else empty
    until     INTEGER,
    placed_by TEXT NOT NULL,
    placed_at INTEGER NOT NULL,
    PRIMARY KEY (target, kind, code)
) STRICT, WITHOUT ROWID;

CREATE INDEX protection_ends ON protection (until) WHERE until IS NOT NULL;

-- An active hold or protection over a recording, by itself or by its conversation. What has run
-- out is taken away by name first, so this needs no clock.
CREATE VIEW protected AS
    SELECT hold_on.target AS target FROM hold_on JOIN hold ON hold.id = hold_on.hold
        WHERE hold.lifted_at IS NULL
    UNION ALL SELECT target FROM protection;

-- A restored backup takes along what was erased after it was made, whatever protected it then:
-- `meta` says 'burying' for as long as that transaction lasts.
CREATE TRIGGER recording_erasing_unprotected BEFORE UPDATE OF state ON recording
WHEN NEW.state = 'erasing' AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'burying')
    AND EXISTS (SELECT 1 FROM protected WHERE target IN (NEW.id, NEW.conversation))
BEGIN
    SELECT RAISE(ABORT, 'a protected recording is not erased');
END;

CREATE TRIGGER wrapped_key_unprotected BEFORE DELETE ON wrapped_key
WHEN NOT EXISTS (SELECT 1 FROM meta WHERE name = 'burying') AND EXISTS (SELECT 1 FROM recording r JOIN protected p ON p.target IN (r.id, r.conversation)
        WHERE r.id = OLD.recording AND r.state = 'erasing')
BEGIN
    SELECT RAISE(ABORT, 'the key of a protected recording is not destroyed');
END;

-- How long recordings are kept at least, and after which time they go. The longest rule wins.
CREATE TABLE retention_rule (
    id             BLOB PRIMARY KEY CHECK (length(id) = 16),
    name           TEXT NOT NULL UNIQUE,
    store          BLOB,
    kind           TEXT CHECK (kind IN ('audio', 'video')),
    tag            TEXT,
    metadata_key   TEXT,
    metadata_value TEXT CHECK (metadata_value IS NULL OR metadata_key IS NOT NULL),
    keep_days      INTEGER CHECK (keep_days > 0),
    erase_days     INTEGER CHECK (erase_days > 0),
    mifid          INTEGER NOT NULL CHECK (mifid IN (0, 1)),
    created_by     TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    CHECK (keep_days IS NOT NULL OR erase_days IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- One erasure that somebody asked for. Counted as it happens, by the triggers below.
CREATE TABLE erasure_job (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),
    created_at    INTEGER NOT NULL,
    requested_by  TEXT NOT NULL,
    selection     TEXT NOT NULL,
    reason        TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('awaiting_approval', 'running', 'paused',
                                                 'cancelled', 'finished')),
    approved_by   TEXT,
    approved_at   INTEGER CHECK ((approved_at IS NULL) = (approved_by IS NULL)),
    ended_at      INTEGER,
    items         INTEGER NOT NULL DEFAULT 0,
    bytes         INTEGER NOT NULL DEFAULT 0,
    done_items    INTEGER NOT NULL DEFAULT 0,
    done_bytes    INTEGER NOT NULL DEFAULT 0,
    begun_items   INTEGER NOT NULL DEFAULT 0, -- behind the point of no return, not done
    blocked_items INTEGER NOT NULL DEFAULT 0,
    blocked_bytes INTEGER NOT NULL DEFAULT 0,
    failing_items INTEGER NOT NULL DEFAULT 0  -- put off after a failure, not done
) STRICT, WITHOUT ROWID;

CREATE INDEX erasure_job_open ON erasure_job (state, id)
    WHERE state IN ('awaiting_approval', 'running', 'paused');
-- What was begun is finished, also after the rest was taken back.
CREATE INDEX erasure_job_winding_up ON erasure_job (id)
    WHERE state = 'cancelled' AND begun_items > 0;

-- One recording that is to be erased, or was. A recording is owed once.
CREATE TABLE erasure_item (
    recording  BLOB PRIMARY KEY REFERENCES recording (id),
    job        BLOB NOT NULL REFERENCES erasure_job (id),
    step       TEXT NOT NULL CHECK (step IN ('planned', 'key_destroyed', 'overwritten',
                                             'unlinked', 'done')),
    bytes      INTEGER NOT NULL CHECK (bytes BETWEEN 0 AND 1 << 50),
    planned_at INTEGER NOT NULL,
    due_at     INTEGER NOT NULL DEFAULT 0,
    failures   INTEGER NOT NULL DEFAULT 0,
    problem    TEXT,       -- code of the last failure
    blocked_by TEXT CHECK (blocked_by IS NULL OR step = 'planned'),
    cleared_at INTEGER,    -- when nothing was found to protect it: the point of no return
    ended_at   INTEGER CHECK ((ended_at IS NOT NULL) = (step = 'done')),
    -- Of the key that was destroyed, for the certificate. A version of 0: sealed to `seal_key`.
    data_key    BLOB CHECK (length(data_key) = 16),
    key_version INTEGER,
    seal_key    BLOB CHECK (length(seal_key) = 8)
) STRICT, WITHOUT ROWID;

CREATE INDEX erasure_item_of ON erasure_item (job, step, recording);
CREATE INDEX erasure_item_due ON erasure_item (job, due_at)
    WHERE step != 'done' AND blocked_by IS NULL;
CREATE INDEX erasure_item_oldest ON erasure_item (planned_at) WHERE step != 'done';
CREATE INDEX erasure_item_blocked ON erasure_item (recording) WHERE blocked_by IS NOT NULL;
CREATE INDEX erasure_item_unlinked ON erasure_item (recording) WHERE step = 'unlinked';
CREATE INDEX erasure_item_put_off ON erasure_item (due_at)
    WHERE problem IS NOT NULL AND step != 'done';
CREATE INDEX erasure_item_failing ON erasure_item (job, recording)
    WHERE problem IS NOT NULL AND step != 'done';

CREATE TRIGGER erasure_item_added AFTER INSERT ON erasure_item
BEGIN
    UPDATE erasure_job SET items = items + 1, bytes = bytes + NEW.bytes,
        blocked_items = blocked_items + (NEW.blocked_by IS NOT NULL),
        blocked_bytes = blocked_bytes + (NEW.blocked_by IS NOT NULL) * NEW.bytes,
        begun_items = begun_items + (NEW.step NOT IN ('planned', 'done'))
        WHERE id = NEW.job;
    UPDATE recording SET planned = 1 WHERE id = NEW.recording;
END;

CREATE TRIGGER erasure_item_moved AFTER UPDATE ON erasure_item
BEGIN
    UPDATE erasure_job SET
        bytes = bytes - OLD.bytes + NEW.bytes,
        blocked_items = blocked_items - (OLD.blocked_by IS NOT NULL) + (NEW.blocked_by IS NOT NULL),
        blocked_bytes = blocked_bytes - (OLD.blocked_by IS NOT NULL) * OLD.bytes
            + (NEW.blocked_by IS NOT NULL) * NEW.bytes,
        begun_items = begun_items - (OLD.step NOT IN ('planned', 'done'))
            + (NEW.step NOT IN ('planned', 'done')),
        failing_items = failing_items - (OLD.problem IS NOT NULL AND OLD.step != 'done')
            + (NEW.problem IS NOT NULL AND NEW.step != 'done'),
        done_items = done_items - (OLD.step = 'done') + (NEW.step = 'done'),
        done_bytes = done_bytes - (OLD.step = 'done') * OLD.bytes + (NEW.step = 'done') * NEW.bytes
        WHERE id = NEW.job;
    UPDATE recording SET planned = 0 WHERE id = NEW.recording AND NEW.step = 'done' AND planned = 1;
END;

CREATE TRIGGER erasure_item_removed AFTER DELETE ON erasure_item
BEGIN
    UPDATE erasure_job SET items = items - 1, bytes = bytes - OLD.bytes,
        blocked_items = blocked_items - (OLD.blocked_by IS NOT NULL),
        blocked_bytes = blocked_bytes - (OLD.blocked_by IS NOT NULL) * OLD.bytes,
        failing_items = failing_items - (OLD.problem IS NOT NULL)
        WHERE id = OLD.job;
    UPDATE recording SET planned = 0 WHERE id = OLD.recording;
END;

CREATE TRIGGER erasure_item_owed BEFORE DELETE ON erasure_item WHEN OLD.step != 'planned'
BEGIN
    SELECT RAISE(ABORT, 'what was begun is finished');
END;

CREATE TRIGGER erasure_item_one_way BEFORE UPDATE OF step ON erasure_item
WHEN (OLD.step != 'planned' AND NEW.step = 'planned')
    OR (OLD.step = 'done' AND NEW.step != 'done')
BEGIN
    SELECT RAISE(ABORT, 'an erasure never goes back');
END;

-- The files of a recording that is being erased or was, each with what was seen of its end. The
-- place is personal data and goes when the file is gone.
CREATE TABLE doomed_file (
    token             BLOB PRIMARY KEY CHECK (length(token) = 16),
    recording         BLOB NOT NULL REFERENCES recording (id),
    kind              TEXT NOT NULL CHECK (kind IN ('media', 'peaks', 'sidecar', 'original',
                                                      'leftover')),
    sidecar           BLOB CHECK (length(sidecar) = 16),
    vault             BLOB, -- as in sealed_copy; of an original: its store
    path              BLOB CHECK ((path IS NULL) = (vault IS NULL)),
    data_key          BLOB CHECK (length(data_key) = 16), -- in the prefix of a sealed file
    bytes             INTEGER NOT NULL,
    -- Of plaintext: the content that was found.
    expected_inode       INTEGER,
    expected_modified_ns INTEGER CHECK ((expected_modified_ns IS NULL) = (expected_inode IS NULL)),
    step              TEXT NOT NULL CHECK (step IN ('doomed', 'overwritten', 'unlinked', 'missing')),
    overwrite         TEXT,
    journal           TEXT,
    file_system       TEXT,
    medium            TEXT,
    overwritten_bytes INTEGER,
    moved             INTEGER CHECK (moved IN (0, 1)),
    inode             INTEGER,
    extents           BLOB CHECK (length(extents) = 32), -- SHA-256 of the map
    overwritten_at    INTEGER,
    CHECK ((step IN ('unlinked', 'missing')) = (path IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX doomed_file_of ON doomed_file (recording);
CREATE INDEX doomed_file_plain ON doomed_file (recording)
    WHERE kind = 'original' AND path IS NOT NULL;

CREATE TRIGGER recording_erased_has_no_file BEFORE UPDATE OF state ON recording
WHEN NEW.state = 'erased' AND (EXISTS (SELECT 1 FROM sealed_copy WHERE recording = NEW.id)
    OR EXISTS (SELECT 1 FROM doomed_file WHERE recording = NEW.id AND path IS NOT NULL))
BEGIN
    SELECT RAISE(ABORT, 'nothing is erased while a file of it is known');
END;

-- One certificate per recording, numbered without gaps, each with the hash of the one before.
CREATE TABLE erasure_certificate (
    number       INTEGER PRIMARY KEY,
    recording    BLOB NOT NULL UNIQUE REFERENCES recording (id),
    issued_at    INTEGER NOT NULL,
    text         TEXT NOT NULL,
    sha256       BLOB NOT NULL CHECK (length(sha256) = 32),
    key_version  INTEGER, -- newest that may have wrapped its key; 0: sealed to a public key
    final_at     INTEGER,
    finality     TEXT CHECK ((finality IS NULL) = (final_at IS NULL))
) STRICT;

CREATE INDEX erasure_certificate_open ON erasure_certificate (key_version, number)
    WHERE final_at IS NULL AND key_version > 0;

CREATE TRIGGER erasure_certificate_numbered BEFORE INSERT ON erasure_certificate
WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM erasure_certificate)
BEGIN
    SELECT RAISE(ABORT, 'certificates are numbered without gaps');
END;

CREATE TRIGGER erasure_certificate_unchanged
BEFORE UPDATE OF number, recording, issued_at, text, sha256, key_version ON erasure_certificate
BEGIN
    SELECT RAISE(ABORT, 'a certificate is never changed');
END;

CREATE TRIGGER erasure_certificate_final_once BEFORE UPDATE OF final_at, finality
ON erasure_certificate WHEN OLD.final_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'final is final');
END;

CREATE TRIGGER erasure_certificate_kept BEFORE DELETE ON erasure_certificate
BEGIN
    SELECT RAISE(ABORT, 'certificates are kept');
END;

-- Keyed handles of what was erased: how a file that comes back is known without its name.
CREATE TABLE tombstone (
    handle    BLOB PRIMARY KEY CHECK (length(handle) = 32),
    recording BLOB NOT NULL,
    erased_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Backups whose file is known to be gone: they hold no key any more.
ALTER TABLE backup ADD COLUMN gone_at INTEGER;
