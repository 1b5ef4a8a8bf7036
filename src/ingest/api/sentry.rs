//! Sentry: spans as rows of the events interface, paged by the cursor in the `Link` header.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, list, place_of, restore, segment};
use super::{KEY, Keys, PlatformInfo, bearer};

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "sentry",
    summary: "Sentry: spans of AI agents, field by field",
    url: Some("https://sentry.io"),
    keys: &[KEY.named("SENTRY_AUTH_TOKEN")],
    requests_per_minute: 60,
    takes: &["key_env", "project", "workspace", "filter", "fields"],
    requires: &["workspace"],
    sample: "url = \"https://us.sentry.io\"\nworkspace = \"my-organization\"\n",
    headers: |keys: &Keys, _| bearer(&keys.key),
    new,
};

/// What is asked for of every span.
const FIELDS: &[&str] = &[
    "id",
    "trace",
    "parent_span",
    "project",
    "span.op",
    "span.description",
    "span.duration",
    "span.status",
    "timestamp",
    "precise.start_ts",
    "precise.finish_ts",
    "environment",
    "release",
    "user.id",
    "gen_ai.operation.name",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.provider.name",
    "gen_ai.system",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.input_tokens.cached",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.output_tokens.reasoning",
    "gen_ai.usage.total_tokens",
    "gen_ai.cost.total_tokens",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.request.messages",
    "gen_ai.response.text",
    "gen_ai.response.tool_calls",
    "gen_ai.tool.name",
    "gen_ai.tool.input",
    "gen_ai.tool.output",
];
/// How far back Sentry keeps spans.
const KEPT_DAYS: i64 = 90;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    cursor: Option<String>,
    done: bool,
}

struct Sentry {
    plan: Plan,
    organization: String,
    query: String,
    state: State,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let organization = plan.options.workspace.clone().ok_or("`workspace` is missing: the organisation's short name")?;
    let mut query = plan.text_filter("gen_ai.agent.name:support")?.unwrap_or_else(|| "span.op:gen_ai.*".to_owned());
    if let Some(project) = &plan.options.project {
        query.push_str(&format!(" project:{project}"));
    }
    Ok(Box::new(Sentry { plan: plan.clone(), organization, query, state: restore(place, State::default())? }))
}

/// The cursor of the next page, where the server says that there is more.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\"") && part.contains("results=\"true\""))?;
    let (_, rest) = next.split_once("cursor=\"")?;
    rest.split('"').next().filter(|cursor| !cursor.is_empty()).map(str::to_owned)
}

impl Pager for Sentry {
    fn next(&self) -> Option<Request> {
        if self.state.done {
            return None;
        }
        let ask = Request::get(format!("/api/0/organizations/{}/events/", segment(&self.organization)));
        let ask = ask.query("dataset", "spans").query("query", &self.query).query("sort", "timestamp");
        let ask = ask.query("start", self.plan.since_or(KEPT_DAYS)).query("end", self.plan.until);
        let ask = ask.query("per_page", self.plan.page_size(100, 100)).query_opt("cursor", self.state.cursor.as_ref());
        let more = self.plan.options.fields.iter().map(String::as_str);
        Some(FIELDS.iter().copied().chain(more).fold(ask, |ask, field| ask.query("field", field)))
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let rows = list(&mut answer.json()?, "data")?;
        self.state.cursor = answer.link.as_deref().and_then(next_cursor);
        self.state.done = self.state.cursor.is_none();
        Ok(Page::turned(rows))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_cursor_counts_only_where_there_is_more() {
        let link = |more: &str| {
            format!(
                "<https://x/?cursor=0:0:1>; rel=\"previous\"; results=\"true\"; cursor=\"0:0:1\", \
                 <https://x/?cursor=0:100:0>; rel=\"next\"; results=\"{more}\"; cursor=\"0:100:0\""
            )
        };
        assert_eq!(next_cursor(&link("true")).as_deref(), Some("0:100:0"));
        assert_eq!(next_cursor(&link("false")), None);
        assert_eq!(next_cursor("rel=\"next\"; results=\"true\""), None);
    }
}
