//! The names one model goes by: dated snapshots, prefixes of vendors and gateways, forms of cloud platforms.

/// Names under which a price is looked for, from the name as it came to the barest.
pub(super) fn candidates(model: &str) -> Vec<String> {
    let lower = model.trim().to_lowercase();
    let mut names = vec![model.to_owned(), lower.clone()];
    // `publishers/google/models/x`, `openrouter/anthropic/x`, `arn:aws:bedrock:...:inference-profile/us.anthropic.x`.
    let bare = lower.rsplit('/').next().unwrap_or(&lower);
    // `us.anthropic.claude-x`: a region, a vendor, the model.
    let bare = ["anthropic.", "amazon.", "meta.", "mistral.", "cohere."]
        .iter()
        .find_map(|vendor| bare.split_once(vendor).filter(|(region, _)| region.len() <= 7).map(|(_, model)| model))
        .unwrap_or(bare);
    // `:0` and `-v1:0` are versions of Bedrock, `@20250514` is a snapshot of Vertex. `:free` is another price.
    let bare = bare
        .strip_suffix(":0")
        .map_or(bare, |head| head.strip_suffix("-v1").or_else(|| head.strip_suffix("-v2")).unwrap_or(head));
    let bare = bare.replacen("gpt-35-", "gpt-3.5-", 1);
    names.push(bare.clone());
    let dashed = bare.replace('@', "-");
    let undated = undated(&dashed).to_owned();
    let unversioned = undated.strip_suffix("-latest").unwrap_or(&undated);
    let unversioned = unversioned.strip_suffix("-v2").unwrap_or(unversioned);
    names.extend([dashed.clone(), undated.clone(), unversioned.to_owned()]);
    if unversioned.starts_with("claude-") {
        // `claude-sonnet-4.5` of gateways, `claude-4-sonnet` of some others.
        let hyphens = unversioned.replace('.', "-");
        names.push(hyphens.clone());
        for family in ["opus", "sonnet", "haiku"] {
            if let Some(version) =
                hyphens.strip_prefix("claude-").and_then(|rest| rest.strip_suffix(&format!("-{family}")))
            {
                names.push(format!("claude-{family}-{version}"));
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

/// A name without a dated snapshot: `-2025-08-07`, `-20250807`.
fn undated(model: &str) -> &str {
    let tail_is_date = |tail: &str| {
        let digits = tail.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && tail.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    [11, 9]
        .iter()
        .filter_map(|length| model.len().checked_sub(*length).and_then(|cut| model.split_at_checked(cut)))
        .find(|(_, tail)| tail.strip_prefix('-').is_some_and(tail_is_date))
        .map_or(model, |(head, _)| head)
}

/// Whether a name fits a pattern in which `*` stands for any text.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(tail) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, expected) in [
            ("gpt-*", "gpt-5", true),
            ("gpt-5", "gpt-5-mini", false),
            ("*sonnet*", "claude-sonnet-4", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*-mini", "gpt-5-mini", true),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_of_clouds_and_gateways_lead_to_the_model() {
        for (name, model) in [
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4"),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet"),
            ("vertex_ai/claude-sonnet-4@20250514", "claude-sonnet-4"),
            ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
            ("openrouter/anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
            ("claude-4-sonnet-20250514", "claude-sonnet-4"),
            ("publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
            ("azure/gpt-35-turbo", "gpt-3.5-turbo"),
            ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
            ("GPT-4o-2024-08-06", "gpt-4o"),
        ] {
            assert!(candidates(name).iter().any(|found| found == model), "{name}: {:?}", candidates(name));
        }
        assert!(!candidates("deepseek/deepseek-r1:free").contains(&"deepseek-r1".to_owned()));
        assert!(candidates("é-2025").contains(&"é-2025".to_owned()));
    }
}
