//! Pulling traces from platforms: against fakes that answer, page, limit and fail as the platforms document.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assize::ingest::IngestError;
use assize::ingest::api::{self, ApiOptions, Pull, PullSummary, RowTaker};
use assize::sys::{Env, SystemClock};
use serde_json::Value;

#[path = "../mock/platforms/mod.rs"]
mod platforms;

use crate::world::World;
use platforms::by_id::{AgentOps, MlFlow, MlFlowAge};
use platforms::by_page::{
    braintrust_fake, datadog_fake, helicone_fake, langsmith_of, opik_fake, phoenix_fake, sentry_fake, weave_fake,
};
use platforms::clickhouse::{self, ClickHouse, Engine};
use platforms::langfuse::Langfuse;
use platforms::{COUNT, Fake, Fault, KEY, Platform, SECRET};

/// Collects what a reader would get.
#[derive(Default)]
struct Rows {
    taken: Vec<Value>,
    kept: usize,
    /// Fails at the row of this number.
    breaks_at: Option<usize>,
}

impl RowTaker for Rows {
    fn take(&mut self, rows: Vec<Value>) -> Result<(), IngestError> {
        for row in rows {
            if self.breaks_at == Some(self.taken.len()) {
                return Err(IngestError::Sink { file: "x".to_owned(), cause: "disk full".into() });
            }
            self.taken.push(row);
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<(), IngestError> {
        self.kept = self.taken.len();
        Ok(())
    }

    fn newest_ns(&self) -> Option<i64> {
        Some(1_740_816_000_000_000_000)
    }
}

fn env() -> Env {
    let pairs = api::PLATFORMS.iter().flat_map(|platform| platform.keys);
    let pairs: Vec<(&str, &str)> =
        pairs.map(|key| (key.variable, if key.option == "secret_env" { SECRET } else { KEY })).collect();
    Env::of_pairs(&pairs)
}

/// A folder for places and a way to pull into a list.
struct Bench {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), runtime }
    }

    fn pull(&self, platform: &str, url: &str, options: &str, limit: Option<u64>, rows: &mut Rows) -> PullSummary {
        self.try_pull(platform, url, options, limit, rows).unwrap()
    }

    fn try_pull(
        &self,
        platform: &str,
        url: &str,
        options: &str,
        limit: Option<u64>,
        rows: &mut Rows,
    ) -> Result<PullSummary, String> {
        let text = if options.contains("requests_per_minute") {
            format!("url = \"{url}\"\n{options}")
        } else {
            format!("url = \"{url}\"\nrequests_per_minute = 60000\n{options}")
        };
        let options: Value = toml::from_str(&text).unwrap();
        let info = api::find(platform).unwrap();
        assert!(jsonschema::is_valid(&info.schema(), &options), "{platform}: {options}");
        let options: ApiOptions = serde_json::from_value(options).unwrap();
        info.check(&options).unwrap();
        let pull = Pull {
            name: "here",
            platform: info,
            options: &options,
            since: None,
            until: None,
            limit,
            restart: false,
            checkpoints: self.folder.path().to_owned(),
            http: assize::sys::http_client().unwrap(),
            clock: Arc::new(SystemClock),
            env: env(),
            on_progress: &|_| {},
        };
        self.runtime.block_on(pull.run(rows)).map_err(|error| error.to_string())
    }

    fn place(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("here.json")).unwrap_or_default()
    }
}

fn sorted(rows: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

fn every_platform() -> Vec<(&'static str, &'static str, Fake, Vec<Value>, String)> {
    fn one(
        platform: &'static str,
        what: &'static str,
        fake: impl Platform,
    ) -> (&'static str, &'static str, Fake, Vec<Value>, String) {
        let (expected, options) = (fake.expected(), fake.options().to_owned());
        (platform, what, Fake::start(fake, &[]), expected, options)
    }
    vec![
        one("langfuse", "version 4", Langfuse { version: 4 }),
        one("langfuse", "version 3", Langfuse { version: 3 }),
        one("langsmith", "second version", langsmith_of(true)),
        one("langsmith", "first version", langsmith_of(false)),
        one("phoenix", "", phoenix_fake()),
        one("braintrust", "btql", braintrust_fake("project = \"support\"\npage_size = 3")),
        one("braintrust", "fetch", braintrust_fake("project = \"support\"\napi = \"fetch\"\npage_size = 3")),
        one("helicone", "", helicone_fake()),
        one("opik", "", opik_fake()),
        one("mlflow", "batches", MlFlow(MlFlowAge::Batches)),
        one("mlflow", "single", MlFlow(MlFlowAge::Single)),
        one("mlflow", "files", MlFlow(MlFlowAge::Files)),
        one("sentry", "", sentry_fake()),
        one("agentops", "", AgentOps::default()),
        one("datadog", "", datadog_fake()),
        one("weave", "", weave_fake()),
        one("clickhouse", "", ClickHouse(Engine::Rows(clickhouse::rows(COUNT)))),
    ]
}

#[test]
fn every_platform_gives_every_row_once() {
    let mut met = std::collections::BTreeSet::new();
    for (platform, what, fake, expected, options) in every_platform() {
        met.insert(platform);
        let bench = Bench::new();
        let mut rows = Rows::default();
        let summary = bench.pull(platform, &fake.url, &options, None, &mut rows);
        assert_eq!(summary.stopped, None, "{platform} {what}");
        assert!(summary.complete, "{platform} {what}");
        assert_eq!(sorted(&rows.taken), sorted(&expected), "{platform} {what}");
        assert_eq!((rows.kept, summary.retries), (rows.taken.len(), 0), "{platform} {what}");
        assert!(expected.len() < 4 || summary.pages > 1, "{platform} {what}: {summary:?}");
        assert_eq!(summary.requests as usize, fake.asks().len(), "{platform} {what}");
        // Finished: the next pull begins an hour before the newest span, and says so to the platform.
        let place: Value = serde_json::from_str(&bench.place()).unwrap();
        assert_eq!((&place["place"], &place["newest"]), (&Value::Null, &"2025-03-01T08:00:00Z".into()), "{platform}");
    }
    let known: std::collections::BTreeSet<&str> = api::PLATFORMS.iter().map(|info| info.name).collect();
    assert_eq!(met, known, "a platform without a fake");
}

#[test]
fn every_platform_resumes_wherever_it_was_cut() {
    for (platform, what, fake, expected, options) in every_platform() {
        // One row at a time: every place is one to go on from.
        let options = options.replace("page_size = 3", "page_size = 1").replace("page_size = 4", "page_size = 1");
        let bench = Bench::new();
        let mut all = Vec::new();
        for pulls in 0.. {
            assert!(pulls < 60, "{platform} {what} comes to no end");
            let mut rows = Rows::default();
            let summary = bench.pull(platform, &fake.url, &options, Some(1), &mut rows);
            assert_eq!((summary.stopped, rows.kept), (None, rows.taken.len()), "{platform} {what}");
            assert!(rows.taken.len() <= 1, "{platform} {what}");
            all.append(&mut rows.taken);
            if summary.complete {
                break;
            }
            let resumed = all.len() == 1 && summary.how == "first pull" || summary.how.starts_with("resumed after");
            assert!(resumed, "{platform} {what}: {}", summary.how);
        }
        if platform == "braintrust" {
            // An earlier state of a row is known for one only within a pull.
            all.retain(|row| expected.contains(row));
        }
        assert_eq!(sorted(&all), sorted(&expected), "{platform} {what}");
    }
}

/// A Langfuse of version 4 with faults, and what a pull of three rows a page from it did.
fn faulty(faults: &[(usize, Fault)], options: &str) -> (Fake, Bench, Rows, PullSummary) {
    let fake = Fake::start(Langfuse { version: 4 }, faults);
    let bench = Bench::new();
    let mut rows = Rows::default();
    let options = format!("page_size = 3\nmax_attempts = 3\n{options}");
    let summary = bench.pull("langfuse", &fake.url, &options, None, &mut rows);
    (fake, bench, rows, summary)
}

fn everything() -> Vec<String> {
    sorted(&Langfuse { version: 4 }.expected())
}

#[test]
fn trouble_that_passes_costs_no_row() {
    let faults = [(1, Fault::Server), (3, Fault::TooMany(1.0)), (5, Fault::Partial), (7, Fault::CutOff)];
    let (fake, _, rows, summary) = faulty(&faults, "");
    assert_eq!(sorted(&rows.taken), everything());
    assert_eq!((summary.retries, summary.partial_answers, summary.complete), (3, 1, true));
    let asks = fake.asks();
    let waited = asks[4].at.duration_since(asks[3].at);
    assert!(waited >= Duration::from_secs(1), "asked to wait one second, waited {waited:?}");
    assert_eq!(asks[4].query, asks[3].query, "the same page is asked for again");
}

#[test]
fn a_slow_answer_is_given_up_and_asked_for_again() {
    let (_, _, rows, summary) = faulty(&[(2, Fault::Slow(3000))], "timeout = \"1s\"");
    assert_eq!((sorted(&rows.taken), summary.retries), (everything(), 1));
}

#[test]
fn requests_keep_their_distance() {
    let (fake, _, _, summary) = faulty(&[], "requests_per_minute = 1200");
    assert!(summary.complete);
    let asks = fake.asks();
    let took = asks[asks.len() - 1].at.duration_since(asks[0].at);
    // A little less than the sum of the distances: the first may have been on its way for longer than the last.
    let least = Duration::from_millis(50 * (asks.len() as u64 - 1)).mul_f64(0.9);
    assert!(took >= least, "1200 a minute are 50 ms apart, {} took {took:?}", asks.len());
    let closest = asks.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).min().unwrap();
    assert!(closest >= Duration::from_millis(20), "no bursts: {closest:?}");
}

#[test]
fn trouble_that_stays_stops_with_its_name_and_keeps_what_came() {
    let many = |fault: Fault| vec![(2, fault.clone()), (3, fault.clone()), (4, fault)];
    for (faults, told) in [
        (many(Fault::Server), "answered 500"),
        (many(Fault::TooMany(0.0)), "answered 429"),
        (vec![(2, Fault::TooMany(7200.0))], "asks to wait 7200 s"),
        (vec![(2, Fault::Circle)], "pages in circles"),
        (vec![(2, Fault::WrongShape)], "the number 7 as `data`; expected a list as `data`"),
        (vec![(2, Fault::NotJson)], "not JSON"),
        (vec![(2, Fault::Huge)], "more than 1 MiB; ask for less at a time with `page_size`"),
        (vec![(2, Fault::Expired)], "set `LANGFUSE_PUBLIC_KEY` and `LANGFUSE_SECRET_KEY`"),
    ] {
        let (fake, bench, rows, summary) = faulty(&faults, "max_page_mib = 1");
        let stopped = summary.stopped.clone().unwrap_or_default();
        assert!(stopped.contains(told), "{faults:?}: {stopped}");
        assert!(stopped.contains("`here` (langfuse at http://127.0.0.1"), "{stopped}");
        assert_eq!((rows.taken.len(), rows.kept, summary.complete), (3, 3, false), "{faults:?}");
        for secret in [KEY, SECRET] {
            assert!(!stopped.contains(secret) && !bench.place().contains(secret), "{faults:?}: {stopped}");
        }
        // The trouble is over: it goes on behind the third row.
        fake.renew();
        let mut rest = Rows::default();
        let options = "page_size = 3\nmax_attempts = 3\nmax_page_mib = 1";
        let summary = bench.pull("langfuse", &fake.url, options, None, &mut rest);
        assert!(summary.complete && summary.how == "resumed after 3 rows", "{summary:?}");
        let all: Vec<Value> = rows.taken.into_iter().chain(rest.taken).collect();
        assert_eq!(sorted(&all), everything(), "{faults:?}");
    }
}

#[test]
fn coded_keys_are_not_shown_either() {
    let coded = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("{KEY}:{SECRET}"))
    };
    // The server answers with the header it was sent.
    let many: Vec<(usize, Fault)> = (0..9).map(|at| (at, Fault::Server)).collect();
    let (fake, bench, _, summary) = faulty(&many, "");
    assert!(fake.asks()[0].header("authorization").contains(&coded));
    let stopped = summary.stopped.unwrap();
    assert!(stopped.contains("oops Basic [secret]") && !stopped.contains(&coded), "{stopped}");
    assert!(!bench.place().contains(&coded));
}

#[test]
fn a_taker_that_fails_leaves_the_place_where_it_was() {
    let fake = Fake::start(Langfuse { version: 4 }, &[]);
    let bench = Bench::new();
    let options = "page_size = 3\nflush_rows = 3";
    let mut rows = Rows { breaks_at: Some(7), ..Rows::default() };
    let failed = bench.try_pull("langfuse", &fake.url, options, None, &mut rows).unwrap_err();
    assert!(failed.contains("disk full"), "{failed}");
    rows.taken.truncate(rows.kept);
    let mut rest = Rows::default();
    bench.pull("langfuse", &fake.url, options, None, &mut rest);
    let all: Vec<Value> = rows.taken.into_iter().chain(rest.taken).collect();
    assert_eq!(sorted(&all), everything(), "nothing is lost, nothing comes twice");
}

#[test]
fn an_agentops_token_that_dies_is_replaced_and_a_dead_key_is_told() {
    let fake = Fake::start(AgentOps::living(3), &[]);
    let expected = AgentOps::default().expected();
    let options = AgentOps::default().options();
    let bench = Bench::new();
    let mut rows = Rows::default();
    let summary = bench.pull("agentops", &fake.url, options, None, &mut rows);
    assert_eq!((summary.stopped, sorted(&rows.taken)), (None, sorted(&expected)));
    assert!(fake.asks().iter().filter(|ask| ask.post).count() > 1);
    let fake = Fake::start(AgentOps::living(0), &[]);
    let summary = Bench::new().pull("agentops", &fake.url, options, None, &mut rows);
    let stopped = summary.stopped.unwrap();
    assert!(stopped.contains("set `AGENTOPS_API_KEY`"), "{stopped}");
    assert!(!stopped.contains("token-00"), "{stopped}");
    assert!(fake.asks().len() < 6, "{}", fake.asks().len());
}

#[test]
fn a_missing_key_is_named_before_anything_is_asked() {
    let bench = Bench::new();
    let error = bench
        .try_pull("langfuse", "http://127.0.0.1:9", "key_env = \"NOT_SET_ANYWHERE\"", None, &mut Rows::default())
        .unwrap_err();
    assert_eq!(
        error,
        "source `here` needs `NOT_SET_ANYWHERE`, which is not set; run `export NOT_SET_ANYWHERE=...` first"
    );
}

// The binary, with ClickHouse.

fn lake_world(fake: &Fake, more: &str) -> World {
    let mut world = World::new();
    let config = format!(
        "[sources.prod]\nkind = \"clickhouse\"\nurl = \"{}\"\nuser = \"reader\"\ntable = \"otel.otel_traces\"\n\
         requests_per_minute = 60000\n{more}\n",
        fake.url
    );
    world.write("assize.toml", config);
    world.set("CLICKHOUSE_PASSWORD", KEY);
    world
}

fn shop(traces: usize) -> ClickHouse {
    ClickHouse(Engine::Rows(clickhouse::rows(traces)))
}

fn spans_in_lake(world: &World) -> usize {
    let rows = world.run(&["traces", "ls", "--limit", "100000", "--json"]).expect(0).json();
    let rows = rows.as_array().unwrap().clone();
    rows.iter().map(|row| row["spans"].as_u64().unwrap() as usize).sum()
}

#[test]
fn a_source_is_pulled_then_continued_with_late_spans() {
    let fake = Fake::start(shop(COUNT), &[]);
    let world = lake_world(&fake, "page_size = 4");
    let ran = world.run(&["ingest", "prod"]).expect(0);
    assert!(ran.stdout.contains("7 traces with 14 spans from 1 file; 14 new to the lake"), "{}", ran.stdout);
    assert!(ran.stdout.contains("prod (clickhouse): 14 rows in 4 requests, first pull."), "{}", ran.stdout);
    assert!(ran.stderr.contains("Pulling from `prod` as configured under `[sources]`."), "{}", ran.stderr);
    let trace = world.run(&["traces", "show", "5b8efff798038103d269b633813f0003", "--json"]).expect(0).json();
    let call = trace["spans"].as_array().unwrap().iter().find(|span| span["kind"] == "model").unwrap().clone();
    assert_eq!((&call["session_id"], &call["usage"]["input"]), (&"s1".into(), &120.into()), "{call}");
    // Two more traces, and a span of the last one that came late.
    let mut rows = clickhouse::rows(COUNT + 2);
    let mut late = clickhouse::row(COUNT - 1, true);
    late["SpanId"] = "c3c3c3c3c3c3c3c3".into();
    rows.push(late);
    fake.swap(ClickHouse(Engine::Rows(rows)));
    let ran = world.run(&["ingest", "prod", "--json"]).expect(0).json();
    assert_eq!((&ran["added"], &ran["already_there"]), (&5.into(), &14.into()), "an overlap of an hour: {ran}");
    assert_eq!(ran["pulls"][0]["how"], "continued from 2025-03-01T07:06:00.1Z");
    assert_eq!(spans_in_lake(&world), 19);
    // Half a minute of overlap reaches back over the last trace only.
    let short = lake_world(&fake, "page_size = 4\noverlap = \"30s\"");
    short.run(&["ingest", "prod"]).expect(0);
    let again = short.run(&["ingest", "prod", "--json"]).expect(0).json();
    assert_eq!((&again["pulls"][0]["rows"], &again["added"]), (&2.into(), &0.into()), "{again}");
    let anew = short.run(&["ingest", "prod", "--restart", "--json"]).expect(0).json();
    assert_eq!((&anew["pulls"][0]["rows"], &anew["added"]), (&19.into(), &0.into()), "{anew}");
}

#[test]
fn windows_and_limits_of_the_command_line_hold() {
    let fake = Fake::start(shop(COUNT), &[]);
    let world = lake_world(&fake, "page_size = 4");
    let window = ["ingest", "prod", "--since", "2025-03-01T08:02:00Z", "--until", "2025-03-01T08:04:00Z", "--json"];
    let ran = world.run(&window).expect(0).json();
    assert_eq!((&ran["added"], &ran["pulls"][0]["complete"]), (&4.into(), &true.into()), "{ran}");
    // The window left the place of the regular pulls alone.
    let ran = world.run(&["ingest", "prod", "--limit", "6", "--json"]).expect(0).json();
    assert_eq!((&ran["pulls"][0]["rows"], &ran["pulls"][0]["how"]), (&6.into(), &"first pull".into()), "{ran}");
    let ran = world.run(&["ingest", "prod", "--json"]).expect(0).json();
    assert_eq!(ran["pulls"][0]["how"], "resumed after 4 rows", "{ran}");
    assert_eq!(spans_in_lake(&world), 14);
    let bad = world.run(&["ingest", "prod", "--since", "yesterday"]).expect(2);
    assert!(bad.stderr.contains("`--since` must be a time"), "{}", bad.stderr);
}

#[test]
fn the_filter_is_part_of_the_query() {
    let fake = Fake::start(shop(COUNT), &[]);
    let world = lake_world(&fake, "filter = \"SpanAttributes['gen_ai.operation.name'] = 'chat'\"");
    let ran = world.run(&["ingest", "prod", "--json"]).expect(0).json();
    assert_eq!(ran["pulls"][0]["rows"], 7, "{ran}");
}

#[test]
fn a_pull_that_is_killed_goes_on_without_loss_or_doubling() {
    let slow: Vec<(usize, Fault)> = (0..400).map(|at| (at, Fault::Slow(15))).collect();
    let fake = Fake::start(shop(300), &slow);
    let world = lake_world(&fake, "page_size = 10\nflush_rows = 20");
    let mut kills = 0;
    while kills < 3 {
        let mut child = world.start(&["ingest", "prod"]);
        let asked = fake.asks().len();
        let began = Instant::now();
        while fake.asks().len() < asked + 8 && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let place: Value = serde_json::from_str(&world.read(".assize/lake/checkpoints/prod.json")).unwrap();
    assert!(place["rows"].as_u64().unwrap() > 0 && place["place"].is_object(), "{place}");
    let ran = world.run(&["ingest", "prod", "--json"]).expect(0).json();
    assert!(ran["pulls"][0]["how"].as_str().unwrap().starts_with("resumed after"), "{ran}");
    assert!(ran["pulls"][0]["rows"].as_u64().unwrap() < 600, "{ran}");
    assert_eq!(spans_in_lake(&world), 600);
}

#[test]
fn an_expired_key_stops_the_pull_and_is_told_without_being_shown() {
    let fake = Fake::start(shop(COUNT), &[(1, Fault::Expired)]);
    let world = lake_world(&fake, "page_size = 4");
    let ran = world.run(&["ingest", "prod"]).expect(3);
    assert!(ran.stdout.contains("Stopped, with everything kept that came"), "{}", ran.stdout);
    assert!(ran.stdout.contains("set `CLICKHOUSE_PASSWORD` and pull again"), "{}", ran.stdout);
    assert!(ran.stdout.contains("4 new to the lake"), "{}", ran.stdout);
    let place = world.read(".assize/lake/checkpoints/prod.json");
    for text in [&ran.stdout, &ran.stderr, &place] {
        assert!(!text.contains(KEY), "{text}");
    }
    let doctor = world.run(&["doctor", "--json"]).expect(3).json();
    let look = doctor.as_array().unwrap().iter().find(|look| look["what"] == "source prod").unwrap();
    assert_eq!(look["standing"], "broken");
    assert!(look["found"].as_str().unwrap().contains("CLICKHOUSE_PASSWORD"), "{look}");
    fake.renew();
    let doctor = world.run(&["doctor", "--json"]).expect(0).json();
    let look = doctor.as_array().unwrap().iter().find(|look| look["what"] == "source prod").unwrap();
    assert_eq!((&look["standing"], &look["found"]), (&"ok".into(), &"clickhouse answers".into()));
    world.run(&["ingest", "prod"]).expect(0);
    assert_eq!(spans_in_lake(&world), 14);
}

#[test]
fn a_file_of_the_same_name_wins_and_is_said() {
    let fake = Fake::start(shop(COUNT), &[]);
    let world = lake_world(&fake, "");
    let lines: String = clickhouse::rows(1).iter().map(|row| format!("{row}\n")).collect();
    world.write("prod", lines);
    let ran = world.run(&["ingest", "prod"]).expect(0);
    assert!(
        ran.stderr.contains("`prod` is a file here and a platform under `[sources]`: reading the file."),
        "{}",
        ran.stderr
    );
    assert!(fake.asks().is_empty() && ran.stdout.contains("2 new to the lake"), "{}", ran.stdout);
    let ran = world.run(&["ingest", "prdo"]).expect(2);
    assert!(
        ran.stderr.contains("nor a source under `[sources]` of `assize.toml`; did you mean `prod`? (there is prod)"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_wrong_with_a_source_is_told_with_its_line() {
    let world = World::new();
    for (source, told) in [
        ("kind = \"langfuze\"", "no platform `langfuze` (did you mean `langfuse`?)"),
        ("kind = \"langfuse\"\nprojekt = \"x\"", "4: `sources.prod.projekt`: unknown key"),
        ("kind = \"langsmith\"", "lacks the key `project`"),
        ("kind = \"langfuse\"\napi = \"v9\"", "`api` must be `v4` or `v3`, found `v9`"),
        ("kind = \"langfuse\"\ntimeout = \"soon\"", "`timeout` must be a time such as"),
        ("kind = \"langfuse\"\nurl = \"https://me:pw@host\"", "name the variable it is in with `key_env`"),
        ("kind = \"weave\"\nproject = \"p\"", "`project` must be `entity/project`"),
        ("kind = \"clickhouse\"\ntable = \"a; drop table b\"", "`table` must be `table` or `database.table`"),
    ] {
        world.write("assize.toml", format!("# head\n[sources.prod]\n{source}\n"));
        let ran = world.run(&["ingest", "prod"]).expect(2);
        assert!(ran.stderr.contains(told), "{source}: {}", ran.stderr);
    }
    world.write("assize.toml", "[sources.\"../x\"]\nkind = \"langfuse\"\n");
    let ran = world.run(&["ingest", "x"]).expect(2);
    assert!(ran.stderr.contains("the name of a source may hold letters"), "{}", ran.stderr);
}

#[test]
fn the_table_of_platforms_is_sorted_and_its_samples_hold() {
    let names: Vec<&str> = api::PLATFORMS.iter().map(|info| info.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for info in api::PLATFORMS {
        let sample: Value = toml::from_str(info.sample).unwrap();
        assert!(jsonschema::is_valid(&info.schema(), &sample), "{}", info.name);
        let options: ApiOptions = serde_json::from_value(sample.clone()).unwrap();
        info.check(&options).unwrap_or_else(|error| panic!("{}: {error}", info.name));
        let mut wrong = sample;
        wrong["nonsense"] = 1.into();
        assert!(!jsonschema::is_valid(&info.schema(), &wrong), "{}", info.name);
        assert!(info.keys.iter().all(|key| info.takes.contains(&key.option)), "{}", info.name);
    }
}

/// Through the binary to spans, for every platform whose rows have a reader.
#[test]
fn spans_of_every_platform_reach_the_lake_once() {
    for (platform, what, fake, _, options) in every_platform() {
        let info = api::find(platform).unwrap();
        let mut world = World::new();
        for key in info.keys {
            world.set(key.variable, if key.option == "secret_env" { SECRET } else { KEY });
        }
        let config = format!(
            "[sources.prod]\nkind = \"{platform}\"\nurl = \"{}\"\nrequests_per_minute = 60000\n{options}\n",
            fake.url
        );
        world.write("assize.toml", config);
        if !info.has_reader() {
            let ran = world.run(&["ingest", "prod"]).expect(2);
            assert!(ran.stderr.contains("there is no reader for rows of"), "{}", ran.stderr);
            println!("skipped: spans of {platform} {what}: no reader for its rows");
            continue;
        }
        let ran = world.run(&["ingest", "prod", "--json"]).expect(0).json();
        assert_eq!(
            (&ran["rejected"], &ran["pulls"][0]["complete"]),
            (&0.into(), &true.into()),
            "{platform} {what}: {ran}"
        );
        let spans = ran["added"].as_u64().unwrap() as usize;
        // AgentOps knows only the traces that are named, Helicone has one request per row.
        let (traces, least) = if platform == "agentops" {
            (2, 4)
        } else {
            (COUNT, if platform == "helicone" { COUNT } else { 2 * COUNT })
        };
        assert!(spans >= least, "{platform} {what}: {spans} spans");
        let found = ran["traces"].as_u64().unwrap() as usize;
        // Requests of one session may be one trace.
        assert!(found == traces || platform == "helicone", "{platform} {what}: {found} traces");
        let again = world.run(&["ingest", "prod", "--restart", "--json"]).expect(0).json();
        assert_eq!(again["added"], 0, "{platform} {what}: {again}");
        assert_eq!(spans_in_lake(&world), spans, "{platform} {what}");
        assert_said(&world, platform);
    }
}

/// What is pulled passes the same gate as what is read from a file.
#[test]
fn what_every_platform_gives_is_redacted_before_it_is_written() {
    for (platform, what, fake, _, options) in every_platform() {
        let info = api::find(platform).unwrap();
        // What AgentOps tells of a span in the fake is its kind alone.
        if !info.has_reader() || platform == "agentops" {
            continue;
        }
        let mut world = World::new();
        for key in info.keys {
            world.set(key.variable, if key.option == "secret_env" { SECRET } else { KEY });
        }
        let config = format!(
            "[redact]\n[[redact.patterns]]\nname = \"greeting\"\npattern = \"hello\"\n[sources.prod]\n\
             kind = \"{platform}\"\nurl = \"{}\"\nrequests_per_minute = 60000\n{options}\n",
            fake.url
        );
        world.write("assize.toml", config);
        let ran = world.run(&["ingest", "prod", "--json"]).expect(0).json();
        assert!(ran["redacted"]["rules"]["greeting"].as_u64() >= Some(1), "{platform} {what}: {ran}");
        let sql = "SELECT span FROM spans";
        let spans = world.run(&["traces", "query", sql, "--json"]).expect(0).stdout;
        assert!(spans.contains("[greeting]") && !spans.contains("hello"), "{platform} {what}: {spans}");
    }
}

/// The model call of the newest trace says what every platform was given: what was asked, answered and counted.
fn assert_said(world: &World, platform: &str) {
    let newest = world.run(&["traces", "ls", "--limit", "1", "--json"]).expect(0).json();
    let trace = world.run(&["traces", "show", newest[0]["trace_id"].as_str().unwrap(), "--json"]).expect(0).json();
    let call = trace["spans"].as_array().unwrap().iter().find(|span| span["kind"] == "model");
    let call = call.unwrap_or_else(|| panic!("{platform}: no model call in {trace}"));
    // What AgentOps tells of a span in the fake is its kind alone.
    if platform != "agentops" {
        assert_eq!(call["messages_in"][0]["parts"][0]["content"], "hi", "{platform}: {call}");
    }
    // Tokens are no part of what these two were given, or only some of them.
    if !["agentops", "mlflow"].contains(&platform) {
        assert_eq!(
            (&call["usage"]["input"], &call["usage"]["output"]),
            (&120.into(), &30.into()),
            "{platform}: {call}"
        );
    }
}

/// The query in the real engine: `ASSIZE_CHDB_PYTHON` names a Python that has the `chdb` package.
#[test]
fn the_query_is_what_clickhouse_understands() {
    let Some(python) = std::env::var_os("ASSIZE_CHDB_PYTHON").map(std::path::PathBuf::from) else {
        println!("skipped: the_query_is_what_clickhouse_understands: ASSIZE_CHDB_PYTHON is not set");
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let mut script = format!("CREATE DATABASE otel; {};", clickhouse::TABLE);
    for row in clickhouse::rows(COUNT) {
        script.push_str(&format!("{};", clickhouse::insert(&row)));
    }
    clickhouse::real(&python, data.path(), &script).unwrap();
    let engine = Engine::Real { python, data: data.path().to_owned() };
    let fake = Fake::start(ClickHouse(engine), &[]);
    let world = lake_world(
        &fake,
        "page_size = 4\nproject = \"shop\"\nsince = \"2025-03-01T08:01:00Z\"\nfilter = \"SpanName LIKE '%' -- all\"",
    );
    let ran = world.run(&["ingest", "prod", "--json"]).expect(0).json();
    assert_eq!(
        (&ran["pulls"][0]["rows"], &ran["added"], &ran["rejected"]),
        (&12.into(), &12.into(), &0.into()),
        "{ran}"
    );
    // The fake gives the same spans as the engine.
    let fake = Fake::start(shop(COUNT), &[]);
    let other = lake_world(&fake, "page_size = 4");
    other.run(&["ingest", "prod"]).expect(0);
    for world in [&world, &other] {
        let trace = world.run(&["traces", "show", "5b8efff798038103d269b633813f0003", "--json"]).expect(0).json();
        let call = trace["spans"].as_array().unwrap().iter().find(|span| span["kind"] == "model").unwrap().clone();
        assert_eq!(call["start_ns"], 1_740_816_180_100_000_000_i64, "{call}");
        assert_eq!(call["end_ns"], 1_740_816_180_900_000_000_i64, "{call}");
        assert_eq!(call["usage"]["cache_read"], 100, "{call}");
        assert_eq!(call["messages_out"][0]["parts"][0]["content"], "hello", "{call}");
    }
}
