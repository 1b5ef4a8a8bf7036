//! What tells a finding from something that only looks like one: check digits, decoding, neighbours, words before it.
//!
//! Every check takes what a pattern matched and adds the part of it that is a finding, or nothing.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

type Found = Vec<Range<usize>>;

pub(super) fn before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

pub(super) fn after(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// Whether a match stands for itself: no letter, digit or underscore beside it.
fn alone(text: &str, range: &Range<usize>) -> bool {
    let part = |found: Option<char>| found.is_some_and(|c| is_wordy(c) || c == '_');
    !part(before(text, range.start)) && !part(after(text, range.end))
}

/// Whether a character would make a word of what stands beside it. Scripts without spaces between words do not.
pub(super) fn is_wordy(c: char) -> bool {
    c.is_alphanumeric() && u32::from(c) < 0x2e80
}

/// The end of the text before a place, in lower case; where words tell what a number is.
pub(super) fn lead(text: &str, at: usize, length: usize) -> String {
    let mut from = at.saturating_sub(length);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..at).unwrap_or_default().to_lowercase()
}

/// From the head of a key to its end; without an end, as far as it looks like a key: texts are cut off in logs.
pub(super) fn private_key(text: &str, head: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let rest = text.get(head.end..).unwrap_or_default();
    let material = |c: &char| c.is_ascii_alphanumeric() || c.is_whitespace() || "+/=\\:,".contains(*c);
    let length: usize = rest.chars().take_while(material).map(char::len_utf8).sum();
    let body = rest.get(..length).unwrap_or_default();
    // `-----BEGIN PRIVATE KEY-----\n...` in a manual holds no key.
    if body.bytes().filter(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)).count() < 80 {
        return;
    }
    let foot = rest.get(length..).filter(|foot| foot.starts_with("-----END "));
    let foot = foot.and_then(|foot| Some(foot.get(9..)?.find("-----")? + 14)).filter(|length| *length < 60);
    let end = head.end + length + foot.unwrap_or(0);
    let end = if foot.is_some() { end } else { head.end + body.trim_end().len() };
    found.push(head.start..end);
}

pub(super) fn url_credentials(text: &str, _: Range<usize>, group: Option<Range<usize>>, found: &mut Found) {
    let Some(range) = group else { return };
    let password = text.get(range.clone()).and_then(|pair| pair.split_once(':')).map_or("", |(_, password)| password);
    if !is_placeholder(password) {
        found.push(range);
    }
}

pub(super) fn jwt(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let head = text.get(all.clone()).and_then(|token| token.split('.').next()).unwrap_or_default();
    let decoded = URL_SAFE_NO_PAD.decode(head).unwrap_or_default();
    let header: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&decoded).ok();
    if header.is_some_and(|header| header.contains_key("alg") || header.contains_key("typ")) {
        let ends = text.get(all.clone()).unwrap_or_default().trim_end_matches('.').len();
        found.push(all.start..all.start + ends);
    }
}

/// A key of a vendor: begins a word, and its body is random enough not to be words with hyphens.
pub(super) fn key(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let body = text.get(all.clone()).unwrap_or_default();
    let starts = before(text, all.start).is_none_or(|c| !is_wordy(c) && c != '_' && c != '-');
    let random = body.split(['-', '_', '.', '/']).any(|part| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        (part.len() >= 8 && digits >= 2 && digits < part.len())
            || (part.len() >= 16 && case_changes(part) * 4 > part.len())
    });
    if starts && random {
        found.push(all);
    }
}

/// A match that only has to stand for itself.
pub(super) fn word(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    if alone(text, &all) {
        found.push(all);
    }
}

pub(super) fn bearer(text: &str, all: Range<usize>, group: Option<Range<usize>>, found: &mut Found) {
    let Some(range) = group else { return };
    let token = text.get(range.clone()).unwrap_or_default();
    let basic = text.get(all).is_some_and(|all| all.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("basic")));
    let secret = if basic {
        let decoded = STANDARD_NO_PAD.decode(token.trim_end_matches('=')).unwrap_or_default();
        std::str::from_utf8(&decoded).is_ok_and(|pair| pair.contains(':') && pair.chars().all(|c| !c.is_control()))
    } else {
        token.len() >= 16 && looks_random(token)
    };
    if secret {
        found.push(range);
    }
}

/// A value beside a telling name, in text: `api_key=...`, `"password": "..."`.
pub(super) fn assignment(text: &str, all: Range<usize>, group: Option<Range<usize>>, found: &mut Found) {
    let Some(range) = group else { return };
    let value = text.get(range.clone()).unwrap_or_default();
    let name = text.get(all.start..range.start).unwrap_or_default().to_lowercase();
    // `max_tokens` and `secretary` end otherwise; `subtoken=` is not a name of ours.
    let inside = before(text, all.start).is_some_and(|c| c.is_alphanumeric());
    let telling =
        name.starts_with("pass") || name.starts_with("pwd") || name.starts_with("contrase") || name.starts_with("mot");
    if inside && !telling && !name.starts_with("token") && !name.starts_with("secret") {
        return;
    }
    let secret = if telling { looks_like_password(value) } else { value.len() >= 12 && looks_random(value) };
    if secret && !is_placeholder(value) {
        found.push(range);
    }
}

/// Ends of names beside which any text is a secret.
const WORDS: &[&str] = &["password", "passwd", "passphrase", "pwd", "passwort"];
/// Ends of names beside which a text is a secret when it looks random.
const RANDOM: &[&str] = &[
    "apikey",
    "secret",
    "secretkey",
    "accesskey",
    "accesskeyid",
    "privatekey",
    "accesstoken",
    "authtoken",
    "token",
    "refreshtoken",
    "sessiontoken",
    "idtoken",
    "bearertoken",
    "clientsecret",
    "authorization",
    "credential",
    "credentials",
    "connectionstring",
    "cookie",
    "setcookie",
    "signature",
];

/// Whether a name ends in one of some words, whatever stands between its letters.
fn ends_in(name: &str, words: &[&str]) -> bool {
    let letters = || name.bytes().rev().filter(u8::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    let last = letters().next();
    words.iter().filter(|word| word.bytes().next_back() == last).any(|word| {
        let mut letters = letters();
        word.bytes().rev().all(|wanted| letters.next() == Some(wanted))
    })
}

/// Whether the value beside a name may be a secret because of it.
pub(super) fn is_telling(name: &str) -> bool {
    ends_in(name, WORDS) || ends_in(name, RANDOM)
}

/// Whether a value of a field with a telling name is a secret; stricter names take any text.
pub(super) fn field_secret(name: &str, value: &str) -> bool {
    let word = ends_in(name, WORDS);
    // Few names tell anything; the value, which may be long, is not looked at for the others.
    if !(word || ends_in(name, RANDOM)) || is_placeholder(value) {
        return false;
    }
    if word {
        const TYPES: &[&str] = &["string", "required", "optional", "password", "text", "none", "null", "true", "false"];
        return value.chars().count() >= 3 && !TYPES.contains(&value.to_ascii_lowercase().as_str());
    }
    value.len() >= 12 && looks_random(value)
}

/// Letters and digits mixed, and not an identifier, a path or a call.
fn looks_random(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let upper = value.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = value.bytes().any(|byte| byte.is_ascii_lowercase());
    let longest = value.split(['_', '-', '.', '/']).map(str::len).max().unwrap_or(0);
    let code = ["os.", "env.", "process.", "self.", "config.", "settings.", "http://", "https://", "arn:"];
    if code.iter().any(|head| value.starts_with(head)) || value.contains("environ") || value.contains("getenv") {
        return false;
    }
    let numbers = digits >= 2 && letters >= 2 && longest >= 8 && (digits * 8 >= value.len() || (upper && lower));
    // Few digits or none: camel case changes its case every third letter, random text every second.
    let least = if digits > 0 { 30 } else { 42 };
    numbers || (longest >= 16 && case_changes(value) * 100 >= least * value.len())
}

/// How often one letter is a capital and the next is not, or the other way round.
fn case_changes(text: &str) -> usize {
    let changes = |pair: &[u8]| matches!(pair, [a, b] if (a.is_ascii_uppercase() && b.is_ascii_lowercase()) || (a.is_ascii_lowercase() && b.is_ascii_uppercase()));
    text.as_bytes().windows(2).filter(|pair| changes(pair)).count()
}

fn looks_like_password(value: &str) -> bool {
    let digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let letter = value.chars().any(char::is_alphabetic);
    let sign = value.chars().any(|c| !c.is_alphanumeric() && !"._-:/".contains(c));
    let code = ["os.", "env.", "process.", "self.", "config.", "settings.", "get", "http://", "https://"];
    let calls = code.iter().any(|head| value.starts_with(head)) || value.contains("environ") || value.contains("::");
    !calls && letter && (digit || sign)
}

/// What stands where a secret would: `<key>`, `${KEY}`, `***`, `YOUR_KEY`, a mask of ours.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let marks = ["<", "$", "{", "[", "*", "%(", "%s", "..."];
    let words = ["your", "example", "placeholder", "changeme", "redacted", "xxxx", "dummy"];
    value.is_empty()
        || marks.iter().any(|mark| value.starts_with(mark))
        || words.iter().any(|word| lower.contains(word))
        || ["password", "pass", "pwd", "secret", "token", "key"].contains(&lower.as_str())
}

pub(super) fn email(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let address = text.get(all.clone()).unwrap_or_default();
    let Some((local, domain)) = address.split_once('@').or_else(|| address.rsplit_once("%40")) else { return };
    // `git@github.com:owner/name` is an address of a repository, `icon@2x.png` a file.
    let repository = after(text, all.end) == Some(':') && local == "git";
    let scaled = domain.split('.').next().is_some_and(|label| {
        label.len() <= 2 && label.ends_with('x') && label.starts_with(|c: char| c.is_ascii_digit())
    });
    if !repository && !scaled && !local.ends_with('.') {
        found.push(all);
    }
}

/// Length of an IBAN by country; other countries have none.
fn iban_length(country: &str) -> Option<usize> {
    const LENGTHS: &str = "NO15 BE16 DK18 FO18 FI18 GL18 NL18 SD18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CR22 BG22 \
                           BH22 DE22 GB22 GE22 IE22 ME22 RS22 AE23 GI23 IL23 IQ23 TL23 SO23 OM23 AD24 CZ24 ES24 MD24 \
                           PK24 RO24 SA24 SE24 SK24 TN24 VG24 PT25 ST25 LY25 IS26 TR26 FR27 GR27 IT27 MC27 MR27 SM27 \
                           AL28 AZ28 BY28 CY28 DO28 GT28 HU28 LB28 PL28 SV28 NI28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 \
                           MU30 MT31 SC31 LC32 RU33 CH21 LI21 HR21 LV21 DJ27 BI27 MN20 FK18 YE30";
    LENGTHS.split_whitespace().find_map(|row| row.strip_prefix(country)).and_then(|length| length.parse().ok())
}

pub(super) fn iban(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let run = text.get(all.clone()).unwrap_or_default();
    let country = run.get(..2).unwrap_or_default().to_ascii_uppercase();
    let Some(length) = iban_length(&country) else { return };
    // The run may go on into the next word: the country says where to stop.
    let mut taken = String::new();
    let mut end = all.start;
    for (at, c) in run.char_indices() {
        if taken.len() == length {
            break;
        }
        if c.is_ascii_alphanumeric() {
            taken.push(c.to_ascii_uppercase());
            end = all.start + at + 1;
        }
    }
    if taken.len() == length && alone(text, &(all.start..end)) && mod_97(&taken) == 1 {
        found.push(all.start..end);
    }
}

fn mod_97(iban: &str) -> u32 {
    let (head, tail) = iban.split_at_checked(4).unwrap_or((iban, ""));
    tail.chars().chain(head.chars()).filter_map(|c| c.to_digit(36)).fold(0, |rest, value| {
        let shift = if value > 9 { 100 } else { 10 };
        (rest * shift + value) % 97
    })
}

pub(super) fn card(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let touches = |c: Option<char>| c.is_some_and(|c| is_wordy(c) || "_.-/+=".contains(c));
    let ends = |c: Option<char>, next: Option<char>| {
        c.is_some_and(|c| is_wordy(c) || "_=/+".contains(c))
            || (c.is_some_and(|c| c == '.' || c == '-') && next.is_some_and(char::is_alphanumeric))
    };
    let mut tail = text.get(all.end..).unwrap_or_default().chars();
    let led = touches(before(text, all.start)) && before(text, all.start) != Some('=');
    let followed = ends(tail.next(), tail.next());
    let run = text.get(all.clone()).unwrap_or_default();
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, byte) in run.bytes().enumerate() {
        match groups.last_mut() {
            _ if !byte.is_ascii_digit() => {}
            Some(last) if last.end == at => last.end = at + 1,
            _ => groups.push(at..at + 1),
        }
    }
    const SHAPES: &[&[usize]] =
        &[&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 1], &[19], &[16], &[15], &[14], &[13]];
    let mut at = 0;
    while at < groups.len() {
        let shape = SHAPES.iter().find(|shape| {
            let window = groups.get(at..at + shape.len()).unwrap_or_default();
            // What stands beside the run matters only to what stands at its edge.
            let whole = !(led && at == 0 || followed && at + shape.len() == groups.len());
            whole
                && window.len() == shape.len()
                && window.iter().zip(shape.iter()).all(|(group, length)| group.len() == *length)
                && is_card(run.get(window_of(window)).unwrap_or_default())
        });
        match shape {
            Some(shape) => {
                let inner = window_of(groups.get(at..at + shape.len()).unwrap_or_default());
                found.push(all.start + inner.start..all.start + inner.end);
                at += shape.len();
            }
            None => at += 1,
        }
    }
}

fn window_of(groups: &[Range<usize>]) -> Range<usize> {
    groups.first().map_or(0, |group| group.start)..groups.last().map_or(0, |group| group.end)
}

/// Whether digits, perhaps grouped, begin like a card of that length and have the right check digit.
pub(super) fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let head = |count: usize| digits.iter().take(count).fold(0, |sum, digit| sum * 10 + digit);
    let issued = match digits.len() {
        13 => head(1) == 4,
        14 => matches!(head(2), 36 | 38 | 39) || matches!(head(3), 300..=305),
        15 => matches!(head(2), 34 | 37),
        16 => {
            head(1) == 4
                || matches!(head(2), 51..=55 | 62 | 65 | 67)
                || matches!(head(4), 2221..=2720 | 6011 | 3528..=3589)
                || matches!(head(3), 644..=649)
        }
        19 => head(1) == 4 || matches!(head(2), 62 | 65),
        _ => false,
    };
    let same = digits.iter().all(|digit| Some(digit) == digits.first());
    issued && !same && luhn(&digits)
}

fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 1 { doubled(*digit) } else { *digit })
        .sum();
    sum.is_multiple_of(10)
}

pub(super) fn us_ssn(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let number = text.get(all.clone()).unwrap_or_default();
    let never = ["000", "666", "9"].iter().any(|head| number.starts_with(head))
        || number.get(4..6) == Some("00")
        || number.ends_with("0000");
    let signs = number.bytes().filter(|byte| *byte == b'-').count();
    let joined = |c: Option<char>| c == Some('-');
    if !never && signs != 1 && alone(text, &all) && !joined(before(text, all.start)) && !joined(after(text, all.end)) {
        found.push(all);
    }
}

pub(super) fn ip(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Found) {
    let address = text.get(all.clone()).unwrap_or_default();
    let mut tail = text.get(all.end..).unwrap_or_default().chars();
    let (next, further) = (tail.next(), tail.next());
    let goes_on = next.is_some_and(|c| is_wordy(c) || c == '_' || c == '-')
        || (next == Some('.') && further.is_some_and(|c| c.is_ascii_digit()));
    let joined = before(text, all.start).is_some_and(|c| is_wordy(c) || "_.-+:".contains(c));
    if joined || goes_on {
        return;
    }
    let known = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(v4), _) => is_host(v4) && !is_version(text, all.start, v4),
        // `a::b` is code more often than an address.
        (_, Ok(v6)) => {
            let groups = address.split(':').filter(|group| !group.is_empty()).count();
            let digits = address.bytes().any(|byte| byte.is_ascii_digit());
            let usual = ["2", "3", "fe80", "fd", "fc"].iter().any(|head| address.to_lowercase().starts_with(head));
            digits && after(text, all.end) != Some(':') && (groups >= 4 || (groups >= 2 && usual)) && !v6.is_loopback()
        }
        _ => false,
    };
    if known {
        found.push(all);
    }
}

/// An address of somebody, not of everybody: loopback, broadcast and masks say nothing.
fn is_host(ip: Ipv4Addr) -> bool {
    let first = ip.octets()[0];
    !(ip.is_loopback() || ip.is_unspecified() || first == 0 || first == 255 || ip.is_link_local())
}

fn is_version(text: &str, at: usize, ip: Ipv4Addr) -> bool {
    let lead = lead(text, at, 16);
    let words =
        ["version", "ver", "release", "build", "firmware", "section", "driver", "chapter", "upgrade to", "clause"];
    let named = words.iter().any(|word| lead.trim_end_matches([' ', ':', '=', '"', '\'', 'v']).ends_with(word));
    let operator = ["==", ">=", "<=", "~=", "§", "§ "].iter().any(|sign| lead.ends_with(sign));
    // Browsers: `Chrome/120.0.0.0`.
    let agent = lead.ends_with('/') && !lead.ends_with("//") && ip.octets()[3] == 0;
    named || operator || agent
}
