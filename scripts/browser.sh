#!/usr/bin/env bash
# Runs the browser tests in Debian's Chromium, which it installs where there is none. $1: where the JSON report goes.
set -euo pipefail
cd "$(dirname "$0")/.."
chromium=${CHROMIUM:-$(command -v chromium || true)}
if [ -z "$chromium" ]; then
  as_root=""; [ "$(id -u)" = 0 ] || as_root="sudo"
  $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium > /dev/null
  chromium=$(command -v chromium)
fi
CHROMIUM=$chromium npx vitest run --config vitest.browser.config.ts --reporter=default --reporter=json --outputFile.json="${1:-/dev/null}"
