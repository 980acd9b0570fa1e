//! Sizes and shape of files and functions.

use crate::layers::{Source, block_after, line_of, words};

/// No function is longer than what a reader sees at once.
pub(crate) fn short_functions(source: &Source) -> Vec<String> {
    if !source.is_product() {
        return Vec::new();
    }
    let code = &source.code;
    words(code)
        .filter(|(at, word)| *word == "fn" && code[at + 2..].trim_start().starts_with(is_name))
        .filter_map(|(at, _)| Some((at, block_after(code, at)?)))
        .map(|(at, block)| (at, line_of(code, block.end) - line_of(code, at) + 1))
        .filter(|(_, lines)| *lines > FUNCTION_LINES_MAX)
        .map(|(at, lines)| format!("line {}: a function of {lines} lines", line_of(code, at)))
        .collect()
}

/// At 500 lines there is a second idea inside.
pub(crate) fn short_files(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let is_long = source.path.ends_with(".rs") && lines > FILE_LINES_MAX;
    is_long.then(|| format!("{lines} lines: which second idea is inside?")).into_iter().collect()
}

/// Every file says what it is before it does anything; a file of tests is its module's affair.
pub(crate) fn module_doc(source: &Source) -> Vec<String> {
    let has_doc = source.text.starts_with("//!");
    let is_offence =
        source.path.ends_with(".rs") && !source.path.ends_with("/tests.rs") && !has_doc;
    is_offence.then(|| "the file does not begin with `//!`".to_owned()).into_iter().collect()
}

fn is_name(first: char) -> bool {
    first.is_alphabetic() || first == '_'
}

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
