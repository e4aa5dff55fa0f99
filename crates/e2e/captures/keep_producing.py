"""Writes to partition 0 of a topic at a steady rate, idempotent, until its standard input ends.

Prints a line for each completed record, "written" or "failed", as KeepProducing.java does.

Arguments: file of settings, topic.
"""

import pathlib
import sys
import threading

from confluent_kafka import Producer


def main(file, topic):
    ended = threading.Event()

    def watch():
        sys.stdin.read()
        ended.set()

    def settled(error, _message):
        print("written" if error is None else "failed")

    settings = dict(line.split("=", 1) for line in pathlib.Path(file).read_text().splitlines())
    producer = Producer({**settings, "enable.idempotence": True})
    threading.Thread(target=watch, daemon=True).start()
    number = 0
    while not ended.is_set():
        producer.produce(topic, partition=0, value=f"{topic} {number}", on_delivery=settled)
        number += 1
        producer.poll(0.01)
    producer.flush()


main(*sys.argv[1:])
