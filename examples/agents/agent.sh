#!/bin/sh
# The same task as a shell script: looks the order up itself, then asks the model once. Needs curl, awk and sed.
set -eu

here=$(dirname "$0")
example=$(cat)

# The first field `name` of a flat piece of JSON, with its escapes undone as far as a terminal needs them.
text_of() {
    printf '%s' "$2" | tr '\n' ' ' | sed -n "s/.*\"$1\" *: *\"\(\(\\\\.\|[^\"\\\\]\)*\)\".*/\1/p" | sed 's/\\"/"/g; s/\\n/ /g'
}
quoted() {
    printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | tr '\n\t' '  '
}

question=$(text_of input "$example")
order=$(printf '%s' "$question" | sed -n 's/.*\(A-[0-9][0-9]*\).*/\1/p')
row=$(awk -F, -v id="$order" '$1 == id { print "order " $1 ": " $2 ", " $3 ", " $4 " euros, " $5 " days old" }' "$here/orders.csv")

system="You answer customers of a shop in one sentence. This is their order: ${row:-unknown}. Nothing is paid back after 30 days."
body="{\"model\": \"$(quoted "${AGENT_MODEL:-gpt-5-mini}")\", \"messages\": [
  {\"role\": \"system\", \"content\": \"$(quoted "$system")\"}, {\"role\": \"user\", \"content\": \"$(quoted "$question")\"}]}"
reply=$(curl -sS --fail-with-body --max-time 60 "${MODEL_BASE_URL%/}/chat/completions" \
    -H 'Content-Type: application/json' -H "Authorization: Bearer $MODEL_API_KEY" -d "$body")

printf '{"output": "%s", "trace": [{"tool": "lookup_order", "arguments": {"order_id": "%s"}, "result": "%s"}]}\n' \
    "$(quoted "$(text_of content "$reply")")" "$(quoted "$order")" "$(quoted "$row")"
