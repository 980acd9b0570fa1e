//! Holds against a running queue: each is granted or too late, never both and never neither.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use recseal::catalog::{Catalog, CatalogError};
use recseal::config::catalog_in;
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{ConversationId, HoldId, RecordingId};
use recseal::flow::{NewHold, Selection};
use uuid::Uuid;

use crate::chance::Chance;
use crate::crash::seed;
use crate::evidence::must_hold;
use crate::ground::Ground;
use crate::ledger::{Facts, Wanted};
use crate::worker::content;

/// What the holds came to: by recording, the holds that cover it; and those that were too late.
#[derive(Default)]
struct Answers {
    granted: BTreeMap<HoldId, Vec<RecordingId>>,
    late: HashSet<RecordingId>,
}

/// 640 holds on recordings and conversations against 240 erasures in small orders. Seen to fail
/// when a name stayed in the catalog: that of a row that this test wrote without `secure_delete`.
#[test]
fn a_hold_is_granted_or_too_late() {
    let ground = Ground::new();
    let seed = seed();
    println!("RECSEAL_ERASE_SEED={seed}");
    let stems: Vec<String> = (0..RECORDINGS).map(|number| format!("call-{number:05}-x")).collect();
    for stem in &stems {
        ground.drop_file(&format!("{stem}.wav"), &content(stem));
    }
    ground.seal_all();
    let mut ids = ground.ids();
    let conversations = pair_some(&ground, &ids);
    let facts = facts_of(&ground, &stems);
    let answers = Mutex::new(Answers::default());
    let (is_over, holders) = (AtomicBool::new(false), AtomicUsize::new(HOLDERS));
    let mut chance = Chance::new(seed);
    for at in (1..ids.len()).rev() {
        ids.swap(at, chance.below(at as u64 + 1) as usize);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for some in ids.chunks(3) {
                ground.order(Selection::Recordings(some.to_vec()));
            }
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                ground.engine.erase_batch(&ground.clock()).unwrap();
            }
        });
        for holder in 0..HOLDERS {
            let (ground, ids, conversations) = (&ground, &ids, &conversations);
            let (answers, is_over, holders) = (&answers, &is_over, &holders);
            scope.spawn(move || {
                let mut chance = Chance::new(seed + 1 + holder as u64);
                for _ in 0..HOLDS_EACH {
                    place_one(ground, ids, conversations, &mut chance, answers);
                }
                if holders.fetch_sub(1, Ordering::AcqRel) == 1 {
                    is_over.store(true, Ordering::Release);
                }
            });
        }
    });
    ground.erase_all();
    let answers = answers.into_inner().unwrap();
    let held: HashSet<RecordingId> = answers.granted.values().flatten().copied().collect();
    println!(
        "{} granted for {}, {} too late",
        answers.granted.len(),
        held.len(),
        answers.late.len()
    );
    assert!(!held.is_empty() && !answers.late.is_empty(), "that was no race");
    assert!(held.is_disjoint(&answers.late), "granted and too late");
    for recording in ground.recordings() {
        let expected = match held.contains(&recording.id) {
            true => RecordingState::Stored,
            false => RecordingState::Erased,
        };
        assert_eq!(recording.state, expected, "{}", recording.id);
    }
    must_hold(&ground, &facts, "held");
    for hold in answers.granted.keys() {
        ground.engine.lift_hold(&Ground::may(), *hold, ground.now()).unwrap();
    }
    ground.erase_all();
    let is_erased = |state| state == RecordingState::Erased;
    assert!(ground.recordings().iter().all(|one| is_erased(one.state)), "lifted, and not erased");
    must_hold(&ground, &facts, "lifted");
}

fn place_one(
    ground: &Ground,
    ids: &[RecordingId],
    conversations: &BTreeMap<ConversationId, Vec<RecordingId>>,
    chance: &mut Chance,
    answers: &Mutex<Answers>,
) {
    let mut new = NewHold {
        reason: "a dispute".to_owned(),
        recordings: vec![],
        conversations: vec![],
        until: None,
    };
    let covered = if chance.below(4) == 0 {
        let at = chance.below(conversations.len() as u64) as usize;
        let (conversation, covered) = conversations.iter().nth(at).unwrap();
        new.conversations.push(*conversation);
        covered.clone()
    } else {
        new.recordings.push(ids[chance.below(ids.len() as u64) as usize]);
        new.recordings.clone()
    };
    let placed = ground.engine.place_hold(&Ground::may(), new, ground.now()).unwrap();
    let mut answers = answers.lock().unwrap();
    answers.late.extend(&placed.too_late);
    let granted = covered.into_iter().filter(|id| !placed.too_late.contains(id));
    answers.granted.insert(placed.hold.id, granted.collect());
}

/// Conversations come from whoever imports them; here the first half of all belongs to one in
/// pairs.
fn pair_some(ground: &Ground, ids: &[RecordingId]) -> BTreeMap<ConversationId, Vec<RecordingId>> {
    let rows = rusqlite::Connection::open(catalog_in(&ground.state())).unwrap();
    rows.execute_batch("PRAGMA secure_delete = ON").unwrap();
    let mut conversations = BTreeMap::new();
    for pair in ids[..ids.len() / 2].chunks(2) {
        let conversation = ConversationId(Uuid::now_v7());
        for id in pair {
            let keys = (conversation.0.as_bytes(), id.0.as_bytes());
            rows.execute("UPDATE recording SET conversation = ?1 WHERE id = ?2", keys).unwrap();
        }
        conversations.insert(conversation, pair.to_vec());
    }
    conversations
}

/// All of `stems` are wanted, with the keys that they have now.
pub fn facts_of(ground: &Ground, stems: &[String]) -> Facts {
    let catalog = Catalog::open_read_only(&catalog_in(&ground.state())).unwrap();
    let mut facts = Facts { recorded: stems.iter().cloned().collect(), ..Facts::default() };
    for recording in ground.recordings() {
        let key = catalog.read(|tx| tx.wrapped_key(recording.id));
        let key = key.map_err(|error: CatalogError| error).unwrap();
        let name = String::from_utf8_lossy(recording.path.expose_name()).into_owned();
        let stem = name.trim_end_matches(".wav").to_owned();
        let key = key.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
        facts.wanted.insert(recording.id, Wanted { stem, key });
    }
    facts
}

const RECORDINGS: usize = 240;
const HOLDERS: usize = 4;
const HOLDS_EACH: usize = 160;
