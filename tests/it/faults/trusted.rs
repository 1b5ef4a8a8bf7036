//! Endpoints behind TLS: a certificate that nobody vouches for ends the run early, and `ca_file` is the mend.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Bench, Suite};
use crate::mock::Plan;

const EXAMPLES: usize = 40;

/// Our own authority and a certificate by it for the loopback, valid for a hundred years. They protect nothing.
fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/certificates").join(name)
}

/// A server that speaks TLS before the mock.
struct Secure {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Secure {
    fn before(address: String) -> Self {
        let certificates = CertificateDer::pem_file_iter(certificate("server.pem")).unwrap().map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_file(certificate("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates.collect(), key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let (config, address) = (Arc::clone(&config), address.clone());
                std::thread::spawn(move || pass_on(stream, config, &address));
            }
        });
        Self { port, connections }
    }
}

/// One request to the mock, one answer back. Peers that hang up are what half of these tests are about.
fn pass_on(stream: TcpStream, config: Arc<ServerConfig>, address: &str) -> Option<()> {
    let mut secure = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let taken = secure.read(&mut piece).ok().filter(|taken| *taken > 0)?;
        request.extend_from_slice(&piece[..taken]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            let (line, rest) = text.split_once("\r\n")?;
            let mut plain = TcpStream::connect(address).ok()?;
            plain.write_all(format!("{line}\r\nconnection: close\r\n{rest}").as_bytes()).ok()?;
            let mut answer = Vec::new();
            plain.read_to_end(&mut answer).ok()?;
            secure.write_all(&answer).ok()?;
            secure.conn.send_close_notify();
            return secure.flush().ok();
        }
    }
}

async fn bench(more: &str) -> (Bench, Secure) {
    let bench = Bench::new(Suite::recorded(EXAMPLES), Plan::default()).await;
    let secure = Secure::before(bench.mock.url().trim_start_matches("http://").to_owned());
    configure(&bench, &secure, more);
    (bench, secure)
}

fn configure(bench: &Bench, secure: &Secure, more: &str) {
    let address = format!("https://127.0.0.1:{}/v1", secure.port);
    let provider = format!("kind = \"openai\"\nbase_url = \"{address}\"\ntimeout = \"5s\"\n{more}");
    bench.configure(&Suite { provider, ..bench.suite.clone() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_vouches_for_stops_the_run_early_and_the_mend_works() {
    let (bench, secure) = bench("").await;
    let ran = bench.world.run(&["run"]).expect(3);
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let address = format!("endpoint `service` (https://127.0.0.1:{}", secure.port);
    for part in [address.as_str(), "certificate", "UnknownIssuer", "ca_file", "[providers.service]", "--resume"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Nobody tries again what cannot change: one connection for each call under way at most.
    let tried = secure.connections.load(Ordering::Relaxed);
    assert!(tried <= super::AT_A_TIME, "{tried} connections");
    let run = bench.run_id();
    assert!(bench.journal(&run).await.cells().is_empty(), "a cell that was not asked has no outcome");
    assert_eq!(bench.mock.count(), 0);

    bench.world.write("authority.pem", std::fs::read_to_string(certificate("authority.pem")).unwrap());
    configure(&bench, &secure, "ca_file = \"authority.pem\"");
    bench.world.run(&["run", "--resume", &run]).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, EXAMPLES);
    assert_eq!(bench.mock.count(), EXAMPLES);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_and_files_that_are_no_certificate_are_told_apart() {
    let (bench, secure) = bench("ca_file = \"missing.pem\"").await;
    let refused = |bench: &Bench, parts: &[&str]| {
        let ran = bench.world.run(&["run"]).expect(2);
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["endpoint `service`", "ca_file"].iter().chain(parts) {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    refused(&bench, &["missing.pem", "No such file"]);
    for (name, text) in [
        ("words.pem", "not a certificate".to_owned()),
        ("key.pem", std::fs::read_to_string(certificate("server.key")).unwrap()),
        ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
    ] {
        bench.world.write(name, text);
        configure(&bench, &secure, &format!("ca_file = \"{name}\""));
        refused(&bench, &[name]);
    }
    assert_eq!(secure.connections.load(Ordering::Relaxed), 0);
}
