//! Certificates as an admin brings them: imported, requested, checked, rolled back.
