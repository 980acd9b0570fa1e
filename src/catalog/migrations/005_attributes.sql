-- Extended attributes of originals. Names and values are personal data and go with their file.

CREATE TABLE extended_attribute (
    file      BLOB NOT NULL CHECK (length(file) = 16), -- a recording, or one of its sidecars
    recording BLOB NOT NULL REFERENCES recording (id) ON DELETE CASCADE,
    name      BLOB NOT NULL,
    value     BLOB NOT NULL,
    PRIMARY KEY (file, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX extended_attribute_of ON extended_attribute (recording);

CREATE TRIGGER extended_attribute_of_sidecar AFTER DELETE ON sidecar
BEGIN
    DELETE FROM extended_attribute WHERE file = OLD.id;
END;
