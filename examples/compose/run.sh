#!/usr/bin/env bash
# From an empty playground to a contracted plan. Run it from the repository's top.
set -euo pipefail

docker compose up --detach --wait primary standby

docker compose run --rm pontoon preview /plans/orders_amount.yaml

# Ends with exit code 5 at the gate before contract; whatever else is a failure.
code=0
docker compose run --rm pontoon run /plans/orders_amount.yaml || code=$?
[ "$code" = 5 ] || exit "$code"

# Here the new version of the application would be deployed.
docker compose run --rm pontoon approve orders_amount contract
docker compose run --rm pontoon run /plans/orders_amount.yaml
docker compose run --rm pontoon history
