//! A file taken apart: its code, its string literals and its comments, each as a text of the same
//! length in which everything else is blank. So a rule about code is not fooled by a comment.

use std::ops::Range;

/// One file, by its path from the root of the repository.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Code without comments and without what stands between quotes.
    pub(crate) code: String,
    /// Only what stands between quotes.
    pub(crate) strings: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (mut code, mut strings) = (blank(text), blank(text));
        if path.ends_with(".rs") {
            for (kind, range) in pieces(text.as_bytes()) {
                match kind {
                    Piece::Code => code[range.clone()].copy_from_slice(&text.as_bytes()[range]),
                    Piece::Literal => {
                        strings[range.clone()].copy_from_slice(&text.as_bytes()[range]);
                    }
                    Piece::Comment => {}
                }
            }
        }
        let text_of = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: text_of(code),
            strings: text_of(strings),
        }
    }

    /// Code outside `#[cfg(test)]` blocks: what the program runs.
    pub(crate) fn product_code(&self) -> String {
        if self.path.ends_with("/tests.rs") {
            return String::new();
        }
        let mut code = self.code.clone().into_bytes();
        for (at, _) in self.code.match_indices("#[cfg(test)]") {
            let end = block_after(&self.code, at).map_or(at, |block| block.end);
            code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        String::from_utf8_lossy(&code).into_owned()
    }

    /// Our Rust, as opposed to tests, documents and units.
    pub(crate) fn is_product(&self) -> bool {
        self.path.ends_with(".rs")
            && (self.path.starts_with("src/") || self.path.starts_with("keymanager/src/"))
    }

    /// The module of a file under `src/`: the first folder, or the file's own name.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        inside.split('/').next()?.split('.').next()
    }
}

/// Words of `code`: runs of letters, digits and `_`, with where they stand.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

/// The next `{ … }` after `at`, braces included; `None` if a `;` comes first.
pub(crate) fn block_after(code: &str, at: usize) -> Option<Range<usize>> {
    let (mut braces, mut brackets, mut start) = (0_usize, 0_usize, None);
    for (i, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if braces == 0 && brackets == 0 => return None,
            b'{' => {
                start.get_or_insert(i);
                braces += 1;
            }
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(start?..i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The number of the line on which byte `at` stands, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn blank(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'\n' { b'\n' } else { b' ' }).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Code,
    Literal,
    Comment,
}

/// Cuts Rust text into code, literals and comments; quotes count as code.
fn pieces(text: &[u8]) -> Vec<(Piece, Range<usize>)> {
    let mut pieces = Vec::new();
    let (mut at, mut code_from) = (0, 0);
    while at < text.len() {
        let Some((kind, inside, next)) = literal_or_comment(text, at) else {
            at += 1;
            continue;
        };
        pieces.push((Piece::Code, code_from..inside.start));
        pieces.push((kind, inside.clone()));
        (at, code_from) = (next, inside.end);
    }
    pieces.push((Piece::Code, code_from..text.len()));
    pieces
}

/// What begins at `at`: its kind, what it holds, and where to go on.
fn literal_or_comment(text: &[u8], at: usize) -> Option<(Piece, Range<usize>, usize)> {
    let rest = &text[at..];
    let find = |from: usize, what: &[u8]| {
        let found = text[from..].windows(what.len()).position(|window| window == what);
        found.map_or(text.len(), |offset| from + offset)
    };
    if rest.starts_with(b"//") {
        let end = find(at, b"\n");
        return Some((Piece::Comment, at..end, end));
    }
    if rest.starts_with(b"/*") {
        let end = (find(at, b"*/") + 2).min(text.len());
        return Some((Piece::Comment, at..end, end));
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins_word = at == 0 || !is_word(text[at - 1]);
    if begins_word && (rest.starts_with(b"r\"") || rest.starts_with(b"r#"))
        || rest.starts_with(b"br#")
    {
        let hashes = rest.iter().skip_while(|b| **b != b'#' && **b != b'"');
        let hashes = hashes.take_while(|byte| **byte == b'#').count();
        let open = find(at, b"\"");
        if open == at + rest.iter().position(|b| *b == b'"')? && open <= at + hashes + 2 {
            let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
            let end = find(open + 1, &close);
            return Some((Piece::Literal, open + 1..end, (end + close.len()).min(text.len())));
        }
    }
    match rest {
        [b'"', ..] => {
            let end = end_of_quote(text, at + 1, b'"');
            Some((Piece::Literal, at + 1..end, (end + 1).min(text.len())))
        }
        // A lifetime has no closing quote after one character.
        [b'\'', b'\\', ..] => {
            let end = end_of_quote(text, at + 1, b'\'');
            Some((Piece::Literal, at + 1..end, (end + 1).min(text.len())))
        }
        [b'\'', first, ..] if *first != b'\'' => {
            let width = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            (rest.get(1 + width) == Some(&b'\'')).then_some((
                Piece::Literal,
                at + 1..at + 1 + width,
                at + 2 + width,
            ))
        }
        _ => None,
    }
}

fn end_of_quote(text: &[u8], mut at: usize, quote: u8) -> usize {
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at.min(text.len())
}

#[test]
fn a_file_is_taken_apart() {
    let text =
        "let a = \"b // c\"; // d \"e\"\n/* f */ let g = 'h'; fn i<'j>() { r#\"k\"l\"#; '\\''; }";
    let source = Source::new("src/a.rs", text);
    for (letters, layer) in [("agij", &source.code), ("bckh", &source.strings)] {
        for letter in letters.chars() {
            assert!(layer.contains(letter), "{letter} is missing in {layer}");
        }
    }
    for hidden in ["b", "d", "h", "k"] {
        assert!(words(&source.code).all(|(_, word)| word != hidden), "{hidden} is not code");
    }
    assert_eq!(source.code.len(), text.len());
    let source =
        Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}");
    assert!(!source.product_code().contains("fn b") && source.product_code().contains("fn c"));
}
