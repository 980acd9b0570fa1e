//! Every interleaving of what people and time may do, against a model of a few lines.
//!
//! `RECSEAL_ERASE_CASES=1000` tries that many.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use recseal::clock::Timestamp;
use recseal::compliance::erasure::{ErasureReason, JobState};
use recseal::domain::lifecycle::RecordingState;
use recseal::domain::{HoldId, JobId, RecordingId};
use recseal::flow::{ErasureOrder, FlowError, JobControl, NewHold, Selection};

use crate::crash::number;
use crate::evidence::{Evidence, must_hold};
use crate::ground::Ground;
use crate::races::facts_of;
use crate::worker::content;

/// What somebody does.
#[derive(Clone, Debug)]
enum Act {
    /// Orders the erasure of those whose bit is set.
    Order(u8),
    /// Holds one, perhaps until so many minutes have passed.
    Hold(usize, Option<u64>),
    /// Lifts one of the holds.
    Lift(usize),
    Control(usize, u8),
    PauseAll(bool),
    Erase,
    Restart,
    /// So many minutes pass.
    Pass(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Owed(usize),
    Erased(usize),
}

struct Hold {
    id: HoldId,
    on: usize,
    until: Option<Timestamp>,
    is_lifted: bool,
}

struct Model {
    ids: Vec<RecordingId>,
    fates: Vec<Fate>,
    holds: Vec<Hold>,
    jobs: Vec<(JobId, JobState)>,
    is_paused: bool,
}

/// States, marks, jobs and counts are compared after each act.
#[test]
fn whatever_is_done_in_whatever_order_comes_out_as_the_model_says() {
    let cases = number("RECSEAL_ERASE_CASES", 10) as u32;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let acts = prop::collection::vec(any_act(), 4..28);
    TestRunner::new(config).run(&acts, |acts| play(&acts)).unwrap();
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_u8..64).prop_map(Act::Order),
        3 => (0..RECORDINGS, prop::option::of(1_u64..30)).prop_map(|(on, until)| Act::Hold(on, until)),
        2 => (0..6_usize).prop_map(Act::Lift),
        4 => (0..6_usize, 0..3_u8).prop_map(|(job, how)| Act::Control(job, how)),
        1 => any::<bool>().prop_map(Act::PauseAll),
        5 => Just(Act::Erase),
        1 => Just(Act::Restart),
        2 => (2_u64..40).prop_map(Act::Pass),
    ]
}

fn play(acts: &[Act]) -> Result<(), TestCaseError> {
    let mut ground = Ground::new();
    let stems: Vec<String> = (0..RECORDINGS).map(|number| format!("call-{number:02}-x")).collect();
    for stem in &stems {
        ground.drop_file(&format!("{stem}.wav"), &content(stem));
    }
    ground.seal_all();
    let facts = facts_of(&ground, &stems);
    let mut model = Model {
        ids: ground.ids(),
        fates: vec![Fate::Kept; RECORDINGS],
        holds: Vec::new(),
        jobs: Vec::new(),
        is_paused: false,
    };
    for act in acts {
        ground = model.apply(ground, act)?;
        model.compare(&ground)?;
    }
    // In the end everything goes on, and nothing that is owed was forgotten.
    ground.engine.pause_erasures(&Ground::may(), false, ground.now()).unwrap();
    model.is_paused = false;
    for job in 0..model.jobs.len() {
        ground = model.apply(ground, &Act::Control(job, 1))?;
    }
    ground = model.apply(ground, &Act::Pass(60))?;
    ground = model.apply(ground, &Act::Erase)?;
    model.compare(&ground)?;
    must_hold(&ground, &facts, &format!("{acts:?}"));
    Ok(())
}

impl Model {
    fn apply(&mut self, ground: Ground, act: &Act) -> Result<Ground, TestCaseError> {
        match act {
            Act::Order(bits) => self.order(&ground, *bits)?,
            Act::Hold(on, minutes) => self.hold(&ground, *on, *minutes)?,
            Act::Lift(at) => self.lift(&ground, *at)?,
            Act::Control(at, how) => self.control(&ground, *at, *how)?,
            Act::PauseAll(is_paused) => {
                ground.engine.pause_erasures(&Ground::may(), *is_paused, ground.now()).unwrap();
                self.is_paused = *is_paused;
            }
            Act::Erase => self.erase(&ground)?,
            Act::Restart => return Ok(ground.start_again()),
            Act::Pass(minutes) => ground.later(Duration::from_secs(minutes * 60 + 1)),
        }
        Ok(ground)
    }

    fn order(&mut self, ground: &Ground, bits: u8) -> Result<(), TestCaseError> {
        let chosen: Vec<usize> = (0..RECORDINGS).filter(|at| bits >> at & 1 == 1).collect();
        let ids = chosen.iter().map(|at| self.ids[*at]).collect();
        let fresh: Vec<usize> =
            chosen.into_iter().filter(|at| self.fates[*at] == Fate::Kept).collect();
        let (selection, reason) = (Selection::Recordings(ids), ErasureReason::Request);
        let order = ErasureOrder { selection, reason, confirm: Some(fresh.len() as u64) };
        let ordered = ground.engine.order_erasure(&Ground::may(), &order, ground.now());
        let job = ordered.expect("it is ordered").job;
        prop_assert_eq!(job.is_some(), !fresh.is_empty());
        if let Some(job) = job {
            for at in fresh {
                self.fates[at] = Fate::Owed(self.jobs.len());
            }
            self.jobs.push((job.id, JobState::Running));
        }
        Ok(())
    }

    fn hold(
        &mut self,
        ground: &Ground,
        on: usize,
        minutes: Option<u64>,
    ) -> Result<(), TestCaseError> {
        let until = minutes.map(|minutes| ground.now().plus(Duration::from_secs(minutes * 60)));
        let new = NewHold {
            reason: "a dispute".to_owned(),
            recordings: vec![self.ids[on]],
            conversations: vec![],
            until,
        };
        let placed = ground.engine.place_hold(&Ground::may(), new, ground.now()).unwrap();
        let is_late = matches!(self.fates[on], Fate::Erased(_));
        prop_assert_eq!(!placed.too_late.is_empty(), is_late, "too late?");
        self.holds.push(Hold { id: placed.hold.id, on, until, is_lifted: false });
        Ok(())
    }

    fn lift(&mut self, ground: &Ground, at: usize) -> Result<(), TestCaseError> {
        let Some(hold) = self.holds.get_mut(at) else { return Ok(()) };
        let lifted = ground.engine.lift_hold(&Ground::may(), hold.id, ground.now());
        // One that ran out may have been lifted by name, or not yet.
        if hold.until.is_none_or(|until| ground.now() < until) {
            prop_assert_eq!(lifted.is_ok(), !hold.is_lifted);
        }
        hold.is_lifted = true;
        Ok(())
    }

    fn control(&mut self, ground: &Ground, at: usize, how: u8) -> Result<(), TestCaseError> {
        use JobState as S;
        let Some((id, state)) = self.jobs.get(at).copied() else { return Ok(()) };
        let (control, is_allowed, then) = match how {
            0 => (JobControl::Pause, state == S::Running, S::Paused),
            1 => (JobControl::Resume, state == S::Paused, S::Running),
            _ => (JobControl::Cancel, matches!(state, S::Running | S::Paused), S::Cancelled),
        };
        let done = ground.engine.control_erasure(&Ground::may(), id, control, ground.now());
        let is_done = !matches!(done, Err(FlowError::JobState { .. }));
        prop_assert_eq!(is_done, is_allowed, "{:?} of {:?}: {:?}", control, state, done.err());
        if is_allowed {
            self.jobs[at].1 = then;
            for fate in self.fates.iter_mut().filter(|fate| **fate == Fate::Owed(at)) {
                if then == S::Cancelled {
                    *fate = Fate::Kept;
                }
            }
        }
        Ok(())
    }

    fn erase(&mut self, ground: &Ground) -> Result<(), TestCaseError> {
        for _ in 0..100 {
            let step = ground.engine.erase_batch(&ground.clock()).expect("a batch works");
            if !step.more {
                let is_past = step.due_at.is_some_and(|due| due <= ground.now());
                prop_assert!(!is_past, "nothing to do, and due at {:?}", step.due_at);
                break;
            }
        }
        if self.is_paused {
            return Ok(());
        }
        let now = ground.now();
        let held: BTreeSet<usize> = self
            .holds
            .iter()
            .filter(|hold| !hold.is_lifted && hold.until.is_none_or(|until| now < until))
            .map(|hold| hold.on)
            .collect();
        for (at, fate) in self.fates.iter_mut().enumerate() {
            if let Fate::Owed(job) = *fate
                && self.jobs[job].1 == JobState::Running
                && !held.contains(&at)
            {
                *fate = Fate::Erased(job);
            }
        }
        for (at, (_, state)) in self.jobs.iter_mut().enumerate() {
            if *state == JobState::Running && !self.fates.contains(&Fate::Owed(at)) {
                *state = JobState::Finished;
            }
        }
        Ok(())
    }

    fn compare(&self, ground: &Ground) -> Result<(), TestCaseError> {
        let evidence = Evidence::of(ground);
        for (recording, fate) in evidence.recordings.iter().zip(&self.fates) {
            let (expected, is_planned) = match fate {
                Fate::Kept => (RecordingState::Stored, false),
                Fate::Owed(_) => (RecordingState::Stored, true),
                Fate::Erased(_) => (RecordingState::Erased, false),
            };
            prop_assert_eq!(recording.state, expected);
            prop_assert_eq!(recording.planned_for_deletion, is_planned);
        }
        for (id, expected) in &self.jobs {
            let job = ground.engine.erasure_job(&Ground::may(), *id, ground.now()).unwrap().job;
            prop_assert_eq!(job.state, *expected);
        }
        let faults = evidence.faults_of_counts();
        prop_assert!(faults.is_empty(), "{:?}", faults);
        let is_open =
            |at: usize| !matches!(self.jobs[at].1, JobState::Cancelled | JobState::Finished);
        let owed = self.fates.iter().filter(|fate| matches!(fate, Fate::Owed(at) if is_open(*at)));
        let progress = ground.engine.erasure_status(ground.now()).unwrap().progress;
        prop_assert_eq!(progress.items - progress.done_items, owed.count() as u64);
        Ok(())
    }
}

const RECORDINGS: usize = 6;
