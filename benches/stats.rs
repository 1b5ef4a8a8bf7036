//! What the statistics cost: bootstrap, estimators and tests beside numpy, scipy and statsmodels on the same data, and
//! a comparison of two large runs from the store.
//!
//! `cargo bench --bench stats [-- PART...]` with the parts `bootstrap`, `estimators` and `compare` (all three unless
//! told otherwise; `compare=EXAMPLES` changes its size). Set `PYTHON` to an interpreter with numpy, scipy and
//! statsmodels to see them beside. Python's times are of the calculation alone, without import or reading. Figures are
//! read, never asserted.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks, and stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use assize::compare::{ExampleMeta, Fold, RunResults, compare};
use assize::model::{
    CellKey, Digest, Direction, Event, Example, ExampleId, GatePolicy, GraderInfo, GraderKind, JournalEntry, RunHeader,
    RunId, RunTotals, Scale, Score, Spend, TargetInfo, TargetOutcome, TrialKey, Usage,
};
use assize::stats::{
    Design, Draws, Zeros, benjamini_hochberg, bootstrap_mean_drawn, mean_cr2, mean_designed, sign_flip, signed_rank,
};
use assize::store::{self, Store};
use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let made = black_box(work());
    (begun.elapsed().as_secs_f64(), made)
}

/// The least of some tries: others use the machine, too.
fn least<T>(tries: u32, mut work: impl FnMut() -> T) -> f64 {
    (0..tries).map(|_| timed(&mut work).0).fold(f64::INFINITY, f64::min)
}

fn row(what: &str, own: f64, other: Option<f64>) {
    let (other, ratio) = match other {
        Some(other) => (format!("{other:.3}"), format!("{:.0}", other / own)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    println!("| {what} | {own:.4} | {other} | {ratio} |");
}

/// Differences of pairs, most of them 0, and the session of each.
fn differences(pairs: usize, per_cluster: usize) -> (Vec<f64>, Vec<usize>) {
    let mut random = Pcg64::seed_from_u64(11);
    let one = |_| if random.random_bool(0.2) { random.random_range(-1.0..0.9) } else { 0.0 };
    ((0..pairs).map(one).collect(), (0..pairs).map(|place| place / per_cluster).collect())
}

/// Runs lines of Python that leave seconds in `took`; the data arrive as lists `x` and `c` on standard input.
fn python(lines: &str, values: &[f64], clusters: &[usize]) -> Option<f64> {
    let interpreter = std::env::var_os("PYTHON")?;
    let program = format!(
        "import sys, json, time, numpy as np\nx, c = map(np.array, json.load(sys.stdin))\n{lines}\nprint(took)"
    );
    let mut child =
        Command::new(interpreter).args(["-c", &program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!([values, clusters]).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

const NUMPY_BOOTSTRAP: &str = "
sums = np.bincount(c, x); sizes = np.bincount(c); k = len(sums); r = np.random.default_rng(1)
begun = time.time(); means = np.empty(10000)
for i in range(10000):
    d = r.integers(0, k, k); means[i] = sums[d].sum() / sizes[d].sum()
np.quantile(means, [.025, .975]); took = time.time() - begun";

fn bootstrap() {
    println!("\n| 10,000 resamples | assize s | numpy s | ratio |\n|---|---|---|---|");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (per_cluster, name) in [(10, "10,000 clusters of 10"), (1, "100,000 clusters of 1")] {
        let (values, clusters) = differences(100_000, per_cluster);
        let numpy = python(NUMPY_BOOTSTRAP, &values, &clusters);
        for threads in [1, threads] {
            let draws = Draws { count: 10_000, seed: 1, threads };
            let own = least(3, || bootstrap_mean_drawn(&values, &clusters, draws, 0.95).unwrap());
            row(&format!("100,000 pairs in {name}, {threads} threads"), own, numpy);
        }
    }
}

const CLUSTERED: &str = "
import statsmodels.api as sm
one = np.ones((len(x), 1)); begun = time.time()
sm.OLS(x, one).fit(cov_type='cluster', cov_kwds={'groups': c}).bse; took = time.time() - begun";
const WEIGHTED: &str = "
import statsmodels.api as sm
one = np.ones((len(x), 1)); w = np.where(np.arange(len(x)) % 4 == 0, 20., 1.); begun = time.time()
sm.WLS(x, one, weights=w).fit(cov_type='cluster', cov_kwds={'groups': c}).bse; took = time.time() - begun";
const WILCOXON: &str = "
from scipy import stats
begun = time.time(); stats.wilcoxon(x, zero_method='pratt', method='asymptotic'); took = time.time() - begun";
const SIGN_FLIP: &str = "
from scipy import stats
x = x[:1000]; begun = time.time()
stats.permutation_test((x,), lambda v, axis: v.mean(axis=axis), permutation_type='samples', vectorized=True,
                       n_resamples=9999, batch=500, rng=1); took = time.time() - begun";
const HOCHBERG: &str = "
from statsmodels.stats.multitest import multipletests
p = np.abs(x); begun = time.time(); multipletests(p, method='fdr_bh'); took = time.time() - begun";

fn estimators() {
    println!("\n| 100,000 pairs in 20,000 clusters | assize s | scipy or statsmodels s | ratio |\n|---|---|---|---|");
    let (values, clusters) = differences(100_000, 5);
    let beside = |lines| python(lines, &values, &clusters);
    let cr2 = least(5, || mean_cr2(&values, &clusters, None, 0.95));
    row("clustered mean: CR2 with Bell-McCaffrey; OLS with CR1", cr2, beside(CLUSTERED));
    let weights: Vec<f64> = (0..values.len()).map(|place| if place % 4 == 0 { 20.0 } else { 1.0 }).collect();
    let design = Design { weights: &weights, clusters: &clusters, ..Design::default() };
    let hajek = least(5, || mean_designed(&values, &design, None, 0.95));
    row("weighted mean: CR2 with degrees of freedom; WLS with CR1", hajek, beside(WEIGHTED));
    let ranks = least(5, || signed_rank(&values, Zeros::Pratt));
    row("Wilcoxon with Pratt's zeros", ranks, beside(WILCOXON));
    let few: Vec<usize> = (0..1_000).collect();
    let flips = least(3, || sign_flip(&values[..1_000], &few, 0.0, 9_999, 1));
    row("sign flips, 9,999 of 1,000 pairs", flips, beside(SIGN_FLIP));
    let p: Vec<Option<f64>> = values.iter().map(|value| Some(value.abs())).collect();
    row("Benjamini-Hochberg over 100,000", least(5, || benjamini_hochberg(&p)), beside(HOCHBERG));
}

const METRICS: usize = 10;
/// What every target answered.
const OUTPUT: &[u8] = br#"{"value":"out"}"#;
/// Ten dimensions of twenty values: 200 slices.
const DIMENSIONS: usize = 10;
const SLICE_VALUES: u32 = 20;

fn header(name: &str, examples: usize, example_blobs: Vec<Digest>) -> RunHeader {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let grader = |metric: usize| GraderInfo {
        name: format!("metric{metric}"),
        kind: GraderKind::Judge,
        component: "judge".to_owned(),
        version: "1".to_owned(),
        digest: digest("judge"),
        scale: if metric < 5 { Scale::Binary } else { Scale::Number { min: Some(0.0), max: Some(1.0) } },
        direction: Direction::Higher,
        draws: 1,
        model: None,
    };
    RunHeader {
        format: 1,
        id: RunId::new(name),
        suite: "bench".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        dataset: "bench@1".to_owned(),
        dataset_digest: digest("bench"),
        examples: examples as u64,
        trials: 1,
        target: TargetInfo {
            kind: "recorded".to_owned(),
            name: name.to_owned(),
            digest: digest(name),
            settings: BTreeMap::new(),
        },
        graders: (0..METRICS).map(grader).collect(),
        seed: 1,
        price_digest: digest("prices"),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: None,
        tags: BTreeMap::new(),
        example_blobs,
        until_decided: None,
        design: None,
    }
}

/// Examples as runs keep them, 256 to a blob.
fn examples(count: usize) -> Vec<(Digest, Vec<u8>)> {
    let mut random = Pcg64::seed_from_u64(5);
    let lines: Vec<String> = (0..count)
        .map(|place| {
            let value = |random: &mut Pcg64| format!("v{:02}", random.random_range(0..SLICE_VALUES));
            let dimensions: serde_json::Map<String, Value> =
                (0..DIMENSIONS).map(|at| (format!("dim{at}"), value(&mut random).into())).collect();
            json!({"id": format!("e{place:06}"), "input": "what is asked", "dimensions": dimensions,
                "cluster": format!("s{}", place / 2)})
            .to_string()
        })
        .collect();
    lines.chunks(256).map(|chunk| chunk.join("\n").into_bytes()).map(|bytes| (Digest::of(&bytes), bytes)).collect()
}

/// Every event of a run, in its order.
fn events(header: RunHeader, drop: f64) -> Vec<JournalEntry> {
    let count = header.examples as usize;
    let mut random = Pcg64::seed_from_u64(u64::from(drop > 0.0));
    let mut events = vec![Event::RunStarted { header: Box::new(header) }];
    let output = Digest::of(OUTPUT);
    for place in 0..count {
        let trial = TrialKey { example: ExampleId::new(format!("e{place:06}")), trial: 0 };
        let outcome = TargetOutcome::Output {
            digest: output.clone(),
            latency_ms: Some(random.random_range(200.0..900.0)),
            cost_usd: Some(random.random_range(0.001..0.004)),
            usage: Usage { input: Some(900), output: Some(120), ..Usage::default() },
        };
        events.push(Event::TargetFinished { trial: trial.clone(), outcome, spend: Spend::default() });
        for metric in 0..METRICS {
            let score = if metric < 5 {
                Score::pass(random.random_bool(0.8 - drop), "")
            } else {
                Score::number(random.random_range(0.0..1.0 - drop), "").unwrap()
            };
            let cell = CellKey { trial: trial.clone(), grader: format!("metric{metric}"), draw: 0 };
            let spend = Spend::default();
            events.push(Event::ScoreFinished { cell, scored: Ok(score), spend, cached: false, took_ms: 3 });
        }
    }
    events.push(Event::RunFinished { complete: true, totals: RunTotals::default() });
    let numbered = events.into_iter().enumerate();
    numbered.map(|(seq, event)| JournalEntry { seq: seq as u64, at: Timestamp::UNIX_EPOCH, event }).collect()
}

async fn fill(store: &dyn Store, count: usize) {
    let blobs = examples(count);
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| digest.clone()).collect();
    store.put_blobs(&blobs).await.unwrap();
    store.put_blobs(&[(Digest::of(OUTPUT), OUTPUT.to_vec())]).await.unwrap();
    for (name, drop) in [("run-base", 0.0), ("run-next", 0.02)] {
        let header = header(name, count, digests.clone());
        for page in events(header.clone(), drop).chunks(20_000) {
            store.append(&header.id, page).await.unwrap();
        }
    }
}

async fn replay(store: &dyn Store, run: &str, mut take: impl FnMut(JournalEntry)) {
    let (run, mut next) = (RunId::new(run), 0);
    loop {
        let page = store.replay(&run, next, 5_000).await.unwrap();
        let Some(last) = page.last() else { return };
        next = last.seq + 1;
        page.into_iter().for_each(&mut take);
    }
}

fn metas(count: usize) -> Vec<ExampleMeta> {
    let blobs = examples(count);
    let lines = blobs.iter().flat_map(|(_, bytes)| bytes.split(|byte| *byte == b'\n'));
    lines.map(|line| ExampleMeta::of(&serde_json::from_slice::<Example>(line).unwrap())).collect()
}

/// The binary, as its user calls it.
fn binary(folder: &Path) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assize"));
    command.args(["compare", "run-base", "run-next", "--json"]).current_dir(folder);
    let (wall, output) = timed(|| command.output().unwrap());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("metric9"), "{text} {}", String::from_utf8_lossy(&output.stderr));
    wall
}

fn compared(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("assize.toml"), "").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let place = folder.path().join(".assize/assize.sqlite");
    let place = place.to_str().unwrap();
    let (filling, store) = timed(|| {
        runtime.block_on(async {
            let store = store::open(place).await.unwrap();
            fill(store.as_ref(), count).await;
            store
        })
    });
    println!("\n{count} examples, {METRICS} metrics, {DIMENSIONS} dimensions; two runs written in {filling:.1} s\n");
    println!("| step | s |\n|---|---|");
    let reading = timed(|| runtime.block_on(replay(store.as_ref(), "run-base", |_| {}))).0;
    println!("| events of one run read from the store | {reading:.2} |");
    let fold = |name: &str| {
        let mut fold = Fold::new();
        runtime.block_on(replay(store.as_ref(), name, |entry| fold.push(entry).unwrap()));
        fold.finish().unwrap()
    };
    let (loading, [before, after]): (f64, [RunResults; 2]) = timed(|| ["run-base", "run-next"].map(fold));
    println!("| both runs read and folded, one after the other | {loading:.2} |");
    let metas = metas(count);
    let comparing = least(3, || compare(&before, &after, &metas, &GatePolicy::default(), &[]));
    println!("| compared: metrics, slices, explanations, rows | {comparing:.2} |");
    println!("| `assize compare --json`, whole | {:.2} |", binary(folder.path()).min(binary(folder.path())));
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |part: &str| words.is_empty() || words.iter().any(|word| word.split('=').next() == Some(part));
    if wants("bootstrap") {
        bootstrap();
    }
    if wants("estimators") {
        estimators();
    }
    if wants("compare") {
        let size = words.iter().find_map(|word| word.strip_prefix("compare=")?.parse().ok());
        compared(size.unwrap_or(100_000));
    }
}
