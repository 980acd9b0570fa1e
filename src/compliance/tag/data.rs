//! Data tags: a tag on a conversation that is a value in each of its segments.
//!
//! ```text
//! put on the conversation     KEY=value is written to all 7 segments        shown: 1 + 7
//! one segment's value gone    the tag stays on the conversation             shown: 1 + 6
//! tag edited                  the segments that have the old pair get the new one
//! tag taken off               the segments that have its pair lose it       shown: 0 + 0
//! ```
//!
//! A segment shows a data tag because of its metadata and nothing else: also one that had the pair
//! before anybody tagged anything. Such a tag has no comment. What stood under the key before is
//! replaced and does not come back.

use std::collections::BTreeMap;

use crate::domain::conversation::Personal;
use crate::domain::{SegmentId, TagId};

use super::{COMMENT_BYTES_MAX, Tag, TagError};

/// What tags ask of one conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tagging {
    /// Tags put on the conversation, with their comments.
    pub tags: BTreeMap<TagId, Option<Personal>>,
    /// Its segments with their metadata, in order.
    pub segments: Vec<(SegmentId, BTreeMap<String, Personal>)>,
}

/// One thing to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The conversation has this tag, with this comment.
    PutTag(TagId, Option<Personal>),
    /// The conversation has this tag no longer.
    TakeTag(TagId),
    /// The segment has this value under this key.
    PutValue(SegmentId, String, Personal),
    /// The segment has nothing under this key.
    TakeValue(SegmentId, String),
}

/// Where a tag is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShownOn {
    /// On the conversation.
    Conversation,
    /// On this segment, because of its metadata.
    Segment(SegmentId),
}

/// One tag as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub tag: TagId,
    /// Where.
    pub on: ShownOn,
    /// Its comment.
    pub comment: Option<Personal>,
}

impl Shown {
    /// A tag that a segment shows by itself cannot be commented on.
    pub fn may_have_comment(&self) -> bool {
        match self.on {
            ShownOn::Conversation => true,
            ShownOn::Segment(_) => false,
        }
    }
}

impl Tagging {
    /// Puts `tag` on the conversation, or gives the one that is there another comment.
    ///
    /// # Errors
    ///
    /// [`TagError::BadComment`] if `comment` is too long.
    pub fn put(&self, tag: &Tag, comment: Option<Personal>) -> Result<Vec<Change>, TagError> {
        let comment = comment.filter(|text| !text.expose_personal().trim().is_empty());
        if comment.as_ref().is_some_and(|text| text.len_bytes() > COMMENT_BYTES_MAX) {
            return Err(TagError::BadComment);
        }
        let is_there = self.tags.get(&tag.id()) == Some(&comment);
        let mut changes = Vec::new();
        if !is_there {
            changes.push(Change::PutTag(tag.id(), comment));
        }
        if !self.tags.contains_key(&tag.id()) {
            changes.extend(self.write(tag.pair(), |_| true));
        }
        Ok(changes)
    }

    /// Takes `tag` off the conversation, and its pair off every segment that has it.
    pub fn take(&self, tag: &Tag) -> Vec<Change> {
        if !self.tags.contains_key(&tag.id()) {
            return Vec::new();
        }
        let mut changes = vec![Change::TakeTag(tag.id())];
        changes.extend(self.erase(tag.pair()));
        changes
    }

    /// Follows a tag that was edited from `old` to `new`, if the conversation has it: segments
    /// with the old pair get the new one; those whose value was changed or removed alone stay.
    pub fn edit(&self, old: &Tag, new: &Tag) -> Vec<Change> {
        let (from, to) = (old.pair(), new.pair());
        if !self.tags.contains_key(&old.id()) || from == to {
            return Vec::new();
        }
        let Some((key, value)) = from else { return self.write(to, |_| true).collect() };
        let moves_on = to.is_some_and(|(new_key, _)| new_key == key);
        let mut changes = if moves_on { Vec::new() } else { self.erase(from).collect() };
        let had_it = |metadata: &BTreeMap<String, Personal>| has(metadata, key, value);
        changes.extend(self.write(to, had_it));
        changes
    }

    /// Changes what one segment has under `key`, or removes it with `None`. The tag stays on the
    /// conversation.
    pub fn set_value(&self, segment: SegmentId, key: &str, value: Option<Personal>) -> Vec<Change> {
        let Some((_, metadata)) = self.segments.iter().find(|(id, _)| *id == segment) else {
            return Vec::new();
        };
        match (metadata.get(key), value) {
            (None, None) => Vec::new(),
            (Some(old), Some(new)) if *old == new => Vec::new(),
            (Some(_), None) => vec![Change::TakeValue(segment, key.to_owned())],
            (_, Some(new)) => vec![Change::PutValue(segment, key.to_owned(), new)],
        }
    }

    /// What a segment that comes later is given: the pairs of all data tags of the conversation.
    pub fn join(&self, segment: SegmentId, tags: &[Tag]) -> Vec<Change> {
        let on_it = tags.iter().filter(|tag| self.tags.contains_key(&tag.id()));
        let pairs = on_it.filter_map(Tag::pair);
        pairs.map(|(key, value)| Change::PutValue(segment, key.to_owned(), value.into())).collect()
    }

    /// Every tag as it is shown: those of the conversation, then segment by segment those whose
    /// pair it has. `tags` are all tags there are.
    pub fn shown(&self, tags: &[Tag]) -> Vec<Shown> {
        let of_conversation = tags.iter().filter_map(|tag| {
            let comment = self.tags.get(&tag.id())?.clone();
            Some(Shown { tag: tag.id(), on: ShownOn::Conversation, comment })
        });
        let of_segments = self.segments.iter().flat_map(|(segment, metadata)| {
            let has_pair =
                |tag: &&Tag| tag.pair().is_some_and(|(key, value)| has(metadata, key, value));
            let on = ShownOn::Segment(*segment);
            tags.iter()
                .filter(has_pair)
                .map(move |tag| Shown { tag: tag.id(), on, comment: None })
                .collect::<Vec<_>>()
        });
        of_conversation.chain(of_segments).collect()
    }

    /// What is stored after `changes`.
    #[must_use]
    pub fn applied(mut self, changes: &[Change]) -> Self {
        for change in changes {
            match change {
                Change::PutTag(tag, comment) => {
                    self.tags.insert(*tag, comment.clone());
                }
                Change::TakeTag(tag) => {
                    self.tags.remove(tag);
                }
                Change::PutValue(segment, key, value) => {
                    if let Some(metadata) = self.metadata_mut(*segment) {
                        metadata.insert(key.clone(), value.clone());
                    }
                }
                Change::TakeValue(segment, key) => {
                    if let Some(metadata) = self.metadata_mut(*segment) {
                        metadata.remove(key);
                    }
                }
            }
        }
        self
    }

    /// Writes `pair` to the segments that `is_for`, where it is not there yet.
    fn write<'t>(
        &'t self,
        pair: Option<(&'t str, &'t str)>,
        is_for: impl Fn(&BTreeMap<String, Personal>) -> bool + 't,
    ) -> impl Iterator<Item = Change> + 't {
        pair.into_iter().flat_map(move |(key, value)| {
            let lacks = self.segments.iter().filter(|(_, known)| !has(known, key, value));
            lacks
                .filter(|(_, known)| is_for(known))
                .map(|(id, _)| Change::PutValue(*id, key.to_owned(), value.into()))
                .collect::<Vec<_>>()
        })
    }

    /// Removes `pair` from the segments that have it.
    fn erase<'t>(&'t self, pair: Option<(&'t str, &'t str)>) -> impl Iterator<Item = Change> + 't {
        pair.into_iter().flat_map(move |(key, value)| {
            let having = self.segments.iter().filter(move |(_, known)| has(known, key, value));
            having.map(|(id, _)| Change::TakeValue(*id, key.to_owned()))
        })
    }

    fn metadata_mut(&mut self, segment: SegmentId) -> Option<&mut BTreeMap<String, Personal>> {
        self.segments.iter_mut().find(|(id, _)| *id == segment).map(|(_, metadata)| metadata)
    }
}

fn has(metadata: &BTreeMap<String, Personal>, key: &str, value: &str) -> bool {
    metadata.get(key).is_some_and(|known| known.expose_personal() == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::tag::TagForm;

    fn tag(id: TagId, name: &str, pair: Option<(&str, &str)>) -> Tag {
        let pair = pair.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Tag::from_stored(
            id,
            TagForm { icon: "tag".to_owned(), name: name.to_owned(), pair, ..TagForm::default() },
        )
    }

    fn seven() -> Tagging {
        let segments = (0..7).map(|_| (SegmentId::new(), BTreeMap::new())).collect();
        Tagging { tags: BTreeMap::new(), segments }
    }

    /// How often `tag` is shown: on the conversation, and on segments.
    fn shown(tagging: &Tagging, tags: &[Tag], tag: &Tag) -> (usize, usize) {
        let all: Vec<_> =
            tagging.shown(tags).into_iter().filter(|shown| shown.tag == tag.id()).collect();
        let on_segments = all.iter().filter(|shown| !shown.may_have_comment());
        assert!(on_segments.clone().all(|shown| shown.comment.is_none()));
        let count = on_segments.count();
        (all.len() - count, count)
    }

    /// The two numbers everybody knows. Planted faults: the pair written to the first segment
    /// alone; removing one value takes the tag off; taking the tag off leaves the values.
    #[test]
    fn seven_segments_show_one_and_seven_then_one_and_six() {
        let vip = tag(TagId::new(), "VIP", Some(("LEVEL", "vip")));
        let tags = [vip.clone()];
        let before = seven();
        assert_eq!(shown(&before, &tags, &vip), (0, 0));
        let changes = before.put(&vip, Some("important".into())).unwrap();
        let tagged = before.clone().applied(&changes);
        assert_eq!(shown(&tagged, &tags, &vip), (1, 7));
        assert!(tagged.put(&vip, Some("important".into())).unwrap().is_empty(), "twice is once");

        let fourth = tagged.segments[3].0;
        let removed = tagged.clone().applied(&tagged.set_value(fourth, "LEVEL", None));
        assert_eq!(shown(&removed, &tags, &vip), (1, 6));
        let comment = removed.put(&vip, Some("less so".into())).unwrap();
        assert_eq!(comment, [Change::PutTag(vip.id(), Some("less so".into()))]);

        let taken = removed.clone().applied(&removed.take(&vip));
        assert_eq!(shown(&taken, &tags, &vip), (0, 0));
        assert_eq!(taken.segments, before.segments);
        assert!(taken.take(&vip).is_empty());
    }

    /// Planted faults: editing writes to segments that had lost the value; a changed key leaves
    /// the old one behind; a tag that becomes a plain one keeps its values.
    #[test]
    fn values_follow_an_edited_tag() {
        let id = TagId::new();
        let vip = tag(id, "VIP", Some(("LEVEL", "vip")));
        let before = seven();
        let tagged = before.clone().applied(&before.put(&vip, None).unwrap());
        let (first, second) = (tagged.segments[0].0, tagged.segments[1].0);
        let tagged = tagged.clone().applied(&tagged.set_value(first, "LEVEL", None));
        let tagged =
            tagged.clone().applied(&tagged.set_value(second, "LEVEL", Some("gold".into())));
        for (pair, count, level) in [
            (Some(("LEVEL", "top")), 5, 6),
            (Some(("RANK", "top")), 5, 1),
            (None, 0, 1),
            (Some(("LEVEL", "gold")), 6, 6),
        ] {
            let edited = tag(id, "VIP", pair);
            let after = tagged.clone().applied(&tagged.edit(&vip, &edited));
            let on_segments = shown(&after, std::slice::from_ref(&edited), &edited).1;
            assert_eq!(on_segments, count, "{pair:?}");
            let having =
                after.segments.iter().filter(|(_, known)| known.contains_key("LEVEL")).count();
            assert_eq!(having, level, "{pair:?}");
        }
        let plain = tag(id, "VIP", None);
        let became = tagged.edit(&plain, &vip);
        let after = tagged.clone().applied(&became);
        assert_eq!(
            shown(&after, std::slice::from_ref(&vip), &vip),
            (1, 7),
            "a plain tag became a data tag"
        );
        assert!(before.edit(&vip, &plain).is_empty(), "the conversation does not have it");
    }

    /// Planted faults: the tag shown only where it was put; a comment on it; a value changed to
    /// that of another tag not showing that one; later segments left without.
    #[test]
    fn metadata_shows_tags_by_itself() {
        let gold = tag(TagId::new(), "Gold", Some(("LEVEL", "gold")));
        let vip = tag(TagId::new(), "VIP", Some(("LEVEL", "vip")));
        let tags = [gold.clone(), vip.clone()];
        let mut before = seven();
        before.segments[2].1.insert("LEVEL".to_owned(), "gold".into());
        assert_eq!(shown(&before, &tags, &gold), (0, 1));
        let tagged = before.clone().applied(&before.put(&vip, None).unwrap());
        assert_eq!((shown(&tagged, &tags, &gold), shown(&tagged, &tags, &vip)), ((0, 0), (1, 7)));
        let fifth = tagged.segments[4].0;
        let changes = tagged.set_value(fifth, "LEVEL", Some("gold".into()));
        let changed = tagged.clone().applied(&changes);
        assert_eq!((shown(&changed, &tags, &gold), shown(&changed, &tags, &vip)), ((0, 1), (1, 6)));

        let later = SegmentId::new();
        let joined = changed.join(later, &tags);
        assert_eq!(joined, [Change::PutValue(later, "LEVEL".to_owned(), "vip".into())]);
        let long = Personal::from("x".repeat(COMMENT_BYTES_MAX + 1));
        assert_eq!(changed.put(&gold, Some(long)), Err(TagError::BadComment));
        assert!(changed.set_value(SegmentId::new(), "LEVEL", None).is_empty());
    }
}
