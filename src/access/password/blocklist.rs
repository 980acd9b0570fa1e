//! The passwords that are tried first. Collected by hand from common knowledge: words, names,
//! rows of the keyboard and what this program's own trade suggests.

/// True if `password` is one of them, whatever its case, with digits for letters undone, and with
/// or without a number or a mark behind it.
pub(super) fn is_common(password: &str) -> bool {
    let lower = password.trim().to_lowercase();
    let without_marks = lower.trim_end_matches(|c: char| !c.is_alphanumeric());
    let word = without_marks.trim_end_matches(|c: char| c.is_ascii_digit());
    let spelt = |text: &str| -> String { text.chars().map(letter).collect() };
    [&lower, without_marks, word]
        .into_iter()
        .any(|text| !text.is_empty() && (is_listed(text) || is_listed(&spelt(text))))
        || is_run(without_marks)
}

fn is_listed(word: &str) -> bool {
    COMMON.split(' ').any(|common| common == word)
}

/// One character again and again, or each the next of the one before: `11111111`, `abcdefgh`.
fn is_run(text: &str) -> bool {
    let codes: Vec<i64> = text.chars().map(|c| i64::from(u32::from(c))).collect();
    let mut steps = codes.windows(2).map(|pair| pair[1] - pair[0]);
    let Some(first) = steps.next() else { return false };
    first.abs() <= 1 && steps.all(|step| step == first)
}

/// The letter that a digit or mark is written for.
fn letter(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    }
}

/// In lower case, between blanks.
const COMMON: &str = "\
    123123 1234 123321 123654 1234567890 1qaz2wsx 1q2w3e4r 1q2w3e4r5t 696969 654321 abc abc123 \
    access admin adminadmin administrator agent amanda andrew angel anthony asdf asdfgh \
    asdfghjkl ashley austin azerty bailey banana baseball basketball batman berlin bonjour \
    callcenter changeit changeme charlie chelsea chocolate compliance computer cookie corvette \
    dallas daniel default demo diamond donald dragon eagle eleveo enter facebook falcon ferrari \
    flower football freedom friday george ginger google guest hallo hannah harley hello \
    helloworld hockey hunter iloveyou jennifer jessica jordan joshua killer letmein liverpool \
    login london love lovely maggie manager marina master matrix matthew merlin michael michelle \
    monday monkey mustang naruto nicole nothing ninja orange pass passwort passw password \
    passwordpassword patrick pepper pokemon princess private purple qazwsx qazwsxedc qwer qwert \
    qwerty qwertyui qwertyuiop qwertz qwertzuiop q1w2e3r4 rainbow ranger recording recseal \
    robert root samantha samsung secret security server service shadow silver snoopy soccer solo \
    sommer spring starwars summer sunday sunshine superman superuser support sysadmin system \
    taylor temp temporary test tester testing testtest thomas thunder tigger toor trustno \
    trustnoone user welcome whatever willkommen william winter winner yankees zaq12wsx zxcvbn \
    zxcvbnm";

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: the number behind a word that makes it new; digits for letters; a list that
    /// is not in lower case and so never found.
    #[test]
    fn variations_of_a_common_word_are_common() {
        for (password, common) in [
            ("password", true),
            ("PASSWORD123", true),
            ("P@ssw0rd!", true),
            ("Welcome2026!", true),
            ("Adm1n1strator", true),
            ("1q2w3e4r", true),
            ("12345678", true),
            ("87654321", true),
            ("aaaaaaaa", true),
            ("abcdefgh!", true),
            ("Tr0ubadour", false),
            ("mypassword-is-long", false),
            ("20251127", false),
            ("", false),
            ("!", false),
        ] {
            assert_eq!(is_common(password), common, "{password:?}");
        }
        assert!(COMMON.split(' ').all(|word| !word.is_empty() && word == word.to_lowercase()));
    }
}
