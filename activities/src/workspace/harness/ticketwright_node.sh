#!/bin/sh
# node, with what listens to test runners: for scripts that set NODE_OPTIONS themselves.
here=${0%/*}
PATH=$(printf %s "$PATH" | sed "s#$here:##g")
exec node --require "$here/../ticketwright_preload.cjs" "$@"
