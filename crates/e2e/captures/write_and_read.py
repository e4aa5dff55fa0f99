"""Per file of settings, writes records to partition 0 of a topic that has the file's name, and reads them back.

Prints a line per file: the numbers of records written and read, and the first error, separated by tabs.

Arguments: number of records, files of settings.
"""

import pathlib
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition


def settings_of(file):
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def write(settings, topic, records):
    errors = []
    written = 0

    def settled(error, _message):
        nonlocal written
        if error is None:
            written += 1
        else:
            errors.append(error)

    producer = Producer({**settings, "error_cb": errors.append, "logger": QUIET})
    for number in range(records):
        producer.produce(topic, partition=0, value=f"{topic} {number}", on_delivery=settled)
    while len(producer) > 0 and not errors:
        producer.poll(0.1)
    if errors:
        producer.purge()
        raise KafkaException(errors[0])
    return written


def read(settings, topic, records):
    errors = []
    consumer = Consumer({**settings, "group.id": "none", "enable.auto.commit": False, "error_cb": errors.append, "logger": QUIET})
    consumer.assign([TopicPartition(topic, 0, 0)])
    number = 0
    while number < records and not errors:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        if message.value().decode() != f"{topic} {number}":
            raise ValueError(f"offset {message.offset()} has {message.value()}")
        number += 1
    consumer.close()
    if errors:
        raise KafkaException(errors[0])
    return number


class Quiet:
    """A logger that discards everything."""

    def log(self, *_arguments):
        pass


QUIET = Quiet()


def main(records, *files):
    for file in map(pathlib.Path, files):
        written = got = 0
        error = ""
        try:
            written = write(settings_of(file), file.name, int(records))
            got = read(settings_of(file), file.name, int(records))
        except (KafkaException, ValueError) as failure:
            error = " ".join(str(failure).split())
        print(written, got, error, sep="\t")


main(*sys.argv[1:])
