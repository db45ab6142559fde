#!/bin/sh
# Makes the databases of LiteLLM and Temporal and a role for each, and the role of the worker. Postgres' image runs it
# once, on an empty volume. Passwords come from the environment and pass through no argument and no log.
set -eu
: "${LITELLM_DATABASE_PASSWORD:?}" "${TEMPORAL_DATABASE_PASSWORD:?}" "${ROTATE_DATABASE_PASSWORD:?}"

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
-- A statement that fails is logged as it stands.
set log_statement = none;
set log_min_error_statement = panic;
\getenv litellm LITELLM_DATABASE_PASSWORD
\getenv temporal TEMPORAL_DATABASE_PASSWORD
create role litellm login password :'litellm';
create role temporal login password :'temporal';
create database litellm owner litellm;
create database temporal owner temporal;
create database temporal_visibility owner temporal;
-- Nobody but its owner, and whom it is granted to, connects to a database.
revoke connect on database litellm, temporal, temporal_visibility, postgres from public;
SQL

psql --no-psqlrc --quiet --username="$POSTGRES_USER" --dbname=litellm \
  --set=role=litellm_rotate --set=owner=litellm --file=/packaging/database-role.sql

# LiteLLM makes its tables at its first start. On one of them the worker needs INSERT, for a trigger of LiteLLM's that runs
# with the rights of the worker (see database-role.sql): granted when the table is made, by what then removes itself.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=litellm <<'SQL'
create schema first_start;
create function first_start.grant_insert() returns event_trigger
language plpgsql security definer set search_path = '' set client_min_messages = warning as $$
begin
  if to_regclass('public."LiteLLM_Config"') is not null then
    grant insert on public."LiteLLM_Config" to litellm_rotate;
    drop schema first_start cascade;
  end if;
end $$;
create event trigger first_start on ddl_command_end when tag in ('CREATE TABLE')
execute function first_start.grant_insert();
SQL
