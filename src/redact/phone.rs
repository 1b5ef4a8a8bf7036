//! Telephone numbers among all the other digits: international form, common national forms, and bare digits only where
//! a word before them says so.
//!
//! A number is judged by how it is written. What a form leaves open (three groups of digits with hyphens are a number
//! in America and an order elsewhere) is decided by the last telling word before it.

use std::ops::Range;

use super::checks::{after, before, is_wordy, lead};

/// How far back words are looked for, bytes.
const LEAD: usize = 32;

const SAYS_PHONE: &[&str] = &[
    "phone",
    "tel",
    "call",
    "mobile",
    "cell",
    "whatsapp",
    "sms",
    "fax",
    "text me",
    "dial",
    "reach",
    "contact",
    "ring",
    "telefon",
    "handy",
    "rufnummer",
    "anruf",
    "erreichbar",
    "téléphone",
    "portable",
    "appel",
    "joindre",
    "móvil",
    "movil",
    "celular",
    "llám",
    "llama",
    "teléfono",
    "cellulare",
    "chiam",
    "telefone",
    "ligue",
    "电话",
    "手机",
    "電話",
    "携帯",
    "телефон",
    "звон",
    "tlf",
    "komórk",
    "gsm",
    "फ़ोन",
    "फोन",
];
const SAYS_OTHER: &[&str] = &[
    "order",
    "invoice",
    "ticket",
    "tracking",
    "ref",
    "sku",
    "isbn",
    "account",
    "case",
    "serial",
    "batch",
    "version",
    "build",
    "id",
    "no",
    "nr",
    "#",
    "commande",
    "bestell",
    "pedido",
    "rechnung",
    "facture",
    "customer",
    "booking",
    "confirmation",
    "code",
    "part",
    "model",
    "item_id",
    "error",
    "timestamp",
    "date",
    "zip",
    "policy",
    "flight",
    "reservation",
    "sequence",
    "coordinates",
    "score",
    "range",
    "pages",
    "订单",
    "注文",
];

/// Finds the numbers in a run of digits and the signs between them.
pub(super) fn find(text: &str, all: Range<usize>, _: Option<Range<usize>>, found: &mut Vec<Range<usize>>) {
    let joined = |c: Option<char>| c.is_some_and(|c| is_wordy(c) || "_+=/\\.%$€£¥".contains(c));
    let digits_before = |at: usize| {
        text.get(..at).is_some_and(|head| head.trim_end_matches(':').ends_with(|c: char| c.is_ascii_digit()))
    };
    let starts = match before(text, all.start) {
        // `phone=...` and `tel:...` lead to a number, `12:30` and `a-1` do not.
        Some('=') => after(text, all.end) != Some('='),
        Some(':') => !digits_before(all.start),
        Some('-') => false,
        c => !joined(c),
    };
    let mut tail = text.get(all.end..).unwrap_or_default().chars();
    let (next, further) = (tail.next(), tail.next());
    let goes_on = next.is_some_and(|c| is_wordy(c) || "_=+/\\%€$£".contains(c))
        || (next.is_some_and(|c| "-.:,".contains(c)) && further.is_some_and(|c| c.is_alphanumeric()));
    if !starts || goes_on {
        return;
    }
    let run = unwrapped(text.get(all.clone()).unwrap_or_default(), all.start);
    let (start, run) = (run.start, text.get(run).unwrap_or_default());
    let said = said(&lead(text, start, LEAD));
    // All of it; or, where something else says that a number begins here, as many of its words as make one.
    let sure = said == Some(true) || run.starts_with('+');
    let mut whole = run;
    loop {
        if is_number(whole, said) {
            found.push(start..start + whole.len());
            return;
        }
        match whole.rsplit_once([' ', '\u{a0}']).filter(|_| sure) {
            Some((fewer, _)) => whole = fewer,
            None => break,
        }
    }
    // Two things with a space between them: a date and a number, two numbers.
    let mut at = 0;
    for word in run.split([' ', '\u{a0}']) {
        let whole = word.contains(['-', '.', '(']) && is_number(word, said);
        if whole {
            found.push(unwrapped(word, start + at));
        }
        at += word.len() + run.get(at + word.len()..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    }
}

/// A range without a bracket that was not closed in it.
fn unwrapped(run: &str, at: usize) -> Range<usize> {
    let open = run.starts_with('(') && !run.contains(')');
    at + usize::from(open)..at + run.len()
}

/// What the last telling word before a number says: yes, no, or nothing.
fn said(lead: &str) -> Option<bool> {
    let last = |words: &[&str]| words.iter().filter_map(|word| word_at(lead, word)).max();
    match (last(SAYS_PHONE), last(SAYS_OTHER)) {
        (None, None) => None,
        (phone, other) => Some(phone > other),
    }
}

/// Where a word last begins; short ones must stand alone.
fn word_at(lead: &str, word: &str) -> Option<usize> {
    let at = lead.rfind(word)?;
    let short = word.len() <= 6 && word.is_ascii();
    let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    let alone = !letter(before(lead, at)) && !letter(after(lead, at + word.len()));
    (!short || alone).then_some(at)
}

fn is_number(run: &str, said: Option<bool>) -> bool {
    let digits: String = run.chars().filter(char::is_ascii_digit).collect();
    let groups: Vec<&str> = run.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty()).collect();
    let sizes: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let count = digits.len();
    if run.starts_with('+') || run.starts_with("(+") {
        let american = digits.starts_with('1') && count != 11;
        return (8..=15).contains(&count) && has_country(&digits) && !american && groups.len() <= 7;
    }
    if said == Some(false) || is_date(&groups) || groups.len() > 6 {
        return false;
    }
    let asked = said == Some(true);
    let spread = groups.len() > 1;
    if let Some(rest) = digits.strip_prefix("00").filter(|_| run.starts_with("00")) {
        let open = groups.first().is_some_and(|group| group.len() > 2);
        return (9..=14).contains(&rest.len())
            && has_country(rest)
            && (asked || (spread && !open) || (open && groups.len() > 2));
    }
    american(run, &groups, &sizes, asked)
        || trunk(run, &groups, count, asked)
        || brazilian(run, &sizes)
        || (sizes == [3, 4, 4] && is_chinese(&digits) && spread)
        || (asked && (8..=13).contains(&count) && !run.contains('.') && (spread || !is_moment(&digits)))
}

/// Three, three, four digits, area and exchange not beginning with 0 or 1.
fn american(run: &str, groups: &[&str], sizes: &[usize], asked: bool) -> bool {
    let (groups, sizes) = match (groups, sizes) {
        (["1", groups @ ..], [1, sizes @ ..]) => (groups, sizes),
        other => other,
    };
    let high = |group: Option<&&str>| group.is_some_and(|group| group.starts_with(|c: char| ('2'..='9').contains(&c)));
    let signs: Vec<char> = run.chars().filter(|c| "-./ ".contains(*c)).collect();
    let even = signs.windows(2).all(|pair| pair.first() == pair.last());
    match sizes {
        [3, 3, 4] if high(groups.first()) && high(groups.get(1)) => {
            run.contains('(') || (even && !signs.contains(&' ') && !signs.contains(&'/')) || asked
        }
        [3, 7] => run.contains('(') && high(groups.first()),
        _ => false,
    }
}

/// A national number with its trunk 0: `020 7946 0958`, `0171 2345678`, `06 12 34 56 78`, `03-1234-5678`.
fn trunk(run: &str, groups: &[&str], count: usize, asked: bool) -> bool {
    let head = groups.first().copied().unwrap_or_default();
    let real = head.starts_with('0') && head.chars().nth(1).is_some_and(|c| c != '0');
    let long = groups.iter().all(|group| group.len() >= 2);
    let dotted = run.contains('.') && groups.len() != 5;
    let slashes = run.matches('/').count();
    real && (9..=12).contains(&count)
        && (asked || ((2..=5).contains(&groups.len()) && head.len() <= 5 && long && !dotted && slashes <= 1))
}

/// Seconds or milliseconds since 1970, of these decades.
fn is_moment(digits: &str) -> bool {
    digits.starts_with('1') && matches!(digits.len(), 10 | 13)
}

fn brazilian(run: &str, sizes: &[usize]) -> bool {
    run.starts_with('(') && matches!(sizes, [2, 5 | 4, 4])
}

fn is_chinese(digits: &str) -> bool {
    digits.starts_with('1') && digits.chars().nth(1).is_some_and(|c| ('3'..='9').contains(&c))
}

/// Whether digits begin with a country code that is given out.
fn has_country(digits: &str) -> bool {
    !digits.starts_with('0') && !["28", "83", "89"].iter().any(|never| digits.starts_with(never))
}

/// Day, month and year in any order, perhaps with a time after them.
fn is_date(groups: &[&str]) -> bool {
    let number = |at: usize| groups.get(at).and_then(|group| group.parse::<u32>().ok()).unwrap_or(0);
    let year = |at: usize| groups.get(at).is_some_and(|group| group.len() == 4) && (1900..2100).contains(&number(at));
    let day = |at: usize| (1..=31).contains(&number(at)) && groups.get(at).is_some_and(|group| group.len() <= 2);
    groups.len() >= 3 && ((year(0) && day(1) && day(2)) || (day(0) && day(1) && year(2)))
}
