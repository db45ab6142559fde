-- By hand, with LiteLLM and every worker stopped: the stored values of the rotation that holds the lease, back to what
-- they were before its cutover. See docs/runbook.md, "Recovery by hand".
--
--   psql --set=ON_ERROR_STOP=1 --file=docs/recovery/go-back.sql
--
-- All or nothing. It refuses when a value was stored since the cutover: that one is under the new key, and only
-- litellm-rotate can seal it again. Then go forward, or run `litellm-rotate reconcile` against any Temporal.

\if :{?schema}
\else
  \set schema public
\endif

begin;
set local search_path = pg_catalog, :"schema";
-- As the journal's texts were written.
set local array_nulls = on;
set local intervalstyle = postgres;
select rotation, workflow_id, since from litellm_rotate.lease for update;

do $$
declare
  held text := (select rotation from litellm_rotate.lease);
  staged record;
  image record;
  same_row text;
  untouched text;
  assignments text;
  expected bigint;
  restored bigint;
begin
  if not exists (select from litellm_rotate.rotation where rotation = held and side = 'pending') then
    raise exception 'the database is not under the new keys of a rotation that holds the lease: there is nothing to go back from';
  end if;
  if exists (select from litellm_rotate.rotation where rotation = held and dropped_at is not null) then
    raise exception 'the before-images of rotation % are destroyed: go forward', held;
  end if;

  -- The row of the master key in LiteLLM's table of virtual keys, if there is one.
  for image in select columns, before, after from litellm_rotate.token_image where rotation = held loop
    select string_agg(format('%I = ($1)[%s]::%s', a.attname, n, format_type(a.atttypid, a.atttypmod)), ', ')
      into assignments
      from unnest(image.columns) with ordinality as c (name, n)
        join pg_attribute a on a.attname = c.name and a.attrelid = '"LiteLLM_VerificationToken"'::regclass;
    execute format('update "LiteLLM_VerificationToken" set %s where token = ($2)[1]', assignments)
      using image.before, image.after;
  end loop;

  for staged in select id, relation, columns, touched from litellm_rotate.staged_relation where rotation = held and rows > 0 loop
    -- The same choice of key as when the values were staged: the primary key, else the shortest unique index.
    select string_agg(format('a.%I = s.key[%s]::%s', a.attname, k.n, format_type(a.atttypid, -1)), ' and ')
      into same_row
      from (select (indkey::int2[])[:indnkeyatts - 1] as cols from pg_index
            where indrelid = quote_ident(staged.relation)::regclass and indisunique and indisvalid and indimmediate
              and indpred is null and indexprs is null
              and not exists (select from unnest((indkey::int2[])[:indnkeyatts - 1]) as i (num) join pg_attribute n
                              on n.attrelid = indrelid and n.attnum = i.num
                              where not n.attnotnull or exists (select from pg_constraint where conrelid = indrelid
                                and contype = 'n' and not convalidated and conkey = array[n.attnum]))
            order by indisprimary desc, indnkeyatts, indexrelid limit 1) as best,
        unnest(best.cols) with ordinality as k (num, n)
        join pg_attribute a on a.attrelid = quote_ident(staged.relation)::regclass and a.attnum = k.num;
    -- A staged column is written as its number and its type.
    select string_agg(format('(s.after[%1$s] is null or a.%2$I::text = s.after[%1$s])', at, a.attname), ' and '),
           string_agg(format('%2$I = case when s.before[%1$s] is null then a.%2$I else s.before[%1$s]::%3$s end', at, a.attname, format_type(a.atttypid, -1)), ', ')
      into untouched, assignments
      from unnest(staged.touched) as t (at)
        join pg_attribute a on a.attrelid = quote_ident(staged.relation)::regclass and a.attnum = split_part(staged.columns[at], ' ', 1)::int;
    select count(*) into expected from litellm_rotate.staged where relation_id = staged.id;
    execute format('update %I as a set %s from litellm_rotate.staged as s where s.relation_id = %s and %s and %s',
      staged.relation, assignments, staged.id, same_row, untouched);
    get diagnostics restored = row_count;
    if restored <> expected then
      raise exception '% of % rows of % are not as the cutover left them: nothing was changed', expected - restored, expected, staged.relation;
    end if;
    raise notice '% rows of % are back', restored, staged.relation;
  end loop;

  update litellm_rotate.rotation
    set side = 'previous', report = null, restored_at = now(), swap_horizon = null, swap_xid = null
    where rotation = held;
  delete from litellm_rotate.token_image where rotation = held;
  -- What `litellm-rotate guard` tries LiteLLM's key on is under the new key.
  delete from litellm_rotate.guard;
  -- A worker that was paused and wakes up writes nothing more.
  update litellm_rotate.lease set token = token + 1;
end $$;

commit;
