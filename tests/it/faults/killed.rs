//! kill -9 in mid-run, and going on.

use std::time::{Duration, Instant};

use super::{AT_A_TIME, Bench, Suite, finish, wait_until};
use crate::mock::{Fault, Plan, hash, unit};
use crate::store::Place;

const EXAMPLES: usize = 120;
/// One call for the target and one for the judge.
const CALLS: usize = 2 * EXAMPLES;
const KILLS: usize = 4;

fn slow_and_shaky(seed: u64) -> Plan {
    let chances = vec![(Fault::Status(500), 0.03), (Fault::Reset, 0.03)];
    Plan { seed, latency: Duration::from_millis(25), chances, ..Plan::default() }
}

/// Starts or goes on with the run, and kills it when the server has seen `calls` calls. `false` when it ended before.
fn kill_at(bench: &Bench, arguments: &[&str], calls: usize) -> bool {
    let mut child = bench.world.start(arguments);
    let mut ended = false;
    wait_until("calls", || {
        ended = child.try_wait().unwrap().is_some();
        ended || bench.mock.count() >= calls
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // What the dead process had sent is still being read.
    wait_until("the server to be idle", || bench.mock.under_way() == 0);
    std::thread::sleep(Duration::from_millis(50));
    !ended
}

/// Kills at moments drawn from the seed, goes on each time, and checks what is left at the end. Gives how many calls
/// were made twice.
async fn killed_again_and_again(bench: Bench, seed: u64, flags: &[&str], in_flight: usize) {
    let mut points: Vec<usize> = (0..KILLS).map(|n| (unit(hash(&(seed, n))) * 0.9 * CALLS as f64) as usize).collect();
    points.sort_unstable();
    let mut run = String::new();
    let mut kills = 0;
    for point in points {
        let resume = ["run", "--resume", &run, "--force"];
        let arguments = if run.is_empty() { &["run"][..] } else { &resume };
        // Some calls more than before, so that each sitting gets somewhere.
        let point = (bench.mock.count() + 1).max(point);
        kills += usize::from(kill_at(&bench, &[arguments, flags].concat(), point));
        if run.is_empty() {
            run = bench.run_id();
        }
        bench.journal(&run).await.check();
    }
    bench.world.run(&[&["run", "--resume", &run, "--force"][..], flags].concat()).expect(0);
    let journal = bench.journal(&run).await;
    journal.check_complete(EXAMPLES, 2 * EXAMPLES);
    assert_eq!((kills, journal.sittings()), (KILLS, KILLS + 1));
    let again = bench.mock.billed() - CALLS;
    println!("{kills} kills, {} cells, {again} calls of {CALLS} made again", journal.cells().len());
    assert!(again <= kills * in_flight, "{again} calls were made again after {kills} kills");
    // What is complete is left alone.
    let seen = bench.mock.count();
    bench.world.run(&["run", "--resume", &run]).expect(0);
    assert_eq!((bench.mock.count(), bench.journal(&run).await.entries.len()), (seen, journal.entries.len()));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_only_calls_in_flight_are_made_again() {
    let bench = Bench::new(Suite::prompt(EXAMPLES), slow_and_shaky(11)).await;
    killed_again_and_again(bench, 11, &[], 2 * AT_A_TIME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_what_waited_for_the_journal_is_asked_again_too() {
    let bench = Bench::new(Suite::prompt(EXAMPLES), slow_and_shaky(12)).await;
    killed_again_and_again(bench, 12, &["--no-cache"], 4 * AT_A_TIME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_on_postgres() {
    let Some(place) = Place::postgres() else { return };
    let bench = Bench::at(Some(place), Suite::prompt(EXAMPLES), slow_and_shaky(13)).await;
    killed_again_and_again(bench, 13, &[], 2 * AT_A_TIME).await;
}

/// How often the long test kills: fifty times, or as `ASSIZE_TEST_KILLS` says.
fn many() -> usize {
    std::env::var("ASSIZE_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// Starts or goes on with the run and kills it after some calls, or some milliseconds after its start. `false` when it
/// ended before.
fn kill_somewhere(bench: &Bench, arguments: &[&str], draw: u64) -> bool {
    let mut child = bench.world.start(arguments);
    let (point, start) = (bench.mock.count() + (unit(hash(&(draw, "calls"))) * 14.0) as usize, Instant::now());
    // One in seven is killed by the clock: while it reads, plans and opens its store.
    let by_clock = draw.is_multiple_of(7).then(|| Duration::from_micros((unit(hash(&draw)) * 150_000.0) as u64));
    let mut ended = false;
    wait_until("calls", || {
        ended = child.try_wait().unwrap().is_some();
        ended || by_clock.map_or(bench.mock.count() >= point, |time| start.elapsed() >= time)
    });
    if by_clock.is_none() {
        std::thread::sleep(Duration::from_micros((unit(hash(&draw)) * 8_000.0) as u64));
        ended = child.try_wait().unwrap().is_some();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the server to be idle", || bench.mock.under_way() == 0);
    std::thread::sleep(Duration::from_millis(10));
    !ended
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_fifty_times_a_run_is_what_it_would_have_been() {
    let wanted = many();
    let examples = 6 * wanted;
    let calls = 2 * examples;
    let plan = Plan { latency: Duration::from_millis(4), ..slow_and_shaky(16) };
    let bench = Bench::new(Suite::prompt(examples), plan).await;
    let (mut kills, mut before_the_run) = (0, 0);
    for draw in 0.. {
        if kills == wanted {
            break;
        }
        let runs = bench.world.run(&["runs", "--json"]).expect(0).json();
        let run = runs[0]["header"]["id"].as_str().unwrap_or_default().to_owned();
        let resume = ["run", "--resume", &run, "--force"];
        let killed = kill_somewhere(&bench, if run.is_empty() { &["run"] } else { &resume }, draw);
        assert!(killed, "the run ended after {kills} kills of {wanted}");
        kills += 1;
        before_the_run += usize::from(run.is_empty());
    }
    let run = bench.run_id();
    bench.journal(&run).await.check();
    bench.world.run(&["run", "--resume", &run, "--force"]).expect(0);
    let journal = bench.journal(&run).await;
    journal.check_complete(examples, calls);
    let again = bench.mock.billed() - calls;
    let sittings = journal.sittings();
    println!(
        "{kills} kills ({before_the_run} before the run stood in the store), {sittings} sittings, {} cells, none lost, \
         none twice; {again} calls of {calls} made again",
        journal.cells().len()
    );
    assert!(again <= kills * 2 * AT_A_TIME, "{again} calls were made again after {kills} kills");
    // An uninterrupted run finds the same, from the answers that are kept.
    let asked = bench.mock.count();
    bench.world.run(&["run"]).expect(0);
    // A process that is killed while another opens the cache can cost the saving of a few answers, never a finding.
    let missing = bench.mock.count() - asked;
    println!("{missing} calls for answers that the cache does not hold");
    assert!(missing <= AT_A_TIME, "{missing} answers are not in the cache");
    let whole = bench.journal(&bench.run_id()).await;
    let findings = |journal: &super::Journal| -> std::collections::BTreeMap<_, _> {
        journal.cells().into_iter().map(|(cell, mut ends)| (cell, ends.remove(0).0)).collect()
    };
    assert_eq!(findings(&journal), findings(&whole));
}

/// Slow enough for two more processes to start while the first one runs, on a busy machine too.
fn slower(seed: u64) -> Plan {
    let plan = slow_and_shaky(seed);
    Plan { latency: 5 * plan.latency, ..plan }
}

async fn taken_over(bench: Bench) {
    let first = bench.world.start(&["run"]);
    wait_until("calls", || bench.mock.count() > CALLS / 4);
    let run = bench.run_id();
    // Without force the run is somebody else's.
    let refused = bench.world.run(&["run", "--resume", &run]).expect(3);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    let second = bench.world.start(&["run", "--resume", &run, "--force"]);
    let (first, second) = (finish(first), finish(second));
    // Whoever loses says so; whether the other one may go on is a matter of who wrote first.
    let loser = if first.code == 0 { &second } else { &first };
    assert!(loser.code == 3 && loser.stderr.contains("another process"), "{}\n{}", first.stderr, second.stderr);
    bench.world.run(&["run", "--resume", &run, "--force"]).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, 2 * EXAMPLES);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_one_run_never_score_a_cell_twice() {
    taken_over(Bench::new(Suite::prompt(EXAMPLES), slower(14)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_one_run_on_postgres() {
    let Some(place) = Place::postgres() else { return };
    taken_over(Bench::at(Some(place), Suite::prompt(EXAMPLES), slower(15)).await).await;
}
