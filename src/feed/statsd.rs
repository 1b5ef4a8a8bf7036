//! StatsD over UDP: the figures of a run as gauges, plain or with DogStatsD's tags. Nobody answers, so nothing is known
//! to have arrived.

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use uuid::Uuid;

use super::{Entry, FeedOptions, Figure, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, all_taken};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "statsd",
    summary: "StatsD: gauges of runs over UDP",
    url: None,
    keys: &[],
    requests_per_minute: 60_000,
    batch: 100,
    knows: Knows::Any,
    scores: false,
    figures: true,
    takes: &["url", "format", "metrics", "labels", "batch"],
    requires: &["url"],
    sample: "url = \"127.0.0.1:8125\"\nformat = \"dogstatsd\"\n",
    headers: |_, _| Vec::new(),
    new,
};

/// Longest packet, bytes: what passes every network whole.
const PACKET: usize = 1_400;

struct StatsD {
    address: String,
    tags: bool,
    labels: Vec<(String, String)>,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    let address = options.url.clone().unwrap_or_default();
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if address.contains("://") || port.is_none() {
        return Err(format!("`url` must be `HOST:PORT`, such as `127.0.0.1:8125`, found `{address}`"));
    }
    let tags = match options.format.as_deref() {
        None | Some("statsd") => false,
        Some("dogstatsd") => true,
        Some(other) => return Err(format!("`format` must be `statsd` or `dogstatsd`, found `{other}`")),
    };
    let labels = options.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(Box::new(StatsD { address, tags, labels }))
}

impl StatsD {
    fn lines(&self, figure: &Figure) -> Vec<String> {
        let name = figure.name.replacen('_', ".", 1);
        let labels = figure.labels.iter().chain(&self.labels);
        if self.tags {
            let tags: Vec<String> = labels.map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            return vec![format!("{name}:{}|g|#{}", figure.value, tags.join(","))];
        }
        let path: Vec<String> = labels.map(|(_, value)| plain(value)).collect();
        let name = format!("{name}.{}", path.join("."));
        // A sign in front means a change: below zero a gauge must be set to zero first.
        let zero = (figure.value < 0.0).then(|| format!("{name}:0|g"));
        zero.into_iter().chain([format!("{name}:{}|g", figure.value)]).collect()
    }
}

/// A text without the marks of the protocol.
fn plain(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.chars().take(120).map(|c| if fits(c) { c } else { '_' }).collect()
}

#[async_trait]
impl Outlet for StatsD {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        let Entry::Figures(figures) = entry else {
            return Err("StatsD takes figures of runs, not scores of single traces".to_owned());
        };
        let lines: Vec<String> = figures.figures.iter().flat_map(|figure| self.lines(figure)).collect();
        Ok(json!({"lines": lines}))
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let failed =
            |error: std::io::Error| Stop::Failed(format!("cannot send to StatsD at {}: {error}", self.address));
        let mut packet = String::new();
        let mut packets = Vec::new();
        let lines = batch.iter().filter_map(|entry| entry.body["lines"].as_array()).flatten().filter_map(Value::as_str);
        for line in lines {
            if !packet.is_empty() && packet.len() + line.len() + 1 > PACKET {
                packets.push(std::mem::take(&mut packet));
            }
            packet.push_str(line);
            packet.push('\n');
        }
        packets.extend((!packet.is_empty()).then_some(packet));
        let socket = UdpSocket::bind(("0.0.0.0", 0)).await.map_err(failed)?;
        for packet in packets {
            wire.requests += 1;
            socket.send_to(packet.as_bytes(), &self.address).await.map_err(failed)?;
        }
        Ok(all_taken(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::samples::figures;
    use super::*;

    #[test]
    fn gauges_are_plain_or_tagged() {
        let form = |text: &str| {
            let options: FeedOptions = toml::from_str(text).unwrap();
            new(&options).unwrap().form(&figures(), Uuid::nil()).unwrap()
        };
        let plain = form("url = \"127.0.0.1:8125\"");
        assert_eq!(plain["lines"][0], "assize.score_mean.s.task_success:0.75|g");
        let tagged = form("url = \"h:8125\"\nformat = \"dogstatsd\"\nlabels = { team = \"a|b\" }");
        assert_eq!(tagged["lines"][0], "assize.score_mean:0.75|g|#suite:s,metric:task_success,team:a_b");
        let below = Figure { name: "assize_difference".into(), help: String::new(), labels: vec![], value: -0.5 };
        let sink = StatsD { address: String::new(), tags: false, labels: vec![("x".into(), "y".into())] };
        assert_eq!(sink.lines(&below), ["assize.difference.y:0|g", "assize.difference.y:-0.5|g"]);
        assert!(new(&FeedOptions { url: Some("udp://h:1".into()), ..FeedOptions::default() }).is_err());
    }
}
