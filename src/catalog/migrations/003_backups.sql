-- Backups that were begun, and what is known of them. The files lie elsewhere.
CREATE TABLE backup (
    id             BLOB PRIMARY KEY CHECK (length(id) = 16),
    created_at     INTEGER NOT NULL,
    kept_at        INTEGER, -- whoever asked for it has it whole
    verified_at    INTEGER, -- last restored on trial, and everything opened
    damaged_at     INTEGER, -- last restored on trial, and something did not
    newest_version INTEGER NOT NULL, -- of its keys
    sealed         INTEGER NOT NULL, -- recordings sealed when its catalog was copied
    automatic      INTEGER NOT NULL CHECK (automatic IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX backup_made ON backup (created_at);
