//! The words of the trail. Each is stored, so one that was released is never changed.

/// An enum whose variants are stored by name.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$item_doc])* $item,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$item,)*];

            /// The stored name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $text,)* }
            }

            /// The value of a stored name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.as_str() == name)
            }
        }
    };
}

named! {
    /// What was done.
    Activity {
        /// A data key was made for a sealing attempt.
        RecordingKeyCreated = "RECORDING_KEY_CREATED",
        /// The sealed copy was read back and is equal.
        RecordingSealed = "RECORDING_SEALED",
        /// The plaintext original was overwritten and removed.
        OriginalRemoved = "ORIGINAL_REMOVED",
        /// A sealing attempt was thrown away, with its key.
        SealingAbandoned = "SEALING_ABANDONED",
        /// A recording waits for a person.
        RecordingQuarantined = "RECORDING_QUARANTINED",
        /// A person sent a quarantined recording back to work.
        RecordingReleased = "RECORDING_RELEASED",
        /// A file beside a recording was sealed.
        SidecarSealed = "SIDECAR_SEALED",
        /// The plaintext of a file beside a recording was overwritten and removed.
        SidecarRemoved = "SIDECAR_REMOVED",
        /// A recording was listened to or watched.
        MediaPlayed = "MEDIA_PLAYED",
        /// A sealed copy was checked, every byte.
        MediaVerified = "MEDIA_VERIFIED",
        /// A recording was made anew without some of its stretches; the new one is the object.
        MediaRedacted = "MEDIA_REDACTED",
        /// The data key of one recording left the program.
        KeyExported = "KEY_EXPORTED",
        /// A way to unlock the root key was added.
        KeySlotAdded = "KEY_SLOT_ADDED",
        /// A way to unlock the root key was removed.
        KeySlotRemoved = "KEY_SLOT_REMOVED",
        /// A slot was tried, to see that it still opens.
        KeySlotTested = "KEY_SLOT_TESTED",
        /// The daemon had started locked, and its keys were opened.
        KeysUnlocked = "KEYS_UNLOCKED",
        /// The root key was replaced, and every slot with it.
        RootKeyRotated = "ROOT_KEY_ROTATED",
        /// A new key-encryption key took over.
        KeyRotated = "KEY_ROTATED",
        /// A key-encryption key may be known to somebody else.
        KeyCompromised = "KEY_COMPROMISED",
        /// Data keys were wrapped anew under the active key-encryption key.
        KeysRewrapped = "KEYS_REWRAPPED",
        /// A key-encryption key may not be used for now.
        KeyDisabled = "KEY_DISABLED",
        /// A key-encryption key may be used again.
        KeyEnabled = "KEY_ENABLED",
        /// A date was set for the destruction of a key-encryption key.
        KeyDestructionScheduled = "KEY_DESTRUCTION_SCHEDULED",
        /// The date was taken back.
        KeyDestructionCancelled = "KEY_DESTRUCTION_CANCELLED",
        /// A key-encryption key was destroyed.
        KeyDestroyed = "KEY_DESTROYED",
        /// A key pair to seal to was made, imported or replaced.
        SealKeyChanged = "SEAL_KEY_CHANGED",
        /// A certificate was made or replaced.
        CertificateRenewed = "CERTIFICATE_RENEWED",
        /// A renewal did not work; the old certificate serves on.
        CertificateRenewalFailed = "CERTIFICATE_RENEWAL_FAILED",
        /// A person brought a certificate.
        CertificateImported = "CERTIFICATE_IMPORTED",
        /// A signing request was made for a certificate authority.
        CertificateRequested = "CERTIFICATE_REQUESTED",
        /// An earlier certificate serves again.
        CertificateRolledBack = "CERTIFICATE_ROLLED_BACK",
        /// The internal authority issued a certificate.
        CertificateIssued = "CERTIFICATE_ISSUED",
        /// A certificate is no longer accepted.
        CertificateRevoked = "CERTIFICATE_REVOKED",
        /// The internal authority was made or its key replaced.
        AuthorityChanged = "AUTHORITY_CHANGED",
        /// Somebody asked for an erasure.
        ErasureRequested = "ERASURE_REQUESTED",
        /// A second person agreed to an erasure.
        ErasureApproved = "ERASURE_APPROVED",
        /// An erasure, or the whole queue, was stopped for now.
        ErasurePaused = "ERASURE_PAUSED",
        /// It goes on.
        ErasureResumed = "ERASURE_RESUMED",
        /// What was not begun of an erasure was taken back.
        ErasureCancelled = "ERASURE_CANCELLED",
        /// How fast the eraser may go was changed.
        ErasureLimited = "ERASURE_LIMITED",
        /// The key of a recording was destroyed: the point of no return of its erasure.
        ErasureStarted = "ERASURE_STARTED",
        /// Nothing of a recording is left but its certificate.
        RecordingErased = "RECORDING_ERASED",
        /// Every recording of an erasure is erased.
        ErasureFinished = "ERASURE_FINISHED",
        /// Something protects a recording that was to be erased.
        ErasureRefused = "ERASURE_REFUSED",
        /// The erasure of a recording failed and is tried again.
        ErasureFailed = "ERASURE_FAILED",
        /// No old backup can bring a recording back any more.
        ErasureFinal = "ERASURE_FINAL",
        /// A file came back that had been erased.
        ErasedFileReturned = "ERASED_FILE_RETURNED",
        /// A legal hold was placed.
        HoldPlaced = "HOLD_PLACED",
        /// A legal hold was lifted, or reached its date.
        HoldLifted = "HOLD_LIFTED",
        /// A recording or a conversation was protected by a tag or a date.
        ProtectionPlaced = "PROTECTION_PLACED",
        /// That protection was taken away.
        ProtectionLifted = "PROTECTION_LIFTED",
        /// A retention rule was added or removed.
        RetentionRuleChanged = "RETENTION_RULE_CHANGED",
        /// A backup is known to be gone.
        BackupForgotten = "BACKUP_FORGOTTEN",
        /// A backup was written.
        BackupCreated = "BACKUP_CREATED",
        /// A backup was restored on trial.
        BackupVerified = "BACKUP_VERIFIED",
        /// This state folder was made from a backup.
        BackupRestored = "BACKUP_RESTORED",
        /// A store is watched from now on, or differently.
        StoreConfigured = "STORE_CONFIGURED",
        /// A bearer token was made.
        TokenCreated = "TOKEN_CREATED",
        /// A bearer token was revoked.
        TokenRevoked = "TOKEN_REVOKED",
        /// Somebody asked for what they may not have.
        AccessRefused = "ACCESS_REFUSED",
        /// Somebody read the audit trail.
        AuditViewed = "AUDIT_VIEWED",
        /// The daemon began its work.
        DaemonStarted = "DAEMON_STARTED",
        /// The daemon ended in good order.
        DaemonStopped = "DAEMON_STOPPED",
    }
}

named! {
    /// How it went.
    Outcome {
        /// Done.
        Ok = "ok",
        /// Not allowed; nothing was changed.
        Refused = "refused",
        /// Tried and failed.
        Failed = "failed",
    }
}

named! {
    /// How the actor proved to be who they say.
    AuthenticatedBy {
        /// Not at all: the daemon itself acts.
        Itself = "itself",
        /// The kernel vouched for the user at the other end of the unix socket.
        PeerCredentials = "peer_credentials",
        /// A bearer token.
        Token = "token",
        /// A client's certificate.
        Certificate = "certificate",
        /// Nobody yet: a request without valid credentials.
        Nothing = "nothing",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_read_back_and_are_never_used_twice() {
        let names: HashSet<_> = Activity::ALL.iter().map(|activity| activity.as_str()).collect();
        assert_eq!(names.len(), Activity::ALL.len());
        for activity in Activity::ALL {
            assert_eq!(Activity::from_name(activity.as_str()), Some(*activity));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_name(outcome.as_str()), Some(*outcome));
        }
        for how in AuthenticatedBy::ALL {
            assert_eq!(AuthenticatedBy::from_name(how.as_str()), Some(*how));
        }
    }
}
