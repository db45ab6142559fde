#!/bin/sh
# Makes what docker-compose.yml needs, with fresh random passwords and keys, readable by you alone, and prints none:
#
#   .env                                database passwords, your ids, the docker socket's group, this directory
#   packaging/compose/keys/litellm.env  LITELLM_MASTER_KEY and LITELLM_SALT_KEY, which rotations replace
#
# Run it once, as the user who runs `docker compose`. It never overwrites: the files open what is in the volumes.
set -eu
umask 077
cd -- "$(dirname -- "$0")/../.."
directory=$(pwd -P)
settings=.env
keys=packaging/compose/keys/litellm.env

fail() {
  printf 'init-keys: error: %s\n' "$1" >&2
  exit 1
}

exists() {
  [ -e "$1" ] || [ -L "$1" ]
}

if exists "$settings" && exists "$keys"; then
  echo "init-keys: found $settings and $keys; kept both as they are"
  exit 0
fi
for file in "$settings" "$keys"; do
  if exists "$file"; then
    fail "found $file without its counterpart; expected both files or neither; bring the other one back from your backup, or, if there is nothing in the volumes yet, move $file away and run this again"
  fi
done

# Compose takes `$` and quotes in .env for its own; a newline would end the line.
case $directory in
  *[!A-Za-z0-9/._@+\ -]*) fail "found the directory $directory; expected a path of letters, digits, spaces and / . _ @ + -; move the project" ;;
esac
if command -v git >/dev/null && git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  for file in "$settings" "$keys"; do
    git check-ignore --quiet "$file" ||
      fail "found that git does not ignore $file; expected a line in .gitignore, so that no commit takes passwords along; add it and run this again"
  done
fi
if [ -z "${DOCKER_GID:-}" ]; then
  DOCKER_GID=$(stat -L -c %g /var/run/docker.sock 2>/dev/null) ||
    fail 'found no /var/run/docker.sock; expected the socket of docker, whose group the worker needs; start docker, or name the group: DOCKER_GID=... packaging/compose/init-keys.sh'
fi

# 32 random bytes, in hex: safe in a URL, in .env, and for every reader of an env file, and what LiteLLM's FIPS mode takes.
random() {
  value=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
  [ "${#value}" -eq 64 ] || fail 'found no random bytes in /dev/urandom; expected 32'
  printf '%s' "$value"
}

# Each on a line of its own: a failure inside a here-document would not end the script.
postgres=$(random)
litellm=$(random)
temporal=$(random)
rotate=$(random)
master=$(random)
salt=$(random)

mkdir -p packaging/compose/keys
chmod 700 packaging/compose/keys
new_settings=''
new_keys=''
trap 'rm -f -- "$new_settings" "$new_keys"' EXIT
trap 'exit 1' HUP INT TERM
new_settings=$(mktemp .env.XXXXXX)
new_keys=$(mktemp packaging/compose/keys/litellm.env.XXXXXX)

cat >"$new_settings" <<END
LITELLM_ROTATE_DIRECTORY='$directory'
LITELLM_ROTATE_UID=$(id -u)
LITELLM_ROTATE_GID=$(id -g)
DOCKER_GID=$DOCKER_GID
POSTGRES_PASSWORD=$postgres
LITELLM_DATABASE_PASSWORD=$litellm
TEMPORAL_DATABASE_PASSWORD=$temporal
ROTATE_DATABASE_PASSWORD=$rotate
END
cat >"$new_keys" <<END
LITELLM_MASTER_KEY=sk-$master
LITELLM_SALT_KEY=sk-$salt
END

# A link appears whole or not at all, and not over a file that somebody else has made meanwhile.
ln -- "$new_keys" "$keys"
ln -- "$new_settings" "$settings" || {
  rm -f -- "$keys"
  exit 1
}
echo "init-keys: made $settings and $keys, mode 0600; next: docker compose up -d --wait"
