#!/usr/bin/env bash
# Makes the demo's cassette anew: needed after any change to a judge the demo uses, or to the traces.
# Usage: datasets/demo/record.sh PATH-TO-ASSIZE
set -euo pipefail
demo=$(cd "$(dirname "$0")" && pwd)
assize=$(realpath "${1:-target/debug/assize}")
work=$(mktemp -d)
port=18222
python3 "$demo/make.py" oracle --port $port &
oracle=$!
trap 'kill $oracle; rm -rf "$work"' EXIT
cp "$demo"/traces-*.jsonl.gz "$work"
# The same project with the oracle in place of the recording.
sed -e 's/kind = "replay"/kind = "openai"/' \
    -e "s#cassette = .*#base_url = \"http://127.0.0.1:$port/v1\"\nkey_env = \"ORACLE_KEY\"#" "$demo/assize.toml" >"$work/assize.toml"
export ORACLE_KEY=none
cd "$work"
sleep 1
"$assize" ingest traces-*.jsonl.gz
"$assize" sample support --key ticket.id --variant service.version --stratify ticket.intent \
    --dimensions customer.tier,ticket.channel
"$assize" run support --target v1.8 --record cassette.jsonl >/dev/null
"$assize" run support --target v2.0 --record cassette.jsonl >/dev/null
sort cassette.jsonl | gzip -9n >"$demo/cassette.jsonl.gz"
ls -l "$demo/cassette.jsonl.gz"
