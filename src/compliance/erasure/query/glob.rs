//! Names with `*` and `?`.

/// A pattern for a whole name: `*` is any run of bytes, `?` one character.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<u8>);

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.as_bytes().to_vec())
    }

    /// Case counts. In the worst case the product of the two lengths, never more.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let (mut rest, mut pattern) = (name, self.0.as_slice());
        // Where to go on when what follows the last `*` turns out not to fit.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern, rest) {
                ([], []) => return true,
                ([b'*', after @ ..], _) => {
                    retry = Some((after, rest));
                    pattern = after;
                    continue;
                }
                ([b'?', after @ ..], [_, ..]) => {
                    (pattern, rest) = (after, behind_character(rest));
                    continue;
                }
                ([wanted, after @ ..], [found, behind @ ..]) if wanted == found => {
                    (pattern, rest) = (after, behind);
                    continue;
                }
                ([] | [_, ..], _) => {}
            }
            match retry {
                Some((after, [_, behind @ ..])) => {
                    retry = Some((after, behind));
                    (pattern, rest) = (after, behind);
                }
                Some((_, [])) | None => return false,
            }
        }
    }
}

/// What follows the first character; a byte that is not UTF-8 is one.
fn behind_character(name: &[u8]) -> &[u8] {
    let is_inside = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let len = match name.first() {
        Some(first) if *first >= 0b1100_0000 => {
            1 + name[1..].iter().take(3).take_while(|byte| is_inside(byte)).count()
        }
        _ => 1,
    };
    &name[len.min(name.len())..]
}
