-- The event of a timer that says nothing but the timer's name is left out: see store/timerEvents.ts.

CREATE OR REPLACE VIEW timers AS
  SELECT type, id, timer_id, shard, fire_at, armed_seq,
         CASE WHEN event = '' THEN '{"type":' || to_json(timer_id)::text || '}' ELSE event END::json AS event
    FROM timer;
