//! A lake in a bucket, against moto's S3 server with every signature checked.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::otlp;
use crate::world::World;

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts the server. Where nothing may be skipped (CI, `scripts/test`), its absence fails the test.
    fn start(test: &str) -> Option<Self> {
        let python = std::env::var("ASSIZE_TEST_MOTO").unwrap_or_else(|_| "python3".to_owned());
        let there = Command::new(&python).args(["-c", "import moto.server"]).output();
        if !there.is_ok_and(|output| output.status.success()) {
            let required = ["CI", "ASSIZE_REQUIRE_ALL"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!required, "{test} needs moto's S3 server: `pip install 'moto[server,s3]'`");
            eprintln!("skipped: {test}: no moto; `pip install 'moto[server,s3]'`");
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/lake/s3_server.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server = Self { child, port: line.trim().parse().unwrap() };
        server.raw("PUT", "/traces", "");
        Some(server)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A request past the check of signatures, to set a scene and to look behind it.
    fn raw(&self, method: &str, path: &str, body: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nx-test-setup: yes\r\nContent-Length: {length}\r\n\r\n{body}",
            self.port
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn keys(&self) -> Vec<String> {
        let list = self.raw("GET", "/traces?list-type=2&max-keys=1000", "");
        list.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
    }

    fn world(&self) -> World {
        let mut world = World::new();
        world.set("AWS_ACCESS_KEY_ID", "the-key");
        world.set("AWS_SECRET_ACCESS_KEY", "the secret/with+signs");
        let text = format!("[project]\nlake = \"s3://traces/our/lake\"\n[s3]\nendpoint = \"{}\"\n", self.endpoint());
        world.write("assize.toml", text);
        world
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its standard input; waiting leaves no zombie.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn parts(world: &World) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for mirror in fs::read_dir(world.path(".assize/mirror")).into_iter().flatten() {
        let Ok(days) = fs::read_dir(mirror.unwrap().path().join("spans")) else { continue };
        for day in days {
            let parts = fs::read_dir(day.unwrap().path()).unwrap().map(|part| part.unwrap().path());
            found.extend(parts.filter(|part| part.extension().is_some_and(|end| end == "parquet")));
        }
    }
    found.sort();
    found
}

#[test]
fn a_lake_in_a_bucket_is_shared_by_machines() {
    let Some(server) = Server::start("a_lake_in_a_bucket_is_shared_by_machines") else { return };
    let (here, there) = (server.world(), server.world());
    for day in 1..=5 {
        here.write("spans.json", otlp(&format!("{day:032x}"), day));
        let report = here.run(&["ingest", "spans.json", "--json"]).expect(0).json();
        assert_eq!(report["added"], 2);
    }
    assert_eq!(server.keys().len(), 5, "more than one page of three: {:?}", server.keys());
    assert!(server.keys()[0].starts_with("our/lake/spans/day=2026-11-01/part-"), "{:?}", server.keys());
    // Only the days that are asked for are fetched, with the days around them that a trace may lie in.
    let query = ["traces", "query", "SELECT COUNT(*) AS n FROM spans", "--json"];
    let bounds = ["--since", "2026-11-21"];
    let found = there.run(&[&query[..], &bounds[..]].concat()).expect(0).json();
    assert_eq!(found[0]["n"], 0);
    assert_eq!(parts(&there).len(), 0);
    assert_eq!(there.run(&query).expect(0).json()[0]["n"], 10);
    assert_eq!(parts(&there).len(), 5);
    // What one machine deletes and compacts, the other no longer sees, though it has a copy.
    here.write("late.json", otlp(&format!("{:032x}", 77), 1));
    here.run(&["ingest", "late.json"]).expect(0);
    let done = here.run(&["lake", "compact", "--json"]).expect(0).json();
    assert_eq!((&done["parts_before"], &done["parts_after"]), (&6.into(), &5.into()));
    here.run(&["lake", "delete", "--trace", &format!("{:032x}", 5), "--yes"]).expect(0);
    assert_eq!(server.keys().len(), 4);
    assert_eq!(there.run(&query).expect(0).json()[0]["n"], 10);
    let names =
        |world: &World| parts(world).iter().map(|part| part.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&here), names(&there));
    // A copy that was cut short is fetched again.
    fs::write(&parts(&there)[0], b"torn").unwrap();
    assert_eq!(there.run(&query).expect(0).json()[0]["n"], 10);
}

#[test]
fn one_machine_at_a_time_tidies_a_bucket() {
    let Some(server) = Server::start("one_machine_at_a_time_tidies_a_bucket") else { return };
    let (here, there) = (server.world(), server.world());
    for trace in 1..=2 {
        here.write("spans.json", otlp(&format!("{trace:032x}"), 1));
        here.run(&["ingest", "spans.json"]).expect(0);
    }
    let done = there.run(&["lake", "compact", "--json"]).expect(0).json();
    assert_eq!((&done["parts_before"], &done["parts_after"]), (&2.into(), &1.into()));
    assert_eq!(server.keys().len(), 1, "the claim is given up: {:?}", server.keys());
    server.raw("PUT", "/traces/our/lake/tidying.lock", "process 7 since noon");
    for arguments in [&["lake", "compact"][..], &["lake", "delete", "--user", "u-1", "--yes"]] {
        let ran = here.run(arguments).expect(3);
        let told = "from by process 7 since noon; try again when it has finished, or, if that process is gone, delete \
                    the object `our/lake/tidying.lock` first";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    assert_eq!(server.keys().len(), 2, "{:?}", server.keys());
}

#[test]
fn exports_in_a_bucket_are_redacted_before_they_are_written() {
    let Some(server) = Server::start("exports_in_a_bucket_are_redacted_before_they_are_written") else { return };
    let world = server.world();
    let config = world.read("assize.toml");
    world.write("assize.toml", format!("{config}[redact]\npersonal = \"mask\"\n"));
    let export = otlp(&format!("{:032x}", 1), 1).replace("task 1", "write to ann@example.org");
    server.raw("PUT", "/traces/exports/1.json", &export);
    let report = world.run(&["ingest", "s3://traces/exports", "--json"]).expect(0).json();
    assert_eq!((&report["added"], &report["redacted"]["rules"]["email"]), (&2.into(), &1.into()), "{report}");
    let spans = world.run(&["traces", "query", "SELECT span FROM spans", "--json"]).expect(0).stdout;
    assert!(spans.contains("write to [email]") && !spans.contains("ann@"), "{spans}");
    for part in parts(&world) {
        let bytes = fs::read(part).unwrap();
        assert!(!bytes.windows(4).any(|bytes| bytes == b"ann@"));
    }
}

#[test]
fn exports_in_a_bucket_are_ingested() {
    let Some(server) = Server::start("exports_in_a_bucket_are_ingested") else { return };
    let mut world = server.world();
    for day in 1..=4 {
        server.raw("PUT", &format!("/traces/exports/a%20b/{day}.json"), &otlp(&format!("{day:032x}"), day));
    }
    server.raw("PUT", "/traces/exports2/other.json", "no trace");
    let report = world.run(&["ingest", "s3://traces/exports", "--json"]).expect(0).json();
    assert_eq!((&report["traces"], &report["files"][0]["file"]), (&4.into(), &"s3://traces/exports/a b/1.json".into()));
    let missing = world.run(&["ingest", "s3://traces/nothing"]).expect(2);
    assert!(missing.stderr.contains("no object under `s3://traces/nothing`"), "{}", missing.stderr);
    world.set("AWS_SECRET_ACCESS_KEY", "wrong");
    let refused = world.run(&["ingest", "s3://traces/exports"]).expect(3);
    assert!(refused.stderr.contains("AWS_SECRET_ACCESS_KEY"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("wrong"), "{}", refused.stderr);
}
