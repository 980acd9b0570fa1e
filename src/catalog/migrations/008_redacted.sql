-- A redacted recording is made from another one and has no original of its own: no file is
-- expected under its name, and from sealing it goes straight to stored.
ALTER TABLE recording ADD COLUMN redacted_from BLOB CHECK (length(redacted_from) = 16);

DROP INDEX recording_original;
CREATE UNIQUE INDEX recording_original ON recording (store, folder, name)
    WHERE state NOT IN ('stored', 'erasing', 'erased') AND redacted_from IS NULL;

CREATE INDEX recording_redacted ON recording (redacted_from) WHERE redacted_from IS NOT NULL;

CREATE TRIGGER recording_stored_was_sealed BEFORE UPDATE OF state ON recording
WHEN NEW.state = 'stored' AND OLD.state = 'sealing' AND NEW.redacted_from IS NULL
BEGIN
    SELECT RAISE(ABORT, 'only a redacted recording has no original to remove');
END;

CREATE TRIGGER recording_redacted_has_no_original BEFORE UPDATE OF state ON recording
WHEN NEW.redacted_from IS NOT NULL AND NEW.state IN ('found', 'sealed', 'quarantined')
BEGIN
    SELECT RAISE(ABORT, 'a redacted recording has no original');
END;

CREATE TRIGGER recording_redacted_from_unchanged BEFORE UPDATE OF redacted_from ON recording
WHEN NEW.redacted_from IS NOT OLD.redacted_from
BEGIN
    SELECT RAISE(ABORT, 'what a recording was made from is never changed');
END;
