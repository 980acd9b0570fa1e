//! Shares: one secret in the hands of several people, of whom some number suffices.
//!
//! ```text
//! rsshare1-xxxxx-xxxxx-…   24 groups of 5 characters, base32 without i, l, o, u, of 75 bytes:
//!   format (1) │ set id (16) │ threshold (1) │ count (1) │ number (1) │ point (32) │ check (16)
//!              │ checksum (7): SHA-256 of all before, cut
//! ```
//!
//! Shamir's scheme over GF(256), byte by byte. By itself it takes a mistyped share and answers
//! with a wrong secret, so each share has a checksum of its own, and all of a set carry a check
//! value derived from the secret: what comes out of [`combine`] is proved to be what went in.
//! Fewer than the threshold tell nothing about a secret of 256 random bits.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::digest;
use blahaj::Sharks;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::secret::{SECRET_BYTES, Secret};

/// One share of a secret: boxed so that moves leave no copies, wiped when dropped, `Debug` shows
/// its number and no more.
pub struct Share(Box<Zeroizing<[u8; BODY_BYTES]>>);

/// Why shares cannot be made, read or put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// No such division.
    #[error("{threshold} of {of} shares is not possible: 2 to 16 shares, and 2 or more to open")]
    Quorum {
        /// How many were to suffice.
        threshold: u8,
        /// How many were to be made.
        of: u8,
    },
    /// It does not begin as a share does.
    #[error("this is not the text of a share")]
    NotAShare,
    /// A character that no share has.
    #[error("group {group} of the share has a character that does not belong there")]
    Character {
        /// Which group of five, from 1.
        group: usize,
    },
    /// Something is missing or too much.
    #[error("the share has {found} characters after its prefix instead of {expected}")]
    Length {
        /// Characters found, hyphens not counted.
        found: usize,
        /// Characters wanted.
        expected: usize,
    },
    /// It was mistyped or damaged.
    #[error("the share that calls itself number {number} is mistyped or damaged")]
    Checksum {
        /// Its number, which may be what is damaged.
        number: u8,
    },
    /// It is whole, but this program does not understand it.
    #[error("the share was made by a later version of this program")]
    LaterFormat,
    /// Not enough of them.
    #[error("{given} shares are given and {threshold} are needed")]
    TooFew {
        /// How many were given.
        given: usize,
        /// How many suffice.
        threshold: u8,
    },
    /// They were not made together.
    #[error("share {number} belongs to another set than the first one")]
    MixedSets {
        /// The first that does not belong.
        number: u8,
    },
    /// The same share twice.
    #[error("share {number} is given twice")]
    Duplicate {
        /// Its number.
        number: u8,
    },
    /// Each share is whole and they belong together, yet the secret is not the one that was split.
    #[error("the shares do not make up the secret they were made from")]
    WrongSecret,
}

impl ShareError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Quorum { .. } => "three of five is a good choice",
            Self::NotAShare => "a share begins with rsshare1-; give the whole line",
            Self::Character { .. } | Self::Length { .. } | Self::Checksum { .. } => {
                "compare it with the paper or file, group by group"
            }
            Self::LaterFormat => "use the version of this program that made it, or a later one",
            Self::TooFew { .. } => "ask more of the people who hold shares of this set",
            Self::MixedSets { .. } => {
                "the first groups are equal on all shares of a set; leave the others out"
            }
            Self::Duplicate { .. } => "leave one of the two out and give another share",
            Self::WrongSecret => "try other shares of the same set: one of these was forged",
        }
    }
}

impl Share {
    /// The share as text of 152 characters, to be printed or written to one person's file.
    pub fn expose_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
        text.push_str("rsshare1");
        let mut digits = 0;
        let (mut bits, mut held) = (0_u32, 0);
        for byte in self.0.iter().chain(&checksum(&self.0)) {
            bits = (bits << 8) | u32::from(*byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                if digits % GROUP == 0 {
                    text.push('-');
                }
                text.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
                digits += 1;
            }
        }
        text
    }

    /// Reads the text of a share. Case, spaces and hyphens do not matter, and `o`, `i`, `l` are
    /// taken for the digits they look like.
    ///
    /// # Errors
    ///
    /// [`ShareError`], saying where the typo is as far as that can be known.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let text = text.trim();
        let starts = text.get(..PREFIX.len()).is_some_and(|s| s.eq_ignore_ascii_case(PREFIX));
        if !starts || text.len() > TYPED_BYTES_MAX {
            return Err(ShareError::NotAShare);
        }
        let mut bytes = Zeroizing::new([0_u8; BODY_BYTES + CHECKSUM_BYTES]);
        let (mut digits, mut bits, mut held, mut at) = (0, 0_u32, 0, 0);
        for typed in text[PREFIX.len()..].chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let group = digits / GROUP + 1;
            bits = (bits << 5) | value_of(typed).ok_or(ShareError::Character { group })?;
            held += 5;
            digits += 1;
            if held >= 8 {
                held -= 8;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = (bits >> held).to_le_bytes()[0];
                }
                at += 1;
            }
        }
        if digits != DIGITS {
            return Err(ShareError::Length { found: digits, expected: DIGITS });
        }
        let (body, sum) = bytes.split_at(BODY_BYTES);
        let mut share = Self(Box::new(Zeroizing::new([0; BODY_BYTES])));
        share.0.copy_from_slice(body);
        if checksum(&share.0) != sum {
            return Err(ShareError::Checksum { number: share.number() });
        }
        if body[0] != FORMAT {
            return Err(ShareError::LaterFormat);
        }
        check_quorum(share.threshold(), share.count())?;
        Ok(share)
    }

    /// Which set it belongs to. Sets are told apart by it; it is no secret.
    pub fn set(&self) -> Uuid {
        Uuid::from_bytes(self.0[SET_AT..THRESHOLD_AT].try_into().expect("16 bytes lie there"))
    }

    /// How many of the set suffice.
    pub fn threshold(&self) -> u8 {
        self.0[THRESHOLD_AT]
    }

    /// How many the set has.
    pub fn count(&self) -> u8 {
        self.0[THRESHOLD_AT + 1]
    }

    /// Its number within the set, from 1.
    pub fn number(&self) -> u8 {
        self.0[NUMBER_AT]
    }

    fn new(head: &[u8; NUMBER_AT], number_and_point: &[u8], check: &[u8]) -> Self {
        let mut share = Self(Box::new(Zeroizing::new([0; BODY_BYTES])));
        share.0[..NUMBER_AT].copy_from_slice(head);
        share.0[NUMBER_AT..CHECK_AT].copy_from_slice(number_and_point);
        share.0[CHECK_AT..].copy_from_slice(check);
        share
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} of {})", self.number(), self.count())
    }
}

/// Refuses a division that no secret can be split into.
///
/// # Errors
///
/// [`ShareError::Quorum`] unless 2 ≤ `threshold` ≤ `of` ≤ 16.
pub fn check_quorum(threshold: u8, of: u8) -> Result<(), ShareError> {
    match 2 <= threshold && threshold <= of && of <= SHARES_MAX {
        true => Ok(()),
        false => Err(ShareError::Quorum { threshold, of }),
    }
}

/// Splits `secret` into `of` shares of which any `threshold` suffice.
///
/// # Errors
///
/// [`ShareError::Quorum`], see [`check_quorum`].
pub(crate) fn split(secret: &Secret, threshold: u8, of: u8) -> Result<Vec<Share>, ShareError> {
    check_quorum(threshold, of)?;
    let mut head = [0; NUMBER_AT];
    head[0] = FORMAT;
    aws_lc_rs::rand::fill(&mut head[SET_AT..THRESHOLD_AT])
        .expect("the random generator of this machine works");
    head[THRESHOLD_AT..].copy_from_slice(&[threshold, of]);
    let check = check_value(secret, &head);
    let dealer = Sharks(threshold).dealer(secret.expose_bytes());
    Ok(dealer
        .take(usize::from(of))
        .map(|share| Share::new(&head, &Zeroizing::new(Vec::from(&share)), &check))
        .collect())
}

/// The secret that `shares` were made from. More than the threshold may be given.
///
/// # Errors
///
/// [`ShareError::TooFew`], [`ShareError::MixedSets`], [`ShareError::Duplicate`],
/// [`ShareError::WrongSecret`].
pub(crate) fn combine<'a>(
    shares: impl IntoIterator<Item = &'a Share>,
) -> Result<Secret, ShareError> {
    let shares: Vec<&Share> = shares.into_iter().collect();
    let Some(first) = shares.first() else {
        return Err(ShareError::TooFew { given: 0, threshold: 2 });
    };
    let mut numbers = BTreeSet::new();
    for share in &shares {
        let number = share.number();
        if share.0[..NUMBER_AT] != first.0[..NUMBER_AT]
            || share.0[CHECK_AT..] != first.0[CHECK_AT..]
        {
            return Err(ShareError::MixedSets { number });
        }
        if !numbers.insert(number) {
            return Err(ShareError::Duplicate { number });
        }
    }
    let threshold = first.threshold();
    if shares.len() < usize::from(threshold) {
        return Err(ShareError::TooFew { given: shares.len(), threshold });
    }
    let points = shares[..usize::from(threshold)].iter().map(|share| {
        blahaj::Share::try_from(&share.0[NUMBER_AT..CHECK_AT]).expect("it has a number and a point")
    });
    let points: Vec<_> = points.collect();
    let bytes = Sharks(threshold).recover(&points).map_err(|_| ShareError::WrongSecret)?;
    let bytes = Zeroizing::new(bytes);
    let bytes: &[u8; SECRET_BYTES] =
        bytes.as_slice().try_into().map_err(|_| ShareError::WrongSecret)?;
    let secret = Secret::from_bytes(bytes);
    let head = first.0[..NUMBER_AT].try_into().expect("a share begins with its head");
    match check_value(&secret, head) == first.0[CHECK_AT..] {
        true => Ok(secret),
        false => Err(ShareError::WrongSecret),
    }
}

/// Proves the secret and the head. It tells nothing about a secret of 256 random bits.
fn check_value(secret: &Secret, head: &[u8; NUMBER_AT]) -> [u8; CHECK_BYTES] {
    let derived = secret.derive(&[b"shares/1", head]);
    *derived.expose_bytes().first_chunk().expect("32 bytes have 16")
}

fn checksum(body: &[u8; BODY_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let sum = digest::digest(&digest::SHA256, body);
    *sum.as_ref().first_chunk().expect("32 bytes have 7")
}

fn value_of(typed: char) -> Option<u32> {
    let digit = match typed.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    let place = ALPHABET.iter().position(|known| char::from(*known) == digit)?;
    u32::try_from(place).ok()
}

const PREFIX: &str = "rsshare1-";
const FORMAT: u8 = 1;
const SHARES_MAX: u8 = 16;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const GROUP: usize = 5;

const SET_AT: usize = 1;
const THRESHOLD_AT: usize = 17;
const NUMBER_AT: usize = 19;
const CHECK_AT: usize = NUMBER_AT + 1 + SECRET_BYTES;
const CHECK_BYTES: usize = 16;
const BODY_BYTES: usize = CHECK_AT + CHECK_BYTES;
const CHECKSUM_BYTES: usize = 7;
/// 75 bytes in groups of five bits, with nothing left over.
const DIGITS: usize = (BODY_BYTES + CHECKSUM_BYTES) * 8 / 5;
const TEXT_BYTES: usize = PREFIX.len() - 1 + DIGITS + DIGITS / GROUP;
/// Spaces and line ends included, this is generous.
const TYPED_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn three_of_five() -> (Secret, Vec<Share>) {
        let secret = Secret::generate();
        let shares = split(&secret, 3, 5).unwrap();
        (secret, shares)
    }

    fn again(share: &Share) -> Share {
        Share::parse(&share.expose_text()).unwrap()
    }

    /// Planted fault: the number of shares not compared with the threshold.
    #[test]
    fn any_three_of_five_open_and_two_do_not() {
        let (secret, shares) = three_of_five();
        for chosen in 0_u32..32 {
            let some: Vec<_> =
                (0..5).filter(|i| chosen >> i & 1 == 1).map(|i| again(&shares[i])).collect();
            match combine(&some) {
                Ok(combined) => {
                    assert!(some.len() >= 3);
                    assert_eq!(combined.expose_bytes(), secret.expose_bytes());
                }
                Err(ShareError::TooFew { given, .. }) => assert_eq!(given, some.len()),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn what_does_not_belong_together_is_told() {
        let (_, ours) = three_of_five();
        let (_, theirs) = three_of_five();
        let mixed = [again(&ours[0]), again(&ours[1]), again(&theirs[2])];
        assert_eq!(combine(&mixed).err(), Some(ShareError::MixedSets { number: 3 }));
        let twice = [again(&ours[0]), again(&ours[1]), again(&ours[1])];
        assert_eq!(combine(&twice).err(), Some(ShareError::Duplicate { number: 2 }));
        for (threshold, of) in [(0, 0), (1, 1), (1, 5), (4, 3), (2, 17), (255, 255)] {
            let refused = split(&Secret::generate(), threshold, of).err();
            assert_eq!(refused, Some(ShareError::Quorum { threshold, of }));
        }
        for (threshold, of) in [(2, 2), (16, 16)] {
            let secret = Secret::generate();
            let combined = combine(&split(&secret, threshold, of).unwrap()).unwrap();
            assert_eq!(combined.expose_bytes(), secret.expose_bytes());
        }
    }

    /// A share changed together with its checksum, as a forger would. Planted fault: the check
    /// value not compared, which yields a wrong secret without a word.
    #[test]
    fn a_forged_share_yields_no_wrong_secret() {
        let (_, mut shares) = three_of_five();
        shares[1].0[NUMBER_AT + 7] ^= 1;
        assert_eq!(combine(&shares[..3]).err(), Some(ShareError::WrongSecret));
    }

    #[test]
    fn a_text_is_read_as_people_type_it() {
        let (_, shares) = three_of_five();
        let text = shares[3].expose_text();
        assert_eq!((text.len(), text.split('-').count()), (TEXT_BYTES, 25));
        assert_eq!(TEXT_BYTES, 152);
        let typed = [
            text.to_uppercase(),
            format!("  {}\r\n", *text),
            format!("rsshare1-{}", text[9..].replace('0', "O").replace('1', "l")),
            format!("rsshare1-{}", text[9..].replace('-', " ")),
        ];
        for typed in typed {
            let share = Share::parse(&typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!((share.number(), share.count(), share.threshold()), (4, 5, 3));
            assert_eq!(**share.0, **shares[3].0);
            assert_eq!(share.set(), shares[0].set());
        }
        assert_eq!(format!("{:?}", shares[3]), "Share(4 of 5)");
    }

    #[test]
    fn a_typo_is_told() {
        let (_, shares) = three_of_five();
        let text = shares[2].expose_text();
        for not in ["", "rsshare2-", "rsshar", "é", "hello", &"rsshare1-".repeat(1_000)] {
            assert_eq!(Share::parse(not).err(), Some(ShareError::NotAShare));
        }
        let short = Share::parse(&text[..text.len() - 1]).err();
        assert_eq!(short, Some(ShareError::Length { found: 119, expected: 120 }));
        let long = Share::parse(&format!("{}0", *text)).err();
        assert_eq!(long, Some(ShareError::Length { found: 121, expected: 120 }));
        let strange = text.replacen(&text[15..20], "abcd?", 1);
        assert_eq!(Share::parse(&strange).err(), Some(ShareError::Character { group: 2 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Planted fault: the checksum not compared.
        #[test]
        fn one_wrong_character_is_always_found(at in 9_usize..TEXT_BYTES, to in 0_usize..32) {
            let (_, shares) = three_of_five();
            let mut typed = shares[2].expose_text().as_bytes().to_vec();
            prop_assume!(typed[at] != b'-' && typed[at] != ALPHABET[to]);
            typed[at] = ALPHABET[to];
            let said = Share::parse(std::str::from_utf8(&typed).unwrap()).err();
            let is_checksum = matches!(said, Some(ShareError::Checksum { .. }));
            prop_assert!(is_checksum, "{:?}", said);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}", tail in "[0-9a-z-]{0,160}") {
            let _ = Share::parse(&text);
            let _ = Share::parse(&format!("rsshare1-{tail}"));
        }
    }
}
