use super::*;

use zeroize::Zeroizing;

fn table(folder: &Path) -> (SlotTable, Secret) {
    let root = Secret::generate();
    (SlotTable::create(folder, Uuid::now_v7(), &root, 0).unwrap(), root)
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Zeroizing::new(text.to_owned()))
}

#[test]
fn every_slot_leads_to_the_one_root_key() {
    let dir = tempfile::tempdir().unwrap();
    let (table, root) = table(dir.path());
    let (table, info) =
        table.with_passphrase("correct horse battery", Cost::CHEAP, &root, 5).unwrap();
    assert!(info.is_recovery && !info.unattended && info.created_ms == 5);
    table.replace(dir.path()).unwrap();
    let table = SlotTable::load(dir.path()).unwrap();
    for unlock in [Unlock::File, passphrase("correct horse battery")] {
        let opened = table.unlock(dir.path(), &unlock).unwrap();
        assert_eq!(opened.expose_bytes(), root.expose_bytes(), "{unlock:?}");
    }
    let wrong = table.unlock(dir.path(), &passphrase("correct horse batterz"));
    assert!(matches!(wrong, Err(KeyError::WrongPassphrase)));
}

#[test]
fn a_slot_that_is_not_there_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (table, root) = table(dir.path());
    let none = table.unlock(dir.path(), &passphrase("correct horse battery"));
    assert!(matches!(none, Err(KeyError::NoSuchSlot { kind: SlotKind::Passphrase })));
    for bad in ["", "too short", &"x".repeat(1_025)] {
        let result = table.with_passphrase(bad, Cost::CHEAP, &root, 0);
        assert!(matches!(result, Err(KeyError::PassphraseLength { .. })));
    }
    let first = table.infos()[0].id;
    assert!(matches!(table.without(first), Err(KeyError::LastSlot { .. })));
    assert!(matches!(table.without(Uuid::nil()), Err(KeyError::UnknownSlot { .. })));
}

/// Planted fault: the store id left out of the associated data and the check value.
#[test]
fn a_changed_table_or_key_file_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (good, _) = table(dir.path());
    let changes: [fn(&mut SlotTable); 4] = [
        |table| table.store = Uuid::now_v7(),
        |table| table.slots[0].id = Uuid::now_v7(),
        |table| table.slots[0].root_check = HexBytes::new([0; 32]),
        |table| table.slots[0].wrapped_root = HexBytes::new([]),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut table = good.clone();
        change(&mut table);
        let result = table.unlock(dir.path(), &Unlock::File);
        assert!(matches!(result, Err(KeyError::WrongKeyFile { .. })), "change {number}");
    }
    std::fs::write(file::path(dir.path()), "not a key").unwrap();
    let result = good.unlock(dir.path(), &Unlock::File);
    assert!(matches!(result, Err(KeyError::WrongKeyFile { .. })));
    for bad in ["", "{", "{\"format\":1}", "[]"] {
        std::fs::write(path(dir.path()), bad).unwrap();
        let result = SlotTable::load(dir.path());
        assert!(matches!(result, Err(KeyError::SlotsDamaged)), "{bad}");
    }
}

/// Planted fault: `root.key` destroyed before the new table is durable.
#[test]
fn a_crash_while_slots_change_locks_nobody_out() {
    for at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let (table, root) = table(dir.path());
        let file_slot = table.infos()[0].id;
        let (table, _) =
            table.with_passphrase("correct horse battery", Cost::CHEAP, &root, 0).unwrap();
        table.replace(dir.path()).unwrap();
        let less = table.without(file_slot).unwrap();
        let (_, done) = disk::crash::run(at, || less.replace(dir.path()));

        let table = SlotTable::load(dir.path()).unwrap();
        table.unlock(dir.path(), &passphrase("correct horse battery")).unwrap();
        table.sweep(dir.path()).unwrap();
        let has_slot = table.infos().iter().any(|info| info.kind == SlotKind::File);
        assert_eq!(has_slot, table.unlock(dir.path(), &Unlock::File).is_ok(), "step {at}");
        assert_eq!(has_slot, file::path(dir.path()).exists(), "step {at}");
        if done {
            assert!(!has_slot && at > 8, "only {at} steps were ever planned");
            return;
        }
    }
}
