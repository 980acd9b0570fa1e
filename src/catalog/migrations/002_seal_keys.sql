-- Data keys that this host sealed to a public key and cannot open: version 0, and which seal key.
ALTER TABLE wrapped_key ADD COLUMN seal_key BLOB
    CHECK (length(seal_key) = 8) CHECK ((seal_key IS NOT NULL) = (version = 0));

CREATE INDEX wrapped_key_seal_key ON wrapped_key (seal_key) WHERE seal_key IS NOT NULL;

CREATE TRIGGER wrapped_key_stays_sealed BEFORE UPDATE OF version, bytes, seal_key ON wrapped_key
WHEN OLD.version = 0
BEGIN
    SELECT RAISE(ABORT, 'what is sealed to a public key stays so');
END;

-- A sidecar sealed after its recording has a key of its own there: nobody has the first one any
-- more. It lives no longer than the row of the recording.
CREATE TABLE sidecar_key (
    sidecar    BLOB PRIMARY KEY REFERENCES sidecar (id) ON DELETE CASCADE,
    recording  BLOB NOT NULL REFERENCES recording (id),
    data_key   BLOB NOT NULL UNIQUE CHECK (length(data_key) = 16),
    seal_key   BLOB NOT NULL CHECK (length(seal_key) = 8),
    bytes      BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sidecar_key_of ON sidecar_key (recording);
CREATE INDEX sidecar_key_seal_key ON sidecar_key (seal_key);

CREATE TRIGGER sidecar_key_needs_sealed_recording BEFORE INSERT ON sidecar_key
WHEN NOT EXISTS (SELECT 1 FROM wrapped_key WHERE recording = NEW.recording AND version = 0)
BEGIN
    SELECT RAISE(ABORT, 'only beside a recording that is sealed to a public key');
END;

CREATE TRIGGER sidecar_key_unchanged BEFORE UPDATE ON sidecar_key
BEGIN
    SELECT RAISE(ABORT, 'a key is never changed or moved');
END;

CREATE TRIGGER sidecar_key_goes_along AFTER DELETE ON wrapped_key
BEGIN
    DELETE FROM sidecar_key WHERE recording = OLD.recording;
END;

CREATE TRIGGER sidecar_key_kept BEFORE DELETE ON sidecar_key
WHEN EXISTS (SELECT 1 FROM wrapped_key WHERE recording = OLD.recording)
    AND (SELECT state FROM sidecar WHERE id = OLD.sidecar) != 'found'
BEGIN
    SELECT RAISE(ABORT, 'the sealed sidecar needs this key');
END;

CREATE TRIGGER recording_erased_has_no_sidecar_key BEFORE UPDATE OF state ON recording
WHEN NEW.state = 'erased' AND EXISTS (SELECT 1 FROM sidecar_key WHERE recording = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'nothing is erased while a key of it exists');
END;

-- Of the sealed file when it was proved equal: what stands in for the key afterwards.
ALTER TABLE sealed_copy ADD COLUMN sha256 BLOB CHECK (length(sha256) = 32);
