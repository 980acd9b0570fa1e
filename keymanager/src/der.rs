//! Just enough DER: to dress keys as PKCS#8 and to look before a slow reader is let in.

/// One value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
}

/// The first value and what follows it; `None` if there is no whole one.
pub(crate) fn read(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 3))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((Value { tag, content }, rest))
}

/// The values one after the other, as far as they are whole.
pub(crate) fn values(mut bytes: &[u8]) -> impl Iterator<Item = Value<'_>> {
    std::iter::from_fn(move || {
        let (value, rest) = read(bytes)?;
        bytes = rest;
        Some(value)
    })
}

/// False if a password check would take minutes or gigabytes. In every structure of PKCS#5 and
/// PKCS#12 the cost stands right behind the salt: rounds, or the N, r and p of scrypt. Looks at
/// what is not itself encrypted.
pub(crate) fn costs_are_bearable(bytes: &[u8]) -> bool {
    is_bearable(bytes, 0)
}

fn is_bearable(bytes: &[u8], depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return false;
    }
    let all: Vec<Value<'_>> = values(bytes).take(VALUES_MAX).collect();
    for (at, value) in all.iter().enumerate() {
        let holds_values = value.tag & 0x20 != 0 || value.tag == OCTET_STRING;
        if holds_values && !is_bearable(value.content, depth + 1) {
            return false;
        }
        if value.tag == OCTET_STRING {
            let costs = all[at + 1..].iter().take_while(|value| value.tag == INTEGER).take(3);
            let product = costs.fold(1_u64, |all, cost| all.saturating_mul(number(cost.content)));
            if product > COST_MAX {
                return false;
            }
        }
    }
    true
}

fn number(content: &[u8]) -> u64 {
    content
        .iter()
        .fold(0, |number: u64, byte| number.saturating_mul(256).saturating_add(u64::from(*byte)))
}

/// Appends tag and length.
pub(crate) fn header(buffer: &mut Vec<u8>, tag: u8, len: usize) {
    buffer.push(tag);
    let bytes = len.to_be_bytes();
    match len {
        0..=0x7f => buffer.push(bytes[bytes.len() - 1]),
        0x80..=0xff => buffer.extend_from_slice(&[0x81, bytes[bytes.len() - 1]]),
        0x100..=0xffff => {
            buffer.push(0x82);
            buffer.extend_from_slice(&bytes[bytes.len() - 2..]);
        }
        _ => {
            buffer.push(0x83);
            buffer.extend_from_slice(&bytes[bytes.len() - 3..]);
        }
    }
}

/// The length of a value with its header.
pub(crate) fn len_of(content: usize) -> usize {
    let header = match content {
        0..=0x7f => 2,
        0x80..=0xff => 3,
        0x100..=0xffff => 4,
        _ => 5,
    };
    header + content
}

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 2;
pub(crate) const OCTET_STRING: u8 = 4;
const DEPTH_MAX: usize = 24;
const VALUES_MAX: usize = 1_000;
/// Rounds; for scrypt N × r × p, which is the memory and time in units of 128 bytes: a gigabyte.
const COST_MAX: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let mut bytes = Vec::new();
            header(&mut bytes, SEQUENCE, len);
            bytes.resize(bytes.len() + len, 7);
            assert_eq!(bytes.len(), len_of(len));
            let (value, rest) = read(&bytes).unwrap();
            assert_eq!((value.tag, value.content.len(), rest.len()), (SEQUENCE, len, 0));
            assert!(read(&bytes[..bytes.len() - 1]).is_none());
        }
    }
}
