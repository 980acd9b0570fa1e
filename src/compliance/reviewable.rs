//! Whether a conversation can still be reviewed after anonymization.
//!
//! | Segment | Is anonymized when |
//! |---|---|
//! | call | it has recordings, and every one is planned for deletion or deleted |
//! | chat, email | it has texts, and every one is the placeholder |
//!
//! A conversation is reviewable as long as one of its segments is not anonymized. Where there was
//! nothing to take away nothing was anonymized: a call without recording is untouched.
//!
//! Media that is only planned counts: it can still be played, but a review that is begun on it
//! would lose its evidence. A recording that was left out, because MiFID keeps it, is not planned,
//! and so keeps its conversation reviewable.

use crate::domain::conversation::{
    MediaStatus, Personal, SegmentKind, StoredConversation, StoredSegment,
};

use super::anonymize::Placeholder;

/// What a person reads of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reviewable {
    /// Something of it can be reviewed.
    Yes,
    /// Nothing can.
    No,
}

/// How much of a segment is gone, of the texts or of the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remains {
    /// There never was any.
    Nothing,
    /// All of it.
    All,
    /// Some of it.
    Some,
    /// None of it: anonymized.
    None,
}

impl Remains {
    /// Every case.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::All, Self::Some, Self::None];

    /// Of parts, each of which is gone or not.
    pub fn of(parts_gone: impl IntoIterator<Item = bool>) -> Self {
        let (mut gone, mut left) = (0_usize, 0_usize);
        for is_gone in parts_gone {
            *if is_gone { &mut gone } else { &mut left } += 1;
        }
        match (gone, left) {
            (0, 0) => Self::Nothing,
            (0, _) => Self::All,
            (_, 0) => Self::None,
            (_, _) => Self::Some,
        }
    }
}

/// The rule: a segment of `kind` counts as anonymized.
pub fn is_anonymized(kind: SegmentKind, texts: Remains, media: Remains) -> bool {
    let what_counts = match kind {
        SegmentKind::Call => media,
        SegmentKind::Chat | SegmentKind::Email => texts,
    };
    match what_counts {
        Remains::None => true,
        Remains::Nothing | Remains::All | Remains::Some => false,
    }
}

/// The same of a whole conversation, by whether each of its segments is anonymized. One without
/// segments has nothing that was anonymized.
pub fn verdict(segments_anonymized: impl IntoIterator<Item = bool>) -> Reviewable {
    match Remains::of(segments_anonymized) {
        Remains::None => Reviewable::No,
        Remains::Nothing | Remains::All | Remains::Some => Reviewable::Yes,
    }
}

/// What remains of the texts of `segment`. Empty texts are no texts.
pub fn texts(segment: &StoredSegment) -> Remains {
    let single = [&segment.subject, &segment.body, &segment.room].into_iter().flatten();
    let texts = single.chain(segment.messages.iter().map(|message| &message.text));
    Remains::of(
        texts.filter(|text| !is_blank(text)).map(|text| Placeholder::Content.stands_in(text)),
    )
}

/// What remains of the media of `segment`.
pub fn media(segment: &StoredSegment) -> Remains {
    Remains::of(segment.recordings.iter().map(|recording| match recording.media {
        MediaStatus::Available => false,
        MediaStatus::PlannedForDeletion | MediaStatus::Deleted => true,
    }))
}

/// Looks at every segment of `conversation` as it is stored.
pub fn judge(conversation: &StoredConversation) -> Reviewable {
    let is_gone =
        |segment: &StoredSegment| is_anonymized(segment.kind, texts(segment), media(segment));
    verdict(conversation.segments.iter().map(is_gone))
}

fn is_blank(text: &Personal) -> bool {
    text.expose_personal().trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind with everything that can have become of its texts and its media. Planted
    /// faults: a call by its texts; "some" taken for none; a call without recording anonymized.
    #[test]
    fn a_segment_goes_by_what_its_kind_is_made_of() {
        use Remains as R;
        use SegmentKind::{Call, Chat, Email};
        let expected = |kind, texts, media| match (kind, texts, media) {
            (Call, R::Nothing | R::All | R::Some | R::None, R::None) => true,
            (Call, R::Nothing | R::All | R::Some | R::None, R::Nothing | R::All | R::Some) => false,
            (Chat | Email, R::None, R::Nothing | R::All | R::Some | R::None) => true,
            (
                Chat | Email,
                R::Nothing | R::All | R::Some,
                R::Nothing | R::All | R::Some | R::None,
            ) => false,
        };
        for kind in SegmentKind::ALL {
            for texts in R::ALL {
                for media in R::ALL {
                    let found = is_anonymized(kind, texts, media);
                    assert_eq!(found, expected(kind, texts, media), "{kind:?} {texts:?} {media:?}");
                }
            }
        }
    }

    /// Planted fault: one anonymized segment makes the conversation non-reviewable.
    #[test]
    fn a_conversation_is_reviewable_while_one_segment_is_untouched() {
        use Reviewable::{No, Yes};
        let rows: [(&[bool], Reviewable); 7] = [
            (&[], Yes),
            (&[false], Yes),
            (&[true], No),
            (&[true, false], Yes),
            (&[false, true], Yes),
            (&[true, true], No),
            (&[true, true, false], Yes),
        ];
        for (segments, expected) in rows {
            assert_eq!(verdict(segments.iter().copied()), expected, "{segments:?}");
        }
    }
}
