//! The table of what can be found in a text: one row per kind, with its pattern and the check that keeps false alarms
//! away. What is done with a finding is not decided here.
//!
//! A row has two expressions. The trigger is cheap and is asked of every text, all triggers in one pass; only where it
//! fits is the pattern tried. Order is rank: where findings overlap, the earlier row wins.

use std::ops::Range;

use super::checks;
use super::phone;

/// What a kind belongs to; the policy has a word for each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Opens something.
    Secret,
    /// Says who somebody is.
    Personal,
    /// Looks like too much else to be looked for unasked.
    Asked,
}

/// Takes what a pattern matched (all of it, and its first group) and adds what of it is a finding.
pub(super) type Check = fn(text: &str, all: Range<usize>, group: Option<Range<usize>>, found: &mut Vec<Range<usize>>);

/// One kind.
pub(super) struct Kind {
    /// Name, in configuration, report and mask.
    pub(super) name: &'static str,
    pub(super) group: Group,
    pub(super) trigger: &'static str,
    pub(super) pattern: &'static str,
    pub(super) check: Check,
}

/// The kind that also stands for values beside a telling name.
pub(super) const SECRET: &str = "secret";
pub(super) const EMAIL: &str = "email";
pub(super) const CARD: &str = "card";

/// All kinds, the most certain first.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "private_key",
        group: Group::Secret,
        trigger: r"PRIVATE KEY",
        pattern: "-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----",
        check: checks::private_key,
    },
    Kind {
        name: "url_credentials",
        group: Group::Secret,
        trigger: r"://[^\s/]*@",
        pattern: r#"(?-u:\b)[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@"'<>?#]*:[^\s/@"'<>]+)@"#,
        check: checks::url_credentials,
    },
    Kind {
        name: "jwt",
        group: Group::Secret,
        trigger: "eyJ",
        pattern: r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}",
        check: checks::jwt,
    },
    Kind {
        name: "anthropic_key",
        group: Group::Secret,
        trigger: "sk-ant-",
        pattern: r"sk-ant-[A-Za-z0-9_-]{20,}",
        check: checks::key,
    },
    Kind {
        name: "openai_key",
        group: Group::Secret,
        trigger: "sk-",
        pattern: r"sk-[A-Za-z0-9_-]{20,}",
        check: checks::key,
    },
    Kind {
        name: "aws_key",
        group: Group::Secret,
        trigger: "A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{4}",
        pattern: "A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}",
        check: checks::word,
    },
    Kind {
        name: "github_token",
        group: Group::Secret,
        trigger: "gh[pousr]_|github_pat_|glpat-",
        pattern: "gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}|glpat-[A-Za-z0-9_-]{20,}",
        check: checks::key,
    },
    Kind {
        name: "slack_token",
        group: Group::Secret,
        trigger: "xox[a-z]-|hooks.slack.com",
        pattern: r"xox[abeoprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
        check: checks::key,
    },
    Kind {
        name: "google_key",
        group: Group::Secret,
        trigger: r"AIza|ya29\.|GOCSPX-",
        pattern: r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}",
        check: checks::key,
    },
    Kind {
        name: "stripe_key",
        group: Group::Secret,
        trigger: "[rs]k_(?:live|test)_|whsec_",
        pattern: "(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}",
        check: checks::key,
    },
    Kind {
        name: "huggingface_token",
        group: Group::Secret,
        trigger: "hf_",
        pattern: "hf_[A-Za-z0-9]{30,}",
        check: checks::key,
    },
    Kind {
        name: "vendor_token",
        group: Group::Secret,
        trigger: r"gsk_|xai-|pplx-|r8_|lsv2_|sk-lf-|npm_|pypi-|SG\.|dapi",
        pattern: r"(?:gsk_|xai-|pplx-|r8_|npm_)[A-Za-z0-9]{32,}|lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}|sk-lf-[0-9a-f-]{36}|pypi-[A-Za-z0-9_-]{50,}|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}|dapi[0-9a-f]{32}",
        check: checks::key,
    },
    Kind {
        name: "bearer_token",
        group: Group::Secret,
        trigger: "(?i)bearer|basic ",
        pattern: r"(?i-u)\b(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/-]{12,}={0,2})",
        check: checks::bearer,
    },
    Kind {
        name: SECRET,
        group: Group::Secret,
        trigger: r"(?i)(?:key|secret|token|passw|passphrase|pwd|contrase|mot de passe)[a-z_-]{0,12}['\x22\\]{0,2}\s{0,3}[:=]",
        pattern: r#"(?i)(?:api[_-]?key|access[_-]?key(?:[_-]?id)?|account[_-]?key|secret[_-]?key|encryption[_-]?key|client[_-]?secret|secret|token|passw(?:or)?d|passwort|contraseña|mot de passe|passphrase|pwd)["'\\]{0,2}\s{0,3}(?::=|=>|[:=])\s{0,3}["'\\]{0,2}([^\s"'\\,;&<>(){}\[\]]{6,})"#,
        check: checks::assignment,
    },
    Kind {
        name: EMAIL,
        group: Group::Personal,
        trigger: "@|%40",
        pattern: r"[\p{L}\p{N}][\p{L}\p{N}._%+'-]*(?:@|%40)(?:[\p{L}\p{N}][\p{L}\p{N}-]*\.)+\p{L}\p{L}+",
        check: checks::email,
    },
    Kind {
        name: "iban",
        group: Group::Personal,
        trigger: "(?i-u)[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}",
        pattern: r"(?-u:\b)[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,36}",
        check: checks::iban,
    },
    Kind {
        name: CARD,
        group: Group::Personal,
        trigger: "[0-9](?:[ -]?[0-9]){12}",
        pattern: "[0-9](?:[ -]?[0-9]){12,}",
        check: checks::card,
    },
    Kind {
        name: "us_ssn",
        group: Group::Asked,
        trigger: "[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}",
        pattern: "[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}",
        check: checks::us_ssn,
    },
    Kind {
        name: "ip",
        group: Group::Personal,
        trigger: r"[0-9]\.[0-9]{1,3}\.[0-9]|[0-9a-fA-F]:[0-9a-fA-F]{0,4}:",
        pattern: r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F]{0,4})",
        check: checks::ip,
    },
    Kind {
        name: "phone",
        group: Group::Personal,
        trigger: r"[0-9](?:[ \x{a0}./()-]{0,3}[0-9]){6}",
        pattern: r"[+(]{0,2}[0-9](?:(?:[ \x{a0}./-]|\)[ /-]?|[ ]?\(| [/-] )?[0-9]){6,}",
        check: phone::find,
    },
];

/// A kind by name.
pub(super) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
