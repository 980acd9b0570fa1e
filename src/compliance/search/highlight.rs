//! Hits in a text, and the first of them with what stands around it.
//!
//! ```text
//! … the claim about ▐water damage▌ in your flat …
//! cut   before          hit           after     cut
//! ```

use std::ops::Range;

use crate::compliance::fold::{fold, fold_char};
use crate::domain::conversation::Personal;

use super::{Lookup, Term};

/// The surroundings of one hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// There is more text before.
    pub is_cut_before: bool,
    /// What stands before the hit.
    pub before: Personal,
    /// The hit, as it is written in the text.
    pub hit: Personal,
    /// What stands behind it.
    pub after: Personal,
    /// There is more text behind.
    pub is_cut_after: bool,
}

/// Where `term` occurs in `text`, in bytes, from the front, without overlaps. Texts that are
/// compared as a whole, addresses, are not searched like this.
pub fn occurrences(text: &str, term: &Term) -> Vec<Range<usize>> {
    let wanted = term.text().expose_personal();
    match term.lookup() {
        Lookup::Words => {
            let wanted: Vec<String> = words(wanted)
                .map(|word| fold(&wanted[word]))
                .filter(|word| !word.is_empty())
                .collect();
            phrases(text, &wanted)
        }
        Lookup::Trigrams | Lookup::Characters => substrings(text, &fold(wanted)),
    }
}

/// The hit at `range` of `text`, with at most `radius` characters on both sides, cut between words
/// where there are any.
pub fn excerpt(text: &str, range: Range<usize>, radius: usize) -> Excerpt {
    let from = text[..range.start].char_indices().rev().take(radius).last();
    let mut from = from.map_or(range.start, |(at, _)| at);
    let behind = &text[range.end..];
    let mut to = behind.char_indices().nth(radius).map_or(text.len(), |(at, _)| range.end + at);
    if from > 0
        && let Some(space) = text[from..range.start].find(char::is_whitespace)
    {
        from += space;
    }
    if to < text.len()
        && let Some(space) = text[range.end..to].rfind(char::is_whitespace)
    {
        to = range.end + space;
    }
    Excerpt {
        is_cut_before: !text[..from].trim().is_empty(),
        before: text[from..range.start].trim_start().into(),
        hit: text[range.clone()].into(),
        after: text[range.end..to].trim_end().into(),
        is_cut_after: !text[to..].trim().is_empty(),
    }
}

/// Words of `text`: runs of letters, digits and the marks on them.
pub(super) fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        while rest.next_if(|(_, c)| !is_word(*c)).is_some() {}
        let (start, first) = rest.next()?;
        let mut end = start + first.len_utf8();
        while let Some((at, c)) = rest.next_if(|(_, c)| is_word(*c)) {
            end = at + c.len_utf8();
        }
        Some(start..end)
    })
}

fn phrases(text: &str, wanted: &[String]) -> Vec<Range<usize>> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let words: Vec<_> = words(text).collect();
    let mut found: Vec<Range<usize>> = Vec::new();
    for window in words.windows(wanted.len()) {
        let is_free = found.last().is_none_or(|last| last.end <= window[0].start);
        let mut pairs = window.iter().zip(wanted);
        if is_free && pairs.all(|(word, wanted)| fold(&text[word.clone()]) == *wanted) {
            found.push(window[0].start..window[window.len() - 1].end);
        }
    }
    found
}

fn substrings(text: &str, wanted: &str) -> Vec<Range<usize>> {
    // Each folded character with the byte at which its own one ends, so that a hit can be shown.
    let mut folded = String::with_capacity(text.len());
    let mut origins = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        for piece in fold_char(c) {
            folded.push(piece);
            origins.extend((0..piece.len_utf8()).map(|_| at..at + c.len_utf8()));
        }
    }
    let hits = folded.match_indices(wanted).filter(|(_, hit)| !hit.is_empty());
    hits.map(|(at, hit)| origins[at].start..origins[at + hit.len() - 1].end).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}')
}

/// Characters that are shown on both sides of a hit.
pub const RADIUS_CHARS: usize = 60;
