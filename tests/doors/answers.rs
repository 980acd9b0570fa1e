//! Answers that are kept: for a day, not longer, and not those of others.

use std::time::Duration;

use recseal::app;
use recseal::clock::{Clock, Timestamp};
use recseal::config::{Config, Overrides};
use recseal::flow::Recalled;

/// Planted fault: the body left out of the comparison. Meant to catch, too: the sender left out of
/// the handle.
#[test]
fn an_answer_is_kept_for_a_day_and_for_its_sender() {
    let folder = tempfile::tempdir().unwrap();
    let state = Some(folder.path().join("state"));
    let config = Config::read("", Overrides { state, ..Overrides::default() }).unwrap();
    let engine = app::build(&config, &Clock::System).unwrap();
    let start = Timestamp::from_millis(1_000_000_000_000);
    let hours = |count: u64| start.plus(Duration::from_secs(count * 3_600));
    let asked = engine.repeatable("uid:0", "/r", b"key", b"one");
    assert_eq!(engine.recall_answer(asked, start).unwrap(), Recalled::Nothing);
    engine.keep_answer(asked, 201, "{}", start).unwrap();
    let answer = Recalled::Answer(201, "{}".to_owned());
    for (user, route, key, body, at, found) in [
        ("uid:0", "/r", &b"key"[..], &b"one"[..], hours(23), answer),
        ("uid:0", "/r", b"key", b"one", hours(24), Recalled::Nothing),
        ("uid:0", "/r", b"key", b"two", hours(1), Recalled::OtherRequest),
        ("uid:1", "/r", b"key", b"one", hours(1), Recalled::Nothing),
        ("uid:0", "/s", b"key", b"one", hours(1), Recalled::Nothing),
        ("uid:0", "/r", b"kez", b"one", hours(1), Recalled::Nothing),
    ] {
        let asked = engine.repeatable(user, route, key, body);
        assert_eq!(engine.recall_answer(asked, at).unwrap(), found, "{user} {route}");
    }
}
