//! Making foreign text safe and short for a terminal or a message.
//!
//! Text from traces, targets and judges may carry escape sequences, direction overrides and megabytes. HTML has its
//! own escaping in the report templates; this is for everything that is printed plain.

/// Replaces control characters (escape sequences among them), direction overrides and zero-width characters by
/// visible escapes; keeps line breaks and tabs.
pub fn for_terminal(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => safe.push(character),
            hidden if is_hidden(hidden) => safe.extend(hidden.escape_unicode()),
            shown => safe.push(shown),
        }
    }
    safe
}

/// One line of at most `limit` characters, safe for a terminal; says how much was left out.
pub fn one_line(text: &str, limit: usize) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(&for_terminal(&folded), limit)
}

/// Keeps the head and the tail, with a mark between them that says how many characters were left out.
pub fn shorten(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text.to_owned();
    }
    let head = limit - limit / 3;
    let tail = limit / 3;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start} […{} characters left out…] {end}", count - head - tail)
}

/// The known name a mistyped one was meant to be: the nearest, whatever the case, when no more than one letter and a
/// third of it differ. The first of several that are equally near.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 3)
        .map(|(_, name)| name)
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
    }

    #[test]
    fn the_middle_is_left_out_and_said() {
        let short = one_line(&"x".repeat(100), 30);
        assert!(short.contains("70 characters left out"), "{short}");
    }
}
