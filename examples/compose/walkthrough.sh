#!/usr/bin/env bash
# What OPAL's page on update callbacks and the healthcheck policy promises, tried out on the services of compose.yaml,
# after `docker compose up --build --wait`. Each step says what to expect, and shows the command and its answer.
# The first that is not as promised ends the walk with 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Where things are, for who has them elsewhere than compose.yaml.
SERVER_URL=${SERVER_URL:-http://127.0.0.1:7002}
OPA_URLS=${OPA_URLS:-http://127.0.0.1:8181 http://127.0.0.1:8182} # inline, and beside its agent
APPLICATION_URL=${APPLICATION_URL:-http://application:8000}       # as the agents reach it
DATA=${DATA:-data}                                                # the folder that the application serves
LOGS=${LOGS:-docker compose logs --no-color --no-log-prefix}      # shows the log of a service
PATIENCE=${PATIENCE:-60}                                          # seconds to wait for what is promised

export no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost
walk=walk-$(date +%s)-$$
steps=0

step() {
    steps=$((steps + 1))
    printf '\n== %d. %s\n' "$steps" "$1"
}

# expect WHAT PATTERN COMMAND: repeat the command until its answer matches.
expect() {
    local answer ends=$((SECONDS + PATIENCE))
    printf '\n   %s\n   $ %s\n' "$1" "$3"
    until answer=$(eval "$3" 2>&1) && grep --quiet --extended-regexp -e "$2" <<<"$answer"; do
        if [ "$SECONDS" -ge "$ends" ]; then
            sed 's/^/   /' <<<"$answer"
            printf '\nNot as promised: %s\nIn %s seconds nothing came that matches %s\n' "$1" "$PATIENCE" "$2" >&2
            exit 1
        fi
        sleep 0.5
    done
    sed 's/^/   /' <<<"$answer"
}

# in_log SERVICE WHAT PATTERN WORD...: what the last line of its log says that has all the words.
in_log() {
    local command="$LOGS $1" what=$2 pattern=$3 word
    shift 3
    for word in "$@"; do
        command="$command | grep -F -e '$word'"
    done
    expect "$what" "$pattern" "$command | tail -n 1"
}

# publish UPDATE
publish() {
    expect "The server takes it." '"status":"ok"' \
        "curl --silent --header 'content-type: application/json' --data '$1' $SERVER_URL/data/config"
}

# bob_may_deliver ANSWER: what each OPA has to say about Bob and the United States.
bob_may_deliver() {
    local opa
    for opa in $OPA_URLS; do
        expect "Bob may deliver in the United States: $1." "\"result\":$1" \
            "curl --silent --data '{\"input\": {\"courier\": \"bob\", \"country\": \"US\"}}' $opa/v1/data/delivery/allow"
    done
}

# health RULE ANSWER: what each OPA has to say about itself.
health() {
    local opa
    for opa in $OPA_URLS; do
        expect "$1 is $2." "\"result\":$2" "curl --silent --request POST $opa/v1/data/system/opal/$1"
    done
}

# document WHAT PATTERN: what stands in the whole document, in each OPA.
document() {
    local opa
    for opa in $OPA_URLS; do
        expect "$1" "$2" "curl --silent --request GET $opa/v1/data/system/opal"
    done
}

put_back() {
    if [ -e "$DATA/bob_location.json.gone" ]; then
        mv "$DATA/bob_location.json.gone" "$DATA/bob_location.json"
    fi
}
trap put_back EXIT

to='"topics": ["policy_data"], "dst_path": "/users/bob/location"'
in_germany="{\"url\": \"\", $to, \"data\": {\"country\": \"DE\"}}"
in_the_states="{\"url\": \"$APPLICATION_URL/bob_location.json\", $to}"

step "Ready: policies and all base data are in OPA."
health ready true

step "Healthy: what came last is, too."
health healthy true

step "An update that has its document with it."
publish "{\"id\": \"$walk-home\", \"entries\": [$in_germany], \"reason\": \"Bob is at home\"}"
bob_may_deliver false

step "An update whose document the agents fetch from the application."
publish "{\"id\": \"$walk-away\", \"entries\": [$in_the_states], \"reason\": \"Bob has landed\"}"
bob_may_deliver true

step "The whole document: the update that came last, and the commit of the policies."
document "The last data transaction is the update." \
    "\"last_data_transaction\":\{\"actions\":\[\"set_policy_data\"\],[^{}]*\"id\":\"$walk-away\""
document "The last policy transaction is the commit." \
    '"last_policy_transaction":\{"actions":\["set_policies"\],[^{}]*"id":"[0-9a-f]{40}"'

step "The logs: what became of the update, step by step."
in_log server "Published." "topics=\['policy_data'\]" data_update.published "$walk-away"
for agent in agent-inline agent-bundle; do
    in_log $agent "Received." "topic=policy_data" data_update.received "$walk-away"
    in_log $agent "Fetched." "dst_path=/users/bob/location" fetch.succeeded "$walk-away"
    in_log $agent "Saved." "success=True" transaction.ended "$walk-away"
    in_log $agent "Known to the healthcheck policy." "success=True" health_check.transaction "$walk-away"
    in_log $agent "Reported." "url=[^ ]*/data/callback_report" report.delivered "$walk-away"
done

step "The callback: the server has a report of each agent."
expect "Two reports, and nothing failed." '^2$' \
    "$LOGS server | grep -F report.received | grep -F $walk-away | grep -F -c 'failed=[]'"
expect "Two agents have the update." '"counts":\{"agents":2,"has":2,' "curl --silent $SERVER_URL/updates/$walk-away"

step "A one-time callback: the application gets a report of this update, and of no other."
publish "{\"id\": \"$walk-once\", \"entries\": [$in_germany], \"callback\": {\"callbacks\": [[\"$APPLICATION_URL/bob_is_back\"]]}}"
expect "It has one of each agent." '^2$' \
    "$LOGS application | grep -F 'report for /bob_is_back' | grep -F $walk-once | grep -F -c '\"saved\":true'"

step "A source that breaks: the application has lost the document."
mv "$DATA/bob_location.json" "$DATA/bob_location.json.gone"
publish "{\"id\": \"$walk-lost\", \"entries\": [$in_the_states], \"reason\": \"Bob has landed again\"}"
health healthy false
document "It says which data is old, and why." '"out_of_sync_paths":\[\{"path":"/users/bob/location","reason":"[^"]*404'
health ready true
bob_may_deliver false
expect "The reports say so." '^2$' \
    "$LOGS server | grep -F report.received | grep -F $walk-lost | grep -F -c /users/bob/location"
for agent in agent-inline agent-bundle; do
    in_log $agent "OPAL's line." "ready=true, healthy=false" "persisting health check policy"
done

step "And heals: the document is back, and the agents fetch it by themselves."
put_back
health healthy true
bob_may_deliver true
expect "A second report of each says so." '^2$' \
    "$LOGS server | grep -F report.received | grep -F $walk-lost | grep -F -c 'failed=[]'"
for agent in agent-inline agent-bundle; do
    in_log $agent "OPAL's line." "ready=true, healthy=true" "persisting health check policy"
done

printf '\nAll %d steps went as promised.\n' "$steps"
