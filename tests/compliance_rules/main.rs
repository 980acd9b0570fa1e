//! The rules of the compliance module, for ticking off.
//!
//! `table` has one row for each sentence that the field's leading product says about itself
//! (`research/field.md`, 1.2 to 1.4): its number, the sentence in our words, where it comes from,
//! and what holds it here. `properties` tries what no table can: random conversations under random
//! configurations, tags and holds. The rules' own tables are beside the rules.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod properties;
mod table;
mod world;

use std::collections::HashSet;
use std::panic::catch_unwind;

use table::{Held, ROWS};

/// Runs every row and tells all that do not hold. Planted faults: one in each of twelve rules,
/// among them media on by default, a built-in tag edited, tags joined with AND, a lock at 31.
#[test]
fn every_sentence_is_held() {
    let mut broken = Vec::new();
    for row in ROWS {
        match row.held {
            Held::Here(check) => {
                if catch_unwind(check).is_err() {
                    broken.push(format!("{}: {}", row.number, row.sentence));
                }
            }
            Held::Elsewhere(place) => assert!(!place.is_empty(), "{}", row.number),
        }
    }
    assert!(broken.is_empty(), "{} rows do not hold:\n{}", broken.len(), broken.join("\n"));
}

/// Planted faults: a number twice; a row without its source.
#[test]
fn the_table_can_be_ticked_off() {
    let numbers: HashSet<_> = ROWS.iter().map(|row| row.number).collect();
    assert_eq!(numbers.len(), ROWS.len(), "a number stands there twice");
    for section in ["1.2", "1.3", "1.4"] {
        let own = ROWS.iter().filter(|row| row.number.starts_with(section));
        for (place, row) in own.enumerate() {
            assert_eq!(row.number, format!("{section}-{:02}", place + 1), "numbers have no gap");
        }
    }
    for row in ROWS {
        assert!(!row.sentence.is_empty() && !row.source.is_empty(), "{}", row.number);
    }
    let here = ROWS.iter().filter(|row| matches!(row.held, Held::Here(_))).count();
    assert!(here * 4 > ROWS.len() * 3, "only {here} of {} rows are checked here", ROWS.len());
}
