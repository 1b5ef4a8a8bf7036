//! Making foreign text safe and short for a terminal or a message.
//!
//! Text from traces, targets and judges may carry escape sequences, direction overrides and megabytes. HTML has its
//! own escaping in the report templates; this is for everything that is printed plain.

/// What stands where a text was made shorter; foreign text may hold it too.
const CUT: char = '…';
/// Least limit at which the mark says how many characters were left out: in less room it would be most of the text.
const ROOM_FOR_COUNT: usize = 60;

/// Replaces control characters (escape sequences among them), direction overrides and zero-width characters by
/// visible escapes; keeps line breaks and tabs.
pub fn for_terminal(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    text.chars().for_each(|character| push_visible(&mut safe, character));
    safe
}

/// One line of at most `limit` characters, safe for a terminal, shortened as by [`shorten`]. No escape is cut in two.
pub fn one_line(text: &str, limit: usize) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let width = |character| if is_escaped(character) { character.escape_unicode().len() } else { 1 };
    cut(&folded, limit, width, push_visible)
}

/// At most `limit` characters: the head and the tail, with a mark between them that says how many characters were left
/// out, or in little room only that some were.
pub fn shorten(text: &str, limit: usize) -> String {
    cut(text, limit, |_| 1, String::push)
}

/// Whether a text may have been made shorter here. A text that came with the mark in it says yes, too.
pub fn may_be_shortened(text: &str) -> bool {
    text.contains(CUT)
}

fn is_escaped(character: char) -> bool {
    is_hidden(character) && !matches!(character, '\n' | '\t')
}

fn push_visible(safe: &mut String, character: char) {
    if is_escaped(character) {
        safe.extend(character.escape_unicode());
    } else {
        safe.push(character);
    }
}

/// `width` is how many characters `push` writes for one.
fn cut(text: &str, limit: usize, width: impl Fn(char) -> usize, push: impl Fn(&mut String, char)) -> String {
    let write = |part: &str| {
        let mut written = String::with_capacity(part.len());
        part.chars().for_each(|character| push(&mut written, character));
        written
    };
    if text.chars().map(&width).sum::<usize>() <= limit {
        return write(text);
    }
    let mark = |left_out: usize| match limit {
        ROOM_FOR_COUNT.. => format!(" […{left_out} characters left out{CUT}] "),
        _ => CUT.to_string(),
    };
    let count = text.chars().count();
    let room = limit.saturating_sub(mark(count).chars().count());
    let fits = |room: usize| {
        let mut used = 0;
        move |character: char, width: &dyn Fn(char) -> usize| {
            used += width(character);
            used <= room
        }
    };
    let (mut in_head, mut in_tail) = (fits(room - room / 3), fits(room / 3));
    let head = text.chars().take_while(|character| in_head(*character, &width));
    let head: usize = head.map(char::len_utf8).sum();
    let tail = text.chars().rev().take_while(|character| in_tail(*character, &width));
    let tail = text.len() - tail.map(char::len_utf8).sum::<usize>();
    let (start, end) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    let left_out = count - start.chars().count() - end.chars().count();
    format!("{}{}{}", write(start), mark(left_out), write(end))
}

/// The known name a mistyped one was meant to be: the nearest, whatever the case, when no more than one letter and a
/// third of it differ, and something of what was typed is in it. The first of several that are equally near.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let typed = wanted.chars().count();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 3 && *distance < typed)
        .map(|(_, name)| name)
}

/// A count with a comma before every three digits: the one form in which whole numbers are shown.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether a character changes how other text looks without being seen itself.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_shown_not_obeyed() {
        assert_eq!(for_terminal("a\u{1b}[31mred\nb\u{202e}c"), "a\\u{1b}[31mred\nb\\u{202e}c");
    }

    #[test]
    fn the_nearest_name_is_found_whatever_the_case_and_only_when_near() {
        let known = ["instance_id", "trials", "Cost"];
        let near = |wanted: &str| nearest(wanted, known);
        assert_eq!(
            (near("instnce_id"), near("TRAILS"), near("cots")),
            (Some("instance_id"), Some("trials"), Some("Cost"))
        );
        assert_eq!((near("zzz"), near("instance_of_this"), nearest("a", [])), (None, None, None));
        assert_eq!(nearest("tee", ["see", "fee"]), Some("see"));
        assert_eq!((nearest("a", ["day"]), nearest("", ["a"])), (None, None), "nothing of it is in the other");
    }

    #[test]
    fn the_middle_is_left_out_and_said() {
        let long = one_line(&"x".repeat(100), 80);
        assert!(long.contains("characters left out") && long.chars().count() <= 80, "{long}");
        let told: usize = long.split(['…', ' ']).find_map(|word| word.parse().ok()).unwrap();
        assert_eq!(told + long.matches('x').count(), 100, "{long}");
        assert_eq!(shorten(&"x".repeat(31), 30), format!("{}…{}", "x".repeat(20), "x".repeat(9)));
        assert_eq!(one_line("as short as it may be", 21), "as short as it may be");
        assert!(may_be_shortened(&long) && !may_be_shortened("x"));
    }

    #[test]
    fn no_escape_is_cut_in_two() {
        let hostile = "\u{1b}[31m".repeat(40);
        for limit in 0..100 {
            let line = one_line(&hostile, limit);
            assert!(line.chars().count() <= limit.max(1), "{limit}: {line}");
            let rest = line.replace("\\u{1b}", "");
            assert!(!rest.contains(['\\', '{', '}']), "{limit}: {line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_its_limit(text in ".{0,200}", limit in 1..200_usize) {
            prop_assert!(one_line(&text, limit).chars().count() <= limit);
            prop_assert!(shorten(&text, limit).chars().count() <= limit);
            prop_assert!(!one_line(&text, limit).chars().any(is_hidden));
        }
    }
}
