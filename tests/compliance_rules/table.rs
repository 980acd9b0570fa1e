//! One row for each sentence. "Theirs" is the product that the field report describes.

mod access;
mod fields;
mod tags;

/// One sentence, and what holds it.
pub(crate) struct Row {
    /// Section of the field report, and a number of our own.
    pub(crate) number: &'static str,
    /// In our words.
    pub(crate) sentence: &'static str,
    /// Where it comes from.
    pub(crate) source: &'static str,
    pub(crate) held: Held,
}

pub(crate) enum Held {
    /// By a rule of this module, which this checks.
    Here(fn()),
    /// By another floor, named here.
    Elsewhere(&'static str),
}

use Held::{Elsewhere, Here};

const fn row(
    number: &'static str,
    sentence: &'static str,
    source: &'static str,
    held: Held,
) -> Row {
    Row { number, sentence, source, held }
}

const SETUP: &str = "help page: compliance set-up, 9.4";
const CCPA: &str = "help page: CCPA compliance, 9.x";
const TAGS: &str = "help page: tags, 10.0";
const AUDIT: &str = "help page: audit log, 10.0";
const ROLES: &str = "help pages: quality management roles, 9.4 and 10.0";
const PASSWORDS: &str = "help page: managing password policies, 9.7";

pub(crate) const ROWS: &[Row] = &[
    row(
        "1.2-01",
        "Anonymizing takes INTERACTION_ANONYMIZE, which manager and analyst have.",
        SETUP,
        Elsewhere("the table of permissions in src/access, tested route by role at the doors"),
    ),
    row("1.2-02", "Basic: phone number is chosen at first.", SETUP, Here(fields::phone_is_on)),
    row("1.2-03", "Basic: email or IP is chosen at first.", SETUP, Here(fields::address_is_on)),
    row(
        "1.2-04",
        "Basic: subject and body, with room and messages, is not.",
        SETUP,
        Here(fields::texts_are_off),
    ),
    row(
        "1.2-05",
        "Basic: media files, calls and screens alike, is not.",
        SETUP,
        Here(fields::media_is_off),
    ),
    row("1.2-06", "Media that MiFID protects is left out.", SETUP, Here(fields::mifid_is_left_out)),
    row(
        "1.2-07",
        "Custom Data: the keys that are search filters, none chosen at first.",
        SETUP,
        Here(fields::filters_are_custom),
    ),
    row(
        "1.2-08",
        "Other Data: all other keys, none chosen at first.",
        SETUP,
        Here(fields::the_rest_is_other),
    ),
    row("1.2-09", "Save applies a choice.", SETUP, Here(fields::save_applies)),
    row("1.2-10", "Reset returns to the last saved choice.", SETUP, Here(fields::reset_returns)),
    row(
        "1.2-11",
        "A change of Basic is audited as FIELD_CONFIG_UPDATE.",
        SETUP,
        Here(fields::basic_is_field_config_update),
    ),
    row(
        "1.2-12",
        "A change of Custom or Other is audited as METADATA_KEY_UPDATE.",
        SETUP,
        Here(fields::keys_are_metadata_key_update),
    ),
    row("1.2-13", "A phone number becomes [anonphonenumber].", CCPA, Here(fields::phone_becomes)),
    row(
        "1.2-14",
        "Email and chat addresses become [anondigitaladdress].",
        CCPA,
        Here(fields::addresses_become),
    ),
    row("1.2-15", "Texts become [anonconversationcontent].", CCPA, Here(fields::texts_become)),
    row("1.2-16", "Metadata becomes [anonymized].", CCPA, Here(fields::metadata_becomes)),
    row(
        "1.2-17",
        "An IP address becomes 0.0.0.0 (ours: an IPv6 address becomes ::).",
        CCPA,
        Here(fields::ip_becomes),
    ),
    row(
        "1.2-18",
        "Correlation keys: theirs warns, ours refuses.",
        CCPA,
        Here(fields::correlation_keys_are_refused),
    ),
    row(
        "1.2-19",
        "Nobody chooses fields for one conversation.",
        CCPA,
        Here(fields::one_choice_for_all),
    ),
    row(
        "1.2-20",
        "Planned for deletion of media files: it still plays.",
        CCPA,
        Here(fields::planned_still_plays),
    ),
    row("1.2-21", "That mark survives a second import.", CCPA, Here(fields::the_mark_survives)),
    row("1.2-22", "Deleted: there is no access.", CCPA, Here(fields::deleted_does_not_play)),
    row("1.2-23", "The screen's icon goes, the call's stays.", CCPA, Elsewhere("the console")),
    row(
        "1.2-24",
        "A call without its media cannot be reviewed.",
        CCPA,
        Here(fields::call_by_media),
    ),
    row(
        "1.2-25",
        "A chat or email without its texts cannot be reviewed.",
        CCPA,
        Here(fields::writing_by_texts),
    ),
    row(
        "1.2-26",
        "A mixed conversation cannot be reviewed without both.",
        CCPA,
        Here(fields::mixed_by_both),
    ),
    row(
        "1.2-27",
        "It can be reviewed while one segment is untouched.",
        CCPA,
        Here(fields::one_untouched_is_enough),
    ),
    row(
        "1.2-28",
        "What is anonymized is overwritten in the storage.",
        CCPA,
        Elsewhere("the catalog's scrubbing, tested on raw devices"),
    ),
    row(
        "1.2-29",
        "Theirs has no process against further spreading; ours catches what comes later.",
        CCPA,
        Here(fields::later_recordings_are_caught),
    ),
    row(
        "1.3-01",
        "Six tags are built in, named after GDPR 6(1)(a) to (f).",
        CCPA,
        Here(tags::six_are_built_in),
    ),
    row(
        "1.3-02",
        "Any of them protects against anonymization.",
        CCPA,
        Here(tags::each_protects_from_anonymization),
    ),
    row(
        "1.3-03",
        "Any of them protects against deletion.",
        CCPA,
        Here(tags::each_protects_from_deletion),
    ),
    row(
        "1.3-04",
        "A tag has icon, name, description, key and value; the name is needed.",
        TAGS,
        Here(tags::a_name_is_needed),
    ),
    row("1.3-05", "Tags that are built in cannot be edited.", TAGS, Here(tags::built_in_stay)),
    row(
        "1.3-06",
        "Tags are edited by manager and analyst.",
        TAGS,
        Elsewhere("the table of permissions in src/access, tested route by role at the doors"),
    ),
    row(
        "1.3-07",
        "A data tag writes its pair to the metadata of every segment.",
        CCPA,
        Here(tags::a_pair_goes_to_every_segment),
    ),
    row("1.3-08", "Editing the tag changes it there.", CCPA, Here(tags::editing_follows)),
    row("1.3-09", "Taking the tag off removes it there.", CCPA, Here(tags::taking_off_follows)),
    row(
        "1.3-10",
        "A segment that has the pair already shows the tag by itself.",
        CCPA,
        Here(tags::a_pair_shows_its_tag),
    ),
    row("1.3-11", "Such a tag cannot be commented on.", CCPA, Here(tags::it_has_no_comment)),
    row("1.3-12", "Seven segments show 1 + 7 tags.", CCPA, Here(tags::one_and_seven)),
    row("1.3-13", "With one segment's value removed, 1 + 6.", CCPA, Here(tags::one_and_six)),
    row(
        "1.3-14",
        "What changes reaches the stored values themselves.",
        CCPA,
        Here(tags::changes_are_of_values),
    ),
    row("1.3-15", "Several tags in a filter are joined with OR.", CCPA, Here(tags::tags_are_or)),
    row("1.3-16", "Search covers email addresses, as a whole.", CCPA, Here(tags::email_is_exact)),
    row(
        "1.3-17",
        "Search covers subject, body, room, message and comment.",
        CCPA,
        Here(tags::every_text_is_searched),
    ),
    row("1.3-18", "A term is included or excluded.", CCPA, Here(tags::terms_exclude)),
    row("1.3-19", "Hits are sorted by score.", CCPA, Here(tags::best_first)),
    row("1.3-20", "Hits are highlighted.", CCPA, Here(tags::hits_are_highlighted)),
    row(
        "1.3-21",
        "An export is one conversation without media.",
        CCPA,
        Here(tags::export_is_without_media),
    ),
    row(
        "1.3-22",
        "The user is warned not to leak other people's data.",
        CCPA,
        Here(tags::export_warns),
    ),
    row(
        "1.3-23",
        "Theirs protects after consent is withdrawn; ours does not.",
        CCPA,
        Here(tags::withdrawal_lifts),
    ),
    row(
        "1.4-01",
        "An entry has date, activity, full name, user name, description and result.",
        AUDIT,
        Here(access::an_entry_says_it_all),
    ),
    row(
        "1.4-02",
        "The trail is filtered by period, activity, user and result.",
        AUDIT,
        Elsewhere("the catalog's audit queries"),
    ),
    row("1.4-03", "At first the last ten days are shown.", AUDIT, Elsewhere("the doors")),
    row("1.4-04", "Messages are not localized.", AUDIT, Here(access::activities_are_codes)),
    row("1.4-05", "The trail is for compliance roles.", AUDIT, Here(access::the_trail_is_for_few)),
    row("1.4-06", "The trail is in the database.", AUDIT, Elsewhere("the catalog")),
    row(
        "1.4-07",
        "DEFAULT_CC_MANAGER and DEFAULT_COMPLIANCE_ANALYST come with it.",
        ROLES,
        Here(access::roles_have_their_names),
    ),
    row(
        "1.4-08",
        "Managing users, roles and the password policy are permissions of their own.",
        ROLES,
        Elsewhere("the table of permissions in src/access"),
    ),
    row("1.4-09", "A composite role takes in others.", ROLES, Here(access::roles_take_in_roles)),
    row(
        "1.4-10",
        "Changed roles count after log-out.",
        ROLES,
        Elsewhere("sessions, which hold the permissions they began with"),
    ),
    row(
        "1.4-11",
        "Roles that come with it cannot be changed.",
        ROLES,
        Here(access::default_roles_stay),
    ),
    row(
        "1.4-12",
        "A password has 8 characters, a digit, a lower and an upper case letter.",
        PASSWORDS,
        Here(access::passwords_need_four_things),
    ),
    row("1.4-13", "It expires after 365 days.", PASSWORDS, Here(access::passwords_expire)),
    row("1.4-14", "It is not the last one.", PASSWORDS, Here(access::not_the_last_one)),
    row(
        "1.4-15",
        "Where wanted it is not the user name (ours: always).",
        PASSWORDS,
        Here(access::not_the_user_name),
    ),
    row(
        "1.4-16",
        "Where wanted it is not the email address.",
        PASSWORDS,
        Here(access::not_the_email),
    ),
    row("1.4-17", "Where wanted it has a greatest length.", PASSWORDS, Here(access::not_too_long)),
    row(
        "1.4-18",
        "Where wanted it has a special character.",
        PASSWORDS,
        Here(access::special_characters),
    ),
    row("1.4-19", "Where wanted it is on no blacklist.", PASSWORDS, Here(access::no_blocked_ones)),
    row(
        "1.4-20",
        "Theirs lets hashing and patterns be chosen; ours is argon2id and has no patterns.",
        PASSWORDS,
        Elsewhere("the key of the log-in; a pattern nobody can read protects nobody"),
    ),
    row("1.4-21", "After 30 failures a user is locked.", PASSWORDS, Here(access::thirty_lock)),
    row(
        "1.4-22",
        "A temporary password has to be changed.",
        PASSWORDS,
        Here(access::temporary_ones_are_changed),
    ),
    row(
        "1.4-23",
        "Theirs comes with two users whose passwords are printed; ours with none.",
        "help page: password policies, WFM cloud",
        Elsewhere("the first start, which makes none"),
    ),
];
