-- Answers to requests that carried an idempotency key, so that asking again is not acting again.
CREATE TABLE answer (
    handle BLOB PRIMARY KEY CHECK (length(handle) = 32), -- of who asked, and of the key they sent
    body   BLOB NOT NULL CHECK (length(body) = 32),      -- of what they asked for, keyed as well
    at     INTEGER NOT NULL,
    status INTEGER NOT NULL,
    text   TEXT NOT NULL                                 -- counts and ids, nothing personal
) STRICT, WITHOUT ROWID;

CREATE INDEX answer_at ON answer (at);
