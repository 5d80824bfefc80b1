#!/usr/bin/env bash
# Opens the page in a real browser and uses it: tests/browser.rs.
#
#   scripts/browser-check.sh [--screenshots DIR]
#   scripts/browser-check.sh --install             gets the browser and does no more
#
# The browser is Debian's `chromium`: CHROMIUM names another, and a machine without one gets it by apt-get where it may.
# Exit codes: 0 passed, 1 failed, 77 there is no browser and none can be had.
set -euo pipefail
cd "$(dirname "$0")/.."

install=""
while [ $# -gt 0 ]; do
  case "$1" in
    --install) install=1; shift ;;
    --screenshots) export PERSONASCOPE_SCREENSHOTS="$2"; shift 2 ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done

CHROMIUM="${CHROMIUM:-chromium}"
if ! command -v "$CHROMIUM" > /dev/null; then
  echo "no $CHROMIUM here: asking apt-get for it" >&2
  root=""
  [ "$(id -u)" = 0 ] || root="sudo -n"
  if ! { command -v apt-get > /dev/null && { $root apt-get update -qq && $root apt-get install -qq -y --no-install-recommends chromium; } >&2; } \
    || ! command -v "$CHROMIUM" > /dev/null; then
    echo "SKIPPED: no browser, and none can be installed; the page was NOT tried in one (CHROMIUM names one)" >&2
    exit 77
  fi
fi
[ -z "$install" ] || exit 0
export CHROMIUM
"$CHROMIUM" --version >&2
cargo test --release --locked --test browser -- --ignored --nocapture || exit 1
