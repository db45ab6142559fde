-- By hand, after the last step of docs/runbook.md, "Recovery by hand": destroys the before-images of the rotation that
-- holds the lease, and releases it, so that another rotation can begin. There is no way back from here.
--
--   psql --set=ON_ERROR_STOP=1 --file=docs/recovery/close.sql

begin;
select rotation, workflow_id, since from litellm_rotate.lease for update;
update litellm_rotate.rotation set dropped_at = now()
where rotation = (select rotation from litellm_rotate.lease);
-- A truncate leaves nothing of them in the files of the database; a delete does, until a vacuum. A backup that runs leaves
-- only the delete.
do $$
begin
  set local lock_timeout = '2s';
  truncate litellm_rotate.staged, litellm_rotate.token_image;
exception when lock_not_available then
  delete from litellm_rotate.staged;
  delete from litellm_rotate.token_image;
end $$;
delete from litellm_rotate.staged_relation;
update litellm_rotate.lease
set rotation = null, target = null, workflow_id = null, run_id = null, since = null, token = token + 1;
commit;
