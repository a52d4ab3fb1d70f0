"""Tasks of the Celery peer, and its client: `main` reads one command a line, as JSON."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from celery import Celery, chain

PLACE = json.loads(os.environ["BENCH_PLACE"])
TUNED = PLACE["tuned"]
BROKER = f"redis://127.0.0.1:{PLACE['redisPort']}/0"

app = Celery("bench", broker=BROKER, backend=BROKER)
app.conf.update(
    # Results cost a write each; who waits for one asks for it.
    task_ignore_result=True,
    task_serializer="json",
    worker_prefetch_multiplier=64,
    broker_pool_limit=20,
    worker_send_task_events=False,
    task_send_sent_event=False,
)
if PLACE["kind"] == "slow":
    app.conf.update(worker_prefetch_multiplier=1)
elif PLACE["kind"] != "sleep":
    # What throughput is measured with keeps a job until it is done, as all others do.
    app.conf.update(task_acks_late=True)
if TUNED:
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_transport_options={"visibility_timeout": 5},
    )


@app.task
def noop():
    return None


@app.task(ignore_result=False)
def told():
    return None


@app.task
def step(total, n):
    return total + n


@app.task
def slow(n):
    mark("s", n)
    time.sleep(1)
    mark("d", n)


@app.task
def sleep():
    return None


def mark(what, n):
    with open(PLACE["marks"], "a", encoding="utf-8") as file:
        file.write(f"{what} {n} {os.getpid()}\n")


def put(n):
    kind = PLACE["kind"]
    if kind == "flow":
        chain(step.s(0, n), step.s(n), step.s(n)).apply_async()
    elif kind == "slow":
        slow.delay(n)
    elif kind == "sleep":
        sleep.apply_async(countdown=3600)
    else:
        noop.delay()


def many(count, threads):
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(put, range(count), chunksize=50):
            pass


def main():
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["call"] == "one":
            told.delay().get(interval=0.001)
        else:
            many(command["count"], 4)
        print("done", flush=True)
