-- The worker's role in LiteLLM's database, with the least that a rotation needs. Run it by psql 15 or newer, as a
-- superuser, or as the owner of the database and its tables with CREATEROLE. From Postgres 16 on, such an owner also needs,
-- of a superuser: grant pg_read_all_stats to litellm with admin option;
--
--   psql --dbname=litellm --set=owner=litellm --file=packaging/database-role.sql
--
-- role    the role to make                            (litellm_rotate)
-- owner   the role that LiteLLM's migrations run as   (litellm)
-- schema  where LiteLLM's tables are                  (public)
--
-- The password is asked for, or taken from the environment: ROTATE_DATABASE_PASSWORD. Run it again at any time: it adds
-- what is missing and sets the password.

\set ON_ERROR_STOP on
\if :{?role}
\else
  \set role litellm_rotate
\endif
\if :{?owner}
\else
  \set owner litellm
\endif
\if :{?schema}
\else
  \set schema public
\endif

select format('create role %I login', :'role')
where not exists (select from pg_roles where rolname = :'role') \gexec

\getenv password ROTATE_DATABASE_PASSWORD
\if :{?password}
  select current_setting('is_superuser')::bool as superuser \gset
  \if :superuser
    -- A statement that fails is logged as it stands, with the password in it. Only a superuser can turn that off.
    set log_statement = none;
    set log_min_error_statement = panic;
  \endif
  alter role :"role" password :'password';
\else
  -- psql asks twice, and sends a hash.
  \password :role
\endif

begin;

-- The journal of a rotation is in a schema of its own, litellm_rotate, which the worker makes.
grant connect, create on database :"DBNAME" to :"role";

-- Values are read and replaced. Rows are neither added nor removed, so there is no INSERT and no DELETE, but for one
-- table: a trigger of LiteLLM's on its MCP servers writes there, with the rights of whoever updates them. UPDATE also
-- allows the lock that keeps writers out during the cutover.
grant usage on schema :"schema" to :"role";
grant select, update on all tables in schema :"schema" to :"role";
select format('grant insert on %I.%I to %I', :'schema', 'LiteLLM_Config', :'role')
where to_regclass(format('%I.%I', :'schema', 'LiteLLM_Config')) is not null \gexec

-- For a rehearsal, which pg_dump makes a clone for. It also wants: alter role litellm_rotate createdb.
grant select on all sequences in schema :"schema" to :"role";

-- And on the tables that an upgrade of LiteLLM adds: without it, the next rotation would be refused by its preflight.
alter default privileges for role :"owner" in schema :"schema" grant select, update on tables to :"role";
alter default privileges for role :"owner" in schema :"schema" grant select on sequences to :"role";

-- Before the cutover, a rotation proves that no session of LiteLLM is left. Without this, pg_stat_activity hides what
-- the sessions of other roles are.
grant pg_read_all_stats to :"role";

commit;
