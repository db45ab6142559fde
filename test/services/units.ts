/** The units that the tests drive: each is one way in which a real service behaves. `@scratch@` stands for a scratch directory. */
export const units: Readonly<Record<string, string>> = {
  'plain.service': `[Service]
Type=exec
EnvironmentFile=@scratch@/keys.env
ExecStart=/bin/sleep infinity`,

  'simple-exits.service': `[Service]
ExecStart=/bin/sh -c 'exit 3'`,

  'exits-soon.service': `[Service]
Type=exec
ExecStart=/bin/sh -c 'sleep 0.4; exit 1'`,

  'no-program.service': `[Service]
ExecStart=/no/such/program`,

  'no-program-exec.service': `[Service]
Type=exec
ExecStart=/no/such/program`,

  'no-user.service': `[Service]
User=nobody-of-that-name
ExecStart=/bin/sleep infinity`,

  'no-file.service': `[Service]
EnvironmentFile=@scratch@/missing.env
ExecStart=/bin/sleep infinity`,

  'pre-fails.service': `[Service]
ExecStartPre=/bin/false
ExecStart=/bin/sleep infinity`,

  'never-ready.service': `[Service]
Type=notify
TimeoutStartSec=1
ExecStart=/bin/sleep infinity`,

  'killed.service': `[Service]
ExecStart=/bin/sh -c 'sleep 0.3; kill -9 $$$$'`,

  'loops.service': `[Unit]
StartLimitIntervalSec=0
[Service]
Type=exec
Restart=always
RestartSec=200ms
ExecStart=/bin/sh -c 'sleep 0.3; exit 1'`,

  'returns.service': `[Service]
Type=exec
Restart=always
RestartSec=100ms
ExecStart=/bin/sleep infinity`,

  // systemd forgets a stopped unit that nothing refers to, and its start count with it.
  'multi-user.target.d/wants-limited.conf': `[Unit]
Wants=limited.service`,

  'limited.service': `[Unit]
StartLimitBurst=2
StartLimitIntervalSec=60
[Service]
Type=exec
ExecStart=/bin/sleep infinity`,

  // Ready once its trap is set: a signal before that would end it at once. It stops when the file says so.
  'slow-stop.service': `[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'trap "until [ -e @scratch@/may-stop ]; do sleep 0.1; done; exit 0" TERM; systemd-notify --ready; while :; do sleep 0.1; done'`,

  'stubborn.service': `[Service]
Type=notify
NotifyAccess=all
TimeoutStopSec=1
ExecStart=/bin/sh -c 'trap "" TERM; systemd-notify --ready; while :; do sleep 0.1; done'`,

  'slow-start.service': `[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'until [ -e @scratch@/may-start ]; do sleep 0.1; done; systemd-notify --ready; exec sleep infinity'`,

  'leaves-child.service': `[Service]
Type=exec
KillMode=process
ExecStart=/bin/sh -c 'sleep 1000 & exec sleep infinity'`,

  'woken.service': `[Service]
Type=exec
ExecStart=/bin/sleep infinity`,

  'woken.path': `[Path]
PathExists=/`,

  'wrapper.service': `[Service]
Type=exec
Environment=ONLY_WRAPPER=w BOTH=same DIFFERENT=wrapper
ExecStart=/bin/sh -c 'env -u ONLY_WRAPPER LITELLM_MASTER_KEY=sk-child DIFFERENT=child sleep infinity; true'`,

  'exported.service': `[Service]
Type=exec
EnvironmentFile=@scratch@/exported.env
ExecStart=/bin/sleep infinity`,

  'retitled.service': `[Service]
Type=exec
EnvironmentFile=@scratch@/keys.env
ExecStart=/usr/bin/perl -e '$$0 = "litellm --config=x " x 600; sleep 1000'`,

  'talks.service': `[Service]
Type=exec
ExecStart=/bin/sh -c 'echo start $$INVOCATION_ID; printf "\\\\033[31mred\\\\377\\\\n"; echo done; exec sleep infinity'`,

  'wrong.service': `[Unit]
StartLimitBurst=1
[Service]
TimeoutStopSec=infinity
KillMode=process
Environment=LITELLM_MASTER_KEY=sk-in-the-unit-file
UnsetEnvironment=LITELLM_SALT_KEY
EnvironmentFile=@scratch@/second.env
EnvironmentFile=-@scratch@/link.env
EnvironmentFile=relative.env
EnvironmentFile=@scratch@/later.env
ExecStart=/bin/sleep infinity`,

  'needs-wrong.service': `[Unit]
Requires=wrong.service
[Service]
ExecStart=/bin/sleep infinity`,

  'once.service': `[Service]
Type=oneshot
ExecStart=/bin/true`,
};

export const userUnits: Readonly<Record<string, string>> = {
  'mine.service': `[Service]
Type=exec
Environment=NAME=value
ExecStart=/bin/sh -c 'echo mine; exec sleep infinity'`,
};
