"""Writes a file's records to a topic with confluent-kafka, each to its given partition.

Flushes after every hundred records.

Each line is a record: partition, key, value, then name and value of each header, separated by tabs. Bytes are in hex,
null is -. Prints the numbers of acknowledged and refused records.

Arguments: bootstrap.servers, topic, compression.type, acks ("all" also means idempotent), file.
"""

import sys

from confluent_kafka import Producer


def unhex(field):
    return None if field == "-" else bytes.fromhex(field)


def main(bootstrap, topic, codec, acks, file):
    counts = {True: 0, False: 0}

    def settled(error, _message):
        counts[error is None] += 1

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "acks": acks,
            "enable.idempotence": acks == "all",
        }
    )
    with open(file, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            partition, key, value, *headers = line.rstrip("\n").split("\t")
            producer.produce(
                topic,
                partition=int(partition),
                key=unhex(key),
                value=unhex(value),
                headers=[(unhex(name).decode(), unhex(of)) for name, of in zip(headers[::2], headers[1::2])],
                on_delivery=settled,
            )
            if number % 100 == 0:
                producer.flush()
    producer.flush()
    print(counts[True], counts[False])


main(*sys.argv[1:])
