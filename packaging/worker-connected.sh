#!/bin/sh
# Health of the worker's container: its connection to Temporal stands. 0 when it does.
#
# Not `litellm-rotate doctor`: doctor rightly fails while a rotation has LiteLLM stopped, and a container that is
# called unhealthy then invites somebody to restart it in the middle of a cutover. It also opens database sessions
# and reads the keys each time. And not "the process lives": docker sees that by itself. Other failures of the
# worker end its process, and `restart:` starts it again.
#
# /proc/net/tcp, proc_net_tcp(5): local address, remote address, state; ports in hex, 01 is ESTABLISHED.
address=${TEMPORAL_ADDRESS:-127.0.0.1:7233}
port=$(printf '%04X' "${address##*:}") || exit 1
grep -qs ":$port 01 " /proc/net/tcp /proc/net/tcp6
