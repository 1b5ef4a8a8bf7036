//! kill -9 in mid-run, and going on.

use std::time::Duration;

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
